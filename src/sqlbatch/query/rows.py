"""Rows passed instead of a query: relations, DataFrames, Arrow data, lists of dicts, a pipe.

They are written once to the scratch database, where DuckDB keeps every type. So a request has the same id from the
command line as from Python, and a source that can be read only once is read only once.
"""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from sqlbatch.db.database import Database, scratch_name
from sqlbatch.db.session import Session
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidQuery
from sqlbatch.query.select import bind, invalid_query, one_select, with_where

# The name of an attached scratch file, and of a relation's view, on the connection that the relation belongs to.
_CATALOG, _VIEW = "sqlbatch_handed_over", "sqlbatch_relation"
# The prefix of a file that COPY is writing.
_WRITTEN = re.compile(r"\bTO\s+\Z", re.IGNORECASE)
# Files that can be read only once; but a query is read when it is bound, and again when it runs.
_PIPE = re.compile(r"'(/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+)'")


@dataclass(frozen=True)
class KeptRows:
    """Rows that another engine keeps in files.

    The query that reads the columns to send, each row with its number REF.
    """

    query: str


def described(rows: object) -> str:
    """Return the text stored as the query of passed rows; it is the same for the same kind of rows."""
    if rows is None:
        raise InvalidQuery("None cannot be read as rows: give a SELECT, a DataFrame, a relation")
    if isinstance(rows, duckdb.DuckDBPyRelation):
        # The text of a relation over a DataFrame contains its address.
        return re.sub(r"\b(0x[0-9a-fA-F]+|\d{10,})\b", "…", rows.sql_query())
    kind = f"{type(rows).__module__.partition('.')[0]} {type(rows).__name__}".removeprefix("builtins ")
    names: Any = _names(rows) if isinstance(rows, Sequence) else getattr(getattr(rows, "schema", None), "names", None)
    if names is None or callable(names):
        # DataFrames have their names in `columns`.
        names = getattr(rows, "columns", ())
    return f"{kind} ({', '.join(map(str, names))})"


def query_of(database: Database, query: str, rows: object, scratch: Path, where: str | None = None) -> str:
    """Return a query that can run more than once; rows that were passed are in the scratch file by then.

    `rows` are the passed rows, None for a query, which already includes the condition `where`. Raises InvalidQuery if
    rows cannot be read.
    """
    if isinstance(rows, KeptRows):
        return rows.query
    given = rows is not None
    con = database.connection
    if rows is None and con is not None and _has_temporary(con):
        # Only the connection itself sees its temporary tables and registered DataFrames.
        select = one_select(Session(con, "", owned=False), query)
        bind(Session(con, "", owned=False), select)
        rows = con.sql(select)
    if rows is None:
        return without_pipes(query, scratch.parent)
    try:
        if isinstance(rows, duckdb.DuckDBPyRelation):
            _write_relation(rows, scratch)
        else:
            _write_data(rows, scratch)
    except duckdb.Error as error:
        raise invalid_query(error, query, what="the rows") from error
    found = f"FROM {scratch_name(scratch)}.main.passed_rows"
    return with_where(found, where) if given and where is not None else found


def _has_temporary(con: duckdb.DuckDBPyConnection) -> bool:
    found = con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE temporary UNION ALL "
        "SELECT 1 FROM duckdb_views() WHERE temporary AND NOT internal LIMIT 1"
    )
    return bool(found.fetchall())


def _write_relation(relation: duckdb.DuckDBPyRelation, scratch: Path) -> None:
    """Write a relation's rows on its own connection.

    Python does not expose that, so the SQL runs through the relation.
    """

    def run(sql: str) -> list[Any]:
        result = relation.query(_VIEW, sql)
        return result.fetchall() if result is not None else []

    # Outside a transaction, each statement has its own. Writing in the user's own transaction would abort it.
    if run("SELECT txid_current()") == run("SELECT txid_current()"):
        raise InvalidQuery("the relation's connection has an open transaction: commit it first")
    run(f"ATTACH {quote_literal(str(scratch))} AS {_CATALOG}")
    try:
        run(f"CREATE TABLE {_CATALOG}.main.passed_rows AS FROM {_VIEW}")
    finally:
        run(f"DETACH {_CATALOG}")
        # DuckDB 1.5 leaves the view behind.
        run(f"DROP VIEW IF EXISTS temp.{_VIEW}")


def _write_data(rows: Any, scratch: Path) -> None:
    with duckdb.connect(str(scratch)) as con:
        if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
            names = _names(rows)
            # One list per column: DuckDB finds one type for its values, and a dict without the key has NULL there.
            values = {f"c{number}": [row.get(name) for row in rows] for number, name in enumerate(names)}
            columns = [f"unnest(${each}) AS {quote_identifier(str(n))}" for each, n in zip(values, names, strict=True)]
            con.execute(f"CREATE TABLE passed_rows AS SELECT {', '.join(columns)}", values)
            return
        sqlbatch_rows = rows
        try:
            con.execute("CREATE TABLE passed_rows AS FROM sqlbatch_rows")
        except (duckdb.InvalidInputException, duckdb.CatalogException) as error:
            if "sqlbatch_rows" not in str(error):
                raise
            kind = type(sqlbatch_rows).__name__
            hint = " (DuckDB reads it with pyarrow: install that)" if "pyarrow" in str(error) else ""
            raise InvalidQuery(
                f"a {kind} cannot be read as rows{hint}: give a SELECT, the Path of a .sql file, a DuckDB relation, a "
                "DataFrame (pandas, polars), an Arrow table or reader, or a list of dicts"
            ) from error


def _names(rows: Sequence[Any]) -> list[object]:
    """Return the keys of dicts in the order of their first occurrence."""
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        what = "it is empty" if not rows else "an element is not a dict"
        raise InvalidQuery(f"a list of rows must have one dict per row, and {what}")
    return list(dict.fromkeys(name for row in rows for name in row))


def without_pipes(query: str, folder: Path) -> str:
    """Return a query whose pipes are copied to files, because DuckDB reads a query's files more than once.

    Raises InvalidQuery if one cannot be read.
    """

    def copied(found: re.Match[str]) -> str:
        if _WRITTEN.search(query, 0, found.start()):
            return found[0]
        copy = folder / f"piped-{re.sub(r'[^0-9a-z]', '', found[1])}"
        try:
            if stat.S_ISREG(Path(found[1]).stat().st_mode):
                return found[0]
            if not copy.exists():
                with Path(found[1]).open("rb") as source, copy.open("wb") as file:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise InvalidQuery(f"the query reads {found[1]}, which cannot be read: {error.strerror}") from None
        return quote_literal(str(copy))

    return _PIPE.sub(copied, query)
