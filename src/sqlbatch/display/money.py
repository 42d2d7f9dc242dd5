"""Tokens and sums of money, as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.display.console import counted
from sqlbatch.query.cost import HOW_TO_PRICE, in_dollars

if TYPE_CHECKING:
    from sqlbatch.db.jobs import Billed, JobRow
    from sqlbatch.query.cost import Cost

NO_PRICE = f"no price is known: {HOW_TO_PRICE}"
_SOURCES = {"call": "of this prompt", "model": "of this model"}


def spent(billed: Billed) -> str:
    """Return what was spent."""
    if billed.dollars is None:
        return NO_PRICE
    return in_dollars(billed.dollars) if billed.dollars else "nothing"


def quoted(job: JobRow, billed: Billed) -> str | None:
    """Return how far the quote was off, in tokens of input a request; None where it quoted none."""
    sent = job.requests - job.reused
    if sent <= 0 or not job.tokens or not billed.tokens_in:
        return None
    off = job.tokens / sent / (billed.tokens_in / billed.results) - 1
    if abs(off) < 0.0005:
        return f"{job.tokens:,} tokens in, as they were billed"
    return f"{job.tokens:,} tokens in, {abs(off):.1%} {'more' if off > 0 else 'less'} a request than billed"


def tokens(cost: Cost) -> str:
    """Return the tokens that are likely to be billed, and what that is known from."""
    estimate = cost.estimate
    if estimate.source == "bytes":
        source = "estimated from bytes"
    else:
        source = f"calibrated by {counted(estimate.known, 'earlier result')} {_SOURCES[estimate.source]}"
    if cost.cap == 0:
        return f"about {cost.tokens:,} in ({source})"
    guessed = ["a guess"] if estimate.output is None else []
    most = [] if cost.tokens_out_largest is None else [f"at most {cost.tokens_out_largest:,}"]
    aside = f" ({', '.join(guessed + most)})" if guessed or most else ""
    return f"about {cost.tokens:,} in ({source}), {cost.tokens_out:,} out{aside}"


def cost(cost: Cost) -> str:
    """Return the dollars that are likely to be billed, and at most."""
    if cost.free:
        return "nothing"
    if cost.dollars is None:
        return f"unknown, for no price of the model is known: {HOW_TO_PRICE}"
    likely = in_dollars(cost.dollars)
    likely = likely if likely.startswith("under") else f"about {likely}"
    if cost.dollars_ordinary is not None and cost.batch_factor != 1:
        likely += f" ({in_dollars(cost.dollars_ordinary)} outside of a batch)"
    if cost.dollars_largest is None:
        return f"{likely}; answers have no limit (--param {cost.cap_name}=N sets one)"
    return f"{likely}, at most {in_dollars(cost.dollars_largest)}"
