"""A job's budget: each batch reserves the most that it may cost, in the transaction that claims it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import prices
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from sqlbatch.db.session import Session

# The code of a job that waits for a larger budget, and how its reason begins.
BUDGET = "budget"


@dataclass(frozen=True)
class Reservation:
    """The most dollars that a batch may cost (None: nobody limits them), or why it is held."""

    dollars: float | None = None
    held: str | None = None


def reserve(session: Session, job_id: int, batch_id: str) -> Reservation:
    """Return what a batch may cost at most, where that fits the budget of the job that sends it.

    Within the transaction that claims the batch: it takes its turn first, so that two claims do not both see the room.
    """
    limits = session.run("budget.of_job", {"job_id": job_id})
    if not limits:
        return Reservation()
    max_cost = limits[0][0]
    session.run("database.planner_lock")
    own = _weighed(session, limits[0], batch_id)
    if own.held is not None or not own.dollars:
        return own
    used = session.run("budget.used", {"job_id": job_id, "batch_id": batch_id})[0][0]
    more = f"sqlbatch wait {job_id} --max-cost N allows more"
    if used + own.dollars > max_cost:
        return Reservation(
            held=f"{BUDGET}: ${used:,.4f} of --max-cost {max_cost:,.6g} is spent or reserved, and the next batch may "
            f"cost ${own.dollars:,.4f}; {more}"
        )
    # A stage of a query with AI functions is asked whole or not at all.
    others = [row[0] for row in session.run("budget.rest_of_stage", {"job_id": job_id, "batch_id": batch_id})]
    whole = own.dollars + sum(_weighed(session, limits[0], other).dollars or 0.0 for other in others)
    if used + whole > max_cost:
        return Reservation(
            held=f"{BUDGET}: ${used:,.4f} of --max-cost {max_cost:,.6g} is spent, and the next stage may cost "
            f"${whole:,.4f}; {more}"
        )
    return own


def _weighed(session: Session, limits: tuple[Any, ...], batch_id: str) -> Reservation:
    """Return what a batch may cost at most, or why that cannot be told."""
    _, slope, intercept, margin, cap = limits
    base_url, model, factor, known, own_cap, writes = session.run("budget.batch", {"batch_id": batch_id})[0]
    # A batch that another job planned is sent with that job's limit of tokens.
    cap = own_cap if known else cap
    if base_url == "local" or factor == 0:
        return Reservation(0.0)
    price = prices.find(session, base_url, model, clock.now().date(), tier="batch", batch_factor=factor)
    if price is None or price.input is None or (price.output is None and cap != 0):
        return Reservation(held=f"{BUDGET}: no price is known for {model}, so its cost cannot be kept under --max-cost")
    if cap is None:
        return Reservation(held=f"{BUDGET}: its answers have no limit of tokens, so no sum can be kept to")
    fit = {"slope": slope, "intercept": intercept, "margin": margin, **price.ladder(cache_writes=writes)}
    return Reservation(prices.Weight(*session.run("budget.weighed", fit | {"batch_id": batch_id})[0]).dollars(cap))


def block(session: Session, job_id: int, reason: str) -> None:
    """Send nothing more for a job until its user allows it, unless what is under way may still give room."""
    session.run("budget.block", {"job_id": job_id, "reason": reason})


def allow(session: Session, job_id: int, max_cost: float, *, paid: bool = True) -> None:
    """Set the the most a job may cost, in dollars; raise JobError where it is paid for and nothing keeps it to them."""
    session.run("budget.allow", {"job_id": job_id, "max_cost": max_cost})
    cap = session.run("budget.of_job", {"job_id": job_id})[0][4]
    if cap is None and paid:
        raise JobError(
            f"--max-cost: the answers of job {job_id} have no limit of tokens, so no sum can be kept: cancel it, and "
            "enrich with one (--param max_completion_tokens=N, of responses max_output_tokens=N)"
        )
