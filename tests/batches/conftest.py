"""A bench for each test: a server with the offline model that can be told to fail, and a database file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.batches import submit
from sqlbatch.batches.providers import KNOWN, Provider
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.conftest import check_audit

from .bench import KEY, LEASE, SPEED, Bench, empty, hurry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings but the test's own, a key that is none, and a fast clock."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "SQLBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a server that can be told to fail; it does not until it is told."""
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    with EmbeddedServer(tmp_path / "provider", config=ServerConfig(tmp_path / "provider", faults=faults)) as running:
        yield running


@pytest.fixture
def cold_bench(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a paid provider at the server's address, and a database file that nobody has open.

    Leases last for real seconds, so that a busy machine loses none between two lines of a test.
    """
    for lease in ("UPLOAD_LEASE", "CREATE_LEASE"):
        monkeypatch.setattr(submit, lease, LEASE * float(SPEED))
    (tmp_path / "work").mkdir()
    # The server works in this process too: who asks it without pause keeps it from its work.
    monkeypatch.setitem(KNOWN, "openai", replace(KNOWN["openai"], first_poll=KNOWN["openai"].slowest_poll))
    provider = Provider("openai", server.base_url, "OPENAI_API_KEY")
    return Bench(server.base_url, tmp_path / "work" / "a.duckdb", provider, monkeypatch)


@pytest.fixture
def bench(cold_bench: Bench) -> Iterator[Bench]:
    """Keep the file open in this process, which saves the time of opening it hundreds of times."""
    cold_bench.path.write_bytes(empty())
    with duckdb.connect(str(cold_bench.path)) as con:
        # A handful of rows takes longer to deal out to threads than to work on.
        con.execute("SET threads = 1")
        yield cold_bench
        # While the file is open, for to open it once more takes as long as a step.
        check_audit(con, cold_bench.path)
