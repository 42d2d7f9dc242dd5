"""What models cost: the shipped list, sqlbatch.toml, and the user's own rows of sqlbatch.prices; sums of old costs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch import config
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidSettings
from sqlbatch.named_sql import sql_folder

if TYPE_CHECKING:
    from datetime import date

    from sqlbatch.db.session import Session

# A request of more tokens of input than this costs more in whole, with the models that have such a factor.
LONG_INPUT = 272_000


@dataclass(frozen=True)
class Price:
    """A model's price in dollars per million tokens; `input` and `output` are None where they are not known.

    `batch_factor` is the part of it that a batch costs (None: as the provider says), the long factors hold for requests
    of more than LONG_INPUT tokens. From `shutdown` on the model is no longer served, and `successor` is to be used.
    """

    model: str
    input: float | None
    cached: float | None
    output: float | None
    batch_factor: float | None
    long_input_factor: float
    long_output_factor: float
    shutdown: date | None
    successor: str | None
    origin: str

    def ordinary(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
        """Return what one request costs outside of batches, in dollars, as the view costs has it; None: not known."""
        if self.input is None or (self.output is None and tokens_out):
            return None
        cached = self.input if self.cached is None else self.cached
        asked = (tokens_in - tokens_cached) * self.input + tokens_cached * cached
        answered = tokens_out * (self.output or 0)
        if tokens_in > LONG_INPUT:
            return (asked * self.long_input_factor + answered * self.long_output_factor) / 1e6
        return (asked + answered) / 1e6

    def dollars(self, weight: Weight, output: float) -> float:
        """Return what requests cost at the ordinary price, with so many tokens of output each."""
        tokens = weight.tokens + weight.long_tokens * (self.long_input_factor - 1)
        answers = weight.requests + weight.long_requests * (self.long_output_factor - 1)
        return (tokens * (self.input or 0.0) + answers * output * (self.output or 0.0)) / 1e6


@dataclass(frozen=True)
class Weight:
    """Requests and their tokens of input; of those, of requests above LONG_INPUT, and how many those are."""

    requests: int
    tokens: int
    long_tokens: int
    long_requests: int


def find(session: Session, base_url: str, model: str, day: date) -> Price | None:
    """Return the price that holds for a model on a day, or None where the model is not known; writes nothing.

    Raises InvalidSettings where sqlbatch.toml has a price that is none.
    """
    _know(session)
    if session.run("prices.has_table", {"catalog": session.catalog}):
        session.run("prices.own")
    found = session.run("prices.find", {"base_url": base_url, "model": model, "day": day})
    return Price(*found[0]) if found else None


def refresh(session: Session) -> None:
    """Bring the table sqlbatch.prices up to date with the shipped list and sqlbatch.toml, where it differs.

    What sqlbatch.toml says no longer is kept, for what was spent at that price.
    """
    _know(session)
    if session.run("prices.differ")[0][0]:
        session.run("prices.forget")
        session.run("prices.note")


def _know(session: Session) -> None:
    entries = {entry.name: _checked(entry) for entry in config.entries("prices")}
    given = json.dumps([{"model": model} | values for model, values in entries.items()])
    session.run("prices.known", {"given": given}, file=quote_literal(str(sql_folder() / "prices.csv")))


def _checked(entry: config.Entry) -> dict[str, float]:
    for name, value in entry.values.items():
        if not 0 <= value < float("inf"):
            raise InvalidSettings(f"{entry.where}: {name} = {value} is no price: give dollars per million tokens")
    return entry.values


def fold(session: Session, which: str) -> None:
    """Add up in sqlbatch.spent what results cost that the same transaction is about to delete from sqlbatch.results.

    `which` is SQL over the view `billed` as `r` (job_id, batch_id, custom_id, day …): the same ones, and only those.
    """
    session.run("prices.fold", which=which)
