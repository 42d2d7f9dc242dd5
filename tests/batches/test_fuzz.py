"""Whatever a result file holds: nothing crashes, nothing is lost, and every count adds up."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlbatch import clock
from sqlbatch.batches import parse_results
from sqlbatch.batches.download import GONE_AFTER, Ended, Fetched
from sqlbatch.batches.results import load_files
from sqlbatch.db.database import Database
from sqlbatch.query.endpoints import check_of

if TYPE_CHECKING:
    from collections.abc import Iterator

IDS = [str(uuid.UUID(int=number)) for number in range(1, 7)]
CALL = uuid.UUID(int=99)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Return a database in memory for all examples."""
    with duckdb.connect() as con:
        yield Database(connection=con)


def line(custom_id: str, content: str) -> bytes:
    """Return a result line as the provider writes it."""
    body = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": None}).encode() + b"\n"


def loaded(database: Database, content: bytes, path: Path) -> dict[str, tuple[str, str | None]]:
    """Load a result file for a new batch of all ids; return outcome and content by id, checked by the audit."""
    batch_id = str(uuid.uuid4())
    path.write_bytes(content)
    batch = Ended(
        batch_id,
        "batch_x",
        "completed",
        "file-x",
        None,
        len(IDS),
        "/v1/chat/completions",
        "",
        fenced=False,
        ended_at=clock.now() - GONE_AFTER,
        looks=1,
    )

    with database.session() as session:
        session.sql(
            "INSERT INTO sqlbatch.batches "
            "(batch_id, state, base_url, call_id, model, requests, bytes, tokens, planned_at) "
            f"VALUES ('{batch_id}', 'ended', 'x', '{CALL}', 'm', {len(IDS)}, 1, 1, $now::TIMESTAMP)",
            {"now": clock.now()},
        )
        session.sql(f"INSERT INTO sqlbatch.batch_requests SELECT '{batch_id}', 1, unnest({IDS}::UUID[])")
    done = load_files(database, batch, Fetched((path,), gone=False), check_of, path.parent / "kept")
    assert done is not None
    event = done.event
    assert event.answered + event.failed + event.retryable + event.released == len(IDS)
    with database.session() as session:
        audit = session.sql(f"SELECT balanced FROM sqlbatch.audit WHERE batch_id = '{batch_id}'")
        rows = session.sql(
            f"SELECT custom_id::VARCHAR, outcome, content FROM sqlbatch.results WHERE batch_id = '{batch_id}'"
        )
    assert audit == [(True,)]
    assert sorted(row[0] for row in rows) == IDS
    return {custom_id: (outcome, content) for custom_id, outcome, content in rows}


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(texts, min_size=len(IDS), max_size=len(IDS)), st.randoms(use_true_random=False))
def test_any_text_comes_through_in_any_order(
    database: Database, tmp_path: Path, contents: list[str], chance: object
) -> None:
    lines = [line(custom_id, content) for custom_id, content in zip(IDS, contents, strict=True)]
    chance.shuffle(lines)  # type: ignore[attr-defined]
    found = loaded(database, b"".join(lines), tmp_path / "out.jsonl")
    assert found == {custom_id: ("answered", content) for custom_id, content in zip(IDS, contents, strict=True)}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_cost_only_the_lines_they_are_in(database: Database, tmp_path: Path, data: st.DataObject) -> None:
    lines = [line(custom_id, f"answer {number}") for number, custom_id in enumerate(IDS)]
    touched = data.draw(st.sets(st.integers(0, len(IDS) - 1), min_size=1, max_size=3))
    for number in touched:
        body = bytearray(lines[number].rstrip(b"\n"))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(body) - 1))
            body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3)).replace(b"\n", b" ").replace(b"\r", b" ")  # fmt: skip  # noqa: E501
        lines[number] = bytes(body) + b"\n"
    found = loaded(database, b"".join(lines), tmp_path / "out.jsonl")
    for number, custom_id in enumerate(IDS):
        if number not in touched and b'"' + custom_id.encode() not in b"".join(lines[other] for other in touched):
            assert found[custom_id] == ("answered", f"answer {number}")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_a_crash(database: Database, tmp_path: Path, content: bytes) -> None:
    found = loaded(database, content, tmp_path / "out.jsonl")
    assert {outcome for outcome, _ in found.values()} == {"failed"}, "nothing says that they were not answered"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2_000))
def test_a_file_cut_anywhere_keeps_its_whole_lines(database: Database, tmp_path: Path, size: int) -> None:
    lines = [line(custom_id, f"answer {number}") for number, custom_id in enumerate(IDS)]
    content = b"".join(lines)[:size]
    found = loaded(database, content, tmp_path / "out.jsonl")
    whole = content.count(b"\n") + (
        len(content) > 0 and content.endswith(b"}") and content.split(b"\n")[-1] + b"\n" in lines
    )
    assert sum(outcome == "answered" for outcome, _ in found.values()) == whole


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 8))
def test_a_copy_that_is_text_differs_only_where_the_bytes_are_none(content: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(parse_results, "_CHUNK", chunk)
        path = Path(folder) / "lines"
        path.write_bytes(b"{" + content)
        with parse_results.as_text([path]) as ((read,), _):
            text = read.read_bytes().decode().removesuffix("\n")
            if b"\0" not in content:
                assert text == (b"{" + content).decode(errors="replace").removesuffix("\n")
        assert list(Path(folder).iterdir()) == [path]


@pytest.mark.parametrize(("before", "after"), [("", ""), ("\\", "\ufffd"), ("\\\\", "\\"), ("\\\\\\", "\\\ufffd")])
def test_bytes_that_are_no_text_cost_no_answer(database: Database, tmp_path: Path, before: str, after: str) -> None:
    lines = [line(custom_id, "row") for custom_id in IDS]
    lines[0] = lines[0].replace(b'"row"', b'"row ' + before.encode() + b'\xff"')
    found = loaded(database, b"".join(lines), tmp_path / "out.jsonl")
    assert found.pop(IDS[0]) == ("answered", f"row {after}\ufffd")
    assert set(found.values()) == {("answered", "row")}
