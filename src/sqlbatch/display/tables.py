"""Print rows on stdout: a table if it fits, else one record per row; plain lines in a pipe."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from sqlbatch import layout
from sqlbatch.display.console import counted, info, out, plain
from sqlbatch.layout import harmless

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console


# Lines of a screen that stay free around rows, and characters of a shortened id.
AROUND, SHORT = 4, 20
# Columns with such values are aligned to the right.
_NUMBER = re.compile(r"-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?|-?inf|nan")


def show_rows(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]], more: int = 0, *, fitting: bool = False
) -> None:
    """Print rows as a table, or as records if a table would not fit; `more` rows are only counted.

    With `fitting`, the last rows that the screen has no room for are left out, but never the first row.
    """
    console = out()
    text = _rendered(columns, rows, console)
    while fitting and len(rows) > 1 and text.count("\n") > console.height - AROUND:
        rows = rows[:-1]
        text = _rendered(columns, rows, console)
    sys.stdout.write(text)
    sys.stdout.flush()
    if more:
        info(f"{more:,} more rows")


def _rendered(columns: Sequence[str], rows: Sequence[Sequence[str | None]], console: Console) -> str:
    found = _fit(columns, rows, console.width)
    if found is None:
        return _records(columns, rows, console.width)
    wraps = any(
        value is not None and (len(value) > width or "\n" in value)
        for row in rows
        for value, width in zip(row, found, strict=True)
    )
    table = Table(box=box.ROUNDED, show_lines=wraps)
    for number, (column, width) in enumerate(zip(columns, found, strict=True)):
        values = [value for row in rows if (value := row[number]) is not None]
        numbers = bool(values) and all(map(_NUMBER.fullmatch, values))
        table.add_column(plain(column), overflow="fold", width=width, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*("[dim]NULL[/]" if value is None else plain(value) for value in row))
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def show_sample(columns: Sequence[str], rows: Sequence[Sequence[str | None]], *, at_least: int) -> None:
    """Print rows as a table with as many columns as fit, from the left, but `at_least` so many.

    Say how many are left out. The last rows that the screen has no room for are left out, but never the first row.
    """
    console = out()
    shown = len(columns)
    while shown > at_least and _fit(columns[:shown], [row[:shown] for row in rows], console.width) is None:
        shown -= 1
    show_rows(columns[:shown], [row[:shown] for row in rows], fitting=True)
    if shown < len(columns):
        left = len(columns) - shown
        info(f"not shown: {counted(left, 'column')} that {'was' if left == 1 else 'were'} only kept")


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table of ours: one line per row in a pipe; on a narrow terminal without the `spare` columns.

    The columns of `right` are numbers.
    """
    if not sys.stdout.isatty():
        lines = layout.aligned(columns, rows, [column in right for column in columns])
        sys.stdout.write("".join(f"{harmless(line)}\n" for line in lines))
        sys.stdout.flush()
        return
    console = out()
    # Without one more of the spare columns each time, until the table fits.
    for count in range(len(spare) + 1):
        kept = [i for i, column in enumerate(columns) if column not in spare[:count]]
        named, shown = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
        found = _fit(named, shown, console.width)
        if found is not None:
            break
    else:
        titles = [f"{columns[0]} {row[0]}" for row in rows]
        sys.stdout.write(_records(columns[1:], [row[1:] for row in rows], console.width, titles) + "\n")
        sys.stdout.flush()
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column, width in zip(named, found, strict=True):
        table.add_column(plain(column), justify="right" if column in right else "left", overflow="fold", width=width)
    for row in shown:
        table.add_row(*map(plain, row))
    console.print(table)


def _fit(columns: Sequence[str], rows: Sequence[Sequence[str | None]], width: int) -> list[int] | None:
    # Each column needs a border and a space on both sides.
    return layout.widths(columns, rows, width - 3 * len(columns) - 1)


def shortened(name: str) -> str:
    """Return an id for a terminal, by its start and its end; in a pipe, all of it."""
    if not sys.stdout.isatty() or len(name) <= SHORT:
        return name
    return f"{name[: SHORT - 7]}…{name[-6:]}"


def _records(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]], width: int, titles: Sequence[str] = ()
) -> str:
    safe = [[None if value is None else harmless(value) for value in row] for row in rows]
    titles = [harmless(title) for title in titles] or [f"row {number}" for number in range(1, len(rows) + 1)]
    lines = layout.records([harmless(column) for column in columns], safe, width, titles)
    return "".join(f"{line}\n" for line in lines)
