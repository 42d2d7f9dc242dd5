"""The pages of comparisons: where two tables agree, how far beyond chance, which is right, and rows side by side."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch import compare
from sqlbatch.view.pages import table_path
from sqlbatch.view.site import NotFound, number, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.compare import Cell, Difference
    from sqlbatch.view.site import Visit

# Rows that differ on a page.
PER_PAGE = 50
# Shades of a confusion table.
SHADES = 5


@dataclass(frozen=True)
class Confusion:
    """A confusion table: the values of both tables, and of each pair how many rows have it, with a shade from 0 on."""

    column: str
    labels: tuple[str | None, ...]
    rows: tuple[tuple[str | None, tuple[tuple[int, int, bool], ...]], ...]


def confusions(cells: Sequence[Cell]) -> list[Confusion]:
    """Return the confusion tables of a comparison, a column each; the commonest values come first."""
    found = []
    for column in dict.fromkeys(cell.column for cell in cells):
        of = [cell for cell in cells if cell.column == column]
        counts = {(cell.a, cell.b): cell.rows for cell in of}
        sums: Counter[str | None] = Counter()
        for cell in of:
            for value in (cell.a, cell.b):
                sums[value] += cell.rows
        labels = tuple(sorted(sums, key=lambda value: (-sums[value], value or "")))
        most = max(counts.values())
        rows = tuple(
            (a, tuple((count := counts.get((a, b), 0), -(-count * (SHADES - 1) // most), a == b) for b in labels))
            for a in labels
        )
        found.append(Confusion(column, labels, rows))
    return found


@page("comparisons.html")
def comparisons(visit: Visit) -> dict[str, Any]:
    """Show all comparisons."""
    names = ("id", "a", "b", "gold", "rows", "at")
    return {"comparisons": [dict(zip(names, row, strict=True)) for row in visit.session.run("compare.list")]}


@page("comparison.html")
def comparison(visit: Visit) -> dict[str, Any]:
    """Show one comparison."""
    session, asked = visit.session, visit.request.path_params["comparison"]
    at = number(visit.request.query_params.get("page"), 1)
    if asked not in {row[0] for row in session.run("compare.list")}:
        raise NotFound(f"there is no comparison {asked}: sqlbatch compare A B makes one")
    found = compare.result(session, asked, differences=at * PER_PAGE)
    differ = sum(each.rows - each.agreed for each in found.columns)
    return {
        "found": found,
        "confusions": confusions(found.confusion),
        "differences": [_side_by_side(each) for each in found.differences[(at - 1) * PER_PAGE :]],
        "differ": differ,
        "judged": any(each.judged_a or each.judged_b for each in found.columns),
        "paths": [table_path(session, name) for name in (found.a, found.b)],
        "page": at,
        "before": f"?page={at - 1}" if at > 1 else None,
        "after": f"?page={at + 1}" if at * PER_PAGE < differ else None,
    }


def _side_by_side(each: Difference) -> dict[str, Any]:
    """Return a row that differs, with what names it in words."""
    key = json.loads(each.key)
    named = list(key.values()) if isinstance(key, dict) else key if isinstance(key, list) else [key]
    words = [str(value) for value in named if value is not None]
    return {"key": words, "column": each.column, "a": each.a, "b": each.b, "gold": each.gold}


READ = {"/compare": comparisons, "/compare/{comparison:int}": comparison}
