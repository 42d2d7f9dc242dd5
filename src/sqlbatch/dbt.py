"""An enrichment as a model of a dbt-duckdb project: `dbt run` plans and submits, a later `dbt run` writes the answers.

    # models/genres.py
    import sqlbatch.dbt

    def model(dbt, session):
        return sqlbatch.dbt.enrich(dbt, session, dbt.ref("films"), input="overview", …)

The state lies in a DuckDB file of its own beside the project's, for dbt has that one open while it runs.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any, Unpack

import duckdb

from sqlbatch import api
from sqlbatch.db.sql import quote_literal
from sqlbatch.display.status import status_in_words
from sqlbatch.errors import InvalidQuery, JobError
from sqlbatch.lake.exchange import Kind, arriving, carried, select_list
from sqlbatch.paths import state_dir
from sqlbatch.python_messages import speaking_python
from sqlbatch.query.target import parse_target

if TYPE_CHECKING:
    from sqlbatch.api import AskOptions
    from sqlbatch.job import Job


@speaking_python
def enrich(
    dbt: Any,
    session: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    *,
    wait: bool = False,
    max_attempts: int | None = None,
    max_cost: float | None = None,
    yes: bool = False,
    **given: Unpack[AskOptions],
) -> duckdb.DuckDBPyRelation:
    """Submit the new rows of a model, load answers, and return all rows with the answers so far.

    `dbt` and `session` are the arguments of a dbt Python model, `rows` is the result of `dbt.ref` or `dbt.source`. Rows
    without an answer yet have the `ai_status` pending; a later `dbt run` fills them in. With `wait`, dbt waits for up
    to a day. All other arguments, and the errors, are those of `sqlbatch.enrich`; `into` defaults to the model's name.
    """
    if not isinstance(rows, duckdb.DuckDBPyRelation):
        raise InvalidQuery(f"a {type(rows).__name__} is no relation: give what dbt.ref or dbt.source returns")
    given["into"] = given.get("into") or str(dbt.this.identifier)
    # A separate connection has no transaction of dbt's, and sees what earlier models have committed.
    own = session.cursor()
    read = own.sql(rows.sql_query())
    job = api.enrich(read, max_attempts=max_attempts, max_cost=max_cost, yes=yes, replace=False, **given)
    if wait:
        job.wait(progress=False)
    else:
        _advance(job)
    own.close()
    return _rows(session, job)


def _advance(job: Job) -> None:
    """Write partial results if the job is not done, and report its status; `enrich` has done a step.

    The local server works only while this process does, so for it a step is the whole job.
    """
    row = job.status()
    if row.open and row.provider == "local":
        row = job.step(progress=False)
    if row.error:
        raise JobError(row.error)
    if row.status != "done":
        job.load()
        sys.stderr.write(
            f"sqlbatch: {row.target}: job {row.job_id} is {status_in_words(row)}, {row.answered:,} of {row.requests:,} "
            "requests answered; the next dbt run loads more\n"
        )


def _rows(session: duckdb.DuckDBPyConnection, job: Job) -> duckdb.DuckDBPyRelation:
    """Return a job's table on dbt's connection, through a file: the state is not open while dbt continues."""
    database, target = job.database, job.status().target
    folder = state_dir(database) / "dbt"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(target.encode()).hexdigest()[:16]}.parquet"
    with database.session() as state:
        table = parse_target(target, state.catalog).qualified(state.catalog)
        columns = carried(state.con, table, Kind.DUCKDB)
        state.sql(f"COPY (SELECT {select_list(columns)} FROM {table}) TO {quote_literal(str(path))} (FORMAT parquet)")
    return session.sql(f"SELECT {arriving(columns)} FROM read_parquet({quote_literal(str(path))})")
