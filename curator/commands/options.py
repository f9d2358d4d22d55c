"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

OUT = click.argument("out", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
SUMMARY = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress.")
