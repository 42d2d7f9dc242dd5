"""How rows are written: a table to be read, or csv, json, markdown and parquet, which DuckDB itself renders."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shutil
import sys
import threading
from enum import StrEnum
from itertools import chain
from typing import IO, TYPE_CHECKING

import duckdb

from sqlbatch import display
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidSettings
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.target import rows_of
from sqlbatch.query.target_rows import label_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session

# Rows that a table shows; the other formats have all.
TABLE_ROWS = 100
# Rows of the target shown at the end of a job.
FIRST_ROWS = 5
# Columns that sqlbatch adds to a target.
_OURS = ("custom_id", "ai_status", "ai_error", "ai_model", "ai_confidence")
# Characters of a value that the first rows of a target show on a terminal.
HEAD_WIDTH = 100
# A list of more numbers than LIST_WHOLE, a vector for example, shows its first few and how many there are.
LIST_WHOLE, LIST_HEAD = 16, 3
_NUMBERS = re.compile(r"(FLOAT|DOUBLE|U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT))\[\d*\]")


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    PARQUET = "parquet"


_SUFFIXES = {
    ".csv": Format.CSV, ".json": Format.JSON, ".md": Format.MARKDOWN, ".parquet": Format.PARQUET,
}  # fmt: skip
# JSON lines of ours are written as they are, without another quoting.
_LINES = r"FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\x01'"
_COPY = {Format.CSV: "FORMAT csv, HEADER", Format.JSON: _LINES, Format.PARQUET: "FORMAT parquet"}
# Strings of a JSON text, and what stands between them: NaN and Infinity are numbers there, and text in a string.
_PART = r'"(?:[^"\\]|\\.)*"|[^"]+'
# A row as a whole, by a name that no column has.
_ROW = '"a row of sqlbatch query"'
_BARE = r"(?:^|[:\[,])\s*-?(?:NaN|Infinity)"


def choose(form: Format | None, output: Path | None) -> Format:
    """Return the format: the one that is given, or the file's name says, or that suits where stdout leads.

    Raises InvalidSettings for what cannot be written there.
    """
    terminal = output is None and sys.stdout.isatty()
    found = form or (_SUFFIXES.get(output.suffix.lower()) if output is not None else None)
    if found is None and output is not None:
        raise InvalidSettings(f"--output {output}: its extension is no known format; add --format csv, or another")
    if found is None:
        return Format.TABLE if terminal else Format.CSV
    if found is Format.PARQUET and terminal:
        raise InvalidSettings("--format parquet is not for a terminal: add --output rows.parquet")
    if found is Format.TABLE and output is not None:
        raise InvalidSettings("--format table is for reading: write csv, json, markdown or parquet to a file")
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise InvalidSettings(f"--output {output}: name a file in a folder that exists")
    return found


def reading(select: str, form: Format) -> str:
    """Return the SQL of a SELECT's rows in a format: texts, lines of JSON, or the rows as they are."""
    if form in {Format.CSV, Format.PARQUET}:
        return f"\n{select}\n"
    if form is Format.JSON:
        text = f"to_json({_ROW})::VARCHAR"
        parts = f"regexp_extract_all({text}, {quote_literal(_PART)})"
        repaired = "CASE WHEN part[1] = '\"' THEN part ELSE regexp_replace(part, '-?(NaN|Infinity)', 'null', 'g') END"
        mended = f"array_to_string(list_transform({parts}, lambda part: {repaired}), '')"
        line = f"CASE WHEN regexp_matches({text}, {quote_literal(_BARE)}) THEN {mended} ELSE {text} END"
        return f"SELECT concat(CASE WHEN row_number() OVER () > 1 THEN ',' END, {line}) FROM (\n{select}\n) {_ROW}"
    return f"SELECT COLUMNS(*)::VARCHAR FROM (\n{select}\n)"


def binds(session: Session, select: str, form: Format) -> bool:
    """Return whether the rows of a SELECT can be had in a format; to explain is to bind, and runs nothing."""
    rows = reading(select, form)
    sql = f"COPY ({rows}) TO '/dev/null' ({_COPY[form]})" if form in _COPY else rows
    try:
        session.con.execute(f"EXPLAIN {sql}").fetchall()
    except duckdb.Error:
        return False
    return True


def write_rows(session: Session, select: str, form: Format, output: Path | None = None) -> None:
    """Write the rows of a SELECT to stdout or a file."""
    if form is Format.TABLE:
        _write_table(session.con.execute(reading(_shortened(session, select), form)))
    elif form is Format.MARKDOWN:
        with _opened(output) as out:
            texts = session.con.execute(reading(select, form))
            _write_markdown(names_of(texts), chain.from_iterable(iter(lambda: texts.fetchmany(1_000), [])), out)
    else:
        around = (b"[\n", b"]\n") if form is Format.JSON else (b"", b"")
        with _opened(output) as out:
            _copy_out(session, reading(select, form), _COPY[form], out, around)


def write_fetched(columns: Sequence[str], rows: Sequence[Sequence[object]], form: Format, output: Path | None) -> None:
    """Write the few rows of a statement that is no SELECT and has them all the same, as SHOW TABLES has."""
    texts = [[None if value is None else str(value) for value in row] for row in rows]
    if form is Format.TABLE:
        display.tables.show_rows(columns, texts)
        return
    if form is Format.PARQUET:
        raise InvalidSettings("--format parquet is for the rows of a SELECT: choose csv or json")
    with _opened(output) as out:
        if form is Format.JSON:
            out.write(display.as_json([dict(zip(columns, row, strict=True)) for row in rows]).encode())
        elif form is Format.MARKDOWN:
            _write_markdown(columns, texts, out)
        else:
            lines = io.StringIO()
            csv.writer(lines, lineterminator="\n").writerows([columns, *texts])
            out.write(lines.getvalue().encode())


def print_target(session: Session, job: JobRow) -> None:
    """Print a job's target: its first rows on a terminal, the answers first; every row as CSV in a pipe."""
    name = rows_of(job).qualified(session.catalog)
    if not sys.stdout.isatty():
        write_rows(session, f"FROM {name}", Format.CSV)
        return
    described = [row[0] for row in session.sql(f"DESCRIBE {name}")]
    asked = Enrichment.from_json(job.enrichment)
    returned = [each.name for each in read_returns(asked.endpoint, asked.returns).columns if each.name in described]
    kept = [column for column in described if column not in {*returned, *_OURS}]
    label = label_column(session, name, kept)
    # A person wants to see which row it is and what came back for it; what was only kept stands behind.
    first = [*([label] if label else []), *returned, *(["ai_status"] if job.failed or job.skipped else [])]
    order = [*first, *(column for column in kept if column != label)]
    columns = ", ".join(quote_identifier(column) for column in order)
    rows = f"({_shortened(session, f'SELECT {columns} FROM {name} LIMIT {FIRST_ROWS}')})"
    text = "COLUMNS(*)::VARCHAR"
    short = f"CASE WHEN length({text}) > {HEAD_WIDTH} THEN left({text}, {HEAD_WIDTH - 1}) || '…' ELSE {text} END"
    found = session.con.execute(f"SELECT {short} FROM {rows}").fetchall()
    display.tables.show_sample(order, found, at_least=len(first))


def _shortened(session: Session, select: str) -> str:
    """Return a SELECT with its long lists of numbers cut to the first few and how many there are, for reading."""
    described = session.con.execute(f"DESCRIBE FROM (\n{select}\n)").fetchall()
    if not any(_NUMBERS.fullmatch(kind) for _, kind, *_ in described):
        return select
    columns = []
    for name, kind, *_ in described:
        column = quote_identifier(name)
        if _NUMBERS.fullmatch(kind):
            few = f"array_to_string(list_transform({column}[:{LIST_HEAD}], lambda n: n::VARCHAR), ', ')"
            cut = f"concat('[', {few}, ', … ', len({column}), ' in all]')"
            columns.append(f"CASE WHEN len({column}) > {LIST_WHOLE} THEN {cut} ELSE {column}::VARCHAR END AS {column}")
        else:
            columns.append(column)
    return f"SELECT {', '.join(columns)} FROM (\n{select}\n)"


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open a file, or stdout; what was written of a file is deleted where it is not whole."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _copy_out(session: Session, rows: str, options: str, out: IO[bytes], around: tuple[bytes, bytes]) -> None:
    """Run a COPY into a pipe; DuckDB writes the rows, Python passes on the bytes, with some before and behind them.

    DuckDB opens /dev/stdout anew, which empties a file that stdout goes to and cannot be done where it is a socket.
    """
    source, sink = os.pipe()
    gone: list[BrokenPipeError] = []

    def pass_on() -> None:
        with open(source, "rb", buffering=0) as bytes_:  # noqa: PTH123 (a descriptor has no path)
            try:
                first = bytes_.read(1 << 16)
                out.write(around[0] + first if first else b"")
                shutil.copyfileobj(bytes_, out, 1 << 20)
                out.flush()
                begun.append(bool(first))
            except BrokenPipeError as error:
                gone.append(error)

    begun: list[bool] = []
    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        session.con.execute(f"COPY ({rows}) TO '/dev/fd/{sink}' ({options}, USE_TMP_FILE false)").fetchall()
    except duckdb.Error:
        if not gone:
            raise
    finally:
        os.close(sink)
        thread.join()
    if gone:
        raise gone[0]
    out.write(around[1] if begun == [True] else around[0] + around[1])
    out.flush()


def _write_table(texts: duckdb.DuckDBPyConnection) -> None:
    rows = texts.fetchmany(TABLE_ROWS)
    more = 0
    while batch := texts.fetchmany(10_000):
        more += len(batch)
    display.tables.show_rows(names_of(texts), rows, more)


def names_of(result: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of a result's columns."""
    return [each[0] for each in result.description or []]


def _write_markdown(columns: Sequence[str], rows: Iterable[Sequence[str | None]], out: IO[bytes]) -> None:
    out.write(f"{_line(columns)}|{' --- |' * len(columns)}\n".encode())
    for row in rows:
        out.write(_line(row).encode())


def _line(row: Sequence[str | None]) -> str:
    return f"| {' | '.join(map(_cell, row))} |\n"


def _cell(value: str | None) -> str:
    return "" if value is None else value.replace("|", "\\|").replace("\r\n", " ").replace("\n", " ")
