"""The commands that ask: enrich and plan."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlbatch import display, run, settings
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.operate import ending, follow
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlbatch.run import Prepared
    from sqlbatch.settings import Ask
    from sqlbatch.store.database import Database


@app.command()
def enrich(
    query: opt.QueryArgument,
    into: opt.Into = None,
    input_: opt.Input = None,
    prompt: opt.Prompt = None,
    instructions: opt.Instructions = None,
    returns: opt.Returns = None,
    model: opt.Model = None,
    param: opt.Param = None,
    endpoint: opt.Endpoint = None,
    provider: opt.ProviderName = None,
    base_url: opt.BaseUrl = None,
    db: opt.Db = None,
    attach: opt.Attach = None,
    limit: opt.Limit = None,
    max_attempts: opt.MaxAttempts = None,
    fresh: opt.Fresh = False,
    replace: opt.Replace = False,
    yes: opt.Yes = False,
    no_wait: opt.NoWait = False,
    poll: opt.Poll = None,
    as_json: opt.Json = False,
) -> int:
    """Quote, confirm, submit, wait, and show the first rows of the target.

    Example: sqlbatch enrich "SELECT title, overview FROM 'movies.csv'" --input overview --returns "genres VARCHAR[]"
    --instructions "Name the genres." --model gpt-6-luna --into tags
    """
    database = settings.database(db, attach or ())
    given = _given(
        into, input_, prompt, instructions, returns, model, param, endpoint, provider, base_url, limit, max_attempts
    )
    asked = settings.ask(settings.read_source(query), given)
    pause = settings.poll(poll)
    if asked.provider.paid and not no_wait:
        run.key_of(asked.provider)
    with _prepared(database, asked, fresh=fresh, replacing=replace) as ask:
        display.show_quote(ask.quote)
        if not ask.quote.rows:
            display.say("the query has no rows: nothing to do")
            return display.Exit.DONE
        if ask.quote.skipped == ask.quote.rows:
            display.error("every row is skipped, so nothing can be sent: nothing changed")
            return display.Exit.ERROR
        if ask.quote.to_send and asked.provider.paid:
            if not yes and not _confirmed():
                display.say("nothing sent, nothing changed")
                return display.Exit.ERROR
            # Only now, for whoever answers at this address is handed the key.
            run.check_provider(database, asked.provider)
        job_id = run.begin(database, ask)
    display.say(f"job {job_id} begun")
    follow(database, job_id, asked.provider, once=no_wait, poll=pause)
    return ending(database, job_id, as_json=as_json, rows=not no_wait)


@app.command()
def plan(
    query: opt.QueryArgument,
    into: opt.Into = None,
    input_: opt.Input = None,
    prompt: opt.Prompt = None,
    instructions: opt.Instructions = None,
    returns: opt.Returns = None,
    model: opt.Model = None,
    param: opt.Param = None,
    endpoint: opt.Endpoint = None,
    provider: opt.ProviderName = None,
    base_url: opt.BaseUrl = None,
    db: opt.Db = None,
    attach: opt.Attach = None,
    limit: opt.Limit = None,
    max_attempts: opt.MaxAttempts = None,
    fresh: opt.Fresh = False,
    replace: opt.Replace = False,
    as_json: opt.Json = False,
) -> int:
    """The quote alone: what enrich would send. Sends nothing, writes nothing.

    Example: sqlbatch plan films.sql --model gpt-6-luna --json
    """
    database = settings.database(db, attach or ())
    given = _given(
        into, input_, prompt, instructions, returns, model, param, endpoint, provider, base_url, limit, max_attempts
    )
    asked = settings.ask(settings.read_source(query), given)
    with _prepared(database, asked, fresh=fresh, replacing=replace) as ask:
        if as_json:
            display.print_json(ask.quote.as_dict())
        else:
            display.show_quote(ask.quote)
    return display.Exit.DONE


def _prepared(database: Database, asked: Ask, *, fresh: bool, replacing: bool) -> AbstractContextManager[Prepared]:
    return _compiling(
        run.prepared(
            database,
            asked.enrichment,
            asked.provider,
            asked.into,
            fresh=fresh,
            replacing=replacing,
            max_attempts=asked.max_attempts,
        )
    )


class _compiling:  # noqa: N801 (used as a function)
    """Show that the query runs, while the inner context is entered."""

    def __init__(self, inner: AbstractContextManager[Prepared]) -> None:
        self._inner = inner

    def __enter__(self) -> Prepared:
        with display.working("reading the rows"):
            return self._inner.__enter__()

    def __exit__(self, *error: object) -> bool | None:
        return self._inner.__exit__(*error)  # type: ignore[arg-type]


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("this costs money at an unknown price: add --yes to send it without being asked")
    return display.confirm("Send it?")


def _given(
    into: str | None, input_: list[str] | None, prompt: str | None, instructions: str | None, returns: str | None,
    model: str | None, param: list[str] | None, endpoint: str | None, provider: str | None, base_url: str | None,
    limit: int | None, max_attempts: int | None,
) -> dict[str, object]:  # fmt: skip
    return {
        "into": into, "input": input_, "prompt": prompt, "instructions": instructions, "returns": returns,
        "model": model, "param": param, "endpoint": endpoint, "provider": provider, "base_url": base_url,
        "limit": limit, "max_attempts": max_attempts,
    }  # fmt: skip
