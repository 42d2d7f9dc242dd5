"""What to do next about a job: one short step for each state that a job can be in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sqlbatch.batches.budget import BUDGET
from sqlbatch.display.words import KEY_CODES, QUOTA_CODES

if TYPE_CHECKING:
    from sqlbatch.db.jobs import JobRow

# How a job that was given up goes on.
GOING_ON = "the same enrich goes on from there: it sends only what is not answered"


def next_step(job: JobRow, at: str = "") -> str:  # noqa: PLR0911 (one a state)
    """Return what to do next about a job; `at` is the option that names its database, where it is not the usual one."""
    match job.status:
        case "running":
            return f"{_run('wait', job, at)} follows it to its end"
        case "blocked":
            return _blocked(job, at)
        case "superseded":
            return f"sqlbatch show {job.successor}{at} shows the job that has its target now"
        case "cancelled" if job.answered and job.newest == job.job_id and job.kept:
            return f"{_run('load', job, at)} writes what was answered; the same enrich goes on from there"
        case "cancelled":
            return GOING_ON
        case _ if job.newest != job.job_id:
            return f"sqlbatch show {job.newest}{at} shows the job that has its target now"
        case _ if job.error:
            return f"{_run('load', job, at)} once the name is free, or with --replace in its place"
        case _ if job.failed and job.kept:
            return f"{_run('show', job, at)} --failures says why, {_run('retry', job, at)} asks again"
        case _ if job.failed:
            return f"{_run('show', job, at)} --failures says why, the same enrich with --fresh asks all again"
        case _:
            return f"sqlbatch query {shlex.quote(f'FROM {job.target}')}{at}"


def needs_somebody(job: JobRow) -> bool:
    """Whether there is more to do about a job than to read its target."""
    failed = job.status == "done" and bool(job.failed or job.error)
    return job.open or (failed and job.newest == job.job_id)


def _blocked(job: JobRow, at: str) -> str:
    wait = _run("wait", job, at)
    if job.failing:
        return f"{_run('show', job, at)} --failures says why, {wait} --keep-going sends on all the same"
    if job.blocked_code == BUDGET:
        return f"{wait} --max-cost USD allows more"
    if job.blocked_code in KEY_CODES:
        return f"set the right key, then {wait}"
    if job.refused:
        return f"once that is put right, {wait} sends on"
    if job.blocked_code in QUOTA_CODES:
        return f"see to the account's billing, then {wait}"
    return f"it goes on by itself with {wait}, or with sync"


def _run(command: str, job: JobRow, at: str) -> str:
    return f"sqlbatch {command} {job.job_id}{at}"
