"""The Python API's Job: wait for it, read its table, retry or cancel it; find it again by number or target name."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from dataclasses import fields
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

import duckdb

from sqlbatch import connection, display, job_actions, layout, options, prepare, run
from sqlbatch import finish_now as remainders
from sqlbatch.db import jobs as state
from sqlbatch.db.database import Database
from sqlbatch.db.duckdb_errors import wrapped
from sqlbatch.display import notebook
from sqlbatch.display.status import next_step, status_in_words
from sqlbatch.errors import DatabaseError, InvalidSettings, JobError, SqlbatchError
from sqlbatch.lake import publishing
from sqlbatch.python_messages import speaking_python
from sqlbatch.query import quote
from sqlbatch.query.target import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlbatch.batches.events import Event
    from sqlbatch.db.jobs import JobRow
    from sqlbatch.query.cost import Cost

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
AnyJob = TypeVar("AnyJob", bound="Job")
# The user's database: a path, a connection, or None for the configured one.
Db = str | os.PathLike[str] | duckdb.DuckDBPyConnection | None


def check_cost(cost: Cost, over: str | None, sent: str, *, yes: bool, agree: str = "yes=True") -> None:
    """Raise InvalidSettings unless the cost is within the budgets and agreed to.

    `over` says why a budget forbids it (None: none does), `sent` what would be sent, and `agree` which argument agrees
    to it.
    """
    if over is not None:
        raise InvalidSettings(over)
    if cost.must_be_agreed and not yes:
        raise InvalidSettings(f"{sent}, {cost.in_words()}: pass {agree} to spend it")


def acting(method: Callable[Concatenate[AnyJob, Given], Returned]) -> Callable[Concatenate[AnyJob, Given], Returned]:
    """Make a method of Job hold the job's state while it runs, and name Python's arguments in its errors."""

    @functools.wraps(method)
    def called(job: AnyJob, /, *given: Given.args, **named: Given.kwargs) -> Returned:
        with job._held():  # noqa: SLF001 (a method of the job itself)
            return method(job, *given, **named)

    return speaking_python(called)


class Job:
    """One run of an enrichment: wait for it, check its status, read its table."""

    def __init__(self, database: Database, job_id: int) -> None:
        self._database = database
        self.job_id = job_id

    @property
    def database(self) -> Database:
        """The database that holds the job."""
        return self._database

    def __repr__(self) -> str:
        try:
            job = self.status()
        except DatabaseError as error:
            return f"<Job {self.job_id}: {error}>"
        return f"<Job {job.job_id} {job.target}: {job.status}, {job.answered:,} of {job.requests:,} requests answered>"

    def _repr_html_(self) -> str:
        """Return the job as a notebook shows it: its status, its counts, its failures by reason."""
        try:
            with self._database.session() as session:
                job = state.find(session, str(self.job_id))
                return notebook.job_html(
                    job, state.failures(session, job.job_id), state.billed(session, job.job_id), self._database.name
                )
        except DatabaseError as error:
            return layout.html_facts(f"job {self.job_id}", {"status": str(error)})

    def status(self) -> JobRow:
        """Return the job's current status and its counts of requests."""
        return state.get(self._database, self.job_id)

    @acting
    def step(self, *, progress: bool | None = None) -> JobRow:
        """Run one step (submit what is due, check open batches, load finished ones) and return the job's status.

        `progress` is as for `wait`. Raises DatabaseLocked and ProviderError.
        """
        self._follow(publishing.run_job(self._database, self.job_id, once=True), progress=progress)
        job = self.status()
        if job.status == "done":
            self._bring()
        return job

    @acting
    def wait(
        self,
        *,
        poll: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        progress: bool | None = None,
        keep_going: bool = False,
        finish_now: bool = False,
        yes: bool = False,
    ) -> Self:
        """Run steps until the target is written, and return this job.

        `poll` is the seconds between two status checks (default: short at first, growing to 60). `on_event` is called
        with every event (`sqlbatch.batches.events`). `progress` shows progress, in the notebook cell or else on stderr;
        by default only in a notebook. If you interrupt, the job continues at the provider. If fewer than half of a
        job's first thousand results can be used, it is blocked and sends nothing more until you call
        `wait(keep_going=True)`. Raises JobError if it is blocked, or ends without its target.

        `finish_now` first sends the requests that are in no batch yet to the ordinary endpoint: at most 1,000, at the
        flex price if the model has one. If that may cost more than a dollar, or the price is unknown, pass `yes=True`;
        otherwise InvalidSettings is raised.
        """
        if finish_now:
            self._finish_now(yes=yes, on_event=on_event, progress=progress)
        events = publishing.run_job(self._database, self.job_id, poll=poll, keep_going=keep_going)
        self._follow(events, progress=progress, on_event=on_event)
        job = self.status()
        if job.error:
            raise JobError(job.error)
        if job.status != "done":
            raise JobError(f"job {job.job_id} is {status_in_words(job)}; in a terminal: {next_step(job)}")
        self._bring()
        return self

    def _finish_now(self, *, yes: bool, on_event: Callable[[Event], object] | None, progress: bool | None) -> None:
        """Send the requests that are in no batch yet, and those that their answers lead to in later stages."""
        provider = connection.provider_of(self.status())
        prepare.recover_interrupted(self._database)
        first = True
        while list(run.collect(self._database, self.job_id, provider)) or first:
            first = False
            quoted = remainders.remainder(self._database, self.job_id)
            if not quoted.requests:
                return
            sent = f"{quoted.requests:,} requests would be sent to {provider.name} now"
            check_cost(quoted.cost, quoted.over(), sent, yes=yes)
            self._follow(remainders.ask(self._database, quoted), progress=progress, on_event=on_event)

    @speaking_python
    def table(self) -> duckdb.DuckDBPyRelation:
        """Return the target as a DuckDB relation, for `.df()`, `.fetchall()`, `.filter(…)` and the like.

        If the database was given as a path, the relation keeps the file open as long as it lives. Raises JobError if
        the target is not written yet.
        """
        job = self.status()
        con = self._database.connection
        own = None
        try:
            if con is None:
                con = own = self._database.connect()
            catalog = con.execute("SELECT current_catalog()").fetchall()[0][0]
            return con.sql(f"SELECT * FROM {rows_of(job).qualified(catalog)}")
        except duckdb.Error as error:
            if own is not None:
                own.close()
            if isinstance(error, duckdb.CatalogException):
                raise JobError(
                    f"{job.target} is not written yet: job.wait() first, or job.load() for what is there"
                ) from None
            raise wrapped(error, self._database.name) from error

    @acting
    def load(self, *, replace: bool = False, judge_again: bool = False, structured: str | None = None) -> Self:
        """Write partial results to the target, with missing rows as `pending`, and return this job.

        `replace` allows it to replace a table that sqlbatch did not make. `judge_again` checks stored answers that were
        refused again, without paying; `structured="prompt"` accepts text around their JSON. Raises JobError if a newer
        job owns the target, the job's rows are no longer kept, or there is nothing to check.
        """
        if judge_again:
            job_actions.judge_again(self._database, self.job_id, structured, replacing=replace)
        else:
            job_actions.load(self._database, self.job_id, replacing=replace)
        self._bring(replace=replace)
        return self

    def publish(self, *, replace: bool = False, attach: str | None = None, progress: bool | None = None) -> Job:
        """Copy the finished rows to their target in another database, and return this job.

        `wait()` already does this; call it later if that database was unreachable, or to publish again. `replace`
        allows it to replace a table that sqlbatch did not make. `attach` says how to reach the database now, if that
        has changed. Raises NotPublished if the database does not take the rows; they are kept here.
        """
        if attach is not None:
            self._database.attach = tuple(options.attached([attach]))
        self._follow(publishing.publish(self._database, self.job_id, replacing=replace), progress=progress)
        return self

    @acting
    def retry(self, *, only: str | None = None, yes: bool = False) -> Self:
        """Make the failed requests due again, all or only those with the failure code `only`; then call `wait()`.

        If they may cost more than a dollar, or the price is unknown, pass `yes=True`. Raises JobError if no request
        failed or a newer job owns the target.
        """
        row = self.status()
        provider = connection.provider_of(row)
        if not yes:
            with self._database.session() as session:
                failed, cost = job_actions.retry_cost(session, row, provider, only)
            check_cost(cost, None, f"{failed:,} failed requests would be sent to {provider.name} again", yes=False)
        job_actions.retry(self._database, self.job_id, only)
        return self

    @acting
    def cancel(self, *, give_up: bool = False, progress: bool | None = None) -> Self:
        """Cancel the job, stop its batches unless another job needs them, and return this job.

        Answers received so far are kept and loaded. With `give_up`, it does not wait for batches that never end or that
        the provider has forgotten: their requests can then be sent, and billed, again. Raises JobError if the job is
        done.
        """
        job_actions.cancel(self._database, self.job_id)
        steps = job_actions.give_up if give_up else run.run_job
        self._follow(steps(self._database, self.job_id), progress=progress)
        return self

    def _held(self) -> AbstractContextManager[None]:
        """Return what keeps other processes from the database while a method runs."""
        return contextlib.nullcontext()

    def _bring(self, *, replace: bool = False) -> None:
        """Copy the rows to a target in another database, if the job has one and it lacks them."""
        if publishing.is_due(self._database, self.job_id):
            self._follow(publishing.publish(self._database, self.job_id, replacing=replace), progress=False)

    def _follow(
        self, events: Iterable[Event], *, progress: bool | None, on_event: Callable[[Event], object] | None = None
    ) -> None:
        """Consume events, and show progress if asked to."""
        heard = notebook.interruptible(events if on_event is None else _heard(events, on_event))
        show = notebook.cell() if progress is not False else None
        try:
            if show is not None:
                notebook.follow(heard, f"job {self.job_id}", show, back="job.wait() comes back to it")
            elif progress:
                display.progress.follow(heard)
            else:
                deque(heard, maxlen=0)
        except RuntimeError as error:
            # DuckDB raises this when it is interrupted in the middle of a statement, which it rolls back.
            if "Query interrupted" in str(error):
                raise KeyboardInterrupt from error
            raise


class Quote(quote.Quote):
    """The quote of an enrichment. A notebook shows it as HTML; `print` shows it as the command line does."""

    @classmethod
    def of(cls, plain: quote.Quote) -> Quote:
        """Return the same quote with the methods that show it."""
        return cls(**{field.name: getattr(plain, field.name) for field in fields(plain)})

    def __repr__(self) -> str:
        return notebook.quote_text(self)

    def _repr_html_(self) -> str:
        return notebook.quote_html(self)


@speaking_python
def find(job: str | int | None = None, *, db: Db = None) -> Job:
    """Return a job by its number or its target's name, by default the newest; raise JobError if there is none."""
    database = existing(db)
    row = database.read(lambda session: state.find(session, None if job is None else str(job)))
    return Job(database, row.job_id)


@speaking_python
def jobs(*, db: Db = None) -> list[Job]:
    """Return all jobs of a database, newest first."""
    database = existing(db)
    return [Job(database, row.job_id) for row in database.read(state.rows)]


def existing(db: Db) -> Database:
    """Return an existing database; raise JobError if it does not exist."""
    database = database_of(db)
    if not database.exists():
        raise JobError(
            f"there is no database {database.name} yet: sqlbatch.enrich creates it, or name another with db="
        )
    return database


def database_of(db: Db, attach: str | Sequence[str] | None = None) -> Database:
    """Return the database of a path or connection; raise SqlbatchError if the connection cannot be used."""
    attached = [attach] if isinstance(attach, str) else list(attach or ())
    if not isinstance(db, duckdb.DuckDBPyConnection):
        return options.database(os.fspath(db) if db is not None else None, attached)
    try:
        # Outside a transaction, each statement gets an id of its own. Trying BEGIN instead would break the user's
        # transaction.
        first, second = (db.execute("SELECT txid_current()").fetchall() for _ in range(2))
    except duckdb.Error as error:
        raise SqlbatchError(f"the connection cannot be used: {error}") from error
    if first == second:
        raise InvalidSettings("the connection has an open transaction, which a job would not see: commit it first")
    return Database(connection=db, attach=options.attached(attached))


def _heard(events: Iterable[Event], on_event: Callable[[Event], object]) -> Iterator[Event]:
    for event in events:
        on_event(event)
        yield event
