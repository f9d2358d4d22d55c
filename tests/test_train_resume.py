"""A training that is killed and resumed goes on to the bit as if it had never stopped, with other workers too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Finished

pytest.importorskip("torch")
STEPS, EVERY, AFTER = 24, 5, 8


def test_a_killed_training_goes_on_to_the_bit(finished_run: Finished, tmp_path: Path) -> None:
    from benchmarks.train_resume import compared

    whole, *others = compared(finished_run.out, tmp_path, STEPS, EVERY, AFTER).values()
    assert len(whole) == STEPS and len({loss for loss, _ in whole}) == STEPS
    assert whole[0][0] > whole[-1][0] > 0
    assert others == [whole, whole]
