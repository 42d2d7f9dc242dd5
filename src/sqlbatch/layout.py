"""Lay out text and HTML for people: tables, records, facts, a progress bar."""

from __future__ import annotations

import html
import json
import textwrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


# Control characters (C0 and C1) except tab and line feed, each as its escape: an answer could clear the screen.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in {9, 10}}
# A column is never narrower than this, or than its longest text if that is shorter.
_READABLE = 16
# Nor narrower than its longest word, such as an id, up to this length.
_WORD = 40
# A row is not wrapped to more lines than this.
_LINES = 8
# A field's name stands beside its value up to this length.
_NAME = 24


def harmless(text: str) -> str:
    """Return a text with its control characters, which could steer a terminal, made visible."""
    return text.translate(_CONTROLS)


def widths(columns: Sequence[str], rows: Sequence[Sequence[str | None]], available: int) -> list[int] | None:
    """Return a width for each column of a table within `available` characters; None if it cannot be read so narrow."""
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
    # Space that one column does not need goes to the others, so the longest texts get most of it.
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
    """Return the lines of one block a row: its title, then one `field: value` each, long ones wrapped."""
    for number, (title, row) in enumerate(zip(titles, rows, strict=True)):
        if number:
            yield ""
        yield f"{title} " + "─" * max(min(width, 80) - cell_len(title) - 1, 0)
        yield from fields(columns, row, width)


def fields(columns: Sequence[str], row: Sequence[str | None], width: int) -> Iterator[str]:
    """Return lines of `field: value`, with the values in one column, long ones wrapped to `width` characters."""
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
    """Return a text's lines, long ones wrapped; at least one."""
    found: list[str] = []
    for line in text.splitlines() or [""]:
        found += textwrap.wrap(line, width, replace_whitespace=False, drop_whitespace=True) or [""]
    return found


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    """Return a heading and one line a row, columns two spaces apart and nothing wrapped: for grep and awk."""
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


_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"


def html_text(value: str) -> str:
    """Return a text as HTML: markup is escaped, and line feeds stay."""
    return html.escape(harmless(value)).replace("\n", "<br>")


def html_facts(title: str, named: Mapping[str, str], notes: Iterable[str] = ()) -> str:
    """Return a title, facts below it, one a line with their names in one column, and then notes."""
    rows = "".join(
        f'<tr><td style="{_CELL};opacity:.6;white-space:nowrap">{html_text(name)}</td>'
        f'<td style="{_CELL}">{html_text(value)}</td></tr>'
        for name, value in named.items()
    )
    told = "".join(f'<div style="opacity:.8">note: {html_text(note)}</div>' for note in notes)
    return f'<div><div style="font-weight:bold">{html_text(title)}</div><table>{rows}</table>{told}</div>'


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """Return rows as a table; None is shown as NULL."""
    null = '<span style="opacity:.5">NULL</span>'
    head = "".join(f'<th style="{_CELL}">{html_text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL}">{null if value is None else html_text(value)}</td>' for value in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_bar(done: int, total: int | None) -> str:
    """Return a bar that is `done` of `total` full, or a moving one if the total is unknown."""
    size = f' value="{done}" max="{total}"' if total else ""
    return f'<progress{size} style="width:24em;max-width:100%"></progress>'


def text_of(value: Any) -> str | None:
    """Return a JSON value as a person reads it: a text as it is, lists and objects as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
