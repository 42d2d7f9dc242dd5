"""The commands that ask: enrich and plan."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlbatch import config, display, options, reach, run
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.operate import ending, follow
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlbatch.db.database import Database
    from sqlbatch.options import EnrichOptions
    from sqlbatch.query.cost import Cost
    from sqlbatch.run import Prepared

Ready = TypeVar("Ready")


@app.command()
@opt.asking
def enrich(
    asking: opt.Asking,
    max_cost: opt.MaxCost = None,
    yes: opt.Yes = False,
    no_wait: opt.NoWait = False,
    poll: opt.Poll = None,
    max_enqueued_tokens: opt.MaxEnqueuedTokens = None,
    as_json: opt.Json = False,
) -> int:
    """Quote, confirm, submit, wait, and show the first rows of the target.

    Example: sqlbatch enrich "SELECT title, overview FROM 'movies.csv'" --input overview --returns "genres VARCHAR[]"
    --instructions "Name the genres." --model gpt-6-luna --into tags
    """
    database = options.database(asking.db, asking.attach or (), asking.memory_limit, asking.threads)
    asked = options.enrich_options(options.read_source(asking.query), asking.given())
    max_cost = config.max_cost(max_cost)
    pause = config.poll(poll)
    enqueued = config.max_enqueued_tokens(max_enqueued_tokens)
    if enqueued is not None:
        asked = replace(asked, provider=replace(asked.provider, max_enqueued_tokens=enqueued))
    if asked.provider.paid and not no_wait:
        reach.key_of(asked.provider)
    with _prepared(database, asked, max_cost, fresh=asking.fresh, replacing=asking.replace) as ask:
        spends = bool(ask.quote.to_send) and asked.provider.paid
        with seen(asked=spends and not yes and ask.quote.cost.must_be_agreed):
            display.show_quote(ask.quote)
        if not ask.quote.rows:
            display.say("the query has no rows: nothing to do")
            if as_json:
                display.print_json({"job_id": None} | ask.quote.as_dict())
            return display.Exit.DONE
        if ask.quote.skipped == ask.quote.rows:
            display.error("every row is skipped, so nothing can be sent: nothing changed")
            return display.Exit.ERROR
        if spends:
            over = ask.quote.cost.over(max_cost) if max_cost is not None else None
            if over is not None:
                display.error(f"{over}; nothing sent, nothing changed")
                return display.Exit.ERROR
            if not yes and ask.quote.cost.must_be_agreed and not confirmed(ask.quote.cost):
                display.say("nothing sent, nothing changed")
                return display.Exit.ERROR
            # Only now, for whoever answers at this address is handed the key.
            reach.check_provider(database, asked.provider)
        with display.working("keeping the rows", elsewhere=False):
            job_id = run.begin(database, ask)
    display.say(f"job {job_id} begun")
    follow(database, job_id, asked.provider, once=no_wait, poll=pause, max_enqueued_tokens=enqueued)
    return ending(database, job_id, as_json=as_json, rows=not no_wait)


@app.command()
@opt.asking
def plan(
    asking: opt.Asking,
    max_cost: opt.MaxCost = None,
    as_json: opt.Json = False,
) -> int:
    """The quote alone: what enrich would send. Sends nothing, writes nothing.

    Example: sqlbatch plan films.sql --model gpt-6-luna --json
    """
    database = options.database(asking.db, asking.attach or (), asking.memory_limit, asking.threads)
    asked = options.enrich_options(options.read_source(asking.query), asking.given())
    max_cost = config.max_cost(max_cost)
    with _prepared(database, asked, max_cost, fresh=asking.fresh, replacing=asking.replace) as ask:
        over = ask.quote.cost.over(max_cost) if max_cost is not None else None
        if as_json:
            display.print_json(ask.quote.as_dict())
        else:
            display.show_quote(ask.quote)
        if over is not None:
            display.error(over)
            return display.Exit.ERROR
    return display.Exit.DONE


def _prepared(
    database: Database, asked: EnrichOptions, max_cost: float | None, *, fresh: bool, replacing: bool
) -> AbstractContextManager[Prepared]:
    return compiling(
        run.prepared(
            database,
            asked.enrichment,
            asked.provider,
            asked.into,
            fresh=fresh,
            replacing=replacing,
            max_attempts=asked.max_attempts,
            max_cost=max_cost,
        )
    )


class compiling(Generic[Ready]):  # noqa: N801 (used as a function)
    """Show that the query runs, while the inner context is entered."""

    def __init__(self, inner: AbstractContextManager[Ready]) -> None:
        self._inner = inner

    def __enter__(self) -> Ready:
        with display.working("reading the rows"):
            return self._inner.__enter__()

    def __exit__(self, *error: object) -> bool | None:
        return self._inner.__exit__(*error)  # type: ignore[arg-type]


def seen(*, asked: bool) -> AbstractContextManager[None]:
    """Tell what is told in the block also with --quiet, where one is `asked` about it."""
    return display.aloud() if asked else contextlib.nullcontext()


def confirmed(cost: Cost) -> bool:
    """Ask on the terminal whether to spend it; raise InvalidSettings where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise InvalidSettings(f"this costs money, {cost.in_words()}: add --yes to send it without being asked")
    return display.confirm(f"Send it, {cost.in_words()}?")
