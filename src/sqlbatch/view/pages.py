"""The pages about jobs: all jobs, one with its batches, why requests failed, and one request in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch import clock, display, inspection
from sqlbatch.batches import render
from sqlbatch.db import jobs as state
from sqlbatch.db.prices import in_dollars
from sqlbatch.db.sql import quote_identifier
from sqlbatch.query import target, target_rows
from sqlbatch.view.site import address, number, page, part

if TYPE_CHECKING:
    from datetime import datetime

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.view.site import Visit

# Failed requests on a page: each is shown with its whole body.
FAILURES = 20
# Jobs on the first page, newest first.
JOBS = 100
# The most characters of a text in a request's body: a picture in base64 has a million.
LONGEST_TEXT = 4_000
# Requests that must be done before their speed predicts the end.
ENOUGH = 5


@page("jobs.html")
def jobs(visit: Visit) -> dict[str, Any]:
    """Show all jobs."""
    found = state.rows(visit.session)[:JOBS]
    spent = state.spent(visit.session, [job.job_id for job in found])
    listed = [_summary(visit, job, spent.get(job.job_id, 0.0)) for job in found]
    return {"jobs": listed, "live": any(job.open for job in found)}


def _summary(visit: Visit, job: JobRow, dollars: float | None) -> dict[str, Any]:
    done, left = _under_way(visit.session, job) if job.open else (0, None)
    return {
        "job": job,
        # The counts and the bar show the rest.
        "says": display.status.status_in_words(job) if job.error or job.status not in {"running", "done"} else None,
        "next": display.status.next_step(job, visit.site.at),
        "where": display.job.where(job),
        "cost": "no price known" if dollars is None else in_dollars(0.0 if job.provider == "local" else dollars),
        "done": done,
        "left": left,
        "table": table_path(visit.session, job.target),
    }


def table_path(session: Session, name: str) -> str | None:
    """Return the path of a table's or view's page, None if there is no table of this name."""
    named = target.parse_target(name, session.catalog)
    found = session.run("target.find", {"catalog": session.catalog, "schema": named.schema, "name": named.name})
    return f"/tables/{part(named.schema)}/{part(named.name)}" if found else None


def _under_way(session: Session, job: JobRow) -> tuple[int, str]:
    """Return how many requests the provider has done that are not loaded yet, and when the rest will be done."""
    done, began, stages = session.run("view.under_way", {"job_id": job.job_id})[0]
    done = min(done, job.pending)
    return done, _left(job, done, began, several=stages > 1)


def _left(job: JobRow, done: int, began: datetime | None, *, several: bool) -> str:
    """Return when the rest of a job will be done, judged by its speed so far."""
    if job.status == "blocked":
        return "waiting"
    settled = job.answered + job.failed + done - job.reused
    seconds = (clock.now() - began).total_seconds() if began is not None else 0.0
    if settled < ENOUGH or seconds < 1:
        return "too early to say when; a batch may take up to 24 hours" if job.provider != "local" else "starting"
    rest = seconds / settled * (job.pending - done)
    return f"about {_duration(rest)} left" + (" of the requests known so far" if several else "")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return display.counted(max(round(seconds), 1), "second")
    if seconds < 5_400:
        return display.counted(round(seconds / 60), "minute")
    return display.counted(round(seconds / 3_600), "hour")


@page("job.html")
def job(visit: Visit) -> dict[str, Any]:
    """Show one job."""
    session, found = visit.session, _find(visit)
    billed, again = state.billed(session, found.job_id), state.tried_again(session, found.job_id)
    facts = display.job.job_facts(found, billed, again, visit.site.at)
    asked = json.loads(found.enrichment)
    return {
        **_summary(visit, found, state.spent(session, [found.job_id]).get(found.job_id, 0.0)),
        "facts": {name: facts[name] for name in facts if name not in {"job", "next", "status"}},
        "asked": {name: asked.get(name) for name in ("instructions", "prompt", "returns") if asked.get(name)},
        "batches": [
            (each, display.status.batch_in_words(each, sending=display.status.sends(found)))
            for each in state.batches(session, found.job_id)
        ],
        "failures": inspection.failure_reasons(session, found) if found.failed else [],
        "live": found.open,
    }


def _find(visit: Visit) -> JobRow:
    return state.find(visit.session, str(visit.request.path_params["job"]))


@page("failures.html")
def failures(visit: Visit) -> dict[str, Any]:
    """Show a job's failed requests, for one reason or all: rows, request and raw reply."""
    session, found, asked = visit.session, _find(visit), visit.request.query_params
    code, at = asked.get("code"), number(asked.get("page"), 1)
    failed = inspection.failed_requests(session, found, FAILURES, code=code, skip=(at - 1) * FAILURES)
    ids = [each.custom_id for each in failed]
    bodies, missing = render.bodies(session, ids, job_id=found.job_id)
    reasons = state.failures(session, found.job_id)
    of = sum(count for why, count, _ in reasons if code is None or why == code)
    path = f"/jobs/{found.job_id}/failures"
    return {
        "job": found,
        "code": code,
        "page": at,
        "reasons": reasons,
        "failures": [_shortened(each.as_dict()) for each in failed],
        "rows": _asking(session, found, ids),
        "bodies": {custom_id: _shortened(json.loads(body)) for custom_id, _, body in bodies},
        "missing": missing,
        "before": address(path, code=code, page=at - 1 if at > 2 else None) if at > 1 else None,
        "after": address(path, code=code, page=at + 1) if at * FAILURES < of else None,
    }


def _asking(session: Session, job: JobRow, ids: list[str]) -> dict[str, tuple[int, list[tuple[int, Any]]]]:
    """Return how many rows need some requests, and the first few of each, if the job's rows are kept."""
    if not ids or not target_rows.has_snapshot(session, job.job_id):
        return {}
    table = f"{quote_identifier(session.catalog)}.sqlbatch.rows_{job.job_id}"
    columns = [(name, kind) for name, kind, *_ in session.sql(f"DESCRIBE {table}") if name != "sqlbatch_row"]
    texts = ", ".join(f"{quote_identifier(name)} := {_text(name, kind)}" for name, kind in columns)
    found = session.run("view.asking", {"ids": ids}, job=str(job.job_id), row=f"struct_pack({texts})")
    return {
        custom_id: (count, [(place, json.loads(values)) for place, values in zip(places, rows, strict=True)])
        for custom_id, count, places, rows in found
    }


def _text(name: str, kind: str) -> str:
    """Return SQL of a short text for a row's value."""
    column = f"r.{quote_identifier(name)}"
    if "BLOB" in kind:
        return f"CASE WHEN {column} IS NOT NULL THEN 'bytes' END"
    return f"left({column}::VARCHAR, {LONGEST_TEXT})"


@page("request.html")
def one_request(visit: Visit) -> dict[str, Any]:
    """Show one request: its body, and all its results."""
    found = _find(visit)
    shown = inspection.show_request(visit.session, found, visit.request.path_params["custom_id"])
    rows = _asking(visit.session, found, [str(shown["custom_id"])])
    return {"job": found, "rows": rows, "request": _shortened(shown)}


def _shortened(value: Any) -> Any:
    """Return a JSON value with its long texts shortened."""
    if isinstance(value, str):
        cut = len(value) - LONGEST_TEXT
        return value if cut <= 0 else f"{value[:LONGEST_TEXT]}… ({cut:,} characters more)"
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    return [_shortened(each) for each in value] if isinstance(value, list) else value


READ = {
    "/": jobs,
    "/jobs/{job:int}": job,
    "/jobs/{job:int}/failures": failures,
    "/jobs/{job:int}/requests/{custom_id}": one_request,
}
