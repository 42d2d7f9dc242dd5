"""A Sail server for all tests, a provider that keeps a ledger, and a bench that asks about Spark's rows."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import spark as sqlbatch_spark
from sqlbatch.batches import submit
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.batches.bench import KEY, LEASE, SPEED, Control, hurry

from .sessions import sail, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlbatch.job import Quote
    from sqlbatch.previews import Preview
    from sqlbatch.spark import SparkJob

QUERY = "SELECT id, concat('row ', id) AS text, id * 2 AS twice FROM range({rows})"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve Spark Connect for the whole run; return its address."""
    with sail(tmp_path_factory.mktemp("sail")) as address:
        yield address


@pytest.fixture
def connect_address(server: str) -> str:
    """Return the address of a session of the test's own, which its processes share: Sail keeps tables by session."""
    return f"{server}/;session_id={uuid.uuid4()}"


@pytest.fixture
def spark(connect_address: str) -> Iterator[Any]:
    """Return that session; it is ended while the server is there, for it is asked again and again otherwise."""
    session = session_of(connect_address)
    yield session
    session.stop()


@dataclass
class SparkBench:
    """One Spark session, one provider, one database file and one shared folder."""

    spark: Any
    address: str
    base_url: str
    path: Path
    shared: Path

    @property
    def control(self) -> Control:
        """The provider's control endpoint."""
        return Control(self.base_url)

    def asked(self, **more: Any) -> dict[str, Any]:
        """Return what every test asks, besides the query."""
        asked: dict[str, Any] = {
            "into": "default.tags", "shared": self.shared, "db": self.path, "input": "text",
            "instructions": "Repeat the text.", "model": "offline", "base_url": self.base_url,
        }  # fmt: skip
        return asked | more

    def enrich(self, query: Any = None, rows: int = 6, **more: Any) -> SparkJob:
        """Submit an enrichment of so many rows."""
        query = QUERY.format(rows=rows) if query is None else query
        return sqlbatch_spark.enrich(self.spark, query, **self.asked(yes=True, **more))

    def plan(self, query: Any, **more: Any) -> Quote:
        """Return the quote."""
        return sqlbatch_spark.plan(self.spark, query, **self.asked(**more))

    def preview(self, query: Any, **more: Any) -> Preview:
        """Preview some rows."""
        return sqlbatch_spark.preview(self.spark, query, **self.asked(yes=True, **more))

    def rows(self, target: str = "default.tags") -> list[dict[str, Any]]:
        """Return the rows of Spark's table."""
        return [row.asDict() for row in self.spark.table(target).collect()]

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the state."""
        with duckdb.connect(str(self.path)) as con:
            return con.execute(sql).fetchall()

    def runs(self) -> list[str]:
        """Return the folders of rows that are kept."""
        folder = self.shared / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def check(self, rows: int, target: str = "default.tags") -> None:
        """Check that every row is there with its own answer, and each request was executed once."""
        found = self.rows(target)
        assert sorted(row["id"] for row in found) == list(range(rows))
        for row in found:
            assert (row["twice"], row["response"]) == (2 * row["id"], row["text"])
            assert (row["ai_status"], row["ai_error"]) == ("answered", None)
        # A preview's requests have no id at the provider.
        assert set(self.control.executed_twice()) <= {None}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but the test's own, a key that is none, and a fast clock."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "SQLBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    hurry(monkeypatch)
    for lease in ("UPLOAD_LEASE", "CREATE_LEASE"):
        monkeypatch.setattr(submit, lease, LEASE * float(SPEED))


@pytest.fixture
def bench(spark: Any, connect_address: str, tmp_path: Path) -> Iterator[SparkBench]:
    """Return a bench whose provider goes on whoever is killed."""
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    with EmbeddedServer(tmp_path / "provider", config=ServerConfig(tmp_path / "provider", faults=faults)) as provider:
        yield SparkBench(spark, connect_address, provider.base_url, tmp_path / "a.duckdb", tmp_path / "shared")
