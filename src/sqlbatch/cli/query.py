"""The command that runs any SQL of the user's on the database."""

from __future__ import annotations

import sys
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
        try:
            statements = session.con.extract_statements(text)
            if not statements:
                raise InvalidQuery("the SQL is empty: give a statement")
            for statement in statements[:-1]:
                session.con.execute(statement).fetchall()
            _print_last(session, statements[-1], len(statements) == 1, text, output)
        except duckdb.Error as error:
            raise invalid_query(error, text, what="SQL") from error
    return display.Exit.DONE


def head(database: Database, target: str, rows: int) -> None:
    """Print the first rows of a target."""
    with database.session() as session:
        name = parse_target(target, session.catalog).qualified(session.catalog)
        left_out = "custom_id, ai_error, ai_model"
        text = f"COLUMNS(* EXCLUDE ({left_out}))::VARCHAR"
        short = f"CASE WHEN length({text}) > {HEAD_WIDTH} THEN left({text}, {HEAD_WIDTH - 1}) || '…' ELSE {text} END"
        _print_table(session, f"SELECT {short} FROM {name} LIMIT {rows}", count=False)


def _opened(database: Database, text: str) -> AbstractContextManager[Session]:
    """Open the database; one that is not there is made only by a statement that writes."""
    try:
        kinds = {statement.type for statement in duckdb.extract_statements(text)}
    except duckdb.Error:
        kinds = set()
    reading = kinds <= {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    return database.session(migrate=not database.exists() and not reading)


def _print_last(session: Session, statement: duckdb.Statement, alone: bool, text: str, output: Format) -> None:
    select = without_terminator(text) if alone else without_terminator(statement.query)
    if statement.type != duckdb.StatementType.SELECT:
        result = session.con.execute(statement)
        rows = result.fetchall()
        columns = [each[0] for each in result.description or []]
        if statement.type in {duckdb.StatementType.EXPLAIN, duckdb.StatementType.CALL, duckdb.StatementType.PRAGMA}:
            display.show_rows(columns, [[None if value is None else str(value) for value in row] for row in rows])
        elif columns == ["Count"] and rows:
            display.say(f"done: {rows[0][0]:,} rows")
        else:
            display.say("done")
        return
    if output in _COPY:
        sys.stdout.flush()
        # DuckDB writes to the pipe itself, so that no row passes through Python.
        session.con.execute(f"COPY (\n{select}\n) TO '/dev/stdout' ({_COPY[output]})").fetchall()
    elif output is Format.MARKDOWN:
        _print_markdown(session, select)
    else:
        _print_table(session, select, count=True)


def _print_table(session: Session, select: str, *, count: bool) -> None:
    columns = session.con.sql(select).columns
    texts = session.con.execute(f"SELECT COLUMNS(*)::VARCHAR FROM (\n{select}\n)")
    rows = texts.fetchmany(TABLE_ROWS)
    more = 0
    while batch := texts.fetchmany(10_000):
        more += len(batch)
    display.show_rows(columns, rows, more if count else 0)


def _print_markdown(session: Session, select: str) -> None:
    columns = session.con.sql(select).columns
    cells = session.con.execute(f"SELECT COLUMNS(*)::VARCHAR FROM (\n{select}\n)")
    write = sys.stdout.write
    write("| " + " | ".join(_cell(column) for column in columns) + " |\n|" + " --- |" * len(columns) + "\n")
    while rows := cells.fetchmany(1_000):
        for row in rows:
            write("| " + " | ".join(_cell(value) for value in row) + " |\n")
    sys.stdout.flush()


def _cell(value: str | None) -> str:
    return "" if value is None else value.replace("|", "\\|").replace("\r\n", " ").replace("\n", " ")
