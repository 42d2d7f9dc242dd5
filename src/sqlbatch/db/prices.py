"""Prices of models: the user's own rows, sqlbatch.toml and the library; and sums of the costs of deleted results.

Rows of `sqlbatch.prices` are dollars per million tokens. For one request the row is chosen by its address, model, day,
tier (default, batch, flex) and length of prompt. The macros `is_price_of` and `price_rank` of schema.sql are the rule,
used by the block `prices.find` and by the view `sqlbatch.costs`.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlbatch import clock, config
from sqlbatch.db import price_library
from sqlbatch.named_sql import read_sql

if TYPE_CHECKING:
    from datetime import date, datetime

    from sqlbatch.db.session import Session

HOW_TO_PRICE = 'give it in sqlbatch.toml, [prices."MODEL"] with input and output in dollars per million tokens'
# The macros in schema.sql: each whole, and its start with the name.
_MACRO = re.compile(r"^CREATE MACRO .*?;$", re.MULTILINE | re.DOTALL)
_MACRO_NAME = re.compile(r"^CREATE MACRO (\w+)", re.MULTILINE)
# The name of the month's budget in messages.
MONTH = "[budget] month"


def in_dollars(amount: float) -> str:
    """Return a sum in dollars with two decimals, or with four if it is less than a cent."""
    if amount >= 0.01 or not amount:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.0001 else "under $0.0001"


@dataclass(frozen=True)
class Rate:
    """Dollars per million tokens for requests of more than `above` tokens of input; None: unknown."""

    above: int
    input: float | None
    cached: float | None
    cache_write: float | None
    output: float | None


@dataclass(frozen=True)
class Price:
    """The price of a model on one day in one tier: `rates` by length of prompt, the shortest first.

    `own` is false if the tier has no known price of its own; then the rates are those of an ordinary request, and for
    the tier `batch` those times the batch factor of the price or of the provider. From `shutdown` on, the model is no
    longer served, and `successor` replaces it. The price applies from `valid_from` on.
    """

    tier: str
    rates: tuple[Rate, ...]
    shutdown: date | None
    successor: str | None
    origin: str
    source: str | None
    valid_from: date
    own: bool = True

    @property
    def input(self) -> float | None:
        """Dollars per million tokens of input of a short request."""
        return self.rates[0].input

    @property
    def output(self) -> float | None:
        """Dollars per million tokens of output of a short request."""
        return self.rates[0].output

    @property
    def writes_cache(self) -> bool:
        """Whether writing the prompt cache has its own rate: such models write it unless told not to."""
        return any(rate.cache_write is not None for rate in self.rates)

    def dollars(self, tokens_in: int, tokens_cached: int, tokens_cache_write: int, tokens_out: int) -> float | None:
        """Return the cost of one request in dollars, as in the view costs; None if a rate is unknown."""
        rate = [each for each in self.rates if each.above == 0 or tokens_in > each.above][-1]
        if rate.input is None or (rate.output is None and tokens_out):
            return None
        cached = rate.input if rate.cached is None else rate.cached
        write = rate.input if rate.cache_write is None else rate.cache_write
        plain = tokens_in - tokens_cached - tokens_cache_write
        dollars = plain * rate.input + tokens_cached * cached + tokens_cache_write * write
        return (dollars + tokens_out * (rate.output or 0)) / 1e6

    def ladder(self, *, cache_writes: bool = False) -> dict[str, list[float]]:
        """Return the rates as parameters of SQL.

        With `cache_writes`, all input is priced as written if that costs more.
        """
        inputs = [max(rate.input or 0.0, (rate.cache_write or 0.0) if cache_writes else 0.0) for rate in self.rates]
        return {
            "above": [rate.above for rate in self.rates],
            "inputs": inputs,
            "outputs": [rate.output or 0.0 for rate in self.rates],
        }


@dataclass(frozen=True)
class Weight:
    """Requests, their tokens of input, and in dollars: all their input, and one token of output of each."""

    requests: int
    tokens: int
    input_dollars: float
    output_dollars: float

    def dollars(self, output_tokens: float) -> float:
        """Return the cost of the requests in dollars, with so many tokens of output each."""
        return self.input_dollars + output_tokens * self.output_dollars


def find(
    session: Session, base_url: str, model: str, day: date, *, tier: str = "default", batch_factor: float | None = None
) -> Price | None:
    """Return the price of a model on a day in a tier, or None if the model is unknown; nothing is written.

    `batch_factor` is the provider's fraction of the ordinary price for a batch, used if the price itself has none.
    Raises InvalidSettings if sqlbatch.toml is wrong.
    """
    _know(session, {(base_url, model)}, own=True)
    asked = {"base_url": base_url, "model": model, "day": day, "tier": tier, "batch_factor": batch_factor}
    found = session.run("prices.find", asked)
    if not found:
        return None
    _, shutdown, successor, origin, source, valid_from, own = found[0][5:]
    rates = tuple(Rate(*row[:5]) for row in found)
    return Price(tier, rates, shutdown, successor, origin, source, valid_from, own)


def named_models(session: Session, base_url: str) -> list[str]:
    """Return the models with a price in the user's own rows or in sqlbatch.toml; nothing is written."""
    _know(session, set(), own=True)
    return [row[0] for row in session.run("prices.named", {"base_url": base_url})]


@dataclass(frozen=True)
class Spent:
    """What was billed for one day, job, target, model or month (`key`), in tokens and dollars.

    `unpriced` counts results of models without a known price, which `dollars` does not include.
    """

    key: str
    results: int
    tokens_in: int
    tokens_cached: int
    tokens_cache_write: int
    tokens_out: int
    dollars: float
    unpriced: int


@dataclass(frozen=True)
class Month:
    """The dollars of a calendar month (UTC): `spent`, `reserved` by batches in flight, and the limit (`budget`).

    `unpriced` counts results of models without a known price, which `spent` does not include. The month ends at `end`.
    """

    budget: float
    spent: float
    reserved: float
    unpriced: int
    end: datetime

    @property
    def left(self) -> float:
        """The dollars that may still be spent or reserved."""
        return max(0.0, self.budget - self.spent - self.reserved)

    @property
    def unknown(self) -> str | None:
        """Why the rest of the budget is unknown; None if it is known."""
        if not self.unpriced:
            return None
        return f"{MONTH} cannot be kept: {self.unpriced:,} results of this month have no known price: {HOW_TO_PRICE}"

    def in_words(self) -> str:
        """Return the budget and how much is used: `[budget] month = 200 ($3.24 spent, $1.00 reserved)`."""
        return f"{MONTH} = {self.budget:,.6g} ({in_dollars(self.spent)} spent, {in_dollars(self.reserved)} reserved)"


def month(session: Session, kept: float | None = None, batch_id: str | None = None) -> Month | None:
    """Return the dollars spent and reserved this month, except those of one batch; None without a budget.

    `kept` is the budget to use if no sqlbatch.toml has one. Nothing is written.
    """
    said = config.month_budget()
    budget = kept if said is None else float(said.value)
    if budget is None:
        return None
    first = clock.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (first + timedelta(days=32)).replace(day=1)
    if not session.migrated and not session.run("prices.has_table", {"catalog": session.catalog}):
        return Month(budget, 0.0, 0.0, 0, end)
    asked = {"first": first, "batch_id": batch_id}
    spent, reserved, unpriced = session.run("prices.month", asked)[0]
    return Month(budget, spent, reserved, unpriced, end)


# The keys by which costs can be added up, as SQL over the view costs.
SPENT_BY = {
    "day": "strftime(day, '%Y-%m-%d')",
    "month": "strftime(day, '%Y-%m')",
    "job": "job_id",
    "target": "target",
    "model": "model",
}


def spent_by(session: Session, by: str) -> list[Spent]:
    """Return what was billed, added up by a key of SPENT_BY, in its order."""
    return [
        Spent("unknown" if key is None else str(key), *more)
        for key, *more in session.run("prices.spent_by", key=SPENT_BY[by])
    ]


def refresh(session: Session, *models: tuple[str, str]) -> None:
    """Bring sqlbatch.prices up to date with sqlbatch.toml, and with the library for the models in use.

    Those are the models of calls and batches, and `models`, each an address and a name. A price that sqlbatch.toml no
    longer names is removed, also for what was spent before.
    """
    called = {*models, *((base_url, model) for base_url, model in session.run("prices.called"))}
    _know(session, called)
    if session.run("prices.differ")[0][0]:
        session.run("prices.forget")
        session.run("prices.note")


def _know(session: Session, models: set[tuple[str, str]], *, own: bool = False) -> None:
    """Put the prices of sqlbatch.toml and of the library into a temporary table; the library is read only if needed.

    With `own`, the user's own rows of sqlbatch.prices are added. The table stays for the rest of the session.
    """
    entries = {entry.name: entry.values for entry in config.entries("prices")}
    given = json.dumps([{"model": model} | values for model, values in entries.items()])
    asked = (frozenset(models), given, own)
    if session.prices_of == asked:
        return
    kept: set[tuple[str, str]] = set()
    there = session.migrated or session.run("prices.has_table", {"catalog": session.catalog})
    source = price_library.release()
    if there:
        kept = set(session.run("prices.shipped", {"source": source}))
    rows = [
        row
        for base_url, model in sorted(models - kept)
        if base_url != "local"
        for row in price_library.rows_of(base_url, model)
    ]
    session.sql(rules())
    session.run("prices.known", {"given": given, "shipped": json.dumps(rows)})
    if kept or (there and own):
        session.run("prices.kept", {"source": source, "own": own})
    session.prices_of = asked


@functools.cache
def rules() -> str:
    """Return SQL that creates the macros of schema.sql as temporary ones, because a session may not have the schema."""
    macros = "\n".join(_MACRO.findall(read_sql("schema.sql")))
    return _MACRO_NAME.sub(r"CREATE OR REPLACE TEMP MACRO sqlbatch_\1", macros)
