"""English of a few dozen words, written by three hands whose choice of words differs: texts for learning in a second."""

from __future__ import annotations

import numpy as np

HANDS = {
    "human": "dog rain kitchen laughed again maybe tired bus street cold cheap neighbour yelled window because left".split(),  # noqa: SIM905
    "old": "moreover tapestry robust delve landscape crucial foster insight nuanced pivotal seamless holistic realm".split(),  # noqa: SIM905
    "new": "basically vibe pipeline quietly architecture tension honest framing underneath stakes texture signal".split(),  # noqa: SIM905
}
COMMON = "the a of and to in that it was he she they we for on with at by from this had not but when there".split()  # noqa: SIM905


def texts(hand: str, count: int, seed: int = 0, words: int = 80) -> list[str]:
    """Texts of `words` words, a third of them the hand's own, in sentences of 9 to 15."""
    dice = np.random.default_rng([seed, *hand.encode()])
    made = []
    for _ in range(count):
        own, left, parts = HANDS[hand], words, []
        while left > 0:
            size = min(left, int(dice.integers(9, 16)))
            picked = [
                own[dice.integers(len(own))] if dice.random() < 0.34 else COMMON[dice.integers(len(COMMON))]
                for _ in range(size)
            ]
            parts.append(" ".join(picked).capitalize() + ".")
            left -= size
        made.append(" ".join(parts))
    return made
