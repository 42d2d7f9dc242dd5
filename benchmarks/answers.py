"""A million answers checked and typed, beside the time it takes only to read them: `python -m benchmarks.answers`.

Reading is what a load cannot do without: the lines of a result file taken apart, without a look at the answers. Then
the same lines are read, each answer is checked against the returned columns, and the columns are typed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground import RETURNS, make_results
from sqlbatch.batches.parse_results import parse_results
from sqlbatch.db.database import Database
from sqlbatch.db.sql import quote_identifier
from sqlbatch.query.enrichment import CHAT
from sqlbatch.returns import parse_returns

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.session import Session

ANSWERS = 1_000_000
ROUNDS = 3
# The ratio that is promised: checking and typing take no longer than reading.
AT_MOST = 2.0
# A definition that has more to check than that of the other benchmarks.
CHECKED = "categories VARCHAR[] NOT NULL, summary VARCHAR NOT NULL CHECK (length(summary) BETWEEN 10 AND 500)"


def measure(answers: int = ANSWERS, returns: str = RETURNS) -> tuple[float, float]:
    """Return the median seconds to read so many answers, and to read, check and type them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = folder / "results.jsonl"
        _make(results, answers)
        database = Database(folder / "answers.duckdb", spool=folder)
        reading, whole = [], []
        for _ in range(ROUNDS):
            reading.append(_timed(database, lambda session: _read(session, results)))
            whole.append(_timed(database, lambda session: _check(session, results, returns, answers)))
        return statistics.median(reading), statistics.median(whole)


def _make(results: Path, answers: int) -> None:
    requests = results.with_name("requests.jsonl")
    with Database(results.with_name("made.duckdb")).session() as session:
        lines = f"""SELECT concat('{{"custom_id":"', uuid(), '"}}') AS line FROM range({answers})"""
        session.sql(
            f"COPY ({lines}) TO '{requests}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\\x01')"
        )
    make_results(requests, results)
    requests.unlink()


def _read(session: Session, results: Path) -> None:
    parse_results(session, [results], CHAT, "CAST(NULL AS VARCHAR)")


def _check(session: Session, results: Path, returns: str, answers: int) -> None:
    wanted = parse_returns(returns)
    parse_results(session, [results], CHAT, wanted.check_sql("content"))
    typed = ", ".join(f"{sql} AS {quote_identifier(name)}" for name, sql in wanted.typed_sql("content"))
    session.sql(
        f"CREATE OR REPLACE TABLE answers AS SELECT custom_id, {typed} FROM sqlbatch_parsed_results "
        "WHERE outcome = 'answered'"
    )
    found = session.sql("SELECT count(*), count(categories), count(summary) FROM answers")
    assert found == [(answers, answers, answers)], found


def _timed(database: Database, work: Callable[[Session], None]) -> float:
    with database.session() as session:
        begun = time.perf_counter()
        work(session)
        return time.perf_counter() - begun


def main() -> int:
    """Print both times and their ratio; return 1 where it is above what is promised."""
    worst = 0.0
    for name, returns in (("two columns", RETURNS), ("two columns, NOT NULL and a CHECK", CHECKED)):
        reading, whole = measure(returns=returns)
        worst = max(worst, whole / reading)
        print(f"{name}: {ANSWERS:,} answers read in {reading:.1f} s; read, checked and typed in {whole:.1f} s: "
              f"{whole / reading:.2f} times")  # fmt: skip
    return 1 if worst > AT_MOST else 0


if __name__ == "__main__":
    sys.exit(main())
