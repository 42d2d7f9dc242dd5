"""The page of a table: input beside output, filtered, sorted and paged by DuckDB; and one row in full."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import DatabaseError, InvalidQuery, SqlbatchError
from sqlbatch.view import profile
from sqlbatch.view.condition import invalid
from sqlbatch.view.relation import find_table, reading, too_late
from sqlbatch.view.selection import SIZES, State, chosen, condition_of, read_state
from sqlbatch.view.site import NotFound, address, page, part
from sqlbatch.view.values import Column, cell, shown_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.view.relation import Table
    from sqlbatch.view.site import Visit

# Reasons of failures that can be chosen as a filter.
REASONS = 50


@page("tables.html")
def tables(visit: Visit) -> dict[str, Any]:
    """Show all tables and views, targets first."""
    found = visit.session.run("view.tables", {"catalog": visit.session.catalog})
    listed = [
        {"path": f"/tables/{part(schema)}/{part(name)}", "name": name if schema == "main" else f"{schema}.{name}"}
        | {"kind": kind, "rows": rows, "columns": columns, "job": job}
        for schema, name, kind, rows, columns, job in found
    ]
    return {"tables": listed}


@page("table.html")
def table(visit: Visit) -> dict[str, Any]:
    """Show one table."""
    session, wanted = visit.session, read_state(visit.request.query_params)
    found = find_table(session, visit.request)
    with reading(session) as late:
        try:
            return _page(session, found, wanted)
        except (InvalidQuery, DatabaseError) as error:
            problem: SqlbatchError = error
            if isinstance(error, DatabaseError):
                if not wanted.where:
                    raise
                problem = too_late() if late.is_set() else invalid(str(error))
                session.con.execute("ROLLBACK")
                session.sql("BEGIN TRANSACTION READ ONLY")
            # The rows are shown without the invalid condition; the error is shown at its field.
            return _page(session, found, State(cards=wanted.cards)) | {"problem": str(problem), "state": wanted}


def _page(session: Session, found: Table, wanted: State) -> dict[str, Any]:
    where, values = condition_of(session, found, wanted)
    total = int(session.run("view.count", {}, table=found.sql, where="true")[0][0])
    rows = int(session.run("view.count", values, table=found.sql, where=where)[0][0]) if wanted.filtered else total
    pages = max(-(-rows // wanted.size), 1)
    wanted = replace(wanted, page=min(wanted.page, pages))
    about = found.column(wanted.about)

    def link(**changed: Any) -> str:
        """Return the address of this page with some parameters changed; other filters start at the first page."""
        again = {"page": 1} if changed.keys() - {"page", "cards", "about"} else {}
        return address(found.path, *replace(wanted, **(again | changed)).pairs())

    statuses, codes = _statuses(session, found) if found.has_status else ([], [])
    return {
        "table": found,
        "state": wanted,
        "link": link,
        "total": total,
        "rows": rows,
        "pages": pages,
        "shown": _rows(session, found, where, values, wanted),
        "statuses": statuses,
        "codes": codes,
        "chosen": chosen(found, wanted, link),
        "about": profile.of_column(session, found.sql, about, where, values, rows) if about is not None else None,
        "groups": _groups(found),
        "problem": None,
        "sizes": SIZES,
        "review": found.column("custom_id") is not None and found.job_id is not None and found.has_answers,
    }


def _statuses(session: Session, found: Table) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return how many rows of a target have each status, and why rows failed, the most common reason first."""
    why = "ai_error" if found.column("ai_error") is not None else "NULL::VARCHAR"
    rows = session.run("view.statuses", table=found.sql, why=why)
    counts: Counter[str] = Counter()
    for status, _, count in rows:
        counts[str(status)] += count
    return counts.most_common(), [(code, count) for _, code, count in rows if code][:REASONS]


def _groups(found: Table) -> list[tuple[str, int]]:
    """Return the parts of a target with how many columns each has; none for a table of the user's own."""
    if found.asked is None or not found.has_answers:
        return []
    names = {"yours": "from the query", "answer": f"from {found.asked.model}", "status": "what became of it"}
    return [(names[part], len(list(of))) for part, of in groupby(found.columns, lambda column: column.part)]


def _rows(
    session: Session, found: Table, where: str, values: dict[str, object], wanted: State
) -> list[tuple[int | None, list[Any]]]:
    """Return a page of rows, each by its rowid (None in a view) with its cells.

    Filters and sorting read only their own columns; only the rows found are read in full.
    """
    order = ""
    sorted_by = found.order(wanted.sort)
    if sorted_by is not None:
        order = f"ORDER BY {sorted_by} {'DESC' if wanted.descending else 'ASC'} NULLS LAST"
    skip = (wanted.page - 1) * wanted.size
    shown = ", ".join(shown_sql(column) for column in found.columns)
    places = {"table": found.sql, "where": where, "order": order}
    if found.is_view:
        read = session.run("view.rows_of_view", {**values, "most": wanted.size, "skip": skip}, shown=shown, **places)
        return [(None, _cells(found.columns, row)) for row in read]
    ids = [row[0] for row in session.run("view.found", {**values, "most": wanted.size, "skip": skip}, **places)]
    if not ids:
        return []
    read = session.run("view.rows", table=found.sql, shown=shown, ids=", ".join(map(str, ids)))
    by_id = {row[0]: _cells(found.columns, row[1:]) for row in read}
    return [(rowid, by_id[rowid]) for rowid in ids]


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
    return [cell(column, value) for column, value in zip(columns, row, strict=True)]


@page("row.html")
def row(visit: Visit) -> dict[str, Any]:
    """Show one row, with its values in full."""
    session, rowid = visit.session, visit.request.path_params["rowid"]
    found = find_table(session, visit.request)
    if found.is_view:
        raise NotFound("a row of a view has no page of its own")
    shown = ", ".join(shown_sql(column, whole=True) for column in found.columns)
    with reading(session):
        read = session.run("view.rows", table=found.sql, shown=shown, ids=str(rowid))
        total = int(session.run("view.count", {}, table=found.sql, where="true")[0][0])
    if not read:
        raise NotFound(f"the table {found.shown_name} has no such row")
    cells = [cell(column, value, whole=True) for column, value in zip(found.columns, read[0][1:], strict=True)]
    before = f"{found.path}/rows/{rowid - 1}" if rowid > 0 else None
    after = f"{found.path}/rows/{rowid + 1}" if rowid + 1 < total else None
    return {"table": found, "rowid": rowid, "cells_of_row": cells, "before": before, "after": after}


READ = {
    "/tables": tables,
    "/tables/{schema}/{table}": table,
    "/tables/{schema}/{table}/rows/{rowid:int}": row,
}
