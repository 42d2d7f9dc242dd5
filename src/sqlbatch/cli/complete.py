"""What the shell offers when Tab is pressed: jobs, targets, providers, models, files; in a moment, never an error."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer  # noqa: TC002 (Typer reads the annotations of these functions)

from sqlbatch import config, options
from sqlbatch.batches.providers import known
from sqlbatch.db import jobs as state
from sqlbatch.db import price_library
from sqlbatch.query.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.session import Session

Offered = list[tuple[str, str]]
Answer = TypeVar("Answer")


def _silently(offer: Callable[..., Offered]) -> Callable[..., Offered]:
    """Offer nothing where anything is wrong: whoever presses Tab wants no message."""

    @wraps(offer)
    def offered(**given: object) -> Offered:
        try:
            return offer(**given)
        except Exception:  # noqa: BLE001
            return []

    return offered


@_silently
def jobs(context: typer.Context, incomplete: str) -> Offered:
    """Offer the targets of jobs, each with its newest job, and the numbers of all, the newest first."""
    found = _read(context, lambda session: state.rows(session) if session.has_schema() else [])
    named = {job.target: f"job {job.job_id}, {job.status}" for job in reversed(found or [])}
    numbered = [(str(job.job_id), f"{job.target}, {job.status}") for job in found or []]
    return _beginning([*named.items(), *numbered], incomplete)


@_silently
def jobs_and_files(context: typer.Context, incomplete: str) -> Offered:
    """Offer jobs, folders, and files of JSON lines."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    paths = [path for path in sorted(folder.iterdir()) if path.is_dir() or path.suffix == ".jsonl"]
    named = [(f"{path}/" if path.is_dir() else str(path), "") for path in paths]
    return [*jobs(context=context, incomplete=incomplete), *_beginning(named, incomplete)]


@_silently
def codes(context: typer.Context, incomplete: str) -> Offered:
    """Offer the codes that a job's requests failed with."""
    job = context.params.get("job")
    failed = _read(context, lambda session: state.failures(session, state.find(session, job).job_id))
    return _beginning([(code, f"{count:,} requests") for code, count, _ in failed or []], incomplete)


@_silently
def providers(incomplete: str) -> Offered:
    """Offer the names of providers, those of sqlbatch.toml too."""
    return _beginning([(each.name, each.base_url or each.address) for each in known().values()], incomplete)


@_silently
def models(incomplete: str) -> Offered:
    """Offer the models whose price is known, those of sqlbatch.toml first."""
    own = [(each.name, "sqlbatch.toml") for each in config.entries("prices")]
    shipped = price_library.models(known()["openai"].base_url)
    return _beginning([*own, *((model, "a price is known") for model in shipped)], incomplete)


@_silently
def endpoints(incomplete: str) -> Offered:
    """Offer the endpoints of the Batch API."""
    return _beginning([(each, "") for name in ENDPOINTS for each in (name, f"/v1/{name}")], incomplete)


def _read(context: typer.Context, work: Callable[[Session], Answer]) -> Answer | None:
    """Read the database that the line so far names, unless somebody else has it open just now."""
    database = options.database(context.params.get("db"))
    if not database.exists():
        return None
    with database.session(migrate=False, patience=0.0) as session:
        return work(session)


def _beginning(offered: Offered, incomplete: str) -> Offered:
    return [each for each in offered if each[0].startswith(incomplete)]
