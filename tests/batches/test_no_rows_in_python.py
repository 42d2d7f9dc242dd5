"""Rows never pass through Python: a job of ten times the rows makes the same calls and fetches no more of them."""

from __future__ import annotations

import collections
import sys
import threading
from typing import TYPE_CHECKING, Any

from sqlbatch.db.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    import pytest

    from .bench import Bench

# Of 9,000 rows more. A call for every twentieth row would be more than this; what is called for a chunk of a file, for
# a look at a batch, or whenever progress is told, is called a few times more or less, as the clock has it.
A_FEW_MORE = 450


def test_ten_times_the_rows_are_the_same_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = _most_fetched(monkeypatch)
    # The first job of a process imports and caches what no later one does.
    _calls(bench, 10, "first", first=0)
    few = _calls(bench, 1_000, "few", first=1_000_000)
    many = _calls(bench, 10_000, "many", first=2_000_000)
    assert {name: (few[name], many[name]) for name in many if many[name] - few[name] > A_FEW_MORE} == {}
    assert sum(few.values()) > 500, "the calls are seen"
    assert max(fetched) < 50
    assert bench.of_state("loaded") == 3
    bench.check(10_000, name="many")


def _calls(bench: Bench, rows: int, target: str, first: int) -> collections.Counter[str]:
    """Count the calls that our own code makes and gets, of Python's functions and of C's, from query to target."""
    counts: collections.Counter[str] = collections.Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        path = frame.f_code.co_filename
        if "/sqlbatch/" not in path or "/sqlbatch/server/" in path or event not in {"call", "c_call"}:
            return
        name = frame.f_code.co_name if event == "call" else getattr(called, "__name__", "")
        counts[f"{path.rpartition('/')[2]}:{frame.f_code.co_name}:{name}"] += 1

    def counted(work: Callable[[], object]) -> None:
        sys.setprofile(count)
        threading.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    jobs: list[int] = []
    query = f"SELECT 'row ' || n AS text FROM range({first}, {first + rows}) r(n)"
    counted(lambda: jobs.append(bench.begin(query, target)))
    counted(lambda: bench.sync(jobs[0]))
    bench.control.until_ended()
    counted(lambda: bench.sync(jobs[0]))
    assert bench.job(jobs[0]).status == "done"
    return counts


def _most_fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many rows each statement gives to Python."""
    fetched: list[int] = []
    sql = Session.sql

    def noting(session: Session, *asked: Any) -> list[tuple[Any, ...]]:
        rows = sql(session, *asked)
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(Session, "sql", noting)
    return fetched
