"""Files are as full as the provider's limits allow, and never fuller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlbatch import prepare
from sqlbatch.batches.plan import count_batches
from sqlbatch.batches.providers import Provider
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.session import Session

    from .bench import Bench


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One session in memory for all examples."""
    import duckdb  # noqa: PLC0415

    from sqlbatch.db.database import Database  # noqa: PLC0415

    with duckdb.connect() as con, Database(connection=con).session() as one:
        yield one


def greedy(sizes: list[int], max_requests: int, max_bytes: int) -> list[list[int]]:
    """Return the sizes in files, each filled before the next one is begun; a line takes one byte more than its text."""
    files: list[list[int]] = []
    for size in sizes:
        if not files or len(files[-1]) == max_requests or sum(files[-1]) + size + 1 > max_bytes:
            files.append([])
        files[-1].append(size + 1)
    return files


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_packing_is_exactly_greedy_at_the_limits(session: Session, data: st.DataObject) -> None:
    max_requests = data.draw(st.integers(1, 9))
    max_bytes = data.draw(st.integers(2, 40))
    sizes = data.draw(st.lists(st.integers(1, max_bytes - 1), min_size=1, max_size=40))
    session.sql(f"CREATE OR REPLACE TEMP TABLE asked AS SELECT row_number() OVER () AS seq, size AS bytes, size // 4 AS tokens FROM (SELECT unnest({sizes}) AS size)")  # fmt: skip  # noqa: E501
    provider = Provider("openai", "http://localhost/v1", None, max_requests=max_requests, max_bytes=max_bytes)
    expected = greedy(sizes, max_requests, max_bytes)
    assert count_batches(session, "asked", provider) == len(expected)
    shards = session.sql("SELECT requests, bytes, low, high FROM sqlbatch_shards ORDER BY number")
    assert [(requests, size) for requests, size, _, _ in shards] == [(len(file), sum(file)) for file in expected]
    assert [low for _, _, low, _ in shards] == [1] + [high + 1 for _, _, _, high in shards[:-1]]
    assert shards[-1][3] == len(sizes)


def test_a_request_above_the_limit_is_an_error_and_no_endless_job(session: Session) -> None:
    session.sql("CREATE OR REPLACE TEMP TABLE asked AS SELECT 1 AS seq, 100 AS bytes, 25 AS tokens")
    with pytest.raises(JobError, match="exceeds the provider's limits"):
        count_batches(session, "asked", Provider("openai", "http://localhost/v1", None, max_bytes=100))
    assert count_batches(session, "asked", Provider("openai", "http://localhost/v1", None, max_bytes=101)) == 1


def test_no_file_is_above_a_limit_of_bytes(bench: Bench) -> None:
    rows = "SELECT n, repeat('x', 1 + (n * 37) % 400) AS text FROM range(80) r(n)"
    bench = bench.within(max_bytes=2_000)
    job_id = bench.begin(rows)
    bench.wait(job_id)
    files = bench.control.files()
    assert len(files) > 10
    assert max(file["bytes"] for file in files) <= 2_000
    assert sum(file["bytes"] for file in files) == bench.sql("SELECT sum(bytes) FROM sqlbatch.batches")[0][0]
    assert bench.sql("SELECT count(*), count(DISTINCT custom_id) FROM sqlbatch.batch_requests")[0][0] == len(
        bench.control.ledger()
    )
    bench.check_audit()


def test_a_quote_counts_the_batches_that_are_made(bench: Bench) -> None:

    bench = bench.within(max_requests=7)
    enrichment, _ = bench.ask(50)
    with prepare.prepared(bench.database, enrichment, bench.provider, "answers") as prepared:
        assert prepared.quote.batches == 8
        job_id = prepare.start(bench.database, prepared)
    bench.wait(job_id)
    assert len(bench.control.batches()) == 8
    bench.check(50)


def test_the_queue_limit_is_learned_and_kept_to(bench: Bench) -> None:
    """One batch alone is above the limit: it is refused for ever unless it is packed smaller."""
    bench.control.faults({"name": "token_limit", "limit": 2_000, "bytes_per_token": 14})
    job_id = bench.begin(200, max_attempts=1)
    bench.wait(job_id)
    sizes = bench.sql("SELECT tokens, error_code FROM sqlbatch.batches ORDER BY planned_at")
    assert sizes[0][0] > 2_000
    assert sizes[0][1] == "token_limit_exceeded"
    assert all(tokens <= 2_000 for tokens, _ in sizes[1:])
    refused = [tokens for tokens, code in sizes if code]
    assert len(refused) <= 4, refused
    bench.check(200)


def test_a_request_above_the_queue_limit_goes_alone(bench: Bench) -> None:
    bench.control.faults({"name": "token_limit", "limit": 2_000, "count": 1})
    rows = "SELECT n, CASE n WHEN 3 THEN repeat('long ', 4000) ELSE 'row ' || n END AS text FROM range(6) r(n)"
    bench.wait(bench.begin(rows))
    assert bench.job(1).answered == 6
    assert len(bench.sql("SELECT requests FROM sqlbatch.batches WHERE tokens > 2000 AND requests = 1")) == 1
