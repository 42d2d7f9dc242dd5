"""The command that runs the user's own SQL on the database."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import sqlglot
import typer
from sqlglot import exp

from sqlbatch import display, options
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.rows import Format, binds, choose, names_of, write_fetched, write_rows
from sqlbatch.errors import InvalidOption, InvalidQuery, InvalidSettings
from sqlbatch.functions import answers
from sqlbatch.functions.find import mentions_calls
from sqlbatch.query.rows import without_pipes
from sqlbatch.query.select import invalid_query, is_pivot, without_terminator
from sqlbatch.source import read_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session


# sqlglot logs each statement that it does not know; DuckDB is the judge of those.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# Tables of the schema sqlbatch that the user may change.
OPEN_TABLES = frozenset({"prices"})
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Copy)
# Prefixes of a statement that is run later or all the same; sqlglot does not parse what follows them.
_BEFORE = re.compile(r"^\s*(EXPLAIN(\s+ANALYZE\b|\s*\([^)]*\))?|PREPARE\s+\S+(\s*\([^)]*\))?\s+AS)\s", re.IGNORECASE)
_BEGINS, _ENDS = ("begin", "start"), ("commit", "end", "rollback", "abort")


def refuse_open_transaction(statements: list[str]) -> None:
    """Raise InvalidQuery if a transaction is begun and not ended, because nothing of it would be kept."""
    begun = False
    for statement in statements:
        word = _first_word(statement)
        begun = word in _BEGINS or (begun and word not in _ENDS)
    if begun:
        raise InvalidQuery("the SQL starts a transaction and never commits it, so nothing would be kept: add COMMIT")


def refuse_own_tables(session: Session, statement: str) -> None:
    """Raise InvalidQuery if a statement would change sqlbatch's own tables."""
    try:
        trees = [tree for tree in sqlglot.parse(_BEFORE.sub("", statement), dialect="duckdb") if tree is not None]
    except sqlglot.errors.SqlglotError:
        # DuckDB is the judge of statements that sqlglot does not know.
        return
    written = [table for tree in trees for write in tree.find_all(*_WRITES) for table in _changed(write)]
    if not written:
        return
    schema = str(session.sql("SELECT current_schema()")[0][0])
    for table in written:
        name, where = table.name.casefold(), (table.db or schema).casefold()
        if where == "sqlbatch" and name not in OPEN_TABLES:
            raise InvalidQuery(
                f"{f'sqlbatch.{table.name}' if table.name else 'the schema sqlbatch'} is sqlbatch's own record of what "
                "was sent and paid for, and cannot be changed here: sqlbatch --help lists what can be done to a job"
            )


def _changed(write: exp.Expression) -> list[exp.Table]:
    """Return the tables that a statement changes; a whole schema is a table without a name."""
    if isinstance(write, exp.Copy) and not write.args.get("kind"):
        return []
    if isinstance(write, exp.Create) and str(write.args.get("kind")).upper() == "SCHEMA":
        return []
    # DROP and TRUNCATE have a list, because they may name several tables.
    several = write.args.get("tables") or (write.expressions if isinstance(write, exp.TruncateTable) else None)
    targets = several or [write.this]
    targets = [target.this if isinstance(target, exp.Schema) else target for target in targets]
    targets = [target.args.get("table") if isinstance(target, exp.Index) else target for target in targets]
    return [target for target in targets if isinstance(target, exp.Table)]


def _first_word(statement: str) -> str:
    try:
        tokens = sqlglot.tokenize(statement, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return ""
    return tokens[0].text.casefold() if tokens else ""


@command
def query(
    sql: Annotated[str, opt.argument("SQL|FILE|-", "SQL statements, a .sql file, or - for standard input.")],
    db: opt.Db = None,
    attach: opt.Attach = None,
    form: Annotated[
        Format | None,
        opt.option("--format", "FORMAT", "table, csv, json, markdown or parquet.", default="table; in a pipe csv"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the rows to a file; its name may say the format."),
    ] = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Run your own SQL on the database and print the rows of the last statement.

    Example: sqlbatch query "SELECT title, summary FROM movie_tags LIMIT 3"
    """
    source = read_source(sql)
    database = options.database(db, attach, memory_limit, threads, source)
    if as_json and form not in {None, Format.JSON}:
        raise InvalidOption(f"--json and --format {form} are two formats: give one of them")
    chosen = choose(Format.JSON if as_json else form, output)
    if output is not None and database.path is not None and output.resolve() == database.path.resolve():
        raise InvalidSettings(f"--output {output} is the database itself: name another file")
    with (
        tempfile.TemporaryDirectory() as folder,
        _opened(database, text := without_pipes(source.query, Path(folder))) as session,
    ):
        pieces = _pieces(session, text)
        calls = mentions_calls(text) and session.has_schema() and duckdb.__version__.split(".")[0] >= "2"
        if calls:
            answers.provide(session)
        refuse_open_transaction([piece.sql for piece in pieces])
        for piece in pieces:
            refuse_own_tables(session, piece.sql)
        for piece in pieces[:-1]:
            refuse_own_tables(session, piece.sql)
            with _telling(text, piece):
                session.con.execute(piece.sql).fetchall()
        refuse_own_tables(session, pieces[-1].sql)
        _write_last(session, pieces[-1], text, chosen, output)
        if calls and answers.unasked(session):
            display.info("note: some calls were never asked, and are NULL here: sqlbatch plan shows what they cost")
    if output is not None and output.exists():
        display.info(f"wrote {output} ({chosen}, {display.sized(output.stat().st_size)})")
    return display.Exit.DONE


def _opened(database: Database, text: str) -> AbstractContextManager[Session]:
    """Open the database; only a statement that writes creates one."""
    try:
        kinds = {statement.type for statement in duckdb.extract_statements(text)}
    except duckdb.Error:
        kinds = set()
    reading = kinds <= {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    return database.session(migrate=not database.exists() and not reading, attach=True)


@dataclass(frozen=True)
class _Piece:
    """One statement of a text, without its terminator; `before` counts the lines before it."""

    sql: str
    kind: duckdb.StatementType
    before: int


def _pieces(session: Session, text: str) -> list[_Piece]:
    try:
        statements = session.con.extract_statements(text)
    except duckdb.Error as error:
        raise invalid_query(error, text, what="SQL") from error
    if not statements:
        raise InvalidQuery("the SQL is empty: give a statement")
    if is_pivot(statements):
        return [_Piece(without_terminator(text), duckdb.StatementType.MULTI, 0)]
    if not all(statement.query for statement in statements):
        raise InvalidQuery(
            "this version of DuckDB cannot separate a PIVOT without IN from other statements: run it alone"
        )
    pieces, end = [], 0
    for statement in statements:
        start = max(text.find(statement.query, end), end)
        end = start + len(statement.query)
        pieces.append(_Piece(without_terminator(statement.query), statement.type, text[:start].count("\n")))
    return pieces


@contextlib.contextmanager
def _telling(text: str, piece: _Piece, shift: int = 0) -> Iterator[None]:
    """Raise DuckDB's errors about a statement as ours, pointing into the text; `shift` is the lines put before it."""
    try:
        yield
    except duckdb.Error as error:
        raise invalid_query(error, text, shift - piece.before, what="SQL") from error


def _write_last(session: Session, piece: _Piece, text: str, form: Format, output: Path | None) -> None:
    """Print the rows of the last statement; it is executed once, because it may write."""
    select = _select(session, piece, form)
    if select is None:
        with _telling(text, piece):
            result = session.con.execute(piece.sql)
            columns, rows = names_of(result), result.fetchall()
        if form is Format.JSON and output is None and columns in (["Count"], ["Success"]):
            # A script that reads JSON gets JSON even if there are no rows but only a count.
            write_fetched(columns, rows, form, output)
        if columns == ["Count"] and rows:
            display.info(f"done: {rows[0][0]:,} {'row' if rows[0][0] == 1 else 'rows'}")
        elif columns in (["Count"], ["Success"]):
            display.info("done")
        else:
            write_fetched(columns, rows, form, output)
        return
    with _telling(text, piece, 1):
        write_rows(session, select, form, output)


def _select(session: Session, piece: _Piece, form: Format) -> str | None:
    """Return a statement as a SELECT of its rows that can be part of another, or None if it has no rows."""
    select = piece.sql
    writes = {duckdb.StatementType.INSERT, duckdb.StatementType.UPDATE, duckdb.StatementType.DELETE}
    if piece.kind in writes and "returning" in select.casefold():
        # RETURNING makes rows of what was written.
        select = f"WITH sqlbatch_rows AS ({piece.sql}\n) FROM sqlbatch_rows"
    pivot = piece.kind == duckdb.StatementType.MULTI and "pivot" in select.casefold()
    if piece.kind != duckdb.StatementType.SELECT and not pivot and select == piece.sql:
        return None
    # What has no rows, or is wrong, is left to be executed as it is written.
    return select if pivot or binds(session, select, form) else None
