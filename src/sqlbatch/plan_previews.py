"""A preview of a query with AI functions: run all its stages on a sample, through the ordinary endpoint."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlbatch.batches import preview as requests
from sqlbatch.batches.events import Activity
from sqlbatch.connection import connect
from sqlbatch.db import prices
from sqlbatch.db.database import scratch_name
from sqlbatch.functions import jobs
from sqlbatch.functions import pictures as plan_pictures
from sqlbatch.functions.aggregates import PIECES
from sqlbatch.functions.answers import define
from sqlbatch.functions.inputs import PICTURE, WHY
from sqlbatch.functions.joins import NO_ANSWER
from sqlbatch.functions.plan import numbers_of, with_sources
from sqlbatch.functions.prepare import PlannedQuery, plan_query, quote_plan
from sqlbatch.leases import new_owner
from sqlbatch.paths import scratch_file
from sqlbatch.previews import Preview, PreviewRow, ReadyPreview, sample_size
from sqlbatch.query.compile import store_call
from sqlbatch.query.request import is_flex
from sqlbatch.query.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.batches.events import Event
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session
    from sqlbatch.functions.jobs import KeptCall
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.quote import Quote


@dataclass(frozen=True)
class PreparedPlanPreview(ReadyPreview):
    """A planned preview. Its sources, limited to the sample's rows, are in the scratch file.

    `quote` is for the ordinary endpoint. `unfinished` are the numbers of calls that lack answers, and
    `in_flight` the requests that a batch has already, which are not sent.
    """

    planned: PlannedQuery
    quote: Quote
    detail: str | None
    unsent: list[tuple[str, str, str]] = field(default_factory=list)
    unfinished: set[int] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)

    def source(self, number: int) -> str:
        """Return the table of a source's rows."""
        return f"{scratch_name(self.scratch)}.main.src_{number}"


@contextlib.contextmanager
def prepared(
    database: Database,
    enrichment: Enrichment,
    provider: Provider,
    *,
    rows: int | None = None,
    sample: int | None = None,
    fresh: bool = False,
) -> Iterator[PreparedPlanPreview | None]:
    """Plan a query on the first rows of its sources, for the block; yield None for a query without AI functions.

    Raises InvalidEnrichment if the query cannot be planned.
    """
    wanted = sample_size(rows, sample)
    with scratch_file(database) as scratch:
        with database.session(migrate=False, scratch=scratch, attach=True) as session:
            name = scratch_name(scratch)
            planned = plan_query(
                session, enrichment, name, provider.max_bytes, fresh=fresh, sample=wanted, at_random=sample is not None
            )
            ready = None
            if planned is not None:
                target, factor = Target("main", "sqlbatch_preview"), 1.0 if provider.paid else 0.0
                flex = is_flex(enrichment)
                tier = "flex" if flex else "default"
                planned, quote = quote_plan(session, enrichment, planned, target, factor, replacing=True, tier=tier)
                month = prices.month(session) if provider.paid else None
                same = (provider, scratch, fresh, new_owner(), flex, quote.cost, month)
                ready = PreparedPlanPreview(*same, planned, quote, enrichment.image_detail)
        yield ready


def ask(database: Database, ready: PreparedPlanPreview) -> Iterator[Event]:
    """Run the stages one after the other; each result is stored as it arrives.

    What a batch has already is not sent, and neither are the calls whose inputs need its answers.
    """
    calls = jobs.planned_calls(ready.planned.plan)
    needs = {call.number: call.needs for call in ready.planned.plan.calls}
    ready.unfinished.update(needs)
    with connect(database, ready.provider) as api:
        for call in (each for each in calls if each.stage):
            if not ready.unfinished.isdisjoint(needs[call.number]):
                continue

            def collect(session: Session, call: KeptCall = call) -> list[str]:
                session.run("database.planner_lock")
                store_call(session, call.call)
                _define(session, ready, calls, call.collection)
                collection = with_sources(call.collection, ready.source)
                scratch = scratch_name(ready.scratch)
                shown = f"{scratch}.main.ai_pictures" if PICTURE in call.collection else None
                jobs.lay_down(session, call.call, collection, ready.provider.max_bytes, shown, ready.detail)
                session.run("functions.want_requests", {"call_id": call.call.call_id})
                if shown is not None:
                    unsent = plan_pictures.keep_collected(session, scratch)
                    ready.unsent.extend((custom_id, str(call.call.call_id), why) for custom_id, why in unsent)
                asked = {"fresh": ready.fresh, "cap": call.call.cap}
                found = session.run("functions.unknown", asked)
                ready.in_flight.update(custom_id for custom_id, in_flight in found if in_flight)
                return [custom_id for custom_id, _ in found]

            wanted = database.write(collect, scratch=ready.scratch)
            custom_ids = [each for each in wanted if each not in ready.in_flight]
            if custom_ids:
                yield Activity(f"stage {call.stage}: {call.text}")
                yield from requests.ask(ready.asking(database, call.call), api, custom_ids, ready.received)
            if {each.custom_id for each in ready.received if each.kept}.issuperset(wanted):
                ready.unfinished.discard(call.number)


def keep(database: Database, ready: PreparedPlanPreview) -> Iterator[Event]:
    """Store the results that arrived before an interrupt and are not stored yet."""
    for call in {
        each.call.call_id: each.call for each in jobs.planned_calls(ready.planned.plan) if each.stage
    }.values():
        yield from requests.keep(ready.asking(database, call), ready.received)


def result(database: Database, ready: PreparedPlanPreview) -> Preview:
    """Return the query's rows for the sample."""
    calls = jobs.planned_calls(ready.planned.plan)
    query = with_sources(ready.planned.plan.query, ready.source)
    with database.session(scratch=ready.scratch) as session:
        _define(session, ready, calls, query)
        found = session.run("functions.previewed", query=query)
    # An answer that belongs to no single row decides which rows exist and their values.
    own = numbers_of(query, WHY) - {call.number for call in calls if call.type == PIECES}
    lost = next((each for each in ready.received if not each.kept), None)
    without = ("pending", "no answer came before the interrupt; it may be billed all the same")
    if lost is not None:
        without = ("failed", ": ".join(part for part in (lost.code, lost.message) if part))
    elif ready.in_flight:
        without = ("pending", "a batch has it already, so it was not sent; sqlbatch wait brings its answer")
    rows = []
    for number, (text, failed) in enumerate(found, 1):
        values = json.loads(text)
        values.pop("sqlbatch_failed")
        status, error = "failed" if failed else "answered", failed
        if not ready.unfinished <= own or (failed and NO_ANSWER in failed):
            status, error = without
        rows.append(PreviewRow(number, status, error, kept=False, input={}, answer=values))
    dollars = None if ready.provider.paid and any(each.kept for each in ready.received) else 0.0
    return ready.preview(rows, (), len(ready.received), dollars)


def _define(session: Session, ready: PreparedPlanPreview, calls: list[KeptCall], sql: str) -> None:
    session.run("functions.known", {"calls": [str(each.call.call_id) for each in calls]})
    if ready.planned.shows:
        plan_pictures.define_unsent(session, scratch_name(ready.scratch), ready.unsent)
    define(session, calls, numbers_of(sql), unfinished=bool(ready.unfinished))
