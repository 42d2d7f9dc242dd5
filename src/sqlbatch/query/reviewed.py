"""Reviews of a target's answers: how a corrected value is checked and stored, and the view with the corrections."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidSettings
from sqlbatch.query.compile import ADDED
from sqlbatch.query.confidence import COLUMN
from sqlbatch.returns import ReturnsMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.query.target import Target
    from sqlbatch.returns import Column, Returns

APPROVED, REJECTED, CORRECTED = "approved", "rejected", "corrected"
VERDICTS = (APPROVED, REJECTED, CORRECTED)
# The end of the view's name, and the comment by which it is recognized as ours.
_ENDING = "_reviewed"
_COMMENT = "made by sqlbatch: corrected values of"


def can_be_reviewed(returns: Returns) -> bool:
    """Return whether a person can judge the answers: not if they are vectors."""
    return returns.mode is not ReturnsMode.VECTOR


def one_column(returns: Returns, name: str) -> Returns:
    """Return the definition of one returned column by itself.

    A CHECK that names other columns too is left out, because one value cannot satisfy it alone.
    """
    if returns.mode is not ReturnsMode.COLUMNS:
        return returns
    column = column_of(returns, name)
    place = returns.columns.index(column)
    if column.check is not None:
        alone = all(reference.column == place for reference in column.check.references)
        here = tuple(dataclasses.replace(reference, column=0) for reference in column.check.references)
        check = dataclasses.replace(column.check, references=here) if alone else None
        column = dataclasses.replace(column, check=check)
    return dataclasses.replace(returns, columns=(column,), checks=(), text=column.definition)


def column_of(returns: Returns, name: str) -> Column:
    """Return a returned column by its name."""
    return next(column for column in returns.columns if column.name == name)


def wrong(session: Session, returns: Returns, name: str, value: str) -> str | None:
    """Return why a value, as JSON text, is not valid for a column; None if it is."""
    asked = one_column(returns, name)
    content = f"{{{json.dumps(name)}: {value}}}" if returns.mode is ReturnsMode.COLUMNS else value
    found = session.run("reviewed.wrong", {"content": content}, check=asked.check_sql("content"))[0][0]
    return None if found is None else str(found)


def add(
    session: Session,
    target: Target,
    returns: Returns,
    review: dict[str, str | None],
    columns: Sequence[tuple[str, str]],
) -> None:
    """Store a review of an answer, and make the target's view, within the caller's transaction.

    `review` has custom_id, column, verdict, value (JSON text, of a correction), note and reviewer; `columns` are the
    names and types of the target's columns. Raises InvalidSettings for an invalid review.
    """
    name, verdict = str(review["column"]), review["verdict"]
    places = {"target": target.qualified(session.catalog), "column": quote_identifier(name)}
    found = session.run("reviewed.row", {"custom_id": review["custom_id"]}, **places, row=row_sql(columns, returns))
    if not found:
        raise InvalidSettings(f"{target.sql} has no row with this answer any more: it was written anew")
    _, judged, row = found[0]
    value = judged
    if verdict == CORRECTED:
        value = review["value"] or "null"
        if (problem := wrong(session, returns, name, value)) is not None:
            raise InvalidSettings(f"{name}: {problem.removeprefix(f'{name}: ')}")
        if json.loads(value) == json.loads(judged):
            verdict = APPROVED
    kept = {**review, "verdict": verdict, "value": value, "row": row, "target": target.sql, "now": clock.now()}
    session.run("reviewed.add", kept)
    define(session, target, returns, columns)


def row_sql(columns: Sequence[tuple[str, str]], returns: Returns) -> str:
    """Return SQL of the query's columns in a target's row, as one STRUCT.

    Bytes as their md5, because they may be large.
    """
    answers = {*ADDED, COLUMN, *(column.name for column in returns.columns)}
    parts = []
    for name, kind in columns:
        if name in answers:
            continue
        value = quote_identifier(name)
        if kind == "BLOB":
            value = f"md5({value})"
        elif "BLOB" in kind:
            value = f"md5({value}::VARCHAR)"
        parts.append(f"{quote_identifier(name)} := {value}")
    return f"struct_pack({', '.join(parts)})" if parts else "struct_pack(nothing := NULL)"


def view_of(target: Target) -> Target:
    """Return the name of a target's view with corrections."""
    return dataclasses.replace(target, name=target.name + _ENDING)


def define(session: Session, target: Target, returns: Returns, columns: Sequence[tuple[str, str]]) -> bool:
    """Make the view of a target with corrected values; return False if something else has its name."""
    view = view_of(target)
    where = {"catalog": session.catalog, "schema": view.schema, "name": view.name}
    found = session.run("target.find", where)
    if found and not (found[0][1] or "").startswith(_COMMENT):
        return False
    named = [name for name, _ in columns]
    reviewed = [column.name for column in returns.columns if column.name in named]
    shown, newest = [], []
    for name, _ in columns:
        if name not in reviewed:
            shown.append(f"t.{quote_identifier(name)}")
            continue
        at = reviewed.index(name)
        shown.append(_corrected(returns, name, at))
        of = f'FILTER ("column" = {quote_literal(name)})'
        newest += [f"any_value(verdict) {of} AS v{at}", f'any_value("value") {of} AS x{at}']
    # The view must work under any name of the file, so it names no database, unless the schema could be mistaken for
    # one.
    verdicts = "sqlbatch.verdicts" if session.catalog != "sqlbatch" else '"sqlbatch".sqlbatch.verdicts'
    own = f"{quote_identifier(target.schema)}.{quote_identifier(target.name)}"
    places = {"view": view.qualified(session.catalog), "target": own, "verdicts": verdicts}
    places |= {"columns": ", ".join(shown), "newest": ", ".join(newest)}
    # The definition it was made from, so that it is made anew only if that has changed.
    made_of = hashlib.sha256(repr((sorted(places.items()), list(columns))).encode()).hexdigest()[:16]
    comment = f"{_COMMENT} {target.sql}, {made_of}"
    if not found or found[0][1] != comment:
        session.run("reviewed.define", **places)
        session.run("reviewed.describe", view=view.qualified(session.catalog), comment=quote_literal(comment))
    return True


def _corrected(returns: Returns, name: str, at: int) -> str:
    """Return SQL of a column with its corrections: NULL if the value was rejected."""
    asked, column = one_column(returns, name), f"t.{quote_identifier(name)}"
    key = quote_literal(f"{{{json.dumps(name)}: ")
    content = {ReturnsMode.COLUMNS: f"concat({key}, r.x{at}::VARCHAR, '}}')", ReturnsMode.TEXT: f"(r.x{at} ->> '$')"}
    typed = asked.typed_sql(content.get(returns.mode, f"r.x{at}::VARCHAR"))[0][1]
    rejected = f"r.v{at} = '{REJECTED}' AND r.x{at}::VARCHAR = coalesce(to_json({column})::VARCHAR, 'null')"
    return (
        f"CASE WHEN r.v{at} = '{CORRECTED}' THEN {typed} WHEN {rejected} THEN NULL ELSE {column} END "
        f"AS {quote_identifier(name)}"
    )
