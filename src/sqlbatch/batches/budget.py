"""Budgets: each batch reserves the most that it may cost, in the transaction that claims it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import prices
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlbatch.db.session import Session

# The code of a job that waits for a larger budget, and the beginning of its reason.
BUDGET = "budget"
# Seconds after which a job blocked by the month's budget checks again, while other jobs have something reserved.
LOOK_AGAIN = 900.0


@dataclass(frozen=True)
class Reservation:
    """The most dollars that a batch may cost (None: unknown), or why it is held back and until when at least."""

    dollars: float | None = None
    held: str | None = None
    until: datetime | None = None


def reserve(session: Session, job_id: int, batch_id: str) -> Reservation:
    """Return the most that a batch may cost, if that fits the job's and the month's budget.

    Call it in the transaction that claims the batch. With a budget, it first takes its turn among processes, so that
    two claims cannot use the same room.
    """
    limits = session.run("budget.of_job", {"job_id": job_id})[0]
    max_cost, kept = limits[:2]
    month = prices.month(session, kept, batch_id)
    limited = max_cost is not None or month is not None
    if limited:
        session.run("database.planner_lock")
    name = "--max-cost" if max_cost is not None else prices.MONTH if limited else None
    own = _weighed(session, limits, batch_id, name)
    if not limited:
        # Without a budget, an unknown cost blocks nothing.
        return Reservation(own.dollars)
    if own.held is not None or not own.dollars:
        return own
    # A stage of a query with AI functions is sent whole or not at all.
    others = [row[0] for row in session.run("budget.rest_of_stage", {"job_id": job_id, "batch_id": batch_id})]
    whole = own.dollars + sum(_weighed(session, limits, other, "--max-cost").dollars or 0.0 for other in others)
    held = _over_job(session, job_id, batch_id, max_cost, own.dollars, whole)
    if held is None and month is not None and (month.unknown or whole > month.left):
        what = "stage" if whole > own.dollars else "batch"
        why = month.unknown or f"{month.in_words()}, and the next {what} may cost ${whole:,.4f}"
        # Batches in flight may cost less than they have reserved.
        until = min(month.end, clock.after(LOOK_AGAIN)) if month.reserved else month.end
        return Reservation(held=f"{BUDGET}: {why}; sqlbatch wait {job_id} continues once there is room", until=until)
    return own if held is None else Reservation(held=held)


def _over_job(
    session: Session, job_id: int, batch_id: str, max_cost: float | None, dollars: float, whole: float
) -> str | None:
    """Return why a batch, or the stage that it starts, does not fit the job's own budget; None if it does."""
    if max_cost is None:
        return None
    used = session.run("budget.used", {"job_id": job_id, "batch_id": batch_id})[0][0]
    spent, what, cost = "spent or reserved", "batch", dollars
    if used + dollars <= max_cost:
        spent, what, cost = "spent", "stage", whole
    if used + cost <= max_cost:
        return None
    return (
        f"{BUDGET}: ${used:,.4f} of --max-cost {max_cost:,.6g} is {spent}, and the next {what} may cost ${cost:,.4f}; "
        f"sqlbatch wait {job_id} --max-cost N allows more"
    )


def _weighed(session: Session, limits: tuple[Any, ...], batch_id: str, name: str | None) -> Reservation:
    """Return the most that a batch may cost, or why that is unknown; `name` is the budget that it must fit."""
    slope, intercept, margin, job_cap = limits[2:]
    base_url, model, factor, known, own_cap, writes = session.run("budget.batch", {"batch_id": batch_id})[0]
    # A batch planned by another job is sent with that job's limit of tokens.
    cap = own_cap if known else job_cap
    if base_url == "local" or factor == 0:
        return Reservation(0.0)
    if cap is None and name is None:
        return Reservation()
    price = prices.find(session, base_url, model, clock.now().date(), tier="batch", batch_factor=factor)
    if price is None or price.input is None or (price.output is None and cap != 0):
        held = f"{BUDGET}: no price is known for {model}, so its cost cannot be kept under {name}"
        return Reservation(held=held)
    if cap is None:
        held = f"{BUDGET}: its answers have no token limit, so its cost cannot be limited ({name})"
        return Reservation(held=held)
    fit = {"slope": slope, "intercept": intercept, "margin": margin, **price.ladder(cache_writes=writes)}
    return Reservation(prices.Weight(*session.run("budget.weighed", fit | {"batch_id": batch_id})[0]).dollars(cap))


def allow(session: Session, job_id: int, max_cost: float, *, paid: bool = True) -> None:
    """Set the most that a job may cost, in dollars; raise JobError if it is paid and its cost cannot be limited."""
    session.run("budget.allow", {"job_id": job_id, "max_cost": max_cost})
    cap = session.run("budget.of_job", {"job_id": job_id})[0][5]
    if cap is None and paid:
        raise JobError(
            f"--max-cost: the answers of job {job_id} have no token limit, so its cost cannot be limited: cancel it, "
            "and enrich with one (--param max_completion_tokens=N, of responses max_output_tokens=N)"
        )
