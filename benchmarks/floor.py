"""What no way of working can go below: bytes written, hashed and parsed by DuckDB alone: `python -m benchmarks.floor`.

Each is one statement over the rows of the other benchmarks and the lines of their requests and results, in CPU seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks import raw
from benchmarks.ground import answer, make_rows

ROUNDS = 3


def main() -> None:
    """Print what each part takes, the least of three rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        make_rows(folder / "rows.parquet", given.rows)
        raw.prepare(folder)
        (folder / "plain").mkdir()
        lines = f"{folder}/raw/requests-*.jsonl"
        with duckdb.connect(str(folder / "floor.duckdb")) as con:
            con.execute("SET preserve_insertion_order = false; SET memory_limit = '800MB'")
            con.execute(f"CREATE TABLE requests AS SELECT line FROM {_lines(lines)}")
            size = sum(path.stat().st_size for path in folder.glob("raw/*.jsonl")) / 1e6
            said = f"'{folder / 'copy.jsonl'}' (FORMAT CSV, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\\x01')"
            _told(con, f"request lines written, {size:,.0f} MB", f"COPY (SELECT line FROM requests) TO {said}")
            _told(con, "inputs hashed with SHA-256", f"SELECT max(sha256(overview)) FROM '{folder}/rows.parquet'")
            _told(con, "rows written to a table", f"CREATE OR REPLACE TABLE kept AS FROM '{folder}/rows.parquet'")
            answer(folder / "raw", folder / "plain")
            results = f"{folder}/plain/results-*.jsonl"
            size = sum(path.stat().st_size for path in folder.glob("plain/*.jsonl")) / 1e6
            _told(con, f"result lines read, {size:,.0f} MB", f"SELECT max(strlen(line)) FROM {_lines(results)}")
            _told(
                con, "result lines parsed as JSON", f"SELECT count(*) FILTER (json_valid(line)) FROM {_lines(results)}"
            )
            _told(
                con, "fourteen fields taken out of each", f"SELECT max(hash(line->>[{_FIELDS}])) FROM {_lines(results)}"
            )


_FIELDS = ", ".join(
    f"'$.{path}'"
    for path in (
        "custom_id", "error", "asked_at", "response.status_code", "response.body.error", "response.body.model",
        "response.body.service_tier", "response.body.choices[0].message.content",
        "response.body.choices[0].message.refusal", "response.body.choices[0].finish_reason",
        "response.body.usage.prompt_tokens", "response.body.usage.completion_tokens",
        "response.body.usage.prompt_tokens_details.cached_tokens",
        "response.body.usage.prompt_tokens_details.cache_write_tokens",
    )
)  # fmt: skip


def _lines(files: str) -> str:
    return (
        f"read_csv('{files}', columns = {{line: 'VARCHAR'}}, delim = E'\\x01', quote = '', escape = '', header = false)"
    )


def _told(con: duckdb.DuckDBPyConnection, what: str, sql: str) -> None:
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        con.execute(sql).fetchall()
        taken.append(time.process_time() - begun)
    print(f"{min(taken):6.2f} CPU s   {what}")


if __name__ == "__main__":
    main()
