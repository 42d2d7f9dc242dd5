"""A job whose query calls AI functions: store its plan, collect its calls stage by stage, write its target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import JobError
from sqlbatch.functions import pictures
from sqlbatch.functions.aggregates import PIECES
from sqlbatch.functions.answers import define
from sqlbatch.functions.inputs import WHY
from sqlbatch.functions.lookups import custom_id
from sqlbatch.functions.plan import numbers_of, with_sources
from sqlbatch.query import target, target_rows
from sqlbatch.query.compile import ENVELOPE, ask_cut_again, send_as, store_call
from sqlbatch.query.estimate import BYTES_PER_TOKEN, byte_correction
from sqlbatch.query.request import Call
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.functions.plan import Plan

# Columns that sqlbatch adds to the target of a query with calls.
ADDED = ("ai_status", "ai_error")
# Trials with other answers in place of failed ones; a row that changes in one of them is uncertain.
WORLDS = 5


@dataclass(frozen=True)
class KeptCall:
    """A call of a job's plan in the database.

    `asked` is how many requests it has; None until its inputs are collected.
    """

    call: Call
    number: int
    function: str
    text: str
    clause: str
    stage: int
    collection: str
    ask: str
    value: str
    type: str
    answers: str
    on_error: str
    asked: int | None = None


def is_planned(session: Session, job_id: int) -> bool:
    """Return whether a job's query calls AI functions."""
    return session.has_schema() and bool(session.run("functions.is_planned", {"job_id": job_id}))


def needs_collecting(session: Session, job_id: int) -> bool:
    """Return whether calls of a job are not collected yet, or must be again; False for a job without a plan."""
    return is_planned(session, job_id) and bool(session.run("functions.uncollected", {"job_id": job_id})[0][0])


def calls_of(session: Session, job_id: int) -> list[KeptCall]:
    """Return the calls of a job in the order of their stages."""
    return [KeptCall(Call(*row[11:]), *row[:11]) for row in session.run("functions.calls", {"job_id": job_id})]


def planned_calls(plan: Plan) -> list[KeptCall]:
    """Return the calls of a plan that is not stored, in the order of their stages; none is collected."""
    asked = [(call.lookup, call.text, call.clause, call.stage, call.collection) for call in plan.calls]
    return [
        KeptCall(
            lookup.call,
            lookup.number,
            lookup.ask.function,
            text,
            clause,
            stage,
            collection,
            lookup.ask_sql,
            lookup.value_sql("sqlbatch_content", "sqlbatch_vector", "sqlbatch_error"),
            lookup.value_type,
            lookup.answers,
            lookup.ask.on_error,
        )
        for lookup, text, clause, stage, collection in [*asked, *((lookup, "", "", 0, "") for lookup in plan.unasked)]
    ]


def keep_plan(
    session: Session, plan: Plan, scratch: str, job_id: int, at_most: dict[int, int], *, shows: bool = False
) -> None:
    """Store a plan, its sources and the requests of its first stage for a job, within the caller's transaction.

    With `shows` it asks about pictures, whose facts are in `scratch` too.
    """
    of_job = {"job_id": job_id}
    places = {"scratch": scratch, "job": str(job_id)}
    session.run(
        "functions.add_plan", of_job | {"policy": plan.policy.value, "stages": plan.stages, "query": plan.query}
    )
    session.run("functions.no_rows", job=str(job_id))
    for source in plan.sources:
        session.run("functions.add_source", number=str(source.number), relation=quote_literal(source.relation),
                    text=quote_literal(masked(source.query, sql=True)), **places)  # fmt: skip
    for kept in planned_calls(plan):
        store_call(session, kept.call)
        send_as(session, kept.call, job_id)
        facts = {name: value for name, value in vars(kept).items() if name not in {"call", "asked"}}
        known = {"call_id": kept.call.call_id, "at_most": at_most.get(kept.number)}
        session.run("functions.add_call", of_job | facts | known)
    for call in plan.calls:
        for needed in sorted(call.needs):
            session.run("functions.add_need", of_job | {"call": call.number, "needs": needed})
        lookup = call.lookup
        if not lookup.ask.embeds:
            field = None if lookup.ask.question.shape == "struct" else ""
            if field == "" and lookup.ask.question.returns:
                field = lookup.returns.columns[0].name
            signed = {"signature": lookup.ask.signature, "call_id": lookup.call.call_id, "field": field}
            session.run("functions.drop_signature", {"signature": lookup.ask.signature})
            session.run("functions.add_signature", signed)
    session.run("functions.add_first", **places)
    if shows:
        pictures.keep(session, scratch, job_id)
    for call in plan.calls:
        if call.stage == 1:
            session.run("functions.add_collected", of_job | {"call": call.number, "now": clock.now()})
    ask_cut_again(session, job_id)


def lay_down(
    session: Session,
    call: Call,
    collection: str,
    line_limit: int | None,
    shown: str | None = None,
    detail: str | None = None,
) -> int:
    """Run a collection and write its distinct requests to sqlbatch_collected; return how many there are.

    Without a `line_limit` only their sizes are written, as an upper limit for a later stage. `shown` is a table of the
    pictures that were read, if the call asks about some, `detail` the value of --image-detail. Raises JobError if a
    request exceeds the provider's limit of `line_limit` bytes.
    """
    constant = ENVELOPE + sum(len(part.encode()) for part in (call.endpoint, call.head, call.tail))
    sizes = {"constant": constant, "uncounted": byte_correction(call, constant), "bytes_per_token": BYTES_PER_TOKEN}
    key, given = custom_id(call.call_id, "sqlbatch_input"), "sqlbatch_input"
    if line_limit is None:
        # No request is made of it: a cheaper hash tells inputs apart, and only pictures are looked for in them.
        key, given = "md5(sqlbatch_input)::UUID", "sqlbatch_input" if shown else "CAST(NULL AS VARCHAR)"
    with session.keeping_row_order(keep=True):
        session.run("functions.collected", sizes, custom_id=key, input=given, collection=collection)
    if shown is not None:
        pictures.in_collected(session, shown, line_limit or pictures.MOST, detail)
    longest, entries, requests = session.run("functions.longest")[0]
    if requests < entries:
        session.run("functions.drop_repeated")
    longest += call.extra
    if line_limit is not None and longest > line_limit:
        raise JobError(
            f"a request of {longest:,} bytes is above the provider's limit of {line_limit:,}: shorten the input in the "
            "query, for example with left(column, 100000)"
        )
    return int(requests)


def collect_ready(session: Session, job_id: int, line_limit: int) -> KeptCall | None:
    """Collect the inputs of one call whose needs are settled, within the caller's transaction."""
    session.run("functions.collect_again", {"job_id": job_id})
    ready = session.run("functions.ready", {"job_id": job_id})
    if not ready:
        return None
    calls = calls_of(session, job_id)
    call = next(each for each in calls if each.number == ready[0][0])
    session.run("functions.decided", {"job_id": job_id})
    defined = define(session, calls, numbers_of(call.collection))
    shown = pictures.define_of_job(session, job_id, call.collection)
    collection = defined.joined(session, _named(session, job_id, call.collection), in_order=False)
    detail = session.run("plan_pictures.detail", {"job_id": job_id})[0][0] if shown else None
    requests = lay_down(session, call.call, collection, line_limit, shown, detail)
    asked = {"job_id": job_id, "call": call.number}
    session.run("functions.want_requests", {"call_id": call.call.call_id})
    session.run("functions.want_asks", asked)
    session.run("functions.want", {"job_id": job_id})
    ask_cut_again(session, job_id)
    if shown is not None:
        pictures.settle_collected(session)
    session.run("functions.add_collected", asked | {"now": clock.now()})
    session.run("functions.count_wanted", {"job_id": job_id})
    return replace(call, asked=requests)


def _named(session: Session, job_id: int, sql: str) -> str:
    """Return planned SQL with the names of a job's sources."""
    return with_sources(sql, lambda number: f"{quote_identifier(session.catalog)}.sqlbatch.src_{job_id}_{number}")


def write_target(session: Session, job: JobRow, *, replace: bool) -> target_rows.Joined:
    """Write the target of a job with a plan anew from the answers so far, within the caller's transaction.

    Raises InvalidTarget as target_rows.claim does.
    """
    named = target.written_by(job)
    target_rows.check_ours(session, named, job.job_id, replace=replace)
    _, _, query = session.run("functions.plan", {"job_id": job.job_id})[0]
    calls = calls_of(session, job.job_id)
    session.run("functions.decided", {"job_id": job.job_id})
    failures = bool(session.run("functions.has_failures", {"job_id": job.job_id}))
    unfinished: set[int] = set()
    if job.pending or needs_collecting(session, job.job_id):
        unfinished = {number for (number,) in session.run("functions.unfinished", {"job_id": job.job_id})}
    told = failures or bool(unfinished)
    defined = define(session, calls, numbers_of(query), failures=told, unfinished=bool(unfinished))
    # An answer that belongs to no single row (of a condition or an aggregate) decides which rows exist and their
    # values.
    own = numbers_of(query, WHY) - {call.number for call in calls if call.type == PIECES}
    pending = {"pending": not unfinished <= own}
    pictures.define_of_job(session, job.job_id, query)
    sql = defined.joined(session, _named(session, job.job_id, query), in_order=True)
    qualified = named.qualified(session.catalog)
    with session.keeping_row_order(keep=True):
        session.run("functions.write", pending, target=qualified, query=sql)
    if failures and not unfinished:
        _mark_uncertain(session, calls, query, sql, qualified)
    joined = target_rows.claim(session, named, job.job_id)
    session.run("functions.count_rows", {"job_id": job.job_id, "rows": joined.rows})
    return joined


def _mark_uncertain(session: Session, calls: Sequence[KeptCall], query: str, sql: str, qualified: str) -> None:
    """Mark the target's rows that change in one of five trials with other answers in place of failed ones."""
    names = [name for name, *_ in session.sql(f"DESCRIBE {qualified}")][: -len(ADDED)]
    row = f"struct_pack({', '.join(f'{quote_identifier(name)} := {quote_identifier(name)}' for name in names)})"
    filters = [str(call.call.call_id) for call in calls if call.function == "ai_filter"]
    session.run("functions.no_changes")
    for world in range(1, WORLDS + 1):
        session.run("functions.world", {"world": world, "filters": filters})
        define(session, calls, numbers_of(query), "sqlbatch_world")
        session.run("functions.changes", target=qualified, query=sql, row=row)
    session.run("functions.uncertain", target=qualified, row=row)


def hidden_rows(session: Session, job_id: int) -> int:
    """Return how many inputs of conditions have no answer, so that as many rows may be missing in the target."""
    return int(session.run("functions.hidden_rows", {"job_id": job_id})[0][0])


def held(session: Session, job_id: int) -> str | None:
    """Return why a job's target must wait: calls with on_error := 'fail' have failed; None if none has."""
    found = session.run("functions.held", {"job_id": job_id})
    if not found:
        return None
    text, failed = found[0]
    return (
        f"{failed:,} request{'s' * (failed > 1)} of {text} failed, and its on_error is 'fail', so the target is not "
        f"written: sqlbatch retry {job_id} asks again"
    )
