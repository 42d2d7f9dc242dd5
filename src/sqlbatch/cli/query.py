"""The command that runs any SQL of the user's on the database."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import duckdb
import typer

from sqlbatch import display, settings
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.errors import InvalidQuery, InvalidSettings
from sqlbatch.query.compile import invalid_query, without_terminator
from sqlbatch.query.target import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlbatch.store.database import Database, Session

# Rows that a table on the terminal shows; the other formats have all.
TABLE_ROWS = 100
# Characters of a value that the first rows of a target show.
HEAD_WIDTH = 100


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    PARQUET = "parquet"


_COPY = {Format.CSV: "FORMAT csv, HEADER", Format.JSON: "FORMAT json, ARRAY true", Format.PARQUET: "FORMAT parquet"}
# Stands for the pipe in a COPY until it is opened.
_FILE = "/dev/fd/sqlbatch_stdout"


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL|FILE|-", help="SQL statements, a .sql file, or - for standard input.")
    ],
    db: opt.Db = None,
    attach: opt.Attach = None,
    output: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.TABLE,
) -> int:
    """Any SQL of yours on the database, with the last statement's rows printed.

    Example: sqlbatch query "SELECT title, summary FROM movie_tags LIMIT 3"
    """
    text = settings.read_source(sql).query
    database = settings.database(db, attach or ())
    if output is Format.PARQUET and sys.stdout.isatty():
        raise InvalidSettings("--format parquet is not for a terminal: send it to a file with > rows.parquet")
    with _opened(database, text) as session:
        pieces = _pieces(session, text)
        for piece in pieces[:-1]:
            with _telling(text, piece):
                session.con.execute(piece.sql).fetchall()
        _print_last(session, pieces[-1], text, output)
    return display.Exit.DONE


def head(session: Session, target: str, rows: int) -> None:
    """Print the first rows of a target."""
    name = parse_target(target, session.catalog).qualified(session.catalog)
    left_out = "custom_id, ai_error, ai_model"
    text = f"COLUMNS(* EXCLUDE ({left_out}))::VARCHAR"
    short = f"CASE WHEN length({text}) > {HEAD_WIDTH} THEN left({text}, {HEAD_WIDTH - 1}) || '…' ELSE {text} END"
    _print_table(session.con.execute(f"SELECT {short} FROM {name} LIMIT {rows}"), count=False)


def _opened(database: Database, text: str) -> AbstractContextManager[Session]:
    """Open the database; one that is not there is made only by a statement that writes."""
    try:
        kinds = {statement.type for statement in duckdb.extract_statements(text)}
    except duckdb.Error:
        kinds = set()
    reading = kinds <= {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    return database.session(migrate=not database.exists() and not reading)


@dataclass(frozen=True)
class _Piece:
    """One statement of a text, without its terminator; `before` counts the lines that stand before it."""

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
    pieces, end = [], 0
    for statement in statements:
        start = max(text.find(statement.query, end), end)
        end = start + len(statement.query)
        pieces.append(_Piece(without_terminator(statement.query), statement.type, text[:start].count("\n")))
    return pieces


@contextlib.contextmanager
def _telling(text: str, piece: _Piece, shift: int = 0) -> Iterator[None]:
    """Raise DuckDB's errors about a piece as ours, pointing into the text; `shift`: lines put before the piece."""
    try:
        yield
    except duckdb.Error as error:
        raise invalid_query(error, text, shift - piece.before, what="SQL") from error


def _print_last(session: Session, piece: _Piece, text: str, output: Format) -> None:
    """Print the rows of the last statement; it is executed once, for it may write."""
    reading = _reading(session, piece, output)
    if reading is None:
        with _telling(text, piece):
            result = session.con.execute(piece.sql)
            columns, rows = [each[0] for each in result.description or []], result.fetchall()
        if columns == ["Count"] and rows:
            display.say(f"done: {rows[0][0]:,} {'row' if rows[0][0] == 1 else 'rows'}")
        elif columns in (["Count"], ["Success"]):
            display.say("done")
        else:
            display.show_rows(columns, [[None if value is None else str(value) for value in row] for row in rows])
        return
    with _telling(text, piece, 1):
        if output in _COPY:
            _copy_out(session, reading)
        elif output is Format.MARKDOWN:
            _print_markdown(session.con.execute(reading))
        else:
            _print_table(session.con.execute(reading), count=True)


def _reading(session: Session, piece: _Piece, output: Format) -> str | None:
    """Return the SQL that brings a statement's rows in a format (a COPY goes to `_FILE`), or None for one without."""
    select = piece.sql
    if piece.kind in {duckdb.StatementType.INSERT, duckdb.StatementType.UPDATE, duckdb.StatementType.DELETE}:
        # RETURNING makes rows of what was written.
        select = f"WITH sqlbatch_rows AS ({piece.sql}\n) FROM sqlbatch_rows"
    pivot = piece.kind == duckdb.StatementType.MULTI and "pivot" in select.casefold()
    if piece.kind != duckdb.StatementType.SELECT and not pivot and select == piece.sql:
        return None
    if output in _COPY:
        reading = f"COPY (\n{select}\n) TO '{_FILE}' ({_COPY[output]}, USE_TMP_FILE false)"
    else:
        reading = f"SELECT COLUMNS(*)::VARCHAR FROM (\n{select}\n)"
    if pivot:
        return reading
    # To explain is to bind: what has no rows, or is wrong, is left to be executed as it is written.
    try:
        session.con.execute(f"EXPLAIN {reading}").fetchall()
    except duckdb.Error:
        return None
    return reading


def _copy_out(session: Session, copy: str) -> None:
    """Run a COPY whose file is our stdout, wherever that leads; DuckDB writes the rows, Python passes on the bytes.

    DuckDB opens /dev/stdout anew, which empties a file that stdout goes to and cannot be done where it is a socket.
    """
    reading, writing = os.pipe()
    gone: list[BrokenPipeError] = []

    def pass_on() -> None:
        with open(reading, "rb", buffering=0) as source:  # noqa: PTH123 (a descriptor has no path)
            try:
                shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)
                sys.stdout.flush()
            except BrokenPipeError as error:
                gone.append(error)

    sys.stdout.flush()
    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        session.con.execute(copy.replace(f"'{_FILE}'", f"'/dev/fd/{writing}'")).fetchall()
    except duckdb.Error:
        if not gone:
            raise
    finally:
        os.close(writing)
        thread.join()
    if gone:
        raise gone[0]


def _print_table(texts: duckdb.DuckDBPyConnection, *, count: bool) -> None:
    columns = [each[0] for each in texts.description or []]
    rows = texts.fetchmany(TABLE_ROWS)
    more = 0
    while batch := texts.fetchmany(10_000):
        more += len(batch)
    display.show_rows(columns, rows, more if count else 0)


def _print_markdown(texts: duckdb.DuckDBPyConnection) -> None:
    columns = [each[0] for each in texts.description or []]
    write = sys.stdout.write
    write("| " + " | ".join(_cell(column) for column in columns) + " |\n|" + " --- |" * len(columns) + "\n")
    while rows := texts.fetchmany(1_000):
        for row in rows:
            write("| " + " | ".join(_cell(value) for value in row) + " |\n")
    sys.stdout.flush()


def _cell(value: str | None) -> str:
    return "" if value is None else value.replace("|", "\\|").replace("\r\n", " ").replace("\n", " ")
