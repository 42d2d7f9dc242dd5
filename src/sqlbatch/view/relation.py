"""A table or view for a page: its columns, how each is shown, and the job that wrote it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import DatabaseError, InvalidQuery
from sqlbatch.query import target
from sqlbatch.query.confidence import COLUMN
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.view.site import NotFound, part
from sqlbatch.view.values import Column, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from sqlbatch.db.session import Session

# The most seconds that a page may read: a condition can be as slow as its author likes.
PATIENCE = 30.0
# The columns at the end of every target of ours.
STATUS = ("custom_id", "ai_status", "ai_error", "ai_model", COLUMN)


@dataclass(frozen=True)
class Table:
    """A table or view of the database.

    The rows of a view (`is_view`) have no ids, so none has a page of its own. `job_id` is the job that wrote the table,
    `asked` that job's enrichment; both are None for a table of the user's own.
    """

    schema: str
    name: str
    sql: str
    is_view: bool
    columns: tuple[Column, ...]
    job_id: int | None
    asked: Enrichment | None

    @property
    def path(self) -> str:
        """The path of its page."""
        return f"/tables/{part(self.schema)}/{part(self.name)}"

    @property
    def shown_name(self) -> str:
        """Its name, with the schema unless it is the default one."""
        return self.name if self.schema == "main" else f"{self.schema}.{self.name}"

    def column(self, name: str | None) -> Column | None:
        """Return a column by its name."""
        return next((column for column in self.columns if column.name == name), None)

    def sureness(self, name: str | None) -> str | None:
        """Return SQL of how sure the model was of a column's value, None if the table does not have that."""
        numbers, column = self.column(COLUMN), self.column(name)
        if numbers is None or numbers.part != "status" or column is None or column.part != "answer":
            return None
        return f"struct_extract({numbers.sql}, {quote_literal(column.name)})"

    def order(self, name: str | None) -> str | None:
        """Return SQL of the sort key in an address: a column, or `ai_confidence.` and a column; None for neither."""
        column = self.column(name)
        return column.sql if column is not None else self.sureness((name or "").removeprefix(f"{COLUMN}."))

    @property
    def has_status(self) -> bool:
        """Whether its rows have a status."""
        return self.column("ai_status") is not None

    @property
    def has_answers(self) -> bool:
        """Whether it has columns that a model returned."""
        return any(column.part == "answer" for column in self.columns)


def find_table(session: Session, request: Request) -> Table:
    """Return the table or view that an address names; raise NotFound if there is none that may be shown."""
    schema, name = request.path_params["schema"], request.path_params["table"]
    where = {"catalog": session.catalog, "schema": schema, "name": name}
    found = session.run("target.find", where) if schema != "sqlbatch" else []
    if not found:
        raise NotFound(f"there is no table {name[:80]} in the schema {schema[:80]}")
    named = target.Target(schema, name)
    sql = named.qualified(session.catalog)
    existing = target.look_up(session, named)
    job_id = existing.job_id if existing is not None else None
    asked = None
    if job_id is not None:
        asked = Enrichment.from_json(session.run("target.previous", {"job_id": job_id})[0][1])
    answers: set[str] = set()
    # The answers of AI functions are within the query's own columns.
    if asked is not None and not session.run("functions.plan", {"job_id": job_id}):
        answers = {column.name for column in read_returns(asked.endpoint, asked.returns).columns}
    pictures = set(asked.images) if asked is not None else set()
    described = [(name, str(kind)) for name, kind, *_ in session.sql(f"DESCRIBE {sql}")]
    # A user's column called rowid hides the id of each row.
    has_places = found[0][0] == "table" and all(name.casefold() != "rowid" for name, _ in described)
    columns = tuple(
        Column(column, kind, kind_of(column, kind, pictures), _part(column, answers, ours=job_id is not None))
        for column, kind in described
    )
    return Table(schema, name, sql, not has_places, columns, job_id, asked)


def _part(name: str, answers: set[str], *, ours: bool) -> str:
    if ours and name in STATUS:
        return "status"
    return "answer" if name in answers else "yours"


@contextmanager
def reading(session: Session) -> Iterator[threading.Event]:
    """Read in one transaction that cannot write, for a limited number of seconds; yield whether they are over."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        session.con.interrupt()

    timer = threading.Timer(PATIENCE, stop)
    timer.daemon = True
    session.sql("BEGIN TRANSACTION READ ONLY")
    timer.start()
    try:
        yield late
    except DatabaseError as error:
        if late.is_set():
            raise too_late() from error
        raise
    finally:
        timer.cancel()
        session.con.execute("ROLLBACK")


def too_late() -> InvalidQuery:
    """Return the error of a query that was stopped because it took too long."""
    return InvalidQuery(f"that took longer than {PATIENCE:.0f} seconds: make the condition simpler")
