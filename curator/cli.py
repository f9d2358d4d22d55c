"""The command line: a name, the file in which its command lies, one line for a mistake."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import click

from curator import __version__, tables
from curator.errors import CuratorError

# What `curator --help` lists: name, where the command lies, what it is for.
SECTIONS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Make a run": {
        "filter": ("commands.filter:filter_command", "Curate a corpus: deduplicate, judge, mix, with an account."),
        "ingest": ("commands.filter:ingest_command", "Read what a scraper leaves behind into Parquet."),
        "redecide": ("commands.filter:redecide_command", "Decide a run again under other rules, in seconds."),
    },
    "Look at it": {
        "shares": ("commands.shares:shares_command", "Human and synthetic share, with intervals."),
        "sql": ("commands.sql:sql_command", "Ask the account in SQL."),
        "explain": ("commands.explain:explain_command", "What happened to one document, and why."),
        "diff": ("commands.explain:diff_command", "Compare two runs, document by document."),
        "verify": ("commands.explain:verify_command", "Re-derive every hash and sum."),
        "report": ("report.command:report_command", "Write one HTML page, every number beside its query."),
        "serve": ("commands.serve:serve_command", "The page live, SQL and scoring over HTTP."),
        "prove": ("commands.prove:prove_command", "Train small models on the mixture and beside it."),
        "card": ("cards.command:card_command", "Write dataset cards for who publishes the mixture."),
    },
    "Judge texts": {
        "score": ("commands.recipe:score_command", "Score texts that are in nobody's corpus."),
        "calibrate": ("commands.origin:calibrate_command", "Keep scores of text known to be human, to judge by."),
        "train": ("commands.origin:train_group", "Teach the origin detector."),
        "evaluate": ("commands.origin:evaluate_command", "Measure a detector on labelled texts."),
    },
    "What a recipe is made of": {
        "check": ("commands.recipe:check_command", "Check a recipe and print every default."),
        "stages": ("commands.recipe:stages_command", "List the stages and the columns each adds."),
        "models": ("commands.recipe:models_command", "List the models that ship."),
    },
}
COMMANDS: Final = {name: where for section in SECTIONS.values() for name, (where, _) in section.items()}


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is asked for: a question of the account need not wait for compilers and models."""

    def __init__(self) -> None:
        self._more: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name in self._more:
            return self._more[name]
        module, _, attribute = COMMANDS[name].partition(":")
        found: click.Command = getattr(importlib.import_module(f"curator.{module}"), attribute)
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for, without importing one."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, what) for name, (_, what) in section.items()])

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
