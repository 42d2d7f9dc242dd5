"""Compile the user's SQL into a snapshot of rows, the requests they need, and which row needs which request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from sqlbatch import clock
from sqlbatch.db.duckdb_errors import is_full_disk
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidPrompt, InvalidQuery
from sqlbatch.query import confidence, pictures
from sqlbatch.query.estimate import BYTES_PER_TOKEN, byte_correction
from sqlbatch.query.prompt import PromptSql, build_prompt
from sqlbatch.query.request import call_of
from sqlbatch.query.select import bind, invalid_query, one_select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.request import Call
    from sqlbatch.query.select import QueryColumn
    from sqlbatch.returns import Returns

# Columns that sqlbatch adds to the target, and the row number in the snapshot.
ADDED = ("custom_id", "ai_status", "ai_error", "ai_model")
ROW = "sqlbatch_row"
# The column with the number that another engine has given a row; it is not sent.
REF = "sqlbatch_ref"
# Bytes of a request line around head, input and tail: {"custom_id":"36 characters","method":"POST","url":"","body":}
ENVELOPE = len('{"custom_id":"","method":"POST","url":"","body":}') + 36


@dataclass(frozen=True)
class Compiled:
    """A compiled enrichment; its tables (rows, asks and requests) are in the attached database `scratch`."""

    call: Call
    prompt_sql: PromptSql
    columns: tuple[QueryColumn, ...]
    scratch: str
    rows: int
    skipped: int
    skipped_why: tuple[tuple[str, int], ...]
    distinct: int


def check_names(columns: Sequence[QueryColumn], returns: Returns, *, confident: bool = False) -> None:
    """Raise InvalidQuery if the target would have two columns of one name; the message has the EXCLUDE to paste.

    `confident`: it also has the column of confidence.
    """
    added = (*ADDED, confidence.COLUMN) if confident else ADDED
    refuse_doubled([column.name for column in columns])
    taken = {
        ROW: "sqlbatch's row number",
        pictures.IMAGE_INFO: "what sqlbatch knows of pictures",
        **dict.fromkeys(added, "a column that sqlbatch adds"),
    }
    taken |= {column.name.casefold(): "a returned column" for column in returns.columns}
    for column in returns.columns:
        if column.name.casefold() in (*added, ROW):
            raise InvalidQuery(f"--returns: {column.name} is a column that sqlbatch adds; choose another name")
    clashing = [column.name for column in columns if column.name.casefold() in taken]
    if clashing:
        excluded = ", ".join(quote_identifier(name) if not name.isidentifier() else name for name in clashing)
        raise InvalidQuery(
            f"the query's column {clashing[0]} has the name of {taken[clashing[0].casefold()]}; rename it with AS, or "
            f"leave it out: SELECT * EXCLUDE ({excluded}) FROM (…)"
        )


def refuse_doubled(columns: Sequence[str]) -> None:
    """Raise InvalidQuery if two columns have one name."""
    names = [name.casefold() for name in columns]
    for name in columns:
        if names.count(name.casefold()) > 1:
            raise InvalidQuery(f"the query has two columns named {name}: rename one with AS")


def compile_query(
    session: Session,
    query: str,
    enrichment: Enrichment,
    returns: Returns,
    scratch: str,
    line_limit: int,
    sample: int | None = None,
) -> Compiled:
    """Run the query once and write rows, asks and requests to the attached database `scratch`.

    `query` is the enrichment's query, or what replaces it; `line_limit` is the most bytes of one request line; `sample`
    is how many rows are taken at random, None for all rows. Raises InvalidEnrichment if an option is wrong.
    """
    select = one_select(session, query)
    columns = bind(session, select)
    check_names(columns, returns, confident=enrichment.confidence)
    call = call_of(enrichment, returns)
    prompt_sql = build_prompt(enrichment, [column for column in columns if column.name != REF])
    limit = "" if enrichment.limit is None else f"LIMIT {enrichment.limit}"
    with session.keeping_row_order(keep=True):
        try:
            if sample is None:
                session.run("compile.snapshot", scratch=scratch, query=select, limit=limit)
            else:
                session.run("compile.sample", scratch=scratch, query=select, limit=limit, sample=str(sample))
        except Exception as error:
            if isinstance(error.__cause__, duckdb.Error) and not is_full_disk(error.__cause__):
                raise invalid_query(error.__cause__, select) from error
            raise
    if prompt_sql.images:
        pictures.look(session, scratch, prompt_sql.images, Path(enrichment.folder or "."), line_limit)
    asking = {"scratch": scratch, **_places(prompt_sql, scratch)}
    constant = ENVELOPE + sum(len(part.encode()) for part in (call.endpoint, call.sent_head, call.sent_tail))
    with session.keeping_row_order(keep=False):
        invalid = prompt_sql.invalid
        if invalid is not None and (found := session.run("compile.invalid", scratch=scratch, invalid=invalid)):
            row, reason, count = found[0]
            more = f" ({count:,} such rows)" if count > 1 else ""
            raise InvalidPrompt(f"row {row}: {reason}{more}; fix it in the query, or make it NULL to skip the row")
        session.run("compile.asks", {"call_id": call.call_id, "constant": constant}, **asking)
        uncounted = byte_correction(call, constant)
        counting = {"uncounted": uncounted, "bytes_per_token": BYTES_PER_TOKEN}
        session.run("compile.requests", counting, scratch=scratch, **_counting(prompt_sql, enrichment.image_detail))
    too_long = session.run("compile.too_long", {"limit": line_limit}, scratch=scratch)
    if too_long:
        row, size = too_long[0]
        raise InvalidPrompt(
            f"row {row} makes a request of {size:,} bytes, above the provider's limit of {line_limit:,}: shorten it in "
            "the query, for example with left(column, 100000)"
        )
    rows, skipped, distinct = session.run("compile.counts", scratch=scratch)[0]
    why = tuple((reason, count) for reason, count in session.run("compile.skipped_why", scratch=scratch))
    return Compiled(call, prompt_sql, columns, scratch, rows, skipped, why, distinct)


def _places(prompt_sql: PromptSql, scratch: str) -> dict[str, str]:
    """Return the SQL of a row's input, over its own columns, and that of its pictures if it has any."""
    places = {"input": prompt_sql.input, "skipped": prompt_sql.skipped}
    rows, info = f"{scratch}.main.rows", pictures.IMAGE_INFO
    if not prompt_sql.images:
        return places | {"rows": rows, "extra": "0", "more": "", "look": "", "images": "NULL::VARCHAR[]"}
    extra = f"coalesce({info}.extra, 0)"
    return places | {
        "rows": f"(SELECT * FROM {rows} LEFT JOIN {scratch}.main.looks USING (sqlbatch_row))",
        "extra": extra,
        "more": f", {extra} AS extra, coalesce({info}.pictures, 0) AS pictures, {info}.failed AS failed",
        "look": f", {info}",
        "images": f"{info}.images",
    }


def _counting(prompt_sql: PromptSql, detail: str | None) -> dict[str, str]:
    """Return the SQL for a request's bytes that are not billed as tokens, and for the tokens of its pictures."""
    if not prompt_sql.images:
        return {"extra": "0", "picture_tokens": "0"}
    return {"extra": "any_value(extra)", "picture_tokens": f"any_value(pictures) * {pictures.tokens(detail)}"}


def store(session: Session, compiled: Compiled, job_id: int) -> None:
    """Copy the compiled tables into the database for job `job_id`, within the caller's transaction."""
    store_requests(session, compiled)
    call = compiled.call
    send_as(session, call, job_id)
    ask_cut_again(session, job_id)
    if call.logprobs:
        session.run("compile.plain_before", {"job_id": job_id, "now": clock.now()})
    else:
        session.run("compile.refused_before", {"job_id": job_id, "now": clock.now()}, refused=confidence.REFUSED)
    places = {"scratch": compiled.scratch, "job": str(job_id)}
    session.run("compile.store_rows", **places)
    session.run("compile.store_asks", {"call_id": compiled.call.call_id}, **places)
    if compiled.prompt_sql.images:
        pictures.settle(session, compiled.scratch, job_id)


def ask_cut_again(session: Session, job_id: int) -> None:
    """Make requests of a job due again whose answers were cut at a smaller token limit than the job's."""
    session.run("compile.cut_before", {"job_id": job_id, "now": clock.now()}, asked="asked")


def send_as(session: Session, call: Call, job_id: int) -> None:
    """Note how a job sends a call, within the caller's transaction."""
    tail = call.sent_tail if call.extras else None
    sent = {"head": call.marked, "tail": tail, "extra": call.extra, "cap": call.cap, "logprobs": call.logprobs}
    session.run("compile.send_as", {"job_id": job_id, "call_id": call.call_id, **sent})


def store_call(session: Session, call: Call) -> None:
    """Store the constant side of a call, once."""
    kept = ("call_id", "base_url", "endpoint", "model", "head", "tail", "returns")
    session.run("compile.store_call", {name: getattr(call, name) for name in kept})


def store_requests(session: Session, compiled: Compiled) -> None:
    """Add the call and its new requests to the database, within the caller's transaction."""
    call = compiled.call
    store_call(session, call)
    places = {"scratch": compiled.scratch, **_places(compiled.prompt_sql, compiled.scratch)}
    session.run("compile.store_requests", {"call_id": call.call_id, "extra": call.extra}, **places)
    if compiled.prompt_sql.images:
        pictures.store(session, compiled.scratch)
