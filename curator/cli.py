"""The command line: a name, the file in which its command lies, one line for a mistake."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import click

from curator import __version__, tables
from curator.errors import CuratorError

COMMANDS: Final = {
    "calibrate": "curator.commands.origin:calibrate_command",
    "card": "curator.cards.command:card_command",
    "check": "curator.commands.recipe:check_command",
    "diff": "curator.commands.explain:diff_command",
    "evaluate": "curator.commands.origin:evaluate_command",
    "explain": "curator.commands.explain:explain_command",
    "filter": "curator.commands.filter:filter_command",
    "ingest": "curator.commands.filter:ingest_command",
    "models": "curator.commands.recipe:models_command",
    "prove": "curator.commands.prove:prove_command",
    "redecide": "curator.commands.filter:redecide_command",
    "report": "curator.report.command:report_command",
    "score": "curator.commands.recipe:score_command",
    "serve": "curator.commands.serve:serve_command",
    "shares": "curator.commands.shares:shares_command",
    "sql": "curator.commands.sql:sql_command",
    "stages": "curator.commands.recipe:stages_command",
    "train": "curator.commands.origin:train_group",
    "verify": "curator.commands.explain:verify_command",
}


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is asked for: a question of the account need not wait for compilers and models."""

    def __init__(self) -> None:
        self._more: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name in self._more:
            return self._more[name]
        module, _, attribute = COMMANDS[name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._more[name] = command

    def __delitem__(self, name: str) -> None:
        del self._more[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*COMMANDS, *self._more}))

    def __len__(self) -> int:
        return len({*COMMANDS, *self._more})


class _Group(click.Group):
    """Prints a user's mistake as one line and exits with 1; never a traceback for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CuratorError as error:
            click.echo(f"error: {tables.shown(str(error))}", err=True)
            ctx.exit(1)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
            ctx.exit(1)


@click.group(
    cls=_Group, commands=_Commands(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="curator")
def main() -> None:
    """Curate scraped corpora for training language models.

    \b
    curator filter corpus.parquet -o out     deduplicate, judge, mix, with an account
    curator shares out                       how much of it is synthetic
    curator explain out https://...          what happened to one document, and why
    """
