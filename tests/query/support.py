"""What the tests of queries share: an enrichment begun without a provider, its request lines, and answers to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch import clock, connection, prepare, run
from sqlbatch.batches import plan, request_file
from sqlbatch.db.database import Database
from sqlbatch.options import enrich_options
from sqlbatch.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlbatch.query.target_rows import Joined


@dataclass(frozen=True)
class Failure:
    """A result that is no answer."""

    code: str
    message: str = "the model would not"
    outcome: str = "failed"


# What comes back for the body of a request; nothing has come yet for None.
Reply = Callable[[Any], str | Failure | None]


def database(name: str = "work.duckdb", setup: str = "") -> Database:
    """Return a database in the test's folder, after some SQL of its user's."""
    path = Path.cwd() / name
    if setup:
        with duckdb.connect(str(path)) as con:
            con.execute(setup)
    return Database(path)


def begin(db: Database, query: str, *, fresh: bool = False, replace: bool = False, **options: object) -> int:
    """Begin a job as `enrich` does, up to the moment before anything is sent; return its number."""
    given = {"provider": "local", "instructions": "Say it again.", "into": "answers"} | options
    asked = enrich_options(Source(query, {}, None), given)
    with prepare.prepared(
        db,
        asked.enrichment,
        asked.provider,
        asked.into,
        fresh=fresh,
        replacing=replace,
        max_attempts=asked.max_attempts,
    ) as ask:
        return prepare.start(db, ask)


def lines(db: Database, job_id: int) -> dict[str, list[bytes]]:
    """Return the lines of the input files of what a job has due, by batch: as the provider would get them."""
    provider = connection.provider_of(_job(db, job_id))
    plan.pack(db, job_id, provider)
    with db.session() as session:
        found = session.sql(
            f'SELECT batch_id::VARCHAR FROM "{session.catalog}".sqlbatch.batches '
            "WHERE state = 'planned' ORDER BY planned_at"
        )
    written = {}
    for (batch_id,) in found:
        path = Path.cwd() / f"{batch_id}.jsonl"
        db.read(lambda session, b=batch_id, p=path: request_file.write(session, b, p))  # type: ignore[misc]
        content = path.read_bytes()
        assert content.endswith(b"\n")
        # Never splitlines: U+2028 and its like stand in such a file as they are.
        written[batch_id] = content[:-1].split(b"\n")
    return written


def bodies(db: Database, job_id: int) -> dict[str, Any]:
    """Return the bodies of a job's requests, by custom_id."""
    found = [json.loads(line) for batch in lines(db, job_id).values() for line in batch]
    return {line["custom_id"]: line["body"] for line in found}


def answer(db: Database, job_id: int, reply: Reply) -> None:
    """Answer what a job has due, in an order of its own, as loading its result files would."""
    for batch_id, sent in lines(db, job_id).items():
        told = [(line["custom_id"], reply(line["body"])) for line in map(json.loads, reversed(sent))]
        results = [
            (custom_id, said.outcome, said.code, said.message, None)
            if isinstance(said, Failure)
            else (custom_id, "answered", None, None, said)
            for custom_id, said in told
            if said is not None
        ]
        with db.session() as session, session.transaction():
            state = "loaded" if len(results) == len(sent) else "ended"
            schema = f'"{session.catalog}".sqlbatch'
            session.sql(f"UPDATE {schema}.batches SET state = '{state}' WHERE batch_id = '{batch_id}'")
            if not results:
                continue
            columns = ("ids", "outcomes", "codes", "messages", "contents")
            session.sql(
                f"INSERT INTO {schema}.results (custom_id, batch_id, source, outcome, code, message, content, model, "
                "asked_at, received_at) SELECT unnest($ids::UUID[]), $batch, 'batch', unnest($outcomes), "
                "unnest($codes::VARCHAR[]), unnest($messages::VARCHAR[]), unnest($contents::VARCHAR[]), 'offline', "
                "$now::TIMESTAMP, $now::TIMESTAMP",
                {"batch": batch_id, "now": clock.now()}
                | dict(zip(columns, map(list, zip(*results, strict=True)), strict=True)),
            )


def enrich(db: Database, query: str, reply: Reply, **options: Any) -> Joined:
    """Begin, answer and finish a job."""
    job_id = begin(db, query, **options)
    answer(db, job_id, reply)
    joined = run.finish(db, job_id)
    assert joined is not None
    return joined


def rows(db: Database, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a user's query."""
    with db.session() as session:
        return session.sql(sql)


def content(body: Mapping[str, Any]) -> str:
    """Return what a request says as its user."""
    text = body["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def _job(db: Database, job_id: int) -> Any:
    from sqlbatch.db import jobs  # noqa: PLC0415 (its name is a word of the tests)

    return db.read(lambda session: jobs.find(session, str(job_id)))
