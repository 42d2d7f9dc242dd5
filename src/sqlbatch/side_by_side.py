"""Two prompts, or two models, on the same rows under one quote: quote both, start both, compare them.

Each side is an ordinary job with its own target, so a killed process loses nothing: the same command finds both jobs
again, and a later run over all rows reuses their answers.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlbatch import prepare
from sqlbatch.db import jobs
from sqlbatch.errors import InvalidOption
from sqlbatch.functions.find import mentions_calls
from sqlbatch.query.cost import add_costs
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.select import SAMPLED, bind, one_select, with_sample
from sqlbatch.query.target import Target, look_up
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session
    from sqlbatch.options import EnrichOptions
    from sqlbatch.prepare import Prepared
    from sqlbatch.query.cost import Cost


@dataclass(frozen=True)
class Sides:
    """Two compiled and quoted enrichments; `running` are the open jobs that already ask the same, None for none."""

    asks: tuple[Prepared, Prepared]
    running: tuple[int | None, int | None]

    @property
    def targets(self) -> tuple[str, str]:
        """The names of the two target tables, as SQL."""
        return self.asks[0].quote.target, self.asks[1].quote.target

    @property
    def to_send(self) -> int:
        """The number of requests that would be sent for both sides."""
        return sum(ask.quote.to_send for ask in self.asks)

    @property
    def cost(self) -> Cost:
        """The cost of both sides together."""
        return add_costs([ask.quote.cost for ask in self.asks if ask.quote.to_send])

    @property
    def paid(self) -> bool:
        """Whether requests would be sent that cost money."""
        return any(ask.quote.to_send and ask.provider.paid for ask in self.asks)

    def over(self) -> str | None:
        """Return why both sides together may exceed the job's or the month's budget, and what to do.

        None if they cannot. The smaller of two limits wins, because it limits all spending.
        """
        limits = [ask.max_cost for ask in self.asks if ask.max_cost is not None]
        months = [ask.month for ask in self.asks if ask.month is not None]
        return self.cost.over(min(limits, default=None), months[0] if months else None)


def named(asked: Sequence[EnrichOptions], stems: Sequence[str | None]) -> tuple[str, str]:
    """Return the names of both targets: from the models if the queries are the same, else from the files.

    Raises InvalidOption if both sides ask the same.
    """
    first, second = (each.enrichment for each in asked)
    if replace(first, limit=None) == replace(second, limit=None):
        raise InvalidOption("both sides ask the same of the same model: nothing to compare")
    parts = [f"{stem or 'query'}_{each.enrichment.model}" for each, stem in zip(asked, stems, strict=True)]
    if stems[0] != stems[1]:
        parts = [f"{stem or 'query'}_compared" for stem in stems]
    a, b = (re.sub(r"\W+", "_", part).strip("_").lower() for part in parts)
    return (a, b) if a != b else (f"{a}_a", f"{b}_b")


@contextlib.contextmanager
def prepared(
    database: Database,
    asked: Sequence[EnrichOptions],
    stems: Sequence[str | None],
    *,
    sample: int | None = None,
    max_cost: float | None = None,
    fresh: bool = False,
) -> Iterator[Sides]:
    """Compile and quote both sides for the block; with `sample`, both ask about the same rows, at most that many.

    A sample is chosen by a hash of the columns that both queries have. Raises InvalidEnrichment if an option is wrong,
    InvalidOption if the two sides cannot be compared.
    """
    for each in asked:
        if mentions_calls(each.enrichment.query):
            raise InvalidOption("a query that calls AI functions cannot be compared in this way: write both to tables")
        if each.enrichment.incremental:
            raise InvalidOption("incremental targets cannot be compared in this way: write both to tables")
    if sample is not None and sample < 1:
        raise InvalidOption(f"--sample {sample}: it must be 1 or more")
    targets = named(asked, stems)
    enrichments = [each.enrichment for each in asked]
    if sample is not None:
        enrichments = _sampled(database, enrichments, sample)
    with contextlib.ExitStack() as both:
        asks = []
        for each, enrichment, target in zip(asked, enrichments, targets, strict=True):
            replacing = database.exists() and database.read(partial(_is_of_us, name=target))
            side = prepare.prepared(
                database,
                enrichment,
                each.provider,
                target,
                fresh=fresh,
                replacing=replacing,
                max_attempts=each.max_attempts,
                max_cost=max_cost,
                notes=each.notes,
            )
            asks.append(both.enter_context(side))
        running: list[int | None] = [None, None]
        if database.exists() and not fresh:
            running = database.read(lambda session: [_running(session, ask) for ask in asks])
        yield Sides((asks[0], asks[1]), (running[0], running[1]))


def start(database: Database, sides: Sides) -> tuple[int, int]:
    """Start the jobs of both sides, except those already running; return their numbers."""
    first, second = (
        prepare.start(database, ask) if job_id is None else job_id
        for ask, job_id in zip(sides.asks, sides.running, strict=True)
    )
    return first, second


def _sampled(database: Database, enrichments: Sequence[Enrichment], rows: int) -> list[Enrichment]:
    """Return both enrichments limited to the same sample of their rows."""

    def read(session: Session) -> list[list[str]]:
        return [[column.name for column in bind(session, one_select(session, each.query))] for each in enrichments]

    with database.session(migrate=False, attach=True) as session:
        first, second = read(session)
    both = [name for name in first if name in second]
    if not both:
        raise InvalidOption("the two queries have no column in common, so no rows are the same: nothing to compare")
    return [replace(each, query=with_sample(each.query, both, rows)) for each in enrichments]


def _is_of_us(session: Session, name: str) -> bool:
    """Whether a table was made by comparing a sample, so that another comparison may replace it."""
    existing = look_up(session, Target("main", name))
    if existing is None or existing.job_id is None:
        return False
    return SAMPLED in jobs.find(session, str(existing.job_id)).query


def _running(session: Session, ask: Prepared) -> int | None:
    """Return the open job that asks the same for the same target, None if there is none."""
    if not session.has_schema():
        return None
    wanted = replace(ask.enrichment, query=masked(ask.enrichment.query, sql=True))
    for job in jobs.rows(session):
        if job.open and job.target == ask.quote.target and Enrichment.from_json(job.enrichment) == wanted:
            return job.job_id
    return None
