"""Killed at any point between the query and the table, a job is executed once, and all rows are there."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import spark as sqlbatch_spark

from .child import POINTS, run
from .conftest import QUERY

if TYPE_CHECKING:
    from .conftest import SparkBench

ROWS = 6


def enrich(spark: Any, query: str, asked: dict[str, Any]) -> None:
    """Do in a process of its own what a notebook does."""
    sqlbatch_spark.enrich(spark, query, **asked, yes=True).wait(poll=60)


def environment() -> dict[str, str]:
    """Return the variables of such a process."""
    names = ("OPENAI_API_KEY", "SQLBATCH_CLOCK_SPEED")
    return {name: os.environ[name] for name in names} | {"SQLBATCH_CLOCK_SPEED": "240"}


@pytest.mark.parametrize("point", POINTS)
def test_a_job_killed_at_a_point_is_executed_once_and_whole(point: str, bench: SparkBench) -> None:
    """The same enrich again ends it; where a job had begun, so does coming back to it."""
    work = partial(enrich, query=QUERY.format(rows=ROWS), asked=bench.asked())
    killed = run(work, bench.address, environment(), bench.path.with_name("said"), point)
    assert killed.code == -9, killed
    begun = bench.path.exists() and bench.sql("SELECT count(*) FROM sqlbatch.jobs")[0][0]
    if begun and "share" not in point:
        job = sqlbatch_spark.find(bench.spark, db=bench.path).wait(poll=60)
    else:
        job = bench.enrich(rows=ROWS).wait(poll=60)
    assert job.status().status == "done"
    bench.check(ROWS)
    assert bench.sql("FROM sqlbatch.audit WHERE NOT balanced") == []
    assert bench.sql("SELECT rows, error FROM sqlbatch.publications WHERE published_at IS NOT NULL")[-1] == (ROWS, None)
    if point != "before drop":
        assert bench.runs() == []
