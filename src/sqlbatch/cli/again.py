"""The commands of second thoughts: retry and cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from sqlbatch import config, display, outcome, reach, run
from sqlbatch.batches.providers import label
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.enrich import confirmed, seen
from sqlbatch.cli.operate import at, ending, existing, follow
from sqlbatch.db import jobs as state


@app.command()
def retry(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="CODE", help="Only what failed with this code.", autocompletion=complete.codes),
    ] = None,
    yes: opt.Yes = False,
    no_wait: opt.NoWait = False,
    poll: opt.Poll = None,
    as_json: opt.Json = False,
) -> int:
    """Ask again for what failed, and only for that. Another prompt or parameter is another enrich.

    Example: sqlbatch retry movie_tags --only refusal
    """
    database = existing(db)
    with database.session() as session:
        found = state.find(session, job)
        provider = run.provider_of(found)
        failed, cost = outcome.retry_cost(session, found, provider, only)
    if provider.paid and failed:
        where = label(provider.name, provider.base_url)
        must_ask = cost.must_be_agreed and not yes
        with seen(asked=must_ask):
            display.say(
                f"job {found.job_id}: {display.counted(failed, 'failed request')} would go to {where} again; cost: "
                + display.cost(cost)
            )
        if must_ask and not confirmed(cost):
            display.say("nothing sent, nothing changed")
            return display.Exit.ERROR
        reach.check_provider(database, provider)
    again = outcome.retry(database, found.job_id, only)
    display.say(
        f"job {found.job_id}: {display.counted(again, 'failed request')} asked again, as they were "
        "(another prompt or parameter is a new enrich)"
    )
    follow(database, found.job_id, provider, once=no_wait, poll=config.poll(poll))
    return ending(database, found.job_id, as_json=as_json, rows=not no_wait)


@app.command()
def cancel(job: opt.JobArgument = None, db: opt.Db = None, poll: opt.Poll = None, as_json: opt.Json = False) -> int:
    """Give a job up: its batches are stopped, unless another job needs them; what was answered is kept.

    Example: sqlbatch cancel movie_tags
    """
    database = existing(db)
    with database.session() as session:
        found = state.find(session, job)
    if not outcome.cancel(database, found.job_id):
        display.say(f"job {found.job_id} was cancelled before; waiting for what it left at the provider")
    follow(database, found.job_id, run.provider_of(found), once=False, poll=config.poll(poll), back="cancel")
    with database.session() as session:
        after, billed = state.find(session, str(found.job_id)), state.billed(session, found.job_id)
    if as_json:
        display.print_json(display.job_json(after, at(database), billed))
    display.say(
        f"job {after.job_id} cancelled: {after.answered:,} of {after.requests:,} requests were answered and are kept; "
        + display.next_step(after, at(database))
    )
    return display.Exit.DONE
