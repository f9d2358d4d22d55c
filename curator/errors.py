"""Every error a user can cause, in one tree.

    CuratorError                 exit status 1; its message is the one line the user reads
    ├── InputError               a corpus, file or column that cannot be read as asked
    ├── RecipeError              a recipe, rule, stage or option that does not add up
    │   └── UndecidedError       a rule that came to NULL for some documents: neither kept nor dropped
    ├── OutputError              a place that cannot be written, or that holds another run
    ├── ModelError               weights missing, or not the ones whose sha256 is pinned
    └── AccountError             outcomes that do not add up to inputs, or a hash that does not re-derive

A message says what is wrong, which one, how many, and what to do next.
"""

from __future__ import annotations


class CuratorError(Exception):
    """Something the user can mend; the message is complete on its own."""


class InputError(CuratorError):
    """The corpus, or a column of it, cannot be read as asked."""


class RecipeError(CuratorError):
    """The recipe names something that does not exist or contradicts itself."""


class UndecidedError(RecipeError):
    """A rule came to NULL for some documents; null is never read as "passed"."""


class OutputError(CuratorError):
    """The output folder cannot be written, or belongs to another run."""


class ModelError(CuratorError):
    """Weights are missing or differ from the pinned sha256."""


class AccountError(CuratorError):
    """The ledger contradicts itself or the files beside it."""


def first_line(error: Exception) -> str:
    """What went wrong, in one line; the name of the error where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
