"""sqlbatch on the same rows: its own functions, in the order in which the commands call them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.ground import INSTRUCTIONS, MODEL, RETURNS
from sqlbatch import clock, run
from sqlbatch import prepare as preparing
from sqlbatch.batches import download, plan, request_file
from sqlbatch.batches import results as loading
from sqlbatch.batches.providers import KNOWN, Provider
from sqlbatch.db.database import Database
from sqlbatch.query.endpoints import check_of
from sqlbatch.query.enrichment import CHAT, Enrichment
from sqlbatch.returns import parse_returns

if TYPE_CHECKING:
    from pathlib import Path


PROVIDER = KNOWN["openai"]


def database(folder: Path) -> Database:
    """Return the database as the command line would open it."""
    path = folder / "ours.duckdb"
    spool = path.with_name(path.name + ".sqlbatch") / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    return Database(path, spool=spool)


def enrichment(rows: Path, provider: Provider = PROVIDER) -> Enrichment:
    """Return the ask."""
    return Enrichment(
        query=f"SELECT n, title, year, overview FROM '{rows}'",
        returns=parse_returns(RETURNS).text,
        prompt=None,
        instructions=INSTRUCTIONS,
        inputs=("overview",),
        endpoint=CHAT,
        model=MODEL,
        params=(),
        provider=provider.name,
        base_url=provider.base_url,
        limit=None,
    )


def begin(folder: Path, rows: str = "rows.parquet", provider: Provider = PROVIDER) -> int:
    """Compile, quote and commit the job; return its number."""
    base = database(folder)
    with preparing.prepared(base, enrichment(folder / rows, provider), provider, "target") as ask:
        return preparing.start(base, ask)


def prepare(folder: Path, rows: str = "rows.parquet") -> None:
    """From the query to request files."""
    base = database(folder)
    job_id = begin(folder, rows)
    plan.pack(base, job_id, PROVIDER)
    target = folder / "ours"
    target.mkdir(exist_ok=True)
    asked = {"job_id": job_id, "base_url": PROVIDER.base_url, "owner": "benchmark", "now": clock.now()}
    planned = base.read(lambda session: session.run("submit.ready", asked | {"most": None, "an_hour": None}))
    with base.kept_open():
        for batch_id, *_ in planned:
            path = target / f"requests-{batch_id}.jsonl"
            base.read(lambda session, b=batch_id, p=path: request_file.write(session, b, p))  # type: ignore[misc]


def again(folder: Path) -> None:
    """Prepare the same rows again, one of a hundred changed."""
    prepare(folder, "changed.parquet")


def end_all(folder: Path) -> None:
    """Note every batch as ended at the provider: what a load finds."""
    with database(folder).session() as session:
        session.sql("""
            UPDATE sqlbatch.batches SET state = 'ended', status = 'completed', provider_id = 'batch_' || batch_id,
              output_file_id = 'file-' || batch_id, ended_at = now()::TIMESTAMP
        """)


def load(folder: Path) -> None:
    """From result files to the target."""
    base = database(folder)
    batches = [download.Ended(*row) for row in base.query("results.ended", {"base_url": PROVIDER.base_url})]
    for first in range(0, len(batches), loading.WAVE):
        wave = [
            (batch, download.Fetched((folder / "ours" / f"results-{batch.batch_id}.jsonl",), gone=False))
            for batch in batches[first : first + loading.WAVE]
        ]
        for group in download.groups(wave):
            if loading.load_together(base, group, check_of) is None:
                for batch, files in group:
                    loading.load_files(base, batch, files, check_of, folder)
    run.finish(base, 1)


def end_to_end(folder: Path) -> None:
    """From the query to the target, over HTTP."""
    provider = replace(PROVIDER, base_url=os.environ["BENCHMARK_URL"])
    os.environ.setdefault("OPENAI_API_KEY", "benchmark")
    (folder / "ours.duckdb").unlink(missing_ok=True)
    job_id = begin(folder, provider=provider)
    for _ in run.run_job(database(folder), job_id):
        pass
