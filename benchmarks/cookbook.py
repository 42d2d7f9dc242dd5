"""The loop of the cookbook's batch example: pandas' iterrows and json.dumps, json.loads and iloc."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pandas as pd

from benchmarks.ground import INSTRUCTIONS, MODEL, PER_FILE, RESPONSE_FORMAT

if TYPE_CHECKING:
    from pathlib import Path


def prepare(folder: Path) -> None:
    """Write request files, a row at a time."""
    rows = duckdb.execute(f"FROM '{folder / 'rows.parquet'}'").df()
    tasks = []
    for index, row in rows.iterrows():
        tasks.append(
            {
                "custom_id": f"task-{index}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": MODEL,
                    "messages": [
                        {"role": "system", "content": INSTRUCTIONS},
                        {"role": "user", "content": row["overview"]},
                    ],
                    "response_format": RESPONSE_FORMAT,
                },
            }
        )
    (folder / "cookbook").mkdir(exist_ok=True)
    for start in range(0, len(tasks), PER_FILE):
        with (folder / "cookbook" / f"requests-{start // PER_FILE:05}.jsonl").open("w") as file:
            for task in tasks[start : start + PER_FILE]:
                file.write(json.dumps(task) + "\n")


def load(folder: Path) -> None:
    """Read result files, a line at a time, and put the answers beside their rows in a table."""
    rows = duckdb.execute(f"FROM '{folder / 'rows.parquet'}'").df()
    results = []
    for path in sorted((folder / "plain").glob("results-*.jsonl")):
        with path.open() as file:
            for line in file:
                results.append(json.loads(line))  # noqa: PERF401 (as the cookbook writes it)
    joined = []
    for result in results:
        index = int(result["custom_id"].split("-")[-1])
        answer = json.loads(result["response"]["body"]["choices"][0]["message"]["content"])
        row = rows.iloc[index]
        joined.append((row["n"], row["title"], row["year"], row["overview"], answer["categories"], answer["summary"]))
    films = pd.DataFrame(joined, columns=["n", "title", "year", "overview", "categories", "summary"])
    with duckdb.connect(str(folder / "cookbook.duckdb")) as con:
        con.register("films", films)
        con.execute("CREATE OR REPLACE TABLE target AS FROM films")
