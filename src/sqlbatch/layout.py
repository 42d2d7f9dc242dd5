"""Rows of text laid out to be read: a table's widths where it fits, a record a row where it does not."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A column is not squeezed below this many characters, or below its longest text where that is shorter.
_READABLE = 16
# Nor below its longest word, an id for example, up to this length.
_WORD = 40
# A row is not wrapped to more lines than this.
_LINES = 8
# The name of a field stands beside its value up to this length.
_NAME = 24


def widths(columns: Sequence[str], rows: Sequence[Sequence[str | None]], available: int) -> list[int] | None:
    """Return a width for each column of a table that can be read within `available` characters; None: none can."""
    natural = [max([cell_len(name), *(_longest(row[i]) for row in rows)]) for i, name in enumerate(columns)]
    words = [max([0, *(_longest_word(row[i]) for row in rows)]) for i in range(len(columns))]
    least = [
        min(size, max(_READABLE, cell_len(name), min(word, _WORD)))
        for size, name, word in zip(natural, columns, words, strict=True)
    ]
    spare = available - sum(least)
    if spare < 0:
        return None
    given = list(least)
    # What one column does not need goes to the others, so that the longest texts get most of the room.
    while spare:
        hungry = [i for i, size in enumerate(natural) if given[i] < size]
        if not hungry:
            break
        share = max(spare // len(hungry), 1)
        for i in hungry[:spare]:
            more = min(share, natural[i] - given[i], spare)
            given[i] += more
            spare -= more
    tall = any(len(value or "") > _LINES * width for row in rows for value, width in zip(row, given, strict=True))
    return None if tall else given


def records(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]], width: int, titles: Sequence[str]
) -> Iterator[str]:
    """Return the lines of one block a row: its title, and below it a `field: value` each, long ones wrapped."""
    for number, (title, row) in enumerate(zip(titles, rows, strict=True)):
        if number:
            yield ""
        yield f"{title} " + "─" * max(min(width, 80) - cell_len(title) - 1, 0)
        yield from fields(columns, row, width)


def fields(columns: Sequence[str], row: Sequence[str | None], width: int) -> Iterator[str]:
    """Return lines of `field: value`, the values in one column, long ones wrapped within `width` characters."""
    beside = min(max((cell_len(name) for name in columns), default=0), _NAME)
    for name, value in zip(columns, row, strict=True):
        lines = wrapped("NULL" if value is None else value, max(width - beside - 3, _READABLE))
        label = f"{name}:" + " " * (beside - cell_len(name))
        if cell_len(name) > beside:
            yield label
            label = " " * (beside + 1)
        yield f"{label}  {lines[0]}".rstrip()
        yield from (f"{' ' * (beside + 3)}{line}".rstrip() for line in lines[1:])


def wrapped(text: str, width: int) -> list[str]:
    """Return a text's lines, the long ones wrapped; at least one."""
    found: list[str] = []
    for line in text.splitlines() or [""]:
        found += textwrap.wrap(line, width, replace_whitespace=False, drop_whitespace=True) or [""]
    return found


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    """Return a heading and one line a row, columns apart by two spaces and nothing wrapped: for grep and awk."""
    table = [list(columns), *([" ".join(value.split()) for value in row] for row in rows)]
    size = [max(cell_len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        pads = [" " * (size[i] - cell_len(value)) for i, value in enumerate(row)]
        cells = (pad + value if right[i] else value + pad for i, (value, pad) in enumerate(zip(row, pads, strict=True)))
        yield "  ".join(cells).rstrip()


def _longest_word(text: str | None) -> int:
    return max((cell_len(word) for word in (text or "").split()), default=0)


def _longest(text: str | None) -> int:
    return max((cell_len(line) for line in ("NULL" if text is None else text).splitlines()), default=0)
