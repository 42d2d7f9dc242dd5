"""The examples of the page about Spark run as they stand, at Sail: in Python, in a terminal, with a shared state."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.lake import mirror
from tests.batches.bench import LEASE, SPEED
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

    from .conftest import SparkBench

FILMS = "SELECT 1 AS film_id, 'A baker' AS title, 'A shy baker finds a map.' AS overview, '2025-02-03' AS released"


def blocks(language: str) -> list[str]:
    """Return the page's examples in a language."""
    text = (ROOT / "docs" / "spark.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def films(bench: SparkBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make the page's source in the catalog that Sail has; return what stands here for names of the page."""
    monkeypatch.setattr(mirror, "LEASE", LEASE * float(SPEED))
    monkeypatch.setenv("SQLBATCH_BASE_URL", bench.base_url)
    # A budget needs a price.
    (tmp_path / "sqlbatch.toml").write_text('[prices."offline"]\ninput = 1\noutput = 1\n')
    bench.spark.sql("CREATE DATABASE media")
    bench.spark.sql(f"CREATE TABLE media.films AS {FILMS}")
    return {
        "main.media.": "media.",
        "/Volumes/main/media/sqlbatch": str(tmp_path / "shared"),
        "/mnt/shared/sqlbatch": str(tmp_path / "shared"),
        "/local_disk0/enriched.duckdb": str(bench.path),
        "sc://localhost:15002": bench.address,
        "sc://spark:15002": bench.address,
        "gpt-6-luna": "offline",
    }


def here_for(text: str, instead: dict[str, str]) -> str:
    """Return an example with the names of this machine."""
    for old, new in instead.items():
        text = text.replace(old, new)
    return text


def test_what_the_page_does_in_python(bench: SparkBench, films: dict[str, str]) -> None:
    """Asked about, come back to, and again with a state that is shared; the provider executes the one row once."""
    first, back, shared = (here_for(text, films) for text in blocks("python"))
    known: dict[str, Any] = {}
    exec(first, known)  # noqa: S102 (it is our page)
    exec(back, known)  # noqa: S102
    (row,) = bench.rows("media.film_genres")
    assert (row["film_id"], row["ai_status"]) == (1, "answered")
    assert len(bench.control.ledger()) == 1
    known["spark"].sql("DROP TABLE media.film_genres")
    exec(shared, known)  # noqa: S102
    (again,) = bench.rows("media.film_genres")
    assert again["ai_status"] == "answered"
    known["spark"].stop()


def test_what_the_page_does_in_a_terminal(bench: SparkBench, films: dict[str, str], here: Command) -> None:
    """Also with the state in a shared folder, which another driver goes on with."""
    lines = re.sub(r"\\\n", " ", here_for("\n".join(blocks("sh")), films)).splitlines()
    asked, waited = (shlex.split(line)[1:] for line in lines if line.startswith("sqlbatch "))
    state = waited[waited.index("--state") :]
    ran = here(*asked, *state, "--yes", "--no-wait")
    assert ran.code == 0, ran.err
    mirror._MIRRORS.clear()
    ran = here(*waited, "--poll", "60")
    assert ran.code == 0, ran.err
    (row,) = bench.rows("media.film_genres")
    assert row["ai_status"] == "answered"
    assert len(bench.control.ledger()) == 1


def test_a_target_in_delta_is_replaced_in_one_commit(bench: SparkBench, tmp_path: Path) -> None:
    """Also by rows with other columns; what was there before is there as its earlier version."""
    bench.enrich(rows=4, table_format="delta").wait(poll=60)
    bench.check(4)
    bench.enrich(rows=6, table_format="delta", returns="summary VARCHAR").wait(poll=60)
    assert {row["summary"] is None for row in bench.rows()} == {False}
    assert len(bench.rows()) == 6
    logs = tmp_path.parent.glob("sail*/spark-warehouse/tags-*/_delta_log")
    versions = [f"{version:020}.json" for version in range(2)]
    assert versions in [sorted(path.name for path in log.glob("*.json")) for log in logs]
