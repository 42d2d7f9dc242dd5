"""What `query` does not run: changes to sqlbatch's own tables, and transactions that are never ended."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from sqlbatch.errors import InvalidQuery

# It tells of each statement that it does not know, which is DuckDB's to judge.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

if TYPE_CHECKING:
    from sqlbatch.db.session import Session

# Tables of the schema sqlbatch that are the user's to change.
OPEN_TABLES = frozenset({"prices"})
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Copy)
# What stands before a statement that is run all the same, or later; sqlglot does not look behind it.
_BEFORE = re.compile(r"^\s*(EXPLAIN(\s+ANALYZE\b|\s*\([^)]*\))?|PREPARE\s+\S+(\s*\([^)]*\))?\s+AS)\s", re.IGNORECASE)
_BEGINS, _ENDS = ("begin", "start"), ("commit", "end", "rollback", "abort")


def refuse_open_transaction(statements: list[str]) -> None:
    """Raise InvalidQuery where a transaction is begun and not ended, for nothing of it would be kept."""
    begun = False
    for statement in statements:
        word = _first_word(statement)
        begun = word in _BEGINS or (begun and word not in _ENDS)
    if begun:
        raise InvalidQuery("the SQL begins a transaction and never ends it, so nothing would be kept: add COMMIT")


def refuse_own_tables(session: Session, statement: str) -> None:
    """Raise InvalidQuery where a statement would change what sqlbatch keeps in its schema."""
    try:
        trees = [tree for tree in sqlglot.parse(_BEFORE.sub("", statement), dialect="duckdb") if tree is not None]
    except sqlglot.errors.SqlglotError:
        # What sqlglot does not know is DuckDB's to judge.
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
                "was sent and paid for, and not changed by hand: sqlbatch --help lists what can be done to a job"
            )


def _changed(write: exp.Expression) -> list[exp.Table]:
    """Return the tables that a statement changes; a whole schema stands as a table without a name."""
    if isinstance(write, exp.Copy) and not write.args.get("kind"):
        return []
    if isinstance(write, exp.Create) and str(write.args.get("kind")).upper() == "SCHEMA":
        return []
    # What is dropped or emptied is a list, for there may be several.
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
