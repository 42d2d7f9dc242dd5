"""What the tests of queries share: an enrichment begun without a provider, its request lines, and answers to them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch import run, settings
from sqlbatch.answering import load, pack, submit
from sqlbatch.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlbatch.query.join import Joined

# What the model says to the body of a request: a text, or a whole result line's response, or None for no line at all.
Reply = Callable[[Any], str | dict[str, Any] | None] if TYPE_CHECKING else Any


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
    asked = settings.ask(settings.Source(query, {}, None), given)
    with run.prepared(
        db, asked.enrichment, asked.provider, asked.into, fresh=fresh, replacing=replace, max_attempts=asked.max_attempts
    ) as ask:
        return run.begin(db, ask)


def lines(db: Database, job_id: int) -> dict[str, list[bytes]]:
    """Return the lines of the input files of what a job has due, by batch: as the provider would get them."""
    provider = run.provider_of(_job(db, job_id))
    pack.pack(db, job_id, provider)
    with db.session() as session:
        found = session.sql(
            f'SELECT batch_id::VARCHAR FROM "{session.catalog}".sqlbatch.batches '
            "WHERE state = 'planned' ORDER BY planned_at"
        )
    written = {}
    for (batch_id,) in found:
        path = Path.cwd() / f"{batch_id}.jsonl"
        db.read(lambda session, b=batch_id, p=path: submit.write_file(session, b, p))  # type: ignore[misc]
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
    """Answer what a job has due through a result file, in an order of its own."""
    for batch_id, sent in lines(db, job_id).items():
        result = Path.cwd() / f"{batch_id}.out.jsonl"
        told = [_result(json.loads(line), reply) for line in reversed(sent)]
        result.write_bytes(b"".join(line for line in told if line))
        with db.session() as session:
            session.sql(
                f"UPDATE \"{session.catalog}\".sqlbatch.batches SET state = 'ended', status = 'completed', "
                f"provider_id = 'batch_1', output_file_id = 'file_1' WHERE batch_id = '{batch_id}'"
            )
            (ended,) = load.ended(session, run.provider_of(_job(db, job_id)).base_url)
        load.load_files(db, ended, [result], run.check_of)


def enrich(db: Database, query: str, reply: Reply, **options: Any) -> Joined:
    """Begin, answer and finish a job."""
    job_id = begin(db, query, **options)
    answer(db, job_id, reply)
    return run.finish(db, job_id)


def rows(db: Database, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a user's query."""
    with db.session() as session:
        return session.sql(sql)


def content(body: Mapping[str, Any]) -> str:
    """Return what a request says as its user."""
    text = body["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def failed(status: int, code: str) -> dict[str, Any]:
    """Return the response of a request that failed."""
    return {"status_code": status, "body": {"error": {"code": code, "message": f"it is {code}"}}}


def _result(line: Mapping[str, Any], reply: Reply) -> bytes | None:
    said = reply(line["body"])
    if said is None:
        return None
    if isinstance(said, str):
        choice = {"message": {"content": said, "refusal": None}, "finish_reason": "stop"}
        said = {"status_code": 200, "body": {"model": "offline", "choices": [choice]}}
    result = {"id": uuid.uuid4().hex, "custom_id": line["custom_id"], "response": said, "error": None}
    return json.dumps(result, ensure_ascii=False).encode() + b"\n"


def _job(db: Database, job_id: int) -> Any:
    from sqlbatch.store import jobs  # noqa: PLC0415 (its name is a word of the tests)

    return db.read(lambda session: jobs.find(session, str(job_id)))
