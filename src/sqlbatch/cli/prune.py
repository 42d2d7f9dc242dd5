"""The command that gives up what nobody needs any more."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from sqlbatch import display
from sqlbatch import prune as pruning
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.operate import existing
from sqlbatch.db import jobs as state
from sqlbatch.errors import InvalidSettings


@app.command()
def prune(
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="JOB", help="Only of this job.", autocompletion=complete.jobs),
    ] = None,
    results: Annotated[
        bool, typer.Option("--results", help="Also results that no target shows any more; their costs stay.")
    ] = False,
    db: opt.Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Give up what ended jobs need no longer: kept rows, inputs, files here and at the provider.

    Results and costs stay: no answer is paid for twice. A pruned job cannot be retried; enrich asks again. With
    --results the answers of earlier prompts go, which no target shows any more: to ask for them again is to pay again.

    Example: sqlbatch prune --dry-run
    """
    database = existing(db)
    job_id = None
    if job is not None:
        with database.session() as session:
            job_id = state.find(session, job).job_id
    found = pruning.look(database, job_id, results=results)
    if dry_run or found.nothing:
        if as_json:
            display.print_json(asdict(found))
        elif found.nothing:
            display.say("nothing to prune")
        else:
            display.say("would go: " + display.prunable(found))
        return display.Exit.DONE
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidSettings("there is nobody to ask: --yes prunes, --dry-run only says what would go")
        with display.aloud():
            display.say("would go: " + display.prunable(found))
        if not display.confirm("Delete it?"):
            display.say("nothing deleted")
            return display.Exit.ERROR
    done = pruning.prune(database, job_id, results=results)
    if as_json:
        display.print_json(asdict(done))
    display.say("gone: " + display.prunable(done))
    for problem in done.problems:
        display.error(problem)
    return display.Exit.ERROR if done.problems else display.Exit.DONE
