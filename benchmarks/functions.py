"""A plan of AI functions beside the same two steps by flags: `python -m benchmarks.functions [--rows 1000000]`.

Rows go through ai_filter and then ai_extract, or through two enrichments, the second over the first one's target. Both
run in processes of their own, without a provider: answers are laid into the database as a batch's would be. CPU seconds
and the largest memory of each are printed, and their quotients.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from sqlbatch import prepare, run
from sqlbatch.db.database import Database
from sqlbatch.functions.jobs import collect_ready
from sqlbatch.options import enrich_options
from sqlbatch.source import Source

FILTER, FIELDS = "is about a war", "hero VARCHAR, place VARCHAR"
PLAN = f"""SELECT id, text, ai_extract(text, ['hero', 'place']) AS who FROM texts WHERE ai_filter(text, '{FILTER}')"""
ANSWERS = """
INSERT INTO sqlbatch.results (custom_id, source, outcome, content, model, tokens_in, tokens_out, asked_at, received_at)
SELECT q.custom_id, 'preview', 'answered',
  CASE WHEN contains(c.returns, 'BOOLEAN') THEN '{"answer": ' || (hash(q.custom_id) % 2 = 0) || '}'
       ELSE '{"hero": "one", "place": "two"}' END, 'offline', 100, 10, now()::TIMESTAMP, now()::TIMESTAMP
FROM sqlbatch.requests q JOIN sqlbatch.calls c ON c.call_id = q.call_id
WHERE q.custom_id NOT IN (SELECT custom_id FROM sqlbatch.results)
"""


def main() -> None:
    """Run both sides, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--side", choices=["plan", "flags"], help="one of them, in this process")
    given = parser.parse_args()
    if given.side:
        print(json.dumps(_side(given.side, given.rows)))
        return
    found = {}
    for side in ("flags", "plan"):
        command = [sys.executable, "-m", "benchmarks.functions", "--side", side, "--rows", str(given.rows)]
        found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{side:5}  {found[side]['cpu']:,.1f} CPU s, {found[side]['wall']:,.1f} s, {found[side]['mb']:,.0f} MB")
    times = [found["plan"][name] / found["flags"][name] for name in ("cpu", "wall", "mb")]
    print("plan / flags: CPU {:.2f}, time {:.2f}, memory {:.2f}".format(*times))


def _side(side: str, rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "a.duckdb"
        with duckdb.connect(str(path)) as con:
            text = "repeat('words of row ' || i || ' ', 20)"
            con.execute(f"CREATE TABLE texts AS SELECT i AS id, {text} AS text FROM range({rows}) t(i)")
        database = Database(path)
        cpu, wall = time.process_time(), time.perf_counter()
        if side == "plan":
            kept = _ended(database, PLAN, "who")
        else:
            _ended(
                database,
                "SELECT id, text FROM texts",
                "judged",
                input=["text"],
                instructions=FILTER,
                returns="answer BOOLEAN",
            )
            kept = _ended(
                database,
                "SELECT id, text FROM judged WHERE answer",
                "who",
                input=["text"],
                instructions="Extract.",
                returns=FIELDS,
            )
        if not rows // 3 < kept < rows:
            raise AssertionError(f"{kept} of {rows} rows pass")
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "mb": used.ru_maxrss / 1024}


def _ended(database: Database, query: str, into: str, **given: Any) -> int:
    """Begin a job, answer what it asks, and write its target; return its rows."""
    asked = enrich_options(Source(query, {}, None), {"provider": "local", "into": into, **given})
    with prepare.prepared(database, asked.enrichment, asked.provider, into) as ask:
        job_id = prepare.start(database, ask)
    while (joined := run.finish(database, job_id)) is None:
        with database.session() as session:
            session.sql(f'USE "{session.catalog}"')
            session.sql(ANSWERS)
        while database.write(lambda session: collect_ready(session, job_id, 10**6)):
            pass
    return joined.rows


if __name__ == "__main__":
    main()
