"""The schema `sqlbatch` of a database: its version, and the migrations that bring it up to date."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import DatabaseError
from sqlbatch.named_sql import read_sql, sql_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.session import Session


def refuse_newer(session: Session, database: str) -> int:
    """Return the schema's version (0: none yet); raise DatabaseError if a newer sqlbatch made it."""
    version = session.run("database.version")[0][0] if session.has_schema() else 0
    newest = migrations()[-1][0]
    if version > newest:
        raise DatabaseError(
            f"{database}: its schema sqlbatch has version {version}, made by a newer sqlbatch; this one knows "
            f"versions up to {newest}: upgrade sqlbatch"
        )
    return int(version)


def bring_up_to_date(session: Session, database: str) -> None:
    """Create the schema, or run its missing migrations, in one transaction.

    Raise DatabaseError as refuse_newer does.
    """
    version = refuse_newer(session, database)
    pending = [migration for migration in migrations() if migration[0] > version]
    if not pending:
        return
    back = session.sql("SELECT current_schema()")[0][0]
    catalog = quote_identifier(session.catalog)
    with _written_at_once(session), session.transaction():
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {catalog}.sqlbatch")
        # Views find their tables in their own schema, so they work even if the file is renamed.
        session.sql(f"USE {catalog}.sqlbatch")
        # A new file gets the final schema at once, which takes a third of the time.
        for text in [f"migrations/{name}" for _, name in pending] if version else ["schema.sql"]:
            session.sql(read_sql(text))
        numbers, names = zip(*pending, strict=True)
        session.run("database.migrated", {"versions": list(numbers), "names": list(names), "now": clock.now()})
    session.sql(f"USE {catalog}.{quote_identifier(back)}")


@contextmanager
def _written_at_once(session: Session) -> Iterator[None]:
    """Make commits write the file itself and no WAL: DuckDB 1.5 cannot open a WAL that alters a table with defaults."""
    before = session.sql("SELECT current_setting('checkpoint_threshold')")[0][0]
    session.sql("SET checkpoint_threshold = '0KB'")
    try:
        yield
    finally:
        session.sql(f"SET checkpoint_threshold = {quote_literal(before)}")


def migrations() -> list[tuple[int, str]]:
    """Return the migrations, as number and file name, in order."""
    names = sorted(entry.name for entry in (sql_folder() / "migrations").iterdir() if entry.name.endswith(".sql"))
    return [(int(name.partition("_")[0]), name) for name in names]
