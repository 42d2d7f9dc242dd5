"""The bare minimum around the raw work: the official SDK sends the files and fetches the results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import openai

from benchmarks import raw

if TYPE_CHECKING:
    from pathlib import Path


def transfer(folder: Path) -> None:
    """Upload every request file, create its batch, download its result."""
    (folder / "plain").mkdir(exist_ok=True)
    with openai.OpenAI(base_url=os.environ["BENCHMARK_URL"], api_key="benchmark") as client:
        for path in sorted((folder / "raw").glob("requests-*.jsonl")):
            with path.open("rb") as handle:
                sent = client.files.create(file=(path.name, handle), purpose="batch")
            batch = client.batches.create(
                input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert batch.output_file_id
            with client.files.with_streaming_response.content(batch.output_file_id) as reply:
                reply.stream_to_file(folder / "plain" / path.name.replace("requests", "results"), chunk_size=1 << 20)


def end_to_end(folder: Path) -> None:
    """Raw work, upload, download, raw work."""
    raw.prepare(folder)
    transfer(folder)
    raw.load(folder)


def imports(_: Path) -> None:
    """Import what the command line cannot do without, and nothing else; what is measured is the start."""
    import duckdb  # noqa: F401, PLC0415
    import typer  # noqa: F401, PLC0415
