"""Python's way in: enrich, plan and Job, with a path, with a connection of the user's, with a relation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

import sqlbatch
from sqlbatch.batches.events import Loaded
from sqlbatch.errors import InvalidQuery, InvalidSettings, JobError, ProviderUnreachable
from sqlbatch.job import database_of
from sqlbatch.server import EmbeddedServer, ServerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILMS = "SELECT * FROM (VALUES ('Heat', 'A thief.'), ('Alien', 'A ship.'), ('Up', 'A house.')) f(title, plot)"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed the clock up, so that pauses take no time."""
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "600")


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the base URL of a provider that is taken for one that costs money."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    (tmp_path / "faults.toml").write_text("")
    config = ServerConfig(tmp_path / "provider", faults=tmp_path / "faults.toml")
    with EmbeddedServer(tmp_path / "provider", config=config) as server:
        yield server.base_url


def ask(query: str | duckdb.DuckDBPyRelation, db: object, **more: object) -> sqlbatch.Job:
    """Enrich by the local provider."""
    given = {"input": "plot", "instructions": "Repeat.", "into": "films", "provider": "local"} | more
    return sqlbatch.enrich(query, db=db, **given)  # type: ignore[arg-type]


def test_enrich_wait_and_read_the_table(tmp_path: Path) -> None:
    events: list[object] = []
    job = ask(FILMS, tmp_path / "a.duckdb").wait(on_event=events.append)
    assert job.status().status == "done"
    assert (job.status().answered, job.status().pending) == (3, 0)
    assert any(isinstance(event, Loaded) for event in events)
    table = job.table()
    assert table.columns == ["title", "plot", "response", "custom_id", "ai_status", "ai_error", "ai_model"]
    assert table.project("title, response").fetchall() == [
        ("Heat", "A thief."),
        ("Alien", "A ship."),
        ("Up", "A house."),
    ]
    assert repr(job) == "<Job 1 films: done, 3 of 3 requests answered>"


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    ask(FILMS, tmp_path / "a.duckdb").wait()
    quote = sqlbatch.plan(
        FILMS, db=tmp_path / "a.duckdb", input="plot", instructions="Repeat.", into="films", provider="local"
    )
    assert (quote.rows, quote.answered, quote.to_send) == (3, 3, 0)
    assert ask(FILMS, tmp_path / "a.duckdb").wait().status().reused == 3


def test_plan_writes_nothing(tmp_path: Path) -> None:
    quote = sqlbatch.plan(FILMS, db=tmp_path / "a.duckdb", input="plot", instructions="Repeat.", provider="local")
    assert (quote.rows, quote.to_send, quote.batches) == (3, 3, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", [True, False], ids=["a file", "in memory"])
def test_a_connection_of_the_users_is_used_and_left_as_it_was(tmp_path: Path, *, file: bool) -> None:
    settings = "SELECT name, value FROM duckdb_settings() WHERE name NOT LIKE '%secret%' ORDER BY name"
    with duckdb.connect(str(tmp_path / "mine.duckdb") if file else ":memory:") as con:
        con.execute("SET TimeZone = 'Asia/Tokyo'")
        con.execute("CREATE SCHEMA marts; USE marts; CREATE TABLE movies AS " + FILMS)
        before = con.execute(settings).fetchall()
        job = ask("SELECT title, plot FROM movies", con).wait()
        assert con.execute(settings).fetchall() == before
        assert con.execute("SELECT current_schema()").fetchall() == [("marts",)]
        assert con.execute("SELECT count(*) FROM main.films WHERE ai_status = 'answered'").fetchall() == [(3,)]
        assert job.table().count("*").fetchall() == [(3,)]
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchall() == [(0,)]
    home = tmp_path / "mine.duckdb.sqlbatch"
    assert home.exists() == file, "what is on its way lies beside a file, and goes with the process otherwise"


def test_a_relation_is_enriched_with_its_own_connections_rows(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        relation = con.sql(FILMS).filter("title <> 'Up'")
        job = ask(relation, tmp_path / "a.duckdb").wait()
        assert job.table().project("title, response").fetchall() == [("Heat", "A thief."), ("Alien", "A ship.")]
        # The relation is not used up.
        assert len(relation.fetchall()) == 2


def test_a_relation_of_the_users_connection_goes_to_that_connection(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as con:
        relation = con.values(["Heat", "A thief."]).project("col0 AS title, col1 AS plot")
        job = ask(relation, con)
        assert job.wait().table().project("title, response").fetchall() == [("Heat", "A thief.")]


def test_an_open_transaction_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as con:
        con.execute("BEGIN")
        con.execute("CREATE TABLE t (i INT)")
        with pytest.raises(InvalidSettings, match="open transaction"):
            ask(FILMS, con)
        con.execute("COMMIT")
        assert con.execute("FROM t").fetchall() == []


def test_memory_is_no_place_for_what_was_paid_for(paid: str) -> None:
    with duckdb.connect() as con, pytest.raises(InvalidSettings, match="in-memory"):
        ask(FILMS, con, provider="openai", base_url=paid, model="offline", yes=True)


def test_nothing_is_spent_that_was_not_allowed(tmp_path: Path, paid: str) -> None:
    with pytest.raises(InvalidSettings, match="yes=True"):
        ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline")
    assert not (tmp_path / "a.duckdb").exists()


def test_a_paid_job_is_submitted_at_once_and_goes_on_later(tmp_path: Path, paid: str) -> None:
    job = ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline", yes=True)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        assert con.execute("SELECT state FROM sqlbatch.batches").fetchall() == [("open",)]
    with pytest.raises(JobError, match="not written yet"):
        job.table()
    assert job.wait().table().count("*").fetchall() == [(3,)]


def test_trouble_after_the_beginning_does_not_hide_the_job(
    tmp_path: Path, paid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise ProviderUnreachable("no answer in time")

    with monkeypatch.context() as patch:
        patch.setattr("sqlbatch.batches.poll.poll", lost)
        job = ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline", yes=True)
    assert job.wait().status().status == "done"


def test_step_does_one_step(tmp_path: Path, paid: str) -> None:
    job = ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline", yes=True)
    for _ in range(400):
        if job.step().status == "done":
            break
    assert job.table().count("*").fetchall() == [(3,)]


def test_wait_says_so_when_the_job_ends_without_its_target(tmp_path: Path, paid: str) -> None:
    first = ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline", yes=True)
    ask(FILMS, tmp_path / "a.duckdb", provider="openai", base_url=paid, model="offline", yes=True, fresh=True)
    with pytest.raises(JobError, match="superseded"):
        first.wait()


def test_what_is_wrong_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidQuery):
        ask("DELETE FROM films", tmp_path / "a.duckdb")
    with pytest.raises(JobError, match="no rows"):
        ask(FILMS + " WHERE title = 'none'", tmp_path / "a.duckdb")
    with pytest.raises(JobError, match="every row is skipped"):
        ask("SELECT NULL::VARCHAR AS plot", tmp_path / "a.duckdb")
    with pytest.raises(sqlbatch.SqlbatchError):
        sqlbatch.Job(database_of(str(tmp_path / "a.duckdb")), 9).status()
