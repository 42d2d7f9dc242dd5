"""The raw work in DuckDB alone: what a person would write by hand, for files that are known to have nothing wrong.

It knows no equal rows, no limit of bytes, no second run and no crash.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from benchmarks.ground import INSTRUCTIONS, LINES, MODEL, PER_FILE, RESPONSE_FORMAT

if TYPE_CHECKING:
    from pathlib import Path


def prepare(folder: Path) -> None:
    """Run the query once, render a line a row, and write files of 50,000."""
    (folder / "raw").mkdir(exist_ok=True)
    system = json.dumps({"role": "system", "content": INSTRUCTIONS})
    head = f'"method":"POST","url":"/v1/chat/completions","body":{{"model":"{MODEL}","messages":[{system},'.replace(
        "'", "''"
    )
    tail = f'],"response_format":{json.dumps(RESPONSE_FORMAT)}}}}}'.replace("'", "''")
    (folder / "raw.duckdb").unlink(missing_ok=True)
    with _connect(folder) as con:
        # The rows are kept, for the answers are joined to what was asked and not to what the source has by then.
        con.execute(f"""
            CREATE TABLE rows AS SELECT row_number() OVER () - 1 AS place, *
            FROM (SELECT n, title, year, overview FROM '{folder / "rows.parquet"}')
        """)
        con.execute("SET preserve_insertion_order = false")
        (count,) = con.execute("SELECT count(*) FROM rows").fetchall()[0]
        for number, low in enumerate(range(0, count, PER_FILE)):
            con.execute(f"""
                COPY (
                  SELECT concat('{{"custom_id":"task-', place, '",{head}',
                    to_json(struct_pack(role := 'user', content := overview)), '{tail}')
                  FROM rows WHERE place BETWEEN {low} AND {low + PER_FILE - 1}
                ) TO '{folder}/raw/requests-{number:05}.jsonl' ({LINES})
            """)


def load(folder: Path) -> None:
    """Read all result files, check status and JSON types, join the answers to the rows, write the table."""
    with _connect(folder) as con:
        con.execute("SET preserve_insertion_order = false")
        con.execute(f"""
            CREATE OR REPLACE TABLE target AS
            WITH answers AS (
              SELECT custom_id[6:]::BIGINT AS place, response.status_code AS status,
                response.body.choices[1].message.content AS content,
                response.body.choices[1].finish_reason AS finish, response.body.model AS model
              FROM read_json('{folder}/plain/results-*.jsonl', format = 'newline_delimited',
                maximum_object_size = 33554432, columns = {{custom_id: 'VARCHAR',
                response: 'STRUCT(status_code INTEGER, body STRUCT(model VARCHAR,
                choices STRUCT(message STRUCT(content VARCHAR), finish_reason VARCHAR)[]))'}})
            ), checked AS (
              SELECT *, status = 200 AND finish = 'stop' AND json_valid(content)
                AND json_type(content, ['$.categories', '$.summary']) = ['ARRAY', 'VARCHAR'] AS ok
              FROM answers
            ), typed AS (
              SELECT place, ok, model,
                CASE WHEN ok THEN from_json(content, '{{"categories":["VARCHAR"],"summary":"VARCHAR"}}') END AS answer
              FROM checked
            )
            SELECT rows.* EXCLUDE (place), answer.categories, answer.summary,
              CASE WHEN ok THEN 'answered' WHEN place IS NULL THEN 'pending' ELSE 'failed' END AS ai_status, model
            FROM rows LEFT JOIN typed USING (place)
        """)


def _connect(folder: Path) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(str(folder / "raw.duckdb"))
    con.execute(f"SET memory_limit = '1GB'; SET temp_directory = '{folder}/spill'")
    return con
