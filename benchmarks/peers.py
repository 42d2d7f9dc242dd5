"""What others do with the same rows, end to end: a script of the cookbook's, and batch-openai from PyPI."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import duckdb
import openai
import pandas as pd

from benchmarks import cookbook as loop
from benchmarks.ground import INSTRUCTIONS, MODEL, RESPONSE_FORMAT

if TYPE_CHECKING:
    from pathlib import Path

# Seconds between two looks: the server answers at once, so one look is enough for all contenders.
POLL = 0.1


def cookbook(folder: Path) -> None:
    """Write request files by the cookbook's loop, send each, wait for its batch, read the results by the loop."""
    (folder / "plain").mkdir(exist_ok=True)
    loop.prepare(folder)
    with _client() as client:
        for path in sorted((folder / "cookbook").glob("requests-*.jsonl")):
            with path.open("rb") as handle:
                sent = client.files.create(file=handle, purpose="batch")
            batch = client.batches.create(
                input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            while batch.status != "completed":
                time.sleep(POLL)
                batch = client.batches.retrieve(batch.id)
            assert batch.output_file_id
            content = client.files.content(batch.output_file_id).content
            (folder / "plain" / path.name.replace("requests", "results")).write_bytes(content)
    loop.load(folder)


def batch_openai(folder: Path) -> None:
    """Do the same with batch-openai: its builder, its waiting, its join; the target is a table of DuckDB's."""
    from batch_openai import BatchRequestBuilder  # noqa: PLC0415 (there only where benchmarks are run)

    rows: list[dict[str, Any]] = duckdb.execute(f"FROM '{folder / 'rows.parquet'}'").df().to_dict("records")
    builder = BatchRequestBuilder()
    for row in rows:
        builder.add(
            messages=[{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": row["overview"]}],
            model=MODEL,
            response_format=RESPONSE_FORMAT,
            custom_id=f"task-{row['n']}",
        )
    with _client() as client:
        result = builder.submit(client).wait(poll_interval=POLL)
    joined = [
        each.input | _answer(each.output.content) for each in result.join(rows, key=lambda row: f"task-{row['n']}")
    ]
    films = pd.DataFrame(joined)
    with duckdb.connect(str(folder / "batch_openai.duckdb")) as con:
        con.register("films", films)
        con.execute("CREATE OR REPLACE TABLE target AS FROM films")


def _answer(content: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(content)
    return answer


def _client() -> openai.OpenAI:
    return openai.OpenAI(base_url=os.environ["BENCHMARK_URL"], api_key="benchmark")
