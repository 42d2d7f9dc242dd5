"""Incremental targets, as in dbt: the query's rows are updated or inserted by their key, all other rows stay.

Columns that only the target has, such as the user's own, stay as they are; columns that only the job has are added.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidOption, InvalidQuery, InvalidTarget, JobError, did_you_mean
from sqlbatch.query.confidence import target_columns
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.target import built_by, look_up, target_of
from sqlbatch.query.target_rows import check_ours, claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session
    from sqlbatch.query.select import QueryColumn
    from sqlbatch.query.target import Target
    from sqlbatch.query.target_rows import Joined
    from sqlbatch.returns import Returns

    # Returns a relation's columns with the types that they will have in the attached database of that name.
    Arrivals = Callable[[Session, str, str], dict[str, str]]


def check_key(session: Session, enrichment: Enrichment, columns: Sequence[QueryColumn], rows: str) -> Enrichment:
    """Return the enrichment with its key spelled as in the query; `rows` is the SQL of the table with its rows.

    Raises InvalidOption for a key column that the query does not have, InvalidQuery if a row has no key or two rows
    have the same.
    """
    names = {column.name.casefold(): column.name for column in columns}
    for name in enrichment.unique_key:
        if name.casefold() not in names:
            hint = did_you_mean(name, list(names.values()))
            raise InvalidOption(f"--unique-key {name}: the query has no such column; {hint}")
    key = tuple(dict.fromkeys(names[name.casefold()] for name in enrichment.unique_key))
    quoted = [quote_identifier(name) for name in key]
    label = f"--unique-key {','.join(key)}"
    is_null = " OR ".join(f"{name} IS NULL" for name in quoted)
    missing, row = session.run("incremental.null_keys", rows=rows, is_null=is_null)[0]
    if missing:
        raise InvalidQuery(
            f"{label}: {missing:,} row{'s have' if missing > 1 else ' has'} NULL there, row {row} for example: leave "
            f"them out with --where '{' AND '.join(f'{name} IS NOT NULL' for name in quoted)}'"
        )
    keys, many, first, second = session.run("incremental.doubled_keys", rows=rows, keys=", ".join(quoted))[0]
    if keys:
        raise InvalidQuery(
            f"{label}: {many:,} rows share {keys:,} key{'s' * (keys > 1)}, rows {first} and {second} for example: keep "
            "one of each in the query (QUALIFY row_number() OVER (PARTITION BY …) = 1), or name more columns"
        )
    return dataclasses.replace(enrichment, unique_key=key)


def columns_of(session: Session, relation: str) -> dict[str, str]:
    """Return the names of a relation's columns, with their types."""
    return {name: kind for name, kind, *_ in session.run("incremental.columns", relation=relation)}


def check_target(
    session: Session, enrichment: Enrichment, target: Target, returns: Returns, rows: str, arrivals: Arrivals | None
) -> None:
    """Raise InvalidTarget if an existing target does not fit the columns that the rows and their answers will have."""
    existing = look_up(session, target)
    if existing is None or existing.job_id is None:
        return
    coming = "sqlbatch_expected"
    typed = target_columns(returns, confident=enrichment.confidence)
    session.run("incremental.expect", rows=rows, typed=typed)
    there = columns_of(session, target.qualified(session.catalog))
    if target.catalog is None:
        types = columns_of(session, coming)
    else:
        # Without the arriving types, only the key can be checked.
        types = arrivals(session, coming, target.catalog) if arrivals is not None else {}
    check_columns(target.sql, there, types, enrichment.unique_key)


def refuse_open(session: Session, target: str) -> None:
    """Raise JobError if a job of the target is still open: its rows would be lost, or written after newer ones."""
    found = session.run("incremental.open", {"target": target})
    if found:
        job_id = found[0][0]
        raise JobError(
            f"job {job_id} for {target} is not done, and an incremental job adds to its rows: run sqlbatch wait "
            f"{job_id} first, or sqlbatch cancel {job_id}"
        )


def check_columns(target: str, there: Mapping[str, str], coming: Mapping[str, str], key: Sequence[str]) -> None:
    """Raise InvalidTarget if a target lacks a key column, or has a column of an unfitting type."""
    types = {name.casefold(): kind for name, kind in there.items()}
    for name in key:
        if name.casefold() not in types:
            raise InvalidTarget(f"{target} has no column {name}, by which --unique-key finds rows: add it there first")
    for name, kind in coming.items():
        known = types.get(name.casefold(), kind)
        if known != kind and not _fits(kind, known):
            raise InvalidTarget(
                f"{target}.{name} is {known} and would be {kind}: cast it in the query, or choose another name"
            )


# Integer types; each fits into those after it.
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")


def _fits(kind: str, there: str) -> bool:
    """Return whether a column of another type can hold every value."""
    whole = kind in _WHOLE and there in _WHOLE and _WHOLE.index(kind) < _WHOLE.index(there)
    # DuckDB shows a Postgres column of type JSON as text.
    return whole or (kind, there) in {("FLOAT", "DOUBLE"), ("JSON", "VARCHAR")}


def merging(
    target: str, rows: str, there: Mapping[str, str], coming: Mapping[str, str], key: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the SQL blocks, with their places, that update and insert rows into a target; all names are SQL."""
    known = {name.casefold() for name in there}
    keys = {name.casefold() for name in key}
    for name, kind in coming.items():
        if name.casefold() not in known:
            yield "incremental.add_column", {"target": target, "column": quote_identifier(name), "type": kind}
    same = " AND ".join(
        f"sqlbatch_target.{quote_identifier(name)} = sqlbatch_rows.{quote_identifier(name)}" for name in key
    )
    assignments = ", ".join(
        f"{quote_identifier(name)} = sqlbatch_rows.{quote_identifier(name)}"
        for name in coming
        if name.casefold() not in keys
    )
    yield "incremental.update", {"target": target, "rows": rows, "assignments": assignments, "same": same}
    columns = ", ".join(quote_identifier(name) for name in coming)
    yield "incremental.insert", {"target": target, "rows": rows, "columns": columns, "same": same}


def merge(session: Session, job: JobRow, *, replace: bool) -> Joined:
    """Merge a job's built rows into its target in the user's database, within the caller's transaction.

    Raises InvalidTarget if the table of that name is not sqlbatch's (unless `replace`), or its columns do not fit.
    """
    target, built = target_of(job), built_by(job.job_id)
    qualified, rows = target.qualified(session.catalog), built.qualified(session.catalog)
    existing = look_up(session, target)
    key = Enrichment.from_json(job.enrichment).unique_key
    if existing is not None and (replace or existing.job_id is None):
        check_ours(session, target, job.job_id, replace=replace)
        session.run("incremental.drop", rows=qualified)
        existing = None
    if existing is None:
        session.run("incremental.create", target=qualified, rows=rows)
    else:
        there, coming = columns_of(session, qualified), columns_of(session, rows)
        check_columns(target.sql, there, coming, key)
        for block, places in merging(qualified, rows, there, coming, key):
            session.run(block, **places)
    session.run("incremental.drop", rows=rows)
    return claim(session, target, job.job_id)
