"""The command that compares two tables, two prompts or two models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from sqlbatch import compare as comparisons
from sqlbatch import config, connection, display, options, side_by_side
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.enrich import compiling
from sqlbatch.cli.follow import agreed, existing, find, follow, stopped
from sqlbatch.cli.state import opened
from sqlbatch.errors import InvalidOption
from sqlbatch.source import read_source

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.options import EnrichOptions
    from sqlbatch.side_by_side import Sides
    from sqlbatch.source import Source


@command
def compare(
    a: Annotated[
        str,
        opt.argument(
            "A", "A table, the number of the job that made it, or a .sql file that asks.", autocompletion=complete.jobs
        ),
    ],
    b: Annotated[
        str | None,
        opt.argument("[B]", "The other one; left out with two --model.", autocompletion=complete.jobs),
    ] = None,
    sample: Annotated[
        int | None, opt.option("--sample", "N", "N rows, the same ones each time.", default="all")
    ] = None,
    gold: Annotated[
        str | None, opt.option("--gold", "TABLE", "A table with the right values; without it reviews tell.")
    ] = None,
    key: Annotated[
        list[str] | None,
        opt.option("--key", "COLUMN", "Column that names a row; repeatable.", default="all not returned"),
    ] = None,
    limit: Annotated[int, opt.option("--limit", "N", "Rows that differ to show.", default="20", min=0)] = 20,
    model: Annotated[
        list[str] | None,
        opt.option(
            "--model", "NAME", "Of .sql files: the model; given twice, two on one file.", autocompletion=complete.models
        ),
    ] = None,
    provider: Annotated[
        str | None,
        opt.option(
            "--provider", "NAME", "Of .sql files: who is asked.", default="openai", autocompletion=complete.providers
        ),
    ] = None,
    base_url: Annotated[
        str | None, opt.option("--base-url", "URL", "Another server with the same API.", rare=True)
    ] = None,
    db: opt.Db = None,
    fresh: Annotated[
        bool, opt.flag("--fresh", "Of .sql files: ask again, and pay again, for what was answered.", rare=True)
    ] = False,
    yes: opt.Yes = False,
    poll: opt.Poll = None,
    as_json: opt.Json = False,
) -> int:
    """Compare two tables, two prompts (.sql files) or two models on the same rows: agreement, who is right, cost.

    Files are asked first, both under one quote. The figures stay in the views sqlbatch.agreement, sqlbatch.confusion
    and sqlbatch.differences.

    Example: sqlbatch compare short.sql long.sql --sample 100 --gold checked
    """
    files = [name for name in (a, b) if name is not None and name.casefold().endswith(".sql")]
    failed = False
    if files:
        asked, sources = _read(a, b, files, model or [], {"provider": provider, "base_url": base_url})
        database = opened(options.database(db, source=sources[0]), *(each.provider for each in asked))
        stems = [source.stem for source in sources]
        jobs = _ask(database, asked, stems, sample, fresh=fresh, yes=yes, poll=poll)
        if not jobs:
            return display.Exit.ERROR
        tables, sample, failed = [job.target for job in jobs], None, any(job.failed for job in jobs)
    else:
        if model or provider is not None or fresh:
            raise InvalidOption("--model, --provider and --fresh are for .sql files, which ask; these are tables")
        if b is None:
            raise InvalidOption("name two tables, two .sql files, or one .sql file with two --model")
        database, tables = existing(db), [a, b]
    found = comparisons.compare(database, *tables, gold=gold, keys=key or (), sample=sample, differences=limit)
    if as_json:
        display.print_json(found.as_dict())
    else:
        display.comparison.show_comparison(found)
    return display.Exit.FAILED_ROWS if failed else display.Exit.DONE


def _read(
    a: str, b: str | None, files: list[str], models: list[str], given: dict[str, Any]
) -> tuple[list[EnrichOptions], list[Source]]:
    """Return the options and the query of both sides: two files, or one file with two models."""
    if len(files) == 1 and b is not None:
        raise InvalidOption(f"{a} and {b}: give two .sql files or two tables, not one of each")
    if (len(files), len(models)) not in {(1, 2), (2, 0), (2, 1)}:
        raise InvalidOption("give two .sql files, or one .sql file with two --model")
    sources = [read_source(name) for name in (files if b is not None else files * 2)]
    one = models[0] if models else None
    named = models if len(models) == 2 else [one, one]
    asked = [
        options.enrich_options(source, {**given, "model": name}) for source, name in zip(sources, named, strict=True)
    ]
    return asked, sources


def _ask(
    database: Database,
    asked: list[EnrichOptions],
    stems: list[str | None],
    sample: int | None,
    *,
    fresh: bool,
    yes: bool,
    poll: float | None,
) -> list[JobRow]:
    """Quote both sides, ask once for agreement, follow both to their end, and return them; none without agreement."""
    pause = config.poll(poll)
    for each in asked:
        if each.provider.paid:
            connection.key_of(each.provider)
    with compiling(
        side_by_side.prepared(database, asked, stems, sample=sample, max_cost=config.max_cost(None), fresh=fresh)
    ) as sides:
        if not _may_spend(sides, yes=yes):
            return []
        for each in asked:
            if sides.paid:
                connection.check_provider(database, each.provider)
        with display.working("keeping the rows", elsewhere=False):
            jobs = side_by_side.start(database, sides)
            database.push()
    display.info(f"jobs {jobs[0]} and {jobs[1]} started; to go on after an interrupt, run the same command again")
    # Both are sent before either is waited for, because a batch may take a day.
    for once in (True, False):
        for job_id, each in zip(jobs, asked, strict=True):
            follow(database, job_id, each.provider, once=once, poll=pause)
    ends = [find(database, job_id) for job_id in jobs]
    for job in ends:
        if job.status != "done" or job.error:
            raise stopped(database, job)
    return ends


def _may_spend(sides: Sides, *, yes: bool) -> bool:
    """Print what both sides would cost, and return whether it may be spent."""
    with display.always_print(wanted=sides.paid and not yes and sides.cost.must_be_agreed):
        for ask in sides.asks:
            display.quote.show_quote(ask.quote)
        if sides.paid:
            display.info(f"both together: {display.counted(sides.to_send, 'request')}, {sides.cost.in_words()}")
    if not any(ask.quote.rows > ask.quote.skipped for ask in sides.asks):
        display.error("no row can be sent: nothing to compare")
        return False
    return not sides.paid or agreed(sides.cost, sides.over(), yes=yes)
