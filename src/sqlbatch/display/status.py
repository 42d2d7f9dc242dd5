"""The status of a job or batch in words, and what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sqlbatch.batches.budget import BUDGET
from sqlbatch.batches.providers import label
from sqlbatch.db.prices import MONTH
from sqlbatch.display.console import counted, nonzero
from sqlbatch.leases import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlbatch.db.jobs import Again, BatchRow, JobRow


# What a person can do about a blocked job, by the code of what blocks it.
_QUOTA = "no quota or credit is left there: check the account's billing"
_KEY = "the key was refused: set the right one"
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "http_402"})
KEY_CODES = frozenset({"invalid_api_key", "looks_refused", "http_401", "http_403", "account_deactivated"})
_TODO = (
    dict.fromkeys(QUOTA_CODES, _QUOTA)
    | dict.fromkeys(KEY_CODES, _KEY)
    | {
        "account_deactivated": "the account is closed: contact the provider, or use another key",
        "token_limit_exceeded": "its queue is full: the rest is sent as it empties",
        "rate_limit_exceeded": "too many requests at once: it continues by itself",
        "http_429": "too many requests at once: it continues by itself",
    }
)


def status_in_words(job: JobRow) -> str:  # noqa: PLR0911 (one a status)
    """Return a job's status, the reason, and until when; `next_step` says what to do about it."""
    match job.status:
        case "done" if job.error:
            return f"done, but the target was not written: {job.error}"
        case "done" if job.unpublished:
            why = f": {job.publish_error}" if job.publish_error else ""
            return f"done and built here, not published to {job.target}{why}"
        case "done" if job.failed:
            return f"done, {counted(job.failed, 'request')} failed"
        case "blocked" if job.blocked_code == BUDGET and MONTH in (job.blocked or "") and job.paused_until:
            return (
                f"blocked: {job.blocked}; nothing more is sent before {job.paused_until:%Y-%m-%d} unless that is raised"
            )
        case "blocked" if job.failing or job.refused or job.blocked_code == "budget":
            # The next step stands beside it.
            return f"blocked: {(job.blocked or '').partition('; sqlbatch ')[0]}; nothing more is sent until you say so"
        case "blocked":
            return _blocked(job)
        case "cancelled":
            return f"cancelled; {counted(job.answered, 'answer')} kept"
        case "superseded":
            return f"superseded: job {job.successor} has the target {job.target} now"
        case status:
            return status


def sends(job: JobRow) -> bool:
    """Return whether a job's unanswered requests are sent again, or were; not if it was given up."""
    return job.status not in {"cancelled", "superseded"}


def batch_in_words(batch: BatchRow, *, sending: bool = True) -> str:
    """Return what became of a batch; `sending` is false if its job was given up, and sends nothing again."""
    told = [_state_in_words(batch, sending=sending)]
    if batch.gone:
        told.append(f"{counted(batch.gone, 'paid result')} gone at the provider: sqlbatch retry asks, and pays, again")
    if batch.doubled:
        told.append(
            f"it appeared after it was given up, when {counted(batch.doubled, 'request')} of it had been sent again: "
            "cancelled as a duplicate, its answers kept"
        )
    elif batch.adopted:
        told.append("its reply was lost, it was found at the provider and not sent twice")
    if batch.taken_from:
        told.append(f"its upload was taken over from {name_of(batch.taken_from)}")
    return "; ".join(told)


def notable(batch: BatchRow) -> bool:
    """Return whether there is more to say about a batch than its counts."""
    plain = batch.state == "open" or (batch.state == "loaded" and batch.status == "completed")
    return not plain or bool(batch.gone or batch.doubled or batch.adopted or batch.taken_from)


def tried_again(job: JobRow, again: Sequence[Again]) -> str:
    """Return which requests of a job failed at first, why, and what became of them."""
    told = []
    for each in again:
        became = nonzero(
            (each.answered, "answered since"),
            (each.open, "open" if sends(job) else "not asked again"),
            (each.given_up, f"given up after {counted(each.tries, 'attempt')}"),
        )
        told.append(f"{each.requests:,} for {each.code} ({', '.join(became)})")
    return f"{'; '.join(told)}; up to {counted(job.max_attempts, 'attempt')} each"


def clock_time(moment: datetime) -> str:
    """Return a time as a person reads it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _blocked(job: JobRow) -> str:
    todo = _TODO.get(job.blocked_code or "")
    where = label(job.provider, job.base_url)
    until = f" until {clock_time(job.paused_until)}" if job.paused_until else ""
    return f"waiting{until}: {job.blocked}" + (f" ({where}: {todo})" if todo else "")


def _state_in_words(batch: BatchRow, *, sending: bool) -> str:  # noqa: PLR0911, PLR0912 (one a state)
    error = batch.error or "it did not say why"
    match batch.state, batch.status:
        case "planned", _:
            return "planned, not sent yet" + (f" (the last try: {batch.error})" if batch.error else "")
        case "asking", _:
            return "asked now, through the ordinary endpoint"
        case "abandoned", _ if batch.error_code == "asked_at_once":
            return batch.error or "asked at once"
        case "uploading", _:
            return "its file is being uploaded" + (f" (the last try: {batch.error})" if batch.error else "")
        case "creating", _:
            return "sent, no reply yet: sqlbatch looks for the batch at the provider before it sends anything again"
        case "fenced", _:
            until = f" until {clock_time(batch.fenced_until)}" if batch.fenced_until else ""
            return f"sent, but not found at the provider: waiting{until} in case it still appears"
        case "abandoned", _ if batch.error_code == "cancelled":
            return "cancelled before it was sent"
        case "abandoned", _ if batch.error_code == "given_up":
            return "given up: its requests can be sent again, and results that appear later are loaded"
        case "abandoned", _ if batch.error_code == "never_made":
            return "its reply was lost and it was never made: its requests went out in another batch"
        case "abandoned", _:
            return f"rejected, nothing ran: {error}"
        case "open", status:
            return f"at the provider: {status}, {batch.done:,} of {batch.requests:,} done"
        case "ended", status:
            return f"{status} at the provider, not loaded yet"
        case _, "completed":
            return "done"
        case _, "expired":
            return f"expired after its 24 hours: {batch.answered:,} answered and kept" + _again(batch, sending=sending)
        case _, "cancelled":
            return f"cancelled: {batch.answered:,} answered by then and kept" + _again(batch, sending=sending)
        case _, "failed" if batch.error_code == "token_limit_exceeded":
            return f"rejected, nothing ran: the provider's queue limit was reached ({error})"
        case _, "failed":
            return f"failed validation, nothing ran: {error}"
        case state, status:
            return f"{state} ({status})"


def _again(batch: BatchRow, *, sending: bool) -> str:
    more = " (sent again within the job's attempts)" if sending else ""
    return f", {batch.again:,} not{more}" if batch.again else ""


# How a job that was given up continues.
GOING_ON = "the same enrich continues from there: it sends only unanswered requests"


def next_step(job: JobRow, at: str = "") -> str:  # noqa: PLR0911 (one a state)
    """Return what to do next about a job; `at` is the option that names its database, if it is not the usual one."""
    match job.status:
        case "running":
            return f"{_run('wait', job, at)} follows it to its end"
        case "blocked":
            return _unblock(job, at)
        case "superseded":
            return f"sqlbatch show {job.successor}{at} shows the job that has its target now"
        case "cancelled" if job.answered and job.newest == job.job_id and job.kept:
            return f"{_run('load', job, at)} writes what was answered; the same enrich continues from there"
        case "cancelled":
            return GOING_ON
        case _ if job.newest != job.job_id:
            return f"sqlbatch show {job.newest}{at} shows the job that has its target now"
        case _ if job.error:
            return f"{_run('load', job, at)} once the name is free, or with --replace in its place"
        case _ if job.unpublished:
            return f"{_run('publish', job, at)} brings its rows to {job.target}"
        case _ if job.failed and job.kept:
            return f"{_run('show', job, at)} --failures says why, {_run('retry', job, at)} asks again"
        case _ if job.failed:
            return f"{_run('show', job, at)} --failures says why, the same enrich with --fresh asks all again"
        case _ if job.place:
            return f"sqlbatch query {shlex.quote(f'FROM sqlbatch.built_{job.job_id}')}{at} reads the rows here"
        case _:
            return f"sqlbatch query {shlex.quote(f'FROM {job.target}')}{at}"


def needs_somebody(job: JobRow) -> bool:
    """Return whether a job needs a person to do more than read its target."""
    failed = job.status == "done" and bool(job.failed or job.error)
    return job.open or job.unpublished or (failed and job.newest == job.job_id)


def _unblock(job: JobRow, at: str) -> str:
    wait = _run("wait", job, at)
    if job.failing:
        return f"{_run('show', job, at)} --failures says why, {wait} --keep-going continues anyway"
    if job.blocked_code == BUDGET:
        raised = f"raise month under [budget] in sqlbatch.toml, or leave it to the next month; then {wait}"
        return raised if MONTH in (job.blocked or "") else f"{wait} --max-cost USD allows more"
    if job.blocked_code in KEY_CODES:
        return f"set the right key, then {wait}"
    if job.refused:
        return f"once that is fixed, {wait} continues"
    if job.blocked_code in QUOTA_CODES:
        return f"check the account's billing, then {wait}"
    return f"it continues by itself with {wait}, or with sync"


def _run(command: str, job: JobRow, at: str) -> str:
    return f"sqlbatch {command} {job.job_id}{at}"
