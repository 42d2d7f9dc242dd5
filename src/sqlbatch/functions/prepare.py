"""Plan and quote a query with AI functions against the database; write the requests of its first stage."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidPrompt, InvalidQuery
from sqlbatch.functions import catalogue, pictures
from sqlbatch.functions.conditions import Policy
from sqlbatch.functions.find import mentions_calls
from sqlbatch.functions.jobs import ADDED, lay_down
from sqlbatch.functions.plan import Plan, PlannedCall, with_sources
from sqlbatch.functions.planning import make_plans
from sqlbatch.query.compile import refuse_doubled
from sqlbatch.query.cost import Requests, add_costs, cost_of
from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.query.quote import Known, Quote, Stage, check_existing, count_known
from sqlbatch.query.select import bind, one_select
from sqlbatch.query.target import look_up

if TYPE_CHECKING:
    from uuid import UUID

    from sqlbatch.db.session import Session
    from sqlbatch.functions.sources import Source
    from sqlbatch.query.cost import Cost
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.target import Target


@dataclass(frozen=True)
class PlannedQuery:
    """A planned query; its sources and the requests of its first stage are in the attached database `scratch`.

    `at_most` are the requests that each call may have, as far as known before the answers; `rows` are those of the
    sources. With `shows` it asks about pictures, whose facts are in the scratch database too.
    """

    plan: Plan
    scratch: str
    known: Known
    rows: int
    distinct: int
    at_most: dict[int, int]
    shows: bool = False


def check_options(enrichment: Enrichment) -> None:
    """Raise InvalidPrompt for an option that sets for all rows what a query with calls says itself."""
    if not endpoint_of(enrichment.endpoint).talks:
        raise InvalidPrompt(
            f"--endpoint {enrichment.endpoint.removeprefix('/v1/')}: a query that calls AI functions needs "
            "chat/completions or responses; ai_embed asks for embeddings by itself"
        )
    said = ": say it in the call"
    refused = {
        "--prompt": (enrichment.prompt, said),
        "--instructions": (enrichment.instructions, said),
        "--input": (enrichment.inputs, said),
        "--image": (enrichment.images, said),
        "--returns": (enrichment.returns, said),
        "--limit": (enrichment.limit, ": write LIMIT in the query"),
        "--confidence": (enrichment.confidence, ": it is for the columns of --returns"),
        "--incremental": (
            enrichment.incremental,
            ", whose rows are known only at its end: ask into a table of its own, and join that",
        ),
    }
    for name, (value, why) in refused.items():
        if value:
            raise InvalidPrompt(f"{name} does not go with a query that calls AI functions{why}")


def plan_query(
    session: Session,
    enrichment: Enrichment,
    scratch: str,
    line_limit: int,
    *,
    fresh: bool = False,
    sample: int | None = None,
    at_random: bool = False,
) -> PlannedQuery | None:
    """Plan a query, and write its sources and the requests of its first stage to the attached database `scratch`.

    Returns None for a query without calls. With `sample`, each source has at most that many rows, the first ones or any
    (`at_random`). Raises InvalidEnrichment if the query cannot be planned.
    """
    if not mentions_calls(enrichment.query):
        return None
    if duckdb.__version__.split(".")[0] < "2":
        raise InvalidQuery(f"AI functions in a query need DuckDB 2.0, and this is {duckdb.__version__}: upgrade duckdb")
    check_options(enrichment)
    select = one_select(session, enrichment.query)
    rows: dict[int, int] = {}

    def keep(source: Source) -> str:
        # A write hidden in a source is refused before it runs.
        bind(session, source.query)
        query = source.query
        if sample is not None:
            some = f"USING SAMPLE reservoir({sample} ROWS)" if at_random else f"LIMIT {sample}"
            query = f"SELECT * FROM ({source.query}) {some}"
        table = f"{scratch}.main.src_{source.number}"
        with session.keeping_row_order(keep=True):
            session.run("functions.keep", scratch=scratch, number=str(source.number), query=query)
        rows[source.number] = session.run("functions.count", table=table)[0][0]
        return table

    hidden = {name: str(text) for name, text in session.run("functions.views") if not name.startswith("sqlbatch_")}
    own = frozenset(hidden) - frozenset(catalogue.FUNCTIONS) - frozenset(catalogue.OTHER_NAMES)
    _check_views(enrichment.query, {name: hidden[name] for name in own})
    try:
        policy = Policy(enrichment.policy or Policy.BALANCED)
        (plan,) = make_plans(session.con, select, enrichment, keep, [policy], own)
    except InvalidQuery as error:
        if enrichment.dialect is None or "\n" not in str(error):
            raise
        raise InvalidQuery(
            f"{error}\n  (shown as DuckDB's SQL, which your {enrichment.dialect} SQL was read as)"
        ) from error
    _check_names(plan)
    shows = pictures.look(session, plan, enrichment, scratch, lambda sql: _named(sql, scratch), line_limit)
    session.run("functions.first", scratch=scratch)
    session.run("functions.first_requests", scratch=scratch)
    for call in plan.calls:
        session.sql(call.lookup.ask_macro())
    for call in plan.calls:
        if call.stage == 1:
            lay_down(session, call.lookup.call, _named(call.collection, scratch), line_limit,
                     *_shown(call, scratch))  # fmt: skip
            asked = {"call": str(call.number), "call_id": quote_literal(str(call.lookup.call.call_id))}
            with session.keeping_row_order(keep=True):
                session.run("functions.lay_down", scratch=scratch, **asked)
    if shows:
        session.run("plan_pictures.asks", scratch=scratch)
    first = {call.lookup.call.call_id: call.lookup.call for call in plan.calls if call.stage == 1}
    known = count_known(session, scratch, fresh=fresh, images=shows, calls=tuple(first.values()))
    distinct = session.run("functions.count", table=f"{scratch}.main.requests")[0][0]
    return PlannedQuery(plan, scratch, known, sum(rows.values()), distinct, {}, shows)


def quote_plan(
    session: Session,
    enrichment: Enrichment,
    planned: PlannedQuery,
    target: Target,
    batch_factor: float | None,
    *,
    replacing: bool,
    tier: str = "batch",
) -> tuple[PlannedQuery, Quote]:
    """Return a planned query with its upper limits, and its quote in a tier: exact for the first stage."""
    notes = dict.fromkeys(
        check_existing(session, look_up(session, target), enrichment, planned.rows, target, replace=replacing)
    )
    plan, scratch = planned.plan, planned.scratch
    costs: dict[int, list[Cost]] = {number: [] for number in range(1, plan.stages + 1)}
    at_most: dict[int, int] = {}

    def add_cost(call: PlannedCall, table: str) -> None:
        found = call.lookup
        asked = replace(enrichment, model=found.call.model, endpoint=found.call.endpoint, params=found.params)
        count = session.run("functions.count", table=table)[0][0]
        requests = Requests(table, str(found.call.call_id), found.call.writes_cache)
        cost, more = cost_of(session, asked, requests, count, batch_factor, tier)
        costs[call.stage].append(cost)
        notes.update(dict.fromkeys(more))

    seen: set[UUID] = set()
    for call in plan.calls:
        if call.stage == 1 and call.lookup.call.call_id not in seen:
            seen.add(call.lookup.call.call_id)
            session.run("functions.of_call", {"call_id": call.lookup.call.call_id}, scratch=scratch)
            add_cost(call, "sqlbatch_to_send")
    for lookup in [*(call.lookup for call in plan.calls), *plan.unasked]:
        session.sql(lookup.symbolic_macro())
    for call in plan.calls:
        if call.stage > 1:
            at_most[call.number] = lay_down(
                session, call.lookup.call, _named(call.bound, scratch), None, *_shown(call, scratch)
            )
            add_cost(call, "sqlbatch_collected")
    to_send = dict(session.run("functions.of_first", scratch=scratch))
    judged = _judged(session, plan)
    stages = []
    for number, of_stage in costs.items():
        calls = [call for call in plan.calls if call.stage == number]
        requests = planned.distinct if number == 1 else sum(at_most[call.number] for call in calls)
        sent = sum(to_send.get(call.number, 0) for call in calls) if number == 1 else requests
        likely = _likely(plan, calls, at_most, judged) if number > 1 else (None, 0, 0)
        stages.append(Stage(number, tuple(call.text for call in calls), requests, sent, add_costs(of_stage), *likely))
    quote = Quote(
        target=target.sql, provider=enrichment.provider, base_url=enrichment.base_url, model=enrichment.model,
        rows=max(planned.rows, 1), skipped=0, distinct=planned.distinct, batches=0, sent_columns=(), also_kept=(),
        skipped_why=(), notes=tuple(notes), cost=add_costs([cost for each in costs.values() for cost in each]),
        stages=tuple(stages), fused=plan.fused_stages, **vars(planned.known),
    )  # fmt: skip
    return replace(planned, at_most=at_most), quote


def _check_views(query: str, hidden: dict[str, str]) -> None:
    """Raise InvalidQuery if a view or macro in the query calls AI functions, which could not be planned."""
    calling = {name for name, text in hidden.items() if mentions_calls(text)}
    while more := {name for name, text in hidden.items() if name not in calling and _mentions(text, calling)}:
        calling |= more
    for name in sorted(calling):
        if _mentions(query, {name}):
            raise InvalidQuery(
                f"the query: {name} is a view or macro that calls AI functions, which are planned only "
                "in the query itself: write its SELECT in the place of its name"
            )


def _mentions(text: str, names: set[str]) -> bool:
    return any(re.search(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", text) for name in names)


def _shown(call: PlannedCall, scratch: str) -> tuple[str | None, str | None]:
    """Return the table of the pictures that a call may ask about, and the detail; None if it has none."""
    return (f"{scratch}.main.ai_pictures", call.lookup.detail) if call.lookup.pictures else (None, None)


def _named(sql: str, scratch: str) -> str:
    return with_sources(sql, lambda number: f"{scratch}.main.src_{number}")


def _judged(session: Session, plan: Plan) -> dict[str, tuple[int, int]]:
    """Return how many answers of each filter, by the id of its call, are true, and how many are known."""
    filters = [str(call.lookup.call.call_id) for call in plan.calls if call.lookup.ask.function == "ai_filter"]
    if not filters or not session.has_schema():
        return {}
    return {call_id: (passed, known) for call_id, passed, known in session.run("functions.judged", {"calls": filters})}


def _likely(
    plan: Plan, calls: list[PlannedCall], at_most: dict[int, int], judged: dict[str, tuple[int, int]]
) -> tuple[int | None, int, int]:
    """Return how many requests a stage is likely to have, if answers to the filters before it are known.

    Also returns how many answers of the least known filter were true, and of how many.
    """
    wheres = [call for call in plan.calls if call.lookup.ask.function == "ai_filter" and call.clause == "where"]
    about, least = 0.0, (0, 0)
    for call in calls:
        before = dict.fromkeys(str(each.lookup.call.call_id) for each in wheres if each.number in call.needs)
        # A further part of a condition is asked only if too few rows pass.
        if str(call.lookup.call.call_id) in before or not before.keys() <= judged.keys():
            return None, 0, 0
        share = 1.0
        for passed, known in (judged[call_id] for call_id in before):
            share *= passed / known
            least = (passed, known) if not least[1] or known < least[1] else least
        about += at_most[call.number] * share
    return (round(about), *least) if least[1] else (None, 0, 0)


def _check_names(plan: Plan) -> None:
    """Raise InvalidQuery if the target would have two columns of one name."""
    refuse_doubled([name for name, _ in plan.columns])
    for name, _ in plan.columns:
        if name.casefold() in ADDED:
            raise InvalidQuery(
                f"the query's column {name} has the name of a column that sqlbatch adds: rename it with AS"
            )
