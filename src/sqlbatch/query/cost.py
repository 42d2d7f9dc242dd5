"""The likely and the largest cost of an enrichment, before anything is sent: its estimated tokens at the model's price.

What the answers may cost at most follows from the call's own limit of tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import price_library, prices
from sqlbatch.db.prices import HOW_TO_PRICE, MONTH, Month, in_dollars
from sqlbatch.errors import InvalidSettings
from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.query.enrichment import parameters
from sqlbatch.query.estimate import ENOUGH_OF_A_MODEL, LONG_OUTPUT, Estimate, calibrate
from sqlbatch.query.request import CAPS, EXPLICIT_CACHE, output_cap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlbatch.db.prices import Price
    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment

# Dollars that may be spent without asking.
AGREED = 1.0
# Days before a model's shutdown from which the quote mentions it.
SHUTDOWN_NEAR = 60


@dataclass(frozen=True)
class Cost:
    """Tokens and dollars of requests; dollars are None if the price is unknown.

    `tokens_out_largest` and `dollars_largest` are None if the call does not limit its answers. `dollars_ordinary` is
    the cost outside of batches. `free`: nobody bills it. `cap` is the most tokens of one answer, and `cap_name` the
    parameter that sets it. `dollars_cautious` assumes long answers.
    """

    estimate: Estimate
    price: Price | None = None
    free: bool = False
    cap: int | None = None
    cap_name: str = CAPS[0]
    tokens: int = 0
    tokens_largest: int = 0
    tokens_out: int = 0
    tokens_out_largest: int | None = None
    dollars: float | None = None
    dollars_largest: float | None = None
    dollars_ordinary: float | None = None
    dollars_cautious: float | None = None

    @property
    def at_most(self) -> float | None:
        """The dollars to plan for: the largest cost or, if answers are not limited, the cost of long answers."""
        return self.dollars_cautious if self.dollars_largest is None else self.dollars_largest

    @property
    def must_be_agreed(self) -> bool:
        """Whether the user must agree before it is spent: above AGREED dollars, or at an unknown price."""
        return not self.free and (self.at_most is None or self.at_most > AGREED)

    def in_words(self) -> str:
        """Return the two figures for the quote, the question and errors: `$3.24 expected, up to $20.12`."""
        if self.dollars is None or self.at_most is None:
            return "at an unknown price"
        expected, most = in_dollars(self.dollars), in_dollars(self.at_most)
        words = expected if expected == most else f"{expected} expected, up to {most}"
        return words if self.dollars_largest is not None else f"{words} (answers not capped)"

    def over(self, max_cost: float | None, month: Month | None = None) -> str | None:
        """Return why the cost may exceed `max_cost` dollars or the rest of a month's budget, and what to do.

        Returns None if it cannot, or if there is no limit.
        """
        limits = [] if max_cost is None else [("--max-cost", max_cost, f"--max-cost {max_cost:g}")]
        if month is not None:
            limits.append((MONTH, month.left, f"the {in_dollars(month.left)} that are left of {month.in_words()}"))
        if self.free or not limits:
            return None
        name = limits[0][0]
        if self.dollars is None:
            return f"{name} needs the model's price, and none is known: {HOW_TO_PRICE}"
        if self.dollars_largest is None:
            return (
                f"{name} needs a limit of tokens for each answer: add --param {self.cap_name}=N (what a model "
                "thinks counts too)"
            )
        if month is not None and month.unknown:
            return month.unknown
        for name, dollars, words in limits:
            if self.dollars_largest > dollars:
                return (
                    f"it may cost up to {in_dollars(self.dollars_largest)}, above {words}: send less with --limit, "
                    f"lower {self.cap_name}, or raise {name}"
                )
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as part of a quote's JSON."""
        values = asdict(self)
        price = values.pop("price")
        if price is not None:
            price = {**price["rates"][0], "tier": price["tier"], "origin": price["origin"], "source": price["source"]}
        return values | {"price": price, "dollars_up_to": self.at_most}


@dataclass(frozen=True)
class Requests:
    """Requests to be sent: the table that holds them (`source`, with their estimated `tokens`), and their call.

    `cache_writes`: their input may be billed as written to the prompt cache.
    """

    source: str
    call_id: str
    cache_writes: bool = True


# The figures that are added up for several costs.
_ADDED = (
    *("tokens", "tokens_largest", "tokens_out", "tokens_out_largest"),
    *("dollars", "dollars_largest", "dollars_ordinary"),
)
NO_COST = Cost(Estimate(), free=True, dollars=0.0, dollars_largest=0.0, dollars_ordinary=0.0)


def estimate_cost(
    session: Session,
    enrichment: Enrichment,
    ask: Requests,
    price: Price | None,
    *,
    free: bool = False,
    ordinary: Price | None = None,
) -> Cost:
    """Return the cost of requests at a price; `ordinary` is the price outside of batches, for comparison."""
    estimate = calibrate(session, enrichment, ask.call_id)
    cap = output_cap(enrichment)
    likely, most = _weigh(session, ask, estimate, price)
    requests = likely.requests
    output = estimate.output_of((likely.tokens / max(1, requests) - estimate.intercept) / estimate.slope)
    cautious = 1.5 * output
    if estimate.output is None or estimate.known < ENOUGH_OF_A_MODEL:
        cautious = max(cautious, LONG_OUTPUT)
    if cap is not None:
        output, cautious = min(output, cap), min(cautious, cap)
    cost = Cost(
        estimate=estimate,
        price=price,
        cap=cap,
        cap_name=CAPS[1] if enrichment.endpoint.endswith("/responses") else CAPS[0],
        tokens=likely.tokens,
        tokens_largest=most.tokens,
        tokens_out=round(requests * output),
        tokens_out_largest=None if cap is None else requests * cap,
    )
    if free or not requests:
        return replace(cost, free=True, dollars=0.0, dollars_largest=0.0, dollars_ordinary=0.0)
    if price is None or price.input is None or (price.output is None and cap != 0):
        return cost
    return replace(
        cost,
        dollars=likely.dollars(output),
        dollars_largest=None if cap is None else most.dollars(cap),
        dollars_ordinary=None if ordinary is None else _weigh(session, ask, estimate, ordinary)[0].dollars(output),
        dollars_cautious=most.dollars(cautious),
    )


def cost_of(
    session: Session, enrichment: Enrichment, ask: Requests, count: int, batch_factor: float | None, tier: str = "batch"
) -> tuple[Cost, tuple[str, ...]]:
    """Return the cost of `count` requests at today's price in a tier, compared with the ordinary one, and notes.

    `batch_factor` is the provider's fraction of the ordinary price for a batch (0: free, None: unknown). Raises
    InvalidSettings if there are requests and their model was shut down.
    """
    price, ordinary = None, None
    notes: tuple[str, ...] = ()
    if count and batch_factor != 0:
        price, notes = find_price(session, enrichment, tier=tier, batch_factor=batch_factor)
        ordinary, _ = find_price(session, enrichment)
    return estimate_cost(session, enrichment, ask, price, free=batch_factor == 0, ordinary=ordinary), notes


def add_costs(costs: Sequence[Cost]) -> Cost:
    """Return the cost of several calls together; a figure that is unknown for one is unknown for all."""
    if not costs:
        return NO_COST

    def total(name: str, together: Callable[[list[Any]], Any] = sum) -> Any:
        values = [getattr(cost, name) for cost in costs]
        return None if None in values else together(values)

    return replace(
        max(costs, key=lambda cost: cost.tokens),
        free=all(cost.free for cost in costs),
        cap=total("cap", max),
        dollars_cautious=total("at_most"),
        **{name: total(name) for name in _ADDED},
    )


def _weigh(
    session: Session, ask: Requests, estimate: Estimate, price: Price | None
) -> tuple[prices.Weight, prices.Weight]:
    """Return the requests' tokens and prices, as estimated and at most.

    Written cache tokens are priced at their own rate.
    """
    no_rates: dict[str, list[float]] = {"above": [0], "inputs": [0.0], "outputs": [0.0]}
    ladder = no_rates if price is None else price.ladder()
    dearest = ladder["inputs"] if price is None else price.ladder(cache_writes=ask.cache_writes)["inputs"]
    fit = {"slope": estimate.slope, "intercept": estimate.intercept, "margin": estimate.margin}
    requests, *found = session.run("quote.weighed", {**fit, **ladder, "dearest": dearest}, source=ask.source)[0]
    return prices.Weight(requests, *found[:3]), prices.Weight(requests, *found[3:])


def find_price(
    session: Session, enrichment: Enrichment, *, tier: str = "default", batch_factor: float | None = None
) -> tuple[Price | None, tuple[str, ...]]:
    """Return today's price of the enrichment's model in a tier, and a note if the model is shut down soon.

    `batch_factor` is the provider's fraction of the ordinary price for a batch. Raises InvalidSettings if the model is
    already shut down.
    """
    today = clock.now().date()
    price = prices.find(session, enrichment.base_url, enrichment.model, today, tier=tier, batch_factor=batch_factor)
    if price is None or price.input is None:
        near = price_library.alike(enrichment.base_url, enrichment.model)
        return price, (f"no price is known for {enrichment.model}: did you mean {near}?",) if near else ()
    if price.shutdown is None or (price.shutdown - today).days >= SHUTDOWN_NEAR:
        return price, ()
    hint = f": {price.successor} replaces it" if price.successor else ""
    if price.shutdown <= today:
        raise InvalidSettings(
            f"{enrichment.model} was shut down on {price.shutdown}{hint}; name another with --model (if it still "
            "answers, a row of your own in sqlbatch.prices says so)"
        )
    days = (price.shutdown - today).days
    return price, (f"{enrichment.model} is shut down on {price.shutdown}, in {days} day{'s' * (days > 1)}{hint}",)


def without_cache_writes(session: Session, enrichment: Enrichment) -> Enrichment:
    """Return the enrichment with a limit on prompt cache writes, for a model that bills them.

    By default such models write each prompt of 1,024 tokens or more, row by row, though no row reads another's. Now
    they write only what all rows share.
    """
    given = enrichment.param_values
    if "prompt_cache_options" in given or not endpoint_of(enrichment.endpoint).talks:
        return enrichment
    price = prices.find(session, enrichment.base_url, enrichment.model, clock.now().date(), tier="batch")
    if price is None or not price.writes_cache:
        return enrichment
    return replace(enrichment, params=parameters({"prompt_cache_options": EXPLICIT_CACHE} | given))
