"""Send a job's remaining requests now, through the ordinary endpoint: at the flex price if the model has one.

Before the first is sent, the requests are reserved as a batch in the state `asking`, so that no other batch or process
sends them, and their cost counts in every budget. Requests without an answer are due again.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import preview as requests
from sqlbatch.connection import connect, provider_of
from sqlbatch.db import jobs, prices
from sqlbatch.errors import JobError
from sqlbatch.leases import hold_leases, new_owner
from sqlbatch.paths import spool_dir
from sqlbatch.query.cost import NO_COST, Cost, Requests, add_costs, estimate_cost, find_price
from sqlbatch.query.endpoints import check_of, endpoint_of
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.request import as_sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.batches.events import Event
    from sqlbatch.batches.preview import PreviewResult
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session

# The most requests that one run sends; more of them belong in a batch.
AT_MOST = 1_000


@dataclass(frozen=True)
class CallNow:
    """The requests of one call that would be sent: how many, the head and tail of their bodies, their cost."""

    call_id: str
    model: str
    requests: int
    head: str
    tail: str
    cap: int | None
    flex: bool
    cost: Cost
    logprobs: bool = False


@dataclass(frozen=True)
class Remainder:
    """A job's requests that would be sent now. `elsewhere` counts its requests in batches, which stay there.

    `received` fills with the results.
    """

    job: JobRow
    provider: Provider
    calls: tuple[CallNow, ...]
    elsewhere: int
    spent: float
    max_cost: float | None
    month: prices.Month | None
    owner: str
    received: list[PreviewResult] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """The number of requests that would be sent."""
        return sum(call.requests for call in self.calls)

    @property
    def cost(self) -> Cost:
        """Their cost."""
        return add_costs([call.cost for call in self.calls]) if self.calls else NO_COST

    @property
    def flex(self) -> bool:
        """Whether all of them are sent at the flex price."""
        return all(call.flex for call in self.calls)

    def over(self) -> str | None:
        """Return why they cannot be sent now, and what to do; None if they can."""
        if self.requests > AT_MOST:
            return (
                f"{self.requests:,} requests of job {self.job.job_id} are not answered, and --finish-now asks "
                f"{AT_MOST:,} at most: they belong in a batch, as sqlbatch wait {self.job.job_id} sends them"
            )
        left = None if self.max_cost is None else max(0.0, self.max_cost - self.spent)
        return self.cost.over(left, self.month)


def remainder(database: Database, job_id: int) -> Remainder:
    """Return the requests that `ask` would send for a job now, and their cost; nothing is written.

    Raises JobError if the job is not open.
    """

    def look(session: Session) -> Remainder:
        job = jobs.find(session, str(job_id))
        if not job.open:
            raise JobError(f"job {job_id} is {job.status}: --finish-now is for one that still waits for answers")
        provider = provider_of(job)
        session.run("preview.remainder", {"job_id": job_id, "now": clock.now()})
        calls = tuple(
            _call(session, job, provider, *row) for row in session.run("preview.of_calls", {"job_id": job_id})
        )
        elsewhere = session.run("preview.elsewhere", {"job_id": job_id})[0][0]
        limits = _limits(session, job_id, provider)
        return Remainder(job, provider, calls, elsewhere, *limits, new_owner())

    return database.read(look)


def ask(database: Database, quoted: Remainder) -> Iterator[Event]:
    """Send the quoted requests, a few at a time; each answer is stored as it arrives. At the end, none is reserved.

    Raises JobError if more would be sent than was quoted, or if a budget no longer allows it.
    """
    held = database.write(lambda session: _hold(session, quoted))
    spool = spool_dir(database)
    try:
        with hold_leases(quoted.owner), connect(database, quoted.provider) as api:
            for call in (each for each in quoted.calls if each.call_id in held):
                around = (call.head, call.tail)
                work = requests.Asking(
                    database, call.call_id, quoted.owner, spool, check_of, around, call.cap, call.flex, call.logprobs
                )
                try:
                    yield from requests.ask(work, api, held[call.call_id][1], quoted.received)
                except KeyboardInterrupt:
                    yield from requests.keep(work, quoted.received)
                    raise
    finally:
        for batch_id, _ in held.values():
            requests.release(database, batch_id)


def _call(
    session: Session,
    job: JobRow,
    provider: Provider,
    call_id: str,
    endpoint: str,
    model: str,
    count: int,
    head: str,
    sent_tail: str,
    tail: str,
    cap: int | None,
    writes: bool,
    logprobs: bool,
) -> CallNow:
    enrichment = as_sent(Enrichment.from_json(job.enrichment), model, endpoint, cap)
    price, flex = None, False
    if provider.paid:
        price, _ = find_price(session, enrichment, tier="flex")
        flex = price is not None and price.own and endpoint_of(endpoint).talks
    session.run("preview.of_call", {"call_id": call_id})
    asked = Requests("sqlbatch_now", call_id, writes)
    cost = estimate_cost(session, enrichment, asked, price, free=not provider.paid)
    ends = _at_flex(sent_tail, tail) if flex else sent_tail
    return CallNow(call_id, model, count, head, ends, cap, flex, cost, logprobs)


def _at_flex(sent_tail: str, tail: str) -> str:
    """Return the tail of a request body with the flex tier, which is not part of the stored call."""
    extras = json.loads("{" + sent_tail[len(tail) :][:-1] + "}") if len(sent_tail) > len(tail) else {}
    extras["service_tier"] = "flex"
    return tail[:-1] + "".join(f",{_json(name)}:{_json(value)}" for name, value in extras.items()) + "}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _hold(session: Session, quoted: Remainder) -> dict[str, tuple[str, list[str]]]:
    """Reserve the requests in one transaction, in turn with other processes.

    Return the batch and the custom_ids by call.
    """
    session.run("database.planner_lock")
    job_id, now = quoted.job.job_id, clock.now()
    session.run("preview.remainder", {"job_id": job_id, "now": now})
    there = {row[0]: row[3] for row in session.run("preview.of_calls", {"job_id": job_id})}
    if any(there.get(each.call_id, 0) > each.requests for each in quoted.calls):
        raise JobError("another command changed what is left of the job meanwhile: run the same again")
    spent, max_cost, month = _limits(session, job_id, quoted.provider)
    # Another process may have used up a budget since.
    over = replace(quoted, spent=spent, max_cost=max_cost, month=month).over()
    if over is not None:
        raise JobError(over)
    session.run("preview.unplan", {"now": now})
    held = {}
    for call in quoted.calls:
        if call.call_id not in there:
            # Another process has sent it since.
            continue
        session.run("preview.of_call", {"call_id": call.call_id})
        batch_id = str(uuid.uuid4())
        fact = {
            "batch_id": batch_id,
            "base_url": quoted.provider.base_url,
            "call_id": call.call_id,
            "model": call.model,
            "now": now,
            "job_id": job_id,
            "batch_factor": None if quoted.provider.paid else 0.0,
            "owner": quoted.owner,
            "until": clock.after(requests.LEASE),
            "reserved": call.cost.dollars_largest,
        }
        session.run("preview.hold", fact)
        custom_ids = [row[0] for row in session.run("preview.hold_requests", {"batch_id": batch_id})]
        held[call.call_id] = (batch_id, custom_ids)
    return held


def _limits(session: Session, job_id: int, provider: Provider) -> tuple[float, float | None, prices.Month | None]:
    """Return the dollars that a job has used, the most that it may cost, and the month's budget."""
    max_cost, kept, *_ = session.run("budget.of_job", {"job_id": job_id})[0]
    spent = session.run("budget.used", {"job_id": job_id, "batch_id": None})[0][0] if max_cost is not None else 0.0
    return spent, max_cost, prices.month(session, kept) if provider.paid else None
