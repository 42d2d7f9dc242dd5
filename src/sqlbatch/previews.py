"""A preview: send the first rows to the ordinary endpoint, before there is a job, and show each row with its answer."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlbatch import layout
from sqlbatch.batches import preview as requests
from sqlbatch.batches.preview import PreviewResult
from sqlbatch.connection import connect
from sqlbatch.db import prices
from sqlbatch.db.database import scratch_name
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidOption
from sqlbatch.leases import new_owner
from sqlbatch.paths import scratch_file, spool_dir
from sqlbatch.query import confidence, pictures
from sqlbatch.query.compile import REF, Compiled, compile_query, store_requests
from sqlbatch.query.cost import estimate_cost, find_price, without_cache_writes
from sqlbatch.query.endpoints import check_of, read_returns
from sqlbatch.query.quote import Known, asked_again, count_known, sent_by, to_send
from sqlbatch.query.request import is_flex
from sqlbatch.query.rows import query_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlbatch.batches.events import Event
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.db.prices import Price
    from sqlbatch.db.session import Session
    from sqlbatch.query.cost import Cost
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.request import Call
    from sqlbatch.returns import Returns

# The default and the largest number of rows of a preview; more rows belong in a batch.
ROWS, ROWS_AT_MOST = 5, 100


@dataclass(frozen=True)
class ReadyPreview:
    """What every preview has before it is sent. Its rows are in the scratch file.

    `cost` is the cost of sending its requests now; with `flex`, at the flex price. `received` fills with the results.
    """

    provider: Provider
    scratch: Path
    fresh: bool
    owner: str
    flex: bool
    cost: Cost
    month: prices.Month | None
    received: list[PreviewResult] = field(default_factory=list, kw_only=True)

    def over(self) -> str | None:
        """Return why the cost may exceed the rest of the month's budget, and what to do; None if it cannot."""
        return self.cost.over(None, self.month)

    def asking(self, database: Database, call: Call) -> requests.Asking:
        """Return what the requests of a call are sent with."""
        spool, sent = spool_dir(database), (call.sent_head, call.sent_tail)
        return requests.Asking(
            database, str(call.call_id), self.owner, spool, check_of, sent, call.cap, self.flex, call.logprobs
        )

    def preview(
        self, rows: Iterable[PreviewRow], columns: tuple[str, ...], sent: int, dollars: float | None
    ) -> Preview:
        """Return the preview of these rows, with the tokens that were billed."""
        names = ("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out")
        tokens = {name: sum(getattr(each, name) for each in self.received if each.kept) for name in names}
        return Preview(tuple(rows), columns, sent, **tokens, dollars=dollars)


@dataclass(frozen=True)
class PreparedPreview(ReadyPreview):
    """A compiled preview; `known` counts its requests, `price` is that of its model."""

    enrichment: Enrichment
    returns: Returns
    compiled: Compiled
    known: Known
    price: Price | None
    notes: tuple[str, ...]


@contextlib.contextmanager
def prepared(
    database: Database,
    enrichment: Enrichment,
    provider: Provider,
    *,
    rows: int | None = None,
    sample: int | None = None,
    fresh: bool = False,
    passed_rows: object = None,
) -> Iterator[PreparedPreview]:
    """Compile a query's first `rows`, or a random `sample`, for the block; only a scratch file is written.

    Raises InvalidEnrichment if an option is wrong, DatabaseError if the database cannot be read.
    """
    wanted = sample_size(rows, sample)
    if sample is None:
        enrichment = replace(enrichment, limit=min(wanted, enrichment.limit or wanted))
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    with scratch_file(database) as scratch:
        query = query_of(database, enrichment.query, passed_rows, scratch, enrichment.where)
        with database.session(migrate=False, scratch=scratch, attach=True) as session:
            name = scratch_name(scratch)
            if provider.cache_options:
                enrichment = without_cache_writes(session, enrichment)
            compiled = compile_query(session, query, enrichment, returns, name, provider.max_bytes, sample)
            known = count_known(session, name, fresh=fresh, images=bool(compiled.prompt_sql.images), call=compiled.call)
            again = asked_again(session, compiled, fresh=fresh, local=not provider.paid)
            spends = bool(known.to_send) and provider.paid
            flex = is_flex(enrichment)
            price, notes = None, again
            if spends:
                price, more = find_price(session, enrichment, tier="flex" if flex else "default")
                notes += more
            if flex and price is not None and not price.own:
                notes += (f"no flex price is known for {enrichment.model}: the cost is at the ordinary price",)
            cost = estimate_cost(session, enrichment, to_send(compiled), price, free=not provider.paid)
            month = prices.month(session) if spends else None
        ready = (provider, scratch, fresh, new_owner(), flex, cost, month)
        yield PreparedPreview(*ready, enrichment, returns, compiled, known, price, notes)


def ask(database: Database, ready: PreparedPreview) -> Iterator[Event]:
    """Send the requests without a stored answer; each result is stored as it arrives.

    After an interrupt, `keep` stores the results that are not stored yet.
    """

    def commit(session: Session) -> list[str]:
        session.run("database.planner_lock")
        store_requests(session, ready.compiled)
        prices.refresh(session)
        if ready.compiled.prompt_sql.images:
            unsent = pictures.unsent_requests(session, scratch_name(ready.scratch))
            ready.received[:] = [PreviewResult(each, "failed", code, why, False) for each, code, why in unsent]
        asked = {"fresh": ready.fresh, **sent_by(ready.compiled.call)}
        places = {"scratch": scratch_name(ready.scratch), "refused": confidence.REFUSED}
        return [row[0] for row in session.run("previews.to_send", asked, **places)]

    custom_ids = database.write(commit, scratch=ready.scratch)
    with connect(database, ready.provider) as api:
        yield from requests.ask(ready.asking(database, ready.compiled.call), api, custom_ids, ready.received)


def keep(database: Database, ready: PreparedPreview) -> Iterator[Event]:
    """Store the results that arrived before an interrupt and are not stored yet."""
    yield from requests.keep(ready.asking(database, ready.compiled.call), ready.received)


def result(database: Database, ready: PreparedPreview) -> Preview:
    """Return the rows with their answers."""
    columns_shown = [each for each in ready.compiled.columns if each.name != REF]
    shown = ", ".join(f"{quote_identifier(c.name)} := {_shown(c.name, c.type)}" for c in columns_shown)
    came = "sqlbatch_answer.confidence" if ready.enrichment.confidence else None
    columns = confidence.answer_columns(ready.returns, "sqlbatch_answer.content", "sqlbatch_answer.vector", came)
    typed = ", ".join(f"{quote_identifier(name)} := {sql}" for name, sql in columns)
    results = {each.custom_id: each for each in ready.received}
    places = {"scratch": scratch_name(ready.scratch), "shown": shown, "answer": typed}
    with database.session(scratch=ready.scratch) as session:
        found = session.run("previews.rows", {"asked": list(results)}, **places)
    rows = (_row(ready, results.get(row[1]), *row) for row in found)
    sent = sum(not (each.code or "").startswith("image_un") or each.kept for each in ready.received)
    return ready.preview(rows, ready.compiled.prompt_sql.columns, sent, _dollars(ready))


def _dollars(ready: PreparedPreview) -> float | None:
    billed = [each for each in ready.received if each.kept]
    if not billed or not ready.provider.paid:
        return 0.0
    if ready.price is None:
        return None
    each = [
        ready.price.dollars(one.tokens_in, one.tokens_cached, one.tokens_cache_write, one.tokens_out) for one in billed
    ]
    return None if None in each else sum(dollars for dollars in each if dollars is not None)


def _row(
    ready: PreparedPreview,
    result: PreviewResult | None,
    number: int,
    _custom_id: str | None,
    skipped: str | None,
    in_flight: bool | None,
    outcome: str | None,
    code: str | None,
    message: str | None,
    shown: str,
    answer: str | None,
) -> PreviewRow:
    status, error, kept = "pending", "no answer came before the interrupt; it may be billed all the same", False
    if skipped is not None:
        status, error = "skipped", skipped
    elif result is not None and not result.kept:
        status, error = "failed", _because(result.code, result.message)
    elif outcome is not None and (result is not None or not ready.fresh):
        status, kept = outcome, result is None
        error = _because(code, message) if outcome == "failed" else ""
    elif in_flight and not ready.fresh:
        error = "a batch has it already, so it was not sent; sqlbatch wait brings its answer"
    values = json.loads(answer) if answer is not None and status == "answered" else None
    return PreviewRow(number, status, error or None, kept, json.loads(shown), values)


def _because(code: str | None, message: str | None) -> str:
    return ": ".join(part for part in (code, message) if part)


def _shown(name: str, kind: str) -> str:
    column = f"sqlbatch_rows.{quote_identifier(name)}"
    return f"concat(octet_length({column}), ' bytes')" if kind == "BLOB" else column


def sample_size(rows: int | None, sample: int | None) -> int:
    """Return the number of rows of a preview; raise InvalidOption if it is too large, or given in two ways."""
    if rows is not None and sample is not None:
        raise InvalidOption("--rows and --sample both choose rows: give one of them")
    name, wanted = ("--sample", sample) if sample is not None else ("--rows", ROWS if rows is None else rows)
    if not 1 <= wanted <= ROWS_AT_MOST:
        raise InvalidOption(
            f"{name} {wanted}: it must be 1 to {ROWS_AT_MOST}; for more rows use enrich, at half the price"
        )
    return wanted


# ---- The result of a preview.


@dataclass(frozen=True)
class PreviewRow:
    """One row of a preview: its number in the query, its columns, and the returned columns if it is answered.

    `status` is answered, failed, skipped or pending, and `error` says why it is not answered. `kept` is true if the
    answer was stored before. Values are JSON values.
    """

    number: int
    status: str
    error: str | None
    kept: bool
    input: dict[str, Any]
    answer: dict[str, Any] | None

    def as_dict(self) -> dict[str, object]:
        """Return the row as a JSON object."""
        return {
            "row": self.number, "status": self.status, "error": self.error, "kept": self.kept,
            "input": self.input, "answer": self.answer,
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Preview:
    """The result of a preview: rows, the number of requests sent, their tokens and their cost in dollars.

    `dollars` are at the price of the tier that was used, None if the price is unknown.
    """

    rows: tuple[PreviewRow, ...]
    sent_columns: tuple[str, ...]
    sent: int
    tokens_in: int
    tokens_cached: int
    tokens_cache_write: int
    tokens_out: int
    dollars: float | None

    def of(self, status: str) -> int:
        """Return how many rows have a status."""
        return sum(row.status == status for row in self.rows)

    def as_dict(self) -> dict[str, object]:
        """Return the preview as a JSON object."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "requests_sent": self.sent,
            "tokens_in": self.tokens_in,
            "tokens_cached": self.tokens_cached,
            "tokens_cache_write": self.tokens_cache_write,
            "tokens_out": self.tokens_out,
            "dollars": self.dollars,
        }

    def __repr__(self) -> str:
        return "\n".join(
            line
            for row in self.rows
            for line in layout.records(*_named(row), width=100, titles=[f"row {row.number}, {row.status}"])
        )

    def _repr_html_(self) -> str:
        """Return the preview as a notebook shows it.

        One line a row, the returned columns after the columns that were sent.
        """
        sent = list(dict.fromkeys(name for row in self.rows for name in row.input))
        returned = list(dict.fromkeys(name for row in self.rows for name in row.answer or {}))
        return layout.html_table(
            ["row", *sent, *(f"→ {name}" for name in returned), "status"],
            [
                [
                    str(row.number),
                    *(layout.text_of(row.input.get(name)) for name in sent),
                    *(layout.text_of((row.answer or {}).get(name)) for name in returned),
                    row.status if row.error is None else f"{row.status}: {row.error}",
                ]
                for row in self.rows
            ],
        )


def _named(row: PreviewRow) -> tuple[list[str], list[list[str | None]]]:
    """Return the names and texts of a row's fields; returned columns are marked with an arrow."""
    came = row.answer if row.answer is not None else {row.status: row.error}
    names = [*row.input, *(f"-> {name}" for name in came)]
    return names, [[layout.text_of(value) for value in (*row.input.values(), *came.values())]]
