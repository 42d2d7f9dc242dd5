"""State at scale: a step of nothing to do beside 20,000 batches and 10 million requests; and how fast it starts."""

from __future__ import annotations

import contextlib
import io
import shutil
import statistics
import sys
import time
from typing import TYPE_CHECKING

import duckdb

from benchmarks import measure, ours
from benchmarks.ground import MODEL, make_rows
from benchmarks.server import Process
from sqlbatch.batches.client import BatchAPI
from sqlbatch.batches.context import StepContext
from sqlbatch.batches.step import step
from sqlbatch.cli import main
from sqlbatch.query.endpoints import check_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.report import Findings

PER_BATCH = 500
# What no command that looks into a file can do without.
TRIVIAL = """
import duckdb, typer

def look(path: str) -> None:
    with duckdb.connect(path) as con:
        print(con.execute("FROM duckdb_tables()").fetchall())

typer.run(look)
"""
BATCHES = (200, 2_000, 20_000)
JOBS = (1, 100, 1_000, 10_000)


def state(folder: Path, found: Findings) -> None:
    """Time a step of nothing to do of a job with one open batch, beside ever more that is done."""
    steps: dict[str, dict[str, float]] = {}
    for batches in BATCHES:
        steps[str(batches)] = _step(folder, batches)
        found.fact("scale", f"seconds of a step of nothing to do beside {batches} batches", steps[str(batches)])
    found.fact("scale", "steps", steps)


def _step(folder: Path, batches: int) -> dict[str, float]:
    """Return the seconds of the first step after something has changed, and of each after it."""
    folder.mkdir()
    (folder / "server").mkdir()
    make_rows(folder / "rows.parquet", 1_000)
    database = ours.database(folder)
    job_id = ours.begin(folder)
    with database.session() as session:
        session.sql(f"""
            INSERT INTO sqlbatch.batches (batch_id, state, status, provider_id, base_url, call_id, model, requests,
              bytes, tokens, planned_at, opened_at, ended_at, loaded_at)
            SELECT uuid(), 'loaded', 'completed', 'batch_' || i, '{ours.PROVIDER.base_url}', (SELECT call_id FROM
              sqlbatch.calls), '{MODEL}', {PER_BATCH}, 1000000, 100000, now(), now(), now(), now()
            FROM range({batches}) t(i)
        """)
        session.sql(f"""
            INSERT INTO sqlbatch.batch_requests (batch_id, seq, custom_id)
            SELECT batch_id, 1000000 + n * {PER_BATCH} + i, md5(concat(n, '-', i))::UUID
            FROM (SELECT batch_id, row_number() OVER () - 1 AS n FROM sqlbatch.batches), range({PER_BATCH}) t(i)
        """)
        session.sql("""
            INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, content, model, tokens_in, tokens_out,
              asked_at, received_at)
            SELECT custom_id, batch_id, 'batch', 'answered', concat('{"summary": "', seq, '"}'), 'm', 300, 60,
              now(), now()
            FROM sqlbatch.batch_requests
        """)
        session.sql(f"""
            INSERT INTO sqlbatch.wanted (job_id, custom_id)
            SELECT {job_id}, custom_id FROM sqlbatch.batch_requests
        """)
    with Process([sys.executable, "-m", "benchmarks.instant", str(folder / "server")]) as server:
        api = BatchAPI(server.said, "benchmark", "the server", ours.PROVIDER, loopback=True)
        context = StepContext(database, api, ours.PROVIDER, job_id, "benchmark", folder, check_of)
        for _ in step(context):
            pass
        seconds = []
        for _ in range(6):
            begun = time.perf_counter()
            for _ in step(context):
                pass
            seconds.append(time.perf_counter() - begun)
    shutil.rmtree(folder)
    return {"requests": batches * PER_BATCH, "counting": seconds[0], "after": statistics.median(seconds[1:])}


def history(folder: Path, found: Findings) -> None:
    """Time a step of nothing to do, and what looks at jobs, beside ever more jobs that are done."""
    kept: dict[str, dict[str, float]] = {}
    for count in JOBS:
        kept[str(count)] = _beside(folder, count)
        found.fact("scale", f"CPU seconds beside {count} jobs", kept[str(count)])
    found.fact("scale", "history", kept)


def _beside(folder: Path, count: int) -> dict[str, float]:
    folder.mkdir()
    make_rows(folder / "rows.parquet", 100)
    database = ours.database(folder)
    job_id = ours.begin(folder)
    with database.session() as session:
        session.sql(f"""
            INSERT INTO sqlbatch.jobs (target, query, enrichment, provider, base_url, "rows", skipped, requests, reused,
              bytes, tokens, max_attempts, replacing, created_at, finished_at, quote)
            SELECT 'daily_' || (i % 50), query, enrichment, provider, base_url, 100, 0, 100, 0, bytes, tokens, 3, false,
              created_at, created_at, quote
            FROM sqlbatch.jobs, range({count}) t(i) WHERE job_id = {job_id}
        """)
        session.sql(f"""
            INSERT INTO sqlbatch.wanted (job_id, custom_id)
            SELECT job_id, md5(concat(job_id, '-', i))::UUID
            FROM sqlbatch.jobs, range(100) t(i) WHERE job_id <> {job_id}
        """)
        session.sql(f"""
            INSERT INTO sqlbatch.batches (batch_id, state, status, provider_id, base_url, call_id, model, requests,
              bytes, tokens, planned_at, opened_at, ended_at, loaded_at, job_id)
            SELECT md5(job_id::VARCHAR)::UUID, 'loaded', 'completed', 'batch_' || job_id, '{ours.PROVIDER.base_url}',
              (SELECT call_id FROM sqlbatch.calls), '{MODEL}', 100, 10000, 1000, now(), now(), now(), now(), job_id
            FROM sqlbatch.jobs WHERE job_id <> {job_id}
        """)
        session.sql(f"""
            INSERT INTO sqlbatch.batch_requests (batch_id, seq, custom_id)
            SELECT md5(job_id::VARCHAR)::UUID, 1000 + row_number() OVER (), custom_id
            FROM sqlbatch.wanted WHERE job_id <> {job_id}
        """)
        session.sql("""
            INSERT INTO sqlbatch.results (custom_id, batch_id, source, outcome, content, model, tokens_in, tokens_out,
              asked_at, received_at)
            SELECT custom_id, batch_id, 'batch', 'answered', '{}', 'm', 300, 60, now(), now()
            FROM sqlbatch.batch_requests
        """)
        session.sql("""
            INSERT INTO sqlbatch.tallies (job_id, state, answered, failed, unsettled, due)
            SELECT job_id, 'done', 100, 0, 0, 0 FROM sqlbatch.jobs WHERE finished_at IS NOT NULL
        """)
    used = {}
    for name, arguments in (("jobs", []), ("show", [str(job_id)]), ("costs", [])):
        used[name] = _cpu(lambda name=name, more=arguments: main([name, *more, "--db", str(database.path)]))  # type: ignore[misc]
    (folder / "server").mkdir()
    with Process([sys.executable, "-m", "benchmarks.instant", str(folder / "server")]) as server:
        api = BatchAPI(server.said, "benchmark", "the server", ours.PROVIDER, loopback=True, before=database.let_go)
        context = StepContext(database, api, ours.PROVIDER, job_id, "benchmark", folder, check_of)

        def stepped() -> None:
            with database.kept_open():
                for _ in step(context):
                    pass

        stepped()
        used["step"] = _cpu(stepped)
    shutil.rmtree(folder)
    return used


def _cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call that was made before, so that all it imports is there: a median of three."""
    seconds = []
    for _ in range(4):
        begun = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            work()
        seconds.append(time.process_time() - begun)
    return round(statistics.median(seconds[1:]), 2)


def bytes_by_table(path: Path) -> dict[str, int]:
    """Return the bytes that each table of sqlbatch takes in a database file."""
    found: dict[str, int] = {}
    with duckdb.connect(str(path), read_only=True) as con:
        (block,) = con.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0]
        for (table,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'sqlbatch'").fetchall():
            asked = f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('sqlbatch.{table}') WHERE block_id >= 0"
            found[table] = con.execute(asked).fetchall()[0][0] * block
    return {table: size for table, size in found.items() if size > 10 * block}


def start(folder: Path, found: Findings) -> None:
    """Time the start of the command line beside importing duckdb and typer alone: medians of five."""
    code = {
        "duckdb and typer alone": [sys.executable, "-c", "import duckdb, typer"],
        "a command of typer's that opens a file": [sys.executable, "-c", TRIVIAL, str(folder / "start.duckdb")],
        "sqlbatch --help": [sys.executable, "-m", "sqlbatch", "--help"],
        "sqlbatch jobs": [sys.executable, "-m", "sqlbatch", "jobs", "--db", str(folder / "start.duckdb")],
    }
    with duckdb.connect(str(folder / "start.duckdb")):
        pass
    for name, arguments in code.items():
        measure.command(arguments)
        seconds = statistics.median(measure.command(arguments).cpu for _ in range(5))
        found.fact("start", f"CPU seconds of {name}", round(seconds, 2))
