"""`curator serve`: a finished run over HTTP."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click

from curator.errors import InputError
from curator.workspace import finished


@click.command("serve")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--token",
    envvar="CURATOR_TOKEN",
    help="Secret that every request must bring (also CURATOR_TOKEN); made and printed for any address but loopback.",
)
@click.option("--score/--no-score", default=True, show_default=True, help="Load the models and answer POST /score.")
@click.option("-r", "--recipe", help="Recipe whose stages and rules score (default: the run's own).")
@click.option("--seconds", type=click.FloatRange(0.1), default=30, show_default=True, help="Longest query in SQL.")
@click.option("--rows", type=click.IntRange(1), default=10_000, show_default=True, help="Most rows of an answer.")
@click.option("--memory", type=click.IntRange(64), default=512, show_default=True, metavar="MB", help="Memory of a query.")  # fmt: skip
def serve_command(
    out: Path,
    host: str,
    port: int,
    token: str | None,
    score: bool,
    recipe: str | None,
    seconds: float,
    rows: int,
    memory: int,
) -> None:
    """Show the report of a finished run live, with a box for SQL, and score texts before anybody stores them.

    GET / is the page, POST /sql takes {"sql": "…"}, POST /score takes {"texts": ["…"]} or {"documents": [{"text": "…",
    "url": "…", "date": "…"}]}, GET /health says whether the models are loaded. Nothing can be written. There is no
    encryption: beyond this machine put a proxy with TLS before it.

    \b
    Example:
      curator serve out
      curator serve out --host 0.0.0.0 --port 8080 --recipe strict
      curl -H 'Content-Type: application/json' -d '{"texts": ["…"]}' http://127.0.0.1:8000/score
    """
    _need_server()
    from curator import serve
    from curator.answers import Limits
    from curator.serving.access import door_of
    from curator.serving.bounds import Bounds

    finished(out)
    if score and recipe is not None:
        from curator.recipe import load

        load(recipe)
    bounds = Bounds(sql=Limits(seconds=seconds, rows=rows, memory_mb=memory))
    bound = serve.listen(host, port)
    door = door_of(host, bound, token)
    application = serve.app(out, door, recipe=recipe, score=score, bounds=bounds)
    click.echo(f"{address(host, bound.getsockname()[1], door.token)} (Ctrl+C ends it)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once all is closed
    with suppress(KeyboardInterrupt):
        serve.run(application, bound)


def _need_server() -> None:
    """Refuse to start without the packages that serve: better now than once every model is loaded."""
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise InputError(f"{name} is missing; pip install 'corpus-curator[serve]'")


def address(host: str, port: int, token: str | None) -> str:
    """Where the page is; with the token where one is needed."""
    name = "localhost" if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
