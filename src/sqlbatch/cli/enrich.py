"""The commands that ask a model: enrich, plan and preview."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sqlbatch import config, connection, display, options, plan_previews, prepare, previews
from sqlbatch.cli import engine
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import agreed, ending, follow
from sqlbatch.cli.state import opened
from sqlbatch.functions.find import mentions_calls
from sqlbatch.source import read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlbatch.batches.events import Event
    from sqlbatch.db.database import Database
    from sqlbatch.options import EnrichOptions
    from sqlbatch.plan_previews import PreparedPlanPreview
    from sqlbatch.previews import PreparedPreview, Preview


Ready = TypeVar("Ready")


@command
@opt.of_enrichment
def enrich(
    given: opt.Given,
    max_cost: opt.MaxCost = None,
    yes: opt.Yes = False,
    no_wait: opt.NoWait = False,
    poll: opt.Poll = None,
    max_enqueued_tokens: opt.MaxEnqueuedTokens = None,
    as_json: opt.Json = False,
) -> int:
    """Ask a model about each row of a query and write the answers to a table.

    Example: sqlbatch enrich "SELECT title, overview FROM 'movies.csv'" --input overview --returns "genres VARCHAR[]"
    --instructions "Name the genres." --model gpt-6-luna --into tags
    """
    database, asked = _read(given)
    max_cost = config.max_cost(max_cost)
    pause = config.poll(poll)
    enqueued = config.max_enqueued_tokens(max_enqueued_tokens)
    if enqueued is not None:
        asked = replace(asked, provider=replace(asked.provider, max_enqueued_tokens=enqueued))
    if asked.provider.paid and not no_wait:
        connection.key_of(asked.provider)
    with compiling(engine.prepared(database, given, asked, max_cost, starting=True)) as (ask, start):
        spends = bool(ask.quote.to_send) and asked.provider.paid
        with display.always_print(wanted=spends and not yes and ask.quote.cost.must_be_agreed):
            display.quote.show_quote(engine.named(ask.quote, given))
        if not ask.quote.rows:
            display.info("the query has no rows: nothing to do")
            if as_json:
                display.print_json({"job_id": None} | ask.quote.as_dict())
            return display.Exit.DONE
        if ask.quote.skipped == ask.quote.rows:
            display.error("every row is skipped, so nothing can be sent: nothing changed")
            return display.Exit.ERROR
        if spends:
            if not agreed(ask.quote.cost, ask.over(), yes=yes):
                return display.Exit.ERROR
            # The key is sent only now, because whoever answers at this address gets it.
            connection.check_provider(database, asked.provider)
        with display.working("keeping the rows", elsewhere=False):
            job_id = start()
            database.push()
    display.info(f"job {job_id} started")
    follow(database, job_id, asked.provider, once=no_wait, poll=pause, max_enqueued_tokens=enqueued)
    engine.publish(database, given["engine"], job_id)
    return ending(database, job_id, as_json=as_json, rows=not no_wait)


@command
@opt.of_enrichment
def plan(given: opt.Given, max_cost: opt.MaxCost = None, as_json: opt.Json = False) -> int:
    """Print the quote: what enrich would send, and what it would cost. Sends nothing, writes nothing.

    Example: sqlbatch plan films.sql --model gpt-6-luna --json
    """
    database, asked = _read(given)
    max_cost = config.max_cost(max_cost)
    with compiling(engine.prepared(database, given, asked, max_cost, starting=False)) as (ask, _):
        over = ask.over()
        if as_json:
            display.print_json(ask.quote.as_dict())
        else:
            display.quote.show_quote(engine.named(ask.quote, given), display.out())
        if over is not None:
            display.error(over)
            return display.Exit.ERROR
    return display.Exit.DONE


def _read(given: opt.Given) -> tuple[Database, EnrichOptions]:
    """Return the database that is named, and the options of the enrichment."""
    source = read_source(given["query"])
    database = options.database(given["db"], given["attach"], given["memory_limit"], given["threads"], source)
    asked = options.enrich_options(source, given)
    return opened(database, asked.provider), asked


@contextlib.contextmanager
def compiling(inner: AbstractContextManager[Ready]) -> Iterator[Ready]:
    """Show that the query is running, while the inner context is entered."""
    with contextlib.ExitStack() as entered:
        with display.working("reading the rows"):
            ready = entered.enter_context(inner)
        yield ready


@command
@opt.of_enrichment
def preview(
    given: opt.Given,
    rows: Annotated[
        int | None, typer.Option("--rows", "-n", metavar="N", help="The query's first N rows.  \\[default: 5]")
    ] = None,
    sample: Annotated[int | None, opt.option("--sample", "N", "N rows at random, instead of the first.")] = None,
    tier: Annotated[
        str | None,
        opt.option(
            "--tier",
            "TIER",
            "flex asks at the price of a batch, where the model has it; it may take minutes.",
            rare=True,
            default="default",
        ),
    ] = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
) -> int:
    """Ask about a few rows now, through the ordinary endpoint at full price; a later enrich reuses the answers.

    Example: sqlbatch preview films.sql --sample 5 --model gpt-6-luna
    """
    database, asked = _read(given)
    asked = options.at_tier(asked, tier)
    if asked.provider.paid:
        connection.key_of(asked.provider)
    taken = prepare.recover_interrupted(database)
    if taken:
        display.info(f"{taken:,} answers of an interrupted preview were recovered")
    for note in asked.notes:
        display.info(f"note: {note}")
    if given["engine"] is None and mentions_calls(asked.enrichment.query):
        planned = plan_previews.prepared(
            database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=given["fresh"]
        )
        with compiling(planned) as ready_plan:
            if ready_plan is not None:
                return _look_at_plan(database, ready_plan, yes=yes, as_json=as_json)
    with compiling(engine.previewed(database, given, asked, rows, sample)) as ready:
        with display.always_print(wanted=ready.cost.must_be_agreed and not yes):
            display.quote.show_preview_quote(ready)
        if not ready.compiled.rows:
            display.info("the query has no rows: nothing to do")
            if as_json:
                display.print_json(previews.result(database, ready).as_dict())
            return display.Exit.DONE
        if not agreed(ready.cost, ready.over(), yes=yes):
            return display.Exit.ERROR
        return _look(database, ready, as_json=as_json)


def _look_at_plan(database: Database, ready: PreparedPlanPreview, *, yes: bool, as_json: bool) -> int:
    with display.always_print(wanted=ready.quote.cost.must_be_agreed and not yes):
        display.quote.show_quote(replace(ready.quote, target="none: a preview, at the ordinary price"))
    if not agreed(ready.quote.cost, ready.over(), yes=yes):
        return display.Exit.ERROR
    interrupted = _interrupted(plan_previews.ask(database, ready), lambda: plan_previews.keep(database, ready))
    found = plan_previews.result(database, ready)
    code = _print(found, as_json=as_json)
    rows, sent = display.counted(len(found.rows), "row"), display.counted(found.sent, "request")
    display.info(f"{rows} of the sample; {sent} sent; the answers are kept")
    if ready.in_flight:
        display.info(
            f"{display.counted(len(ready.in_flight), 'request')} not sent, because a batch has them already: sqlbatch "
            "wait brings the answers"
        )
    return display.Exit.INTERRUPTED if interrupted else code


def _interrupted(asking: Iterator[Event], keep: Callable[[], Iterator[Event]]) -> bool:
    """Follow a preview, and return whether it was interrupted; the answers that came are kept then."""
    try:
        display.progress.follow(asking)
    except KeyboardInterrupt:
        display.progress.follow(keep())
        return True
    return False


def _print(found: Preview, *, as_json: bool) -> int:
    """Print a preview, and return the exit code that tells of failed rows."""
    if as_json:
        display.print_json(found.as_dict())
    else:
        display.quote.show_preview(found)
    return display.Exit.FAILED_ROWS if found.of("failed") else display.Exit.DONE


def _look(database: Database, ready: PreparedPreview, *, as_json: bool) -> int:
    interrupted = bool(ready.known.to_send) and _interrupted(
        previews.ask(database, ready), lambda: previews.keep(database, ready)
    )
    found = previews.result(database, ready)
    code = _print(found, as_json=as_json)
    display.quote.tell_preview(found, ready, database.name)
    if interrupted:
        return display.Exit.INTERRUPTED
    if ready.compiled.skipped == ready.compiled.rows:
        display.error("every row is skipped, so nothing can be asked")
        return display.Exit.ERROR
    return code
