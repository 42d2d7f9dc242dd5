"""Shell completion: jobs, targets, providers, models, files. It is quick and never prints an error."""

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
Found = TypeVar("Found")


def _silently(offer: Callable[..., Offered]) -> Callable[..., Offered]:
    """Return no suggestions on any error, because a person who presses Tab wants no message."""

    @wraps(offer)
    def offered(**given: object) -> Offered:
        try:
            return offer(**given)
        except Exception:  # noqa: BLE001
            return []

    return offered


@_silently
def jobs(context: typer.Context, incomplete: str) -> Offered:
    """Return the targets of jobs, each with its newest job, and the numbers of all jobs, newest first."""
    found = _read(context, lambda session: state.rows(session) if session.has_schema() else [])
    named = {job.target: f"job {job.job_id}, {job.status}" for job in reversed(found)}
    numbered = [(str(job.job_id), f"{job.target}, {job.status}") for job in found]
    return _beginning([*named.items(), *numbered], incomplete)


@_silently
def jobs_and_files(context: typer.Context, incomplete: str) -> Offered:
    """Return jobs, folders, and files of JSON lines."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    paths = [path for path in sorted(folder.iterdir()) if path.is_dir() or path.suffix == ".jsonl"]
    named = [(f"{path}/" if path.is_dir() else str(path), "") for path in paths]
    return [*jobs(context=context, incomplete=incomplete), *_beginning(named, incomplete)]


@_silently
def codes(context: typer.Context, incomplete: str) -> Offered:
    """Return the codes of a job's failed requests."""
    job = context.params.get("job")
    failed = _read(context, lambda session: state.failures(session, state.find(session, job).job_id))
    return _beginning([(code, f"{count:,} requests") for code, count, _ in failed], incomplete)


@_silently
def providers(incomplete: str) -> Offered:
    """Return the names of providers, including those of sqlbatch.toml."""
    return _beginning([(each.name, each.base_url or each.address) for each in known().values()], incomplete)


@_silently
def models(incomplete: str) -> Offered:
    """Return the models with a known price, those of sqlbatch.toml first."""
    own = [(each.name, "sqlbatch.toml") for each in config.entries("prices")]
    shipped = price_library.models(known()["openai"].base_url)
    return _beginning([*own, *((model, "a price is known") for model in shipped)], incomplete)


@_silently
def endpoints(incomplete: str) -> Offered:
    """Return the endpoints of the Batch API."""
    return _beginning([(each, "") for name in ENDPOINTS for each in (name, f"/v1/{name}")], incomplete)


def _read(context: typer.Context, work: Callable[[Session], list[Found]]) -> list[Found]:
    """Read the database named on the command line so far, unless another process has it open at the moment."""
    database = options.database(context.params.get("db"))
    if not database.exists():
        return []
    with database.session(migrate=False, patience=0.0) as session:
        return work(session)


def _beginning(offered: Offered, incomplete: str) -> Offered:
    return [each for each in offered if each[0].startswith(incomplete)]
