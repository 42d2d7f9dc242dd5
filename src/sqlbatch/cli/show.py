"""The commands that show the jobs: all of them; one, its failures, one of its requests.

To list them must be quick, so nothing is imported here that runs a job's steps.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sqlbatch import display
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import at, existing
from sqlbatch.db import jobs as state
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow


@command
def jobs(db: opt.Db = None, as_json: opt.Json = False) -> int:
    """List the jobs, one line each, the newest first.

    Example: sqlbatch jobs --json
    """
    database = existing(db)
    with database.kept_open():
        with database.session(migrate=False) as session:
            ours = session.has_schema()
        found = database.read(state.rows) if ours else []
        ids = [job.job_id for job in found]
        spent = database.read(lambda session: state.spent(session, ids)) if found else {}
        promised = database.read(lambda session: state.promised(session, ids)) if found else {}
    if as_json:
        money = {job_id: {"quoted": quoted, "reserved": kept} for job_id, (quoted, kept) in promised.items()}
        listed = [
            display.job.job_json(job, at(database)) | {"dollars": spent.get(job.job_id, 0.0)} | money[job.job_id]
            for job in found
        ]
        display.print_json(listed)
    elif found:
        display.job.show_jobs(found, spent, promised, at(database))
    else:
        display.info(f"{database.name} has no job yet: sqlbatch enrich starts one")
    return display.Exit.DONE


@command
def show(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    failures: Annotated[
        bool, opt.flag("--failures", "Why requests failed, and for which rows; with --json each request.")
    ] = False,
    limit: Annotated[int, opt.option("--limit", "N", "How many of them.", default="20", min=1)] = 20,
    request: Annotated[
        str | None, opt.option("--request", "CUSTOM_ID", "Print one request and what came back for it, as JSON.")
    ] = None,
    request_files: Annotated[
        Path | None, opt.option("--request-files", "DIR", "Write the request files as they are sent.")
    ] = None,
    as_json: opt.Json = False,
) -> int:
    """Show a job: its state, batches, tokens, cost, and failures by reason.

    Example: sqlbatch show movie_tags --failures
    """
    from sqlbatch import inspection  # noqa: PLC0415 (it takes longer than to list the jobs)

    if sum((failures, request is not None, request_files is not None)) > 1:
        raise InvalidSettings("--failures, --request and --request-files each show something else: give one of them")
    database = existing(db)
    with database.session() as session:
        found = state.find(session, job)
        if request is not None:
            display.print_json(inspection.show_request(session, found, request))
            return display.Exit.DONE
        if failures:
            if as_json:
                listed = inspection.failed_requests(session, found, limit)
                display.print_json([each.as_dict() for each in listed])
            else:
                display.job.show_failures(found, inspection.failure_reasons(session, found), limit)
            return display.Exit.DONE
    if request_files is None:
        _show(database, found, as_json=as_json)
        return display.Exit.DONE
    paths = [str(path) for path in inspection.write_request_files(database, found, request_files)]
    if as_json:
        display.print_json(paths)
    else:
        for path in paths:
            display.out().print(display.plain(path), soft_wrap=True)
    return display.Exit.DONE


def _show(database: Database, job: JobRow, *, as_json: bool) -> None:
    with database.session() as session:
        batches = state.batches(session, job.job_id)
        failures = state.failures(session, job.job_id)
        billed = state.billed(session, job.job_id)
        again = state.tried_again(session, job.job_id)
    if as_json:
        sending = display.status.sends(job)
        more = {
            "batches": [
                batch.as_dict() | {"says": display.status.batch_in_words(batch, sending=sending)} for batch in batches
            ],
            "not_at_once": [asdict(each) for each in again],
            "failures": [{"code": code, "requests": count, "example": text} for code, count, text in failures],
        }
        display.print_json(display.job.job_json(job, at(database), billed) | more)
    else:
        display.job.show_job(job, batches, failures, billed, again, at(database))
