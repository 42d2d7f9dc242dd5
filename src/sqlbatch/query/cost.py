"""Estimate the likely and the largest cost of an enrichment, before anything is sent.

Input tokens are estimated from bytes, and corrected by what earlier results of the same call, or of the model, were
billed. Output tokens are the average of those results, and at most the call's own limit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import price_library, prices
from sqlbatch.db.prices import HOW_TO_PRICE, MONTH, Month, in_dollars
from sqlbatch.errors import InvalidSettings
from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.query.enrichment import parameters
from sqlbatch.query.request import CAPS, EXPLICIT_CACHE, bills_input_only, output_cap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.prices import Price
    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.request import Call

# Dollars that may be spent without asking.
AGREED = 1.0
# The number of results of a call that show how its tokens grow with its bytes, and of a model that show how its tokens
# differ from the estimate.
ENOUGH_FOR_A_LINE, ENOUGH_OF_A_MODEL = 30, 10
# How far a request may exceed its estimate, depending on what the estimate is based on: bytes alone (numbers and rare
# scripts take 2 bytes a token), results of other calls, a few results of this call, some results of this call.
MARGIN_OF_BYTES, MARGIN_OF_MODEL, MARGIN_OF_FEW, MARGIN_OF_CALL = 2.0, 1.5, 1.3, 1.1
# Days before a model's shutdown from which the quote mentions it.
SHUTDOWN_NEAR = 60
# Tokens of an answer if nothing is known: likely, and for a model that thinks before it answers.
LIKELY_OUTPUT, LONG_OUTPUT = 300, 2_000


@dataclass(frozen=True)
class Estimate:
    """The input tokens expected for a byte-based estimate: `intercept + slope * tokens`, at most `margin` times that.

    `source` says what it is based on (bytes, model, call), `known` on how many results. `output` is the average number
    of tokens of an answer (None: unknown), for inputs of `input` estimated tokens; each further input token adds
    `output_slope`.
    """

    source: str = "bytes"
    known: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    margin: float = MARGIN_OF_BYTES
    output: float | None = None
    output_slope: float = 0.0
    input: float = 0.0

    def output_of(self, tokens: float) -> float:
        """Return the likely tokens of an answer to an input of so many estimated tokens.

        A guess if nothing is known.
        """
        if self.output is None:
            return LIKELY_OUTPUT
        return max(0.0, self.output + self.output_slope * (tokens - self.input))


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


def add_costs(costs: Sequence[Cost]) -> Cost:
    """Return the cost of several calls together; a figure that is unknown for one is unknown for all."""
    if not costs:
        return NO_COST

    def total(name: str) -> Any:
        values = [getattr(cost, name) for cost in costs]
        return None if None in values else sum(values)

    largest = max(costs, key=lambda cost: cost.tokens)
    caps = [cost.cap for cost in costs]
    return replace(
        largest,
        free=all(cost.free for cost in costs),
        cap=None if None in caps else max(cap for cap in caps if cap is not None),
        **{name: total(name) for name in _ADDED},
        dollars_cautious=None
        if any(cost.at_most is None for cost in costs)
        else sum(cost.at_most for cost in costs if cost.at_most is not None),
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
    hint = f": {price.successor} comes after it" if price.successor else ""
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
    given = dict(enrichment.params)
    if "prompt_cache_options" in given or not endpoint_of(enrichment.endpoint).talks:
        return enrichment
    price = prices.find(session, enrichment.base_url, enrichment.model, clock.now().date(), tier="batch")
    if price is None or not price.writes_cache:
        return enrichment
    values = {name: json.loads(value) for name, value in given.items()}
    return replace(enrichment, params=parameters({"prompt_cache_options": EXPLICIT_CACHE} | values))


def calibrate(session: Session, enrichment: Enrichment, call_id: str) -> Estimate:
    """Return the estimate based on earlier results in this database."""
    output = 0.0 if bills_input_only(enrichment) else None
    if not session.has_schema():
        return Estimate(output=output)
    asked = {"base_url": enrichment.base_url, "model": enrichment.model, "call_id": call_id}
    found = {row[0]: row[1:] for row in session.run("quote.measured", asked)}
    if True in found:
        known, ratio, slope, intercept, mean, tokens, rise, worst = found[True]
        answers = (mean, rise if known >= ENOUGH_OF_A_MODEL else 0.0, tokens)
        margin = max(worst, 1.0) * (MARGIN_OF_CALL if known >= ENOUGH_OF_A_MODEL else MARGIN_OF_FEW)
        # A line that falls, or hardly rises, only shows that all inputs had about the same length.
        if known >= ENOUGH_FOR_A_LINE and slope is not None and ratio / 3 < slope < ratio * 3:
            return Estimate("call", known, slope, intercept, margin, *answers)
        return Estimate("call", known, ratio, 0.0, margin, *answers)
    if False in found and found[False][0] >= ENOUGH_OF_A_MODEL:
        known, ratio, _, _, mean, _, _, worst = found[False]
        return Estimate(
            "model", known, ratio, 0.0, max(worst, 1.0) * MARGIN_OF_MODEL, mean if output is None else output
        )
    return Estimate(output=output)


# Bytes of UTF-8 per token, for prose as for compact JSON: OpenAI's own rule of thumb for English. Other alphabets have
# more bytes a character and about as many a token.
BYTES_PER_TOKEN = 4
# Tokens around a message (its begin, role and end), and before the answer (OpenAI's cookbook on counting tokens).
MESSAGE_TOKENS, ANSWER_TOKENS = 4, 3
# Text around the schema of an answer in the prompt.
SCHEMA_TOKENS = 8
# Text around a row's input, at the endpoints where it is a message.
_MESSAGE = '{"role":"user","content":""}'


def bytes_of_no_account(call: Call, constant: int) -> int:
    """Return the bytes to add to a request line so that, divided by BYTES_PER_TOKEN, they are the billed tokens.

    `constant` are the bytes of the line around the row's part. The names and braces of our JSON are not billed; the
    instructions, the schema of the answer and the turns of the conversation are.
    """
    return BYTES_PER_TOKEN * _constant_tokens(call) - constant - len(_wrapping(call))


def _wrapping(call: Call) -> str:
    """Return a row's own part of the body, without its text."""
    endpoint = endpoint_of(call.endpoint)
    return _MESSAGE if endpoint.talks else f'"{endpoint.field}":""'


def _constant_tokens(call: Call) -> int:
    """Return the tokens that every request of a call shares."""
    endpoint = endpoint_of(call.endpoint)
    if not endpoint.talks:
        return 0
    body = json.loads(call.head + _wrapping(call) + call.tail)
    tokens = ANSWER_TOKENS
    for message in body[endpoint.field]:
        tokens += MESSAGE_TOKENS + _tokens(message["content"])
    wanted = body.get("response_format", {}).get("json_schema") or body.get("text", {}).get("format", {})
    schema = wanted.get("schema")
    if schema is not None:
        tokens += SCHEMA_TOKENS + _tokens(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
    return tokens


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
