"""Killed at any point between the query and the table, a job is executed once, and all rows are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch import spark as sqlbatch_spark

from .child import POINTS, run
from .conftest import QUERY

if TYPE_CHECKING:
    from .conftest import SparkBench

ROWS = 6


@pytest.mark.parametrize("point", POINTS)
def test_a_job_killed_at_a_point_is_executed_once_and_whole(point: str, bench: SparkBench) -> None:
    """The same enrich again ends it; where a job had begun, so does coming back to it."""
    killed = run(bench.address, bench.asked(query=QUERY.format(rows=ROWS)), bench.path.with_name("said"), point)
    assert killed.code == -9, killed
    begun = bench.path.exists() and bench.sql("SELECT count(*) FROM sqlbatch.jobs")[0][0]
    if begun and "share" not in point:
        job = sqlbatch_spark.find(bench.spark, db=bench.path).wait(poll=60)
    else:
        job = bench.enrich(rows=ROWS).wait(poll=60)
    assert job.status().status == "done"
    bench.check(ROWS)
    assert bench.sql("FROM sqlbatch.audit WHERE NOT balanced") == []
    published = "SELECT rows, error FROM sqlbatch.publications WHERE published_at IS NOT NULL ORDER BY job_id"
    assert bench.sql(published)[-1] == (ROWS, None)
    assert bench.runs() == []
