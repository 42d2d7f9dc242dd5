"""The command that asks for a few rows now: preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sqlbatch import display, options, reach, run, trial
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.enrich import compiling, confirmed, seen

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.trial import PreparedPreview

Rows = Annotated[
    int | None, typer.Option("--rows", "-n", metavar="N", help="The query's first N rows.  \\[default: 5]")
]
Sample = Annotated[int | None, typer.Option("--sample", metavar="N", help="N rows at random, instead of the first.")]


@app.command()
@opt.asking
def preview(
    asking: opt.Asking,
    rows: Rows = None,
    sample: Sample = None,
    yes: opt.Yes = False,
    as_json: opt.Json = False,
) -> int:
    """A few rows through the ordinary endpoint, now, at full price; a later enrich does not pay for them again.

    Example: sqlbatch preview films.sql --sample 5 --model gpt-6-luna
    """
    database = options.database(asking.db, asking.attach or (), asking.memory_limit, asking.threads)
    asked = options.enrich_options(options.read_source(asking.query), asking.given())
    if asked.provider.paid:
        reach.key_of(asked.provider)
    taken = run.take_in(database)
    if taken:
        display.say(f"{taken:,} answers of an earlier preview, which was interrupted, are stored")
    compiled = trial.prepared(database, asked.enrichment, asked.provider, rows=rows, sample=sample, fresh=asking.fresh)
    with compiling(compiled) as ready:
        must_ask = ready.cost.must_be_agreed and not yes
        with seen(asked=must_ask):
            display.show_trial(ready)
        if not ready.compiled.rows:
            display.say("the query has no rows: nothing to do")
            if as_json:
                display.print_json(trial.result(database, ready).as_dict())
            return display.Exit.DONE
        if must_ask and not confirmed(ready.cost):
            display.say("nothing sent, nothing changed")
            return display.Exit.ERROR
        return _look(database, ready, as_json=as_json)


def _look(database: Database, ready: PreparedPreview, *, as_json: bool) -> int:
    interrupted = False
    if ready.known.to_send:
        try:
            display.follow(trial.ask(database, ready))
        except KeyboardInterrupt:
            interrupted = True
            display.follow(trial.keep(database, ready))
    found = trial.result(database, ready)
    if as_json:
        display.print_json(found.as_dict())
    else:
        display.show_preview(found)
    display.tell_preview(found, ready, database.name)
    if interrupted:
        return display.Exit.INTERRUPTED
    if ready.compiled.skipped == ready.compiled.rows:
        display.error("every row is skipped, so nothing can be asked")
        return display.Exit.ERROR
    return display.Exit.FAILED_ROWS if found.of("failed") else display.Exit.DONE
