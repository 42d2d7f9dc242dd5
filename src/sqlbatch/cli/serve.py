"""The command that runs the Batch API server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sqlbatch import display
from sqlbatch.cli.app import app
from sqlbatch.cli.help import RARELY


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine only with --api-key-env.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(metavar="DIR", help="The folder that keeps files and batches.")] = Path(
        "batch-server"
    ),
    upstream: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server behind it; repeatable."),
    ] = None,
    upstream_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the upstream's key.")
    ] = None,
    upstream_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long one request may take upstream.", rich_help_panel=RARELY)
    ] = 600.0,
    concurrency: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Requests in flight at each upstream, at most.", rich_help_panel=RARELY),
    ] = 16,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the key asked of clients.")
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Failures to act out, for tests of clients.", rich_help_panel=RARELY),
    ] = None,
    clock_speed: Annotated[
        float,
        typer.Option(
            metavar="N", help="How fast the server's clock runs: 1440 is a day in a minute.", rich_help_panel=RARELY
        ),
    ] = 1.0,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="The completion window of a batch.", rich_help_panel=RARELY)
    ] = 86_400.0,
) -> int:
    """Serve OpenAI's Files and Batches API in front of any model; without --upstream, the offline one.

    Example: sqlbatch serve --upstream http://127.0.0.1:11434/v1 --data batches --port 8000
    """
    from sqlbatch import server  # noqa: PLC0415 (only this command needs it)

    server.serve(
        server.ServerConfig(
            folder=data,
            host=host,
            port=port,
            upstreams=tuple(upstream or ()),
            upstream_key_env=upstream_key_env,
            upstream_timeout=upstream_timeout,
            concurrency=concurrency,
            api_key_env=api_key_env,
            faults=faults,
            clock_speed=clock_speed,
            window=window,
        )
    )
    return display.Exit.DONE
