"""The user's SQL: one SELECT that only reads, bound to its columns, and DuckDB's errors with their place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.db.duckdb_errors import missing_extension
from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidQuery
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlbatch.db.session import Session


@dataclass(frozen=True)
class QueryColumn:
    """A column of the user's query: its name and DuckDB's name of its type."""

    name: str
    type: str


# A value quoted in a message of DuckDB.
_VALUE = re.compile(r"""(?s)(string |format: |value |Input: )(['"])(?:.*\2(?= to |, expected| according |$|\.)|.*$)""")


def one_select(session: Session, query: str) -> str:
    """Return the query as one SELECT without its terminator, checked to write nothing; raise InvalidQuery otherwise."""
    try:
        statements = session.con.extract_statements(query)
    except duckdb.Error as error:
        raise invalid_query(error, query) from error
    if not statements:
        raise InvalidQuery("the query is empty: give one SELECT")
    if len(statements) > 1 or statements[0].type == duckdb.StatementType.MULTI:
        if is_pivot(statements):
            raise InvalidQuery("the query has a PIVOT without IN: list the values that become columns, ON … IN (…)")
        raise InvalidQuery(f"the query must be one SELECT, not {len(statements)} statements")
    statement = statements[0]
    if statement.type != duckdb.StatementType.SELECT:
        raise InvalidQuery(
            f"the query must be a SELECT, not {statement.type.name}: sqlbatch reads your tables and writes only its "
            "target (sqlbatch query runs other SQL; --attach names other databases)"
        )
    if statement.named_parameters:
        raise InvalidQuery(
            f"the query has parameters ({', '.join(sorted(statement.named_parameters))}): write the values"
        )
    return without_terminator(query)


def with_where(query: str, condition: str) -> str:
    """Return a query limited to the rows that fulfil a condition; line numbers stay the same."""
    return f"SELECT * FROM ({without_terminator(query)}\n) AS sqlbatch_rows WHERE ({condition}\n)"


# The name of a query inside its sample.
SAMPLED = "sqlbatch_sampled"


def with_sample(query: str, columns: Sequence[str], rows: int) -> str:
    """Return a query limited to a sample, chosen by a hash of some columns: the same rows each time."""
    packed = ", ".join(f"{quote_identifier(name)} := {quote_identifier(name)}" for name in columns)
    place = f"row_number() OVER (ORDER BY md5(to_json(struct_pack({packed}))::VARCHAR))"
    return f"SELECT * FROM ({without_terminator(query)}\n) AS {SAMPLED} QUALIFY {place} <= {rows}"


def is_pivot(statements: Sequence[duckdb.Statement]) -> bool:
    """Whether the extracted statements are one PIVOT without IN: several statements in one.

    In 1.5, several without text.
    """
    several = [statement.type == duckdb.StatementType.MULTI or not statement.query for statement in statements]
    return all(several) and bool(several)


def bind(session: Session, select: str) -> tuple[QueryColumn, ...]:
    """Return the columns of a SELECT, bound in a read-only transaction, so that a hidden write is refused.

    Raises InvalidQuery, pointing at the place, for anything that DuckDB does not know or allow.
    """
    try:
        session.con.execute("BEGIN TRANSACTION READ ONLY")
        try:
            # EXPLAIN reports the place of an error, which a relation does not; the relation has the names as written.
            plan = session.con.execute(f"EXPLAIN (FORMAT json)\n{select}").fetchall()[0][1]
            # A read-only transaction does not prevent writing files, so a COPY in a WITH must be found in the plan.
            if any("COPY_TO_FILE" in operator for operator in _operators(json.loads(plan))):
                raise InvalidQuery("the query writes (it contains a COPY): give one that only reads")
            relation = session.con.sql(select)
            columns = tuple(
                QueryColumn(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)
            )
            del relation
        finally:
            session.con.execute("ROLLBACK")
    except duckdb.Error as error:
        if "launched in read-only mode" in str(error):
            raise InvalidQuery(
                "the query writes (it contains an INSERT, UPDATE or DELETE): give one that only reads"
            ) from error
        # An empty in-memory database replaces a file that does not exist yet.
        missing = session.owned and session.catalog == "memory" and "Table with name" in str(error)
        hint = " (there is no database file yet, so it has no tables: name another with --db)" if missing else ""
        raise invalid_query(error, select, shift=1, hint=hint) from error
    return columns


def _operators(plan: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return the names of a plan's operators, from EXPLAIN (FORMAT json)."""
    for operator in plan:
        yield operator["name"]
        yield from _operators(operator.get("children", ()))


def invalid_query(
    error: duckdb.Error, query: str, shift: int = 0, what: str = "the query", hint: str = ""
) -> InvalidQuery:
    """Return DuckDB's error about the user's SQL as one line, with its place; `shift` is the lines we put before it.

    Values of rows are left out: DuckDB quotes the value that it cannot convert, and the line of a file.
    """
    text = masked(str(error).strip())
    if (problem := missing_extension(text)) is not None:
        return InvalidQuery(f"{what}: {problem}")
    message, _, place = text.partition("\nLINE ")
    if "CSV Error on Line" in message:
        return InvalidQuery(f"{what}: {_csv_problem(message)}")
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException | duckdb.OutOfRangeException):
        message = _VALUE.sub(r"\1'…'", message.partition("\n")[0])
        message = re.sub(r"(Overflow in [\w ]+?) \(.*\)", r"\1", message)
    message = re.sub(r"^\w+( \w+)* Error: ", "", " ".join(message.split()))
    message = message.replace("Candidate bindings: :", "Candidate bindings:")
    # The user did not mean DuckDB's own catalog.
    message = re.sub(r' Did you mean "(pg_|duckdb_|sqlite_|information_schema|pragma_)[^"]*"\?', "", message) + hint
    if not place:
        return InvalidQuery(f"{what}: {message}")
    number, _, excerpt = place.partition(": ")
    line, _, caret = excerpt.partition("\n")
    if "…" in line:
        # A masked password moves all text after it, so the place is not reported.
        caret = ""
    if not number.isdigit() or query.count("\n") + 1 + shift < int(number):
        return InvalidQuery(f"{what}: {message}")
    label = f"line {int(number) - shift}: "
    pointer = caret[len(f"LINE {number}: ") :]
    return InvalidQuery(f"{what}: {message}\n  {label}{line}\n  {' ' * len(label)}{pointer}".rstrip())


def _csv_problem(message: str) -> str:
    """Return what is wrong with a CSV file: where, why, and what to write, without the line itself."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    name = re.search(r"^\s*file = (.*)$", message, re.MULTILINE)
    file = name[1].strip() if name else "the file"
    where = f"{file}, line {line[1]}" if line else file
    if "not utf-8 encoded" in message or "Invalid unicode" in message:
        return f"{where}: it is not UTF-8: name its encoding, as in read_csv('{file}', encoding = 'latin-1')"
    limit = re.search(r"Maximum line size of (\d+) bytes exceeded", message)
    if limit:
        # DuckDB 1.5 takes 15 times as much memory.
        longer = f"write read_csv('{file}', max_line_size = {10 * int(limit[1])})"
        return f"{where}: the line is longer than {int(limit[1]) / 1e6:,.0f} MB: {longer}"
    column = re.search(r'Error when converting column "(.*?)"\..*? to \'(\w+)\'', message, re.DOTALL)
    if column:
        return (
            f"{where}: the value of {column[1]} is not {column[2]}, the type that DuckDB found for the column: write "
            f"read_csv('{file}', types = {{'{column[1]}': 'VARCHAR'}})"
        )
    reason = re.search(r"Expected Number of Columns: \d+ Found: \d+|unterminated quote", message)
    told = {"unterminated quote": "a quote is never closed"}
    return f"{where}: {told.get(reason[0], reason[0]) if reason else 'it cannot be read'}; see DuckDB's read_csv"


def without_terminator(query: str) -> str:
    """Return a statement up to its closing `;`, which DuckDB's own tokens identify."""
    encoded = query.encode()
    end = len(encoded)
    for offset, kind in reversed(duckdb.tokenize(query)):
        if str(kind).endswith("comment"):
            continue
        if encoded[offset : offset + 1] != b";":
            break
        end = offset
    return encoded[:end].decode()
