"""The command that lists the jobs. It must be quick, so it does not import what runs a job's steps."""

from __future__ import annotations

from sqlbatch import display
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import at, existing
from sqlbatch.db import jobs as state


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
