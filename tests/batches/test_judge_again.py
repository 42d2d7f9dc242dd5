"""Stored answers are judged again without paying: what was refused for text around its JSON fills the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch.errors import InvalidOption, JobError
from sqlbatch.server import EmbeddedServer, ServerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Command

COUNTS = """
    SELECT (SELECT count(*) FROM sqlbatch.results), (SELECT count(*) FROM sqlbatch.billed),
      (SELECT sum(tokens_in + tokens_out) FROM sqlbatch.costs), (SELECT bool_and(balanced) FROM sqlbatch.audit)
"""
ANSWERED = "SELECT title, genre, ai_status FROM films ORDER BY title"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlbatch.Job]:
    """Ask a model that fences its JSON, by a schema: every answer is paid for and refused."""
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "600")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    (tmp_path / "faults.toml").write_text('[[fault]]\nname = "fenced"\n')
    config = ServerConfig(tmp_path / "provider", faults=tmp_path / "faults.toml")
    with EmbeddedServer(tmp_path / "provider", config=config) as server:
        job = sqlbatch.enrich(
            "SELECT * FROM (VALUES ('Heat', 'A war.'), ('Up', 'A house.')) f(title, plot)", db=tmp_path / "a.duckdb",
            input="plot", instructions="Read it.", returns="genre ENUM('war', 'house') NOT NULL", into="films",
            provider="openai", base_url=server.base_url, model="offline", yes=True,
        )  # fmt: skip
        yield job.wait()


def read(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return what the database says."""
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        return con.execute(sql).fetchall()


def test_answers_that_were_refused_are_used_without_paying_again(refused: sqlbatch.Job, tmp_path: Path) -> None:
    assert refused.status().failed == 2
    before = read(tmp_path, COUNTS)[0]
    refused.load(judge_again=True)
    assert read(tmp_path, COUNTS)[0] == before, "the same rules judge the same, and add nothing"
    refused.load(judge_again=True, structured="prompt")
    results, *paid = read(tmp_path, COUNTS)[0]
    assert (results, paid) == (before[0] + 2, list(before[1:])), "results are appended, and cost nothing"
    assert read(tmp_path, ANSWERED) == [("Heat", "war", "answered"), ("Up", "house", "answered")]
    assert (refused.status().answered, refused.status().failed, refused.status().status) == (2, 0, "done")
    with pytest.raises(JobError, match="no failed request whose answer was kept"):
        refused.load(judge_again=True, structured="prompt")


def test_the_command_tells_what_it_brought(refused: sqlbatch.Job, here: Command) -> None:
    assert refused.job_id == 1
    assert here("load", "--db", "a.duckdb", "--structured", "prompt").error == "--structured needs --judge-again here"
    assert "did you mean prompt?" in here("load", "--db", "a.duckdb", "--judge-again", "--structured", "promt").error
    done = here("load", "films", "--db", "a.duckdb", "--judge-again", "--structured", "prompt", "--json")
    assert json.loads(done.out)["judged_again"] == {"results": 2, "answered": 2}
    assert "no failed request whose answer was kept" in here("load", "--db", "a.duckdb", "--judge-again").error


def test_an_unknown_mode_is_refused(refused: sqlbatch.Job) -> None:
    with pytest.raises(InvalidOption, match="known are: json_schema, json_object, prompt"):
        refused.load(judge_again=True, structured="x")
