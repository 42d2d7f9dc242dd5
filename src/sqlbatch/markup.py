"""Small pieces of HTML for notebooks: facts, tables, a bar. Every text is escaped; colours are the notebook's own."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# C0 and C1 controls but tab and line feed: no HTML may hold them.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in {9, 10}}
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"


def text(value: str) -> str:
    """Return a text as HTML: nothing in it is markup, and line feeds stay."""
    return html.escape(value.translate(_CONTROLS)).replace("\n", "<br>")


def facts(title: str, named: Mapping[str, str], notes: Iterable[str] = ()) -> str:
    """Return facts below a title, one a line, their names in one column, and notes below them."""
    rows = "".join(
        f'<tr><td style="{_CELL};opacity:.6;white-space:nowrap">{text(name)}</td>'
        f'<td style="{_CELL}">{text(value)}</td></tr>'
        for name, value in named.items()
    )
    told = "".join(f'<div style="opacity:.8">note: {text(note)}</div>' for note in notes)
    return f'<div><div style="font-weight:bold">{text(title)}</div><table>{rows}</table>{told}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """Return rows as a table; None is NULL."""
    null = '<span style="opacity:.5">NULL</span>'
    head = "".join(f'<th style="{_CELL}">{text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_CELL}">{null if value is None else text(value)}</td>' for value in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bar(done: int, total: int | None) -> str:
    """Return a bar that is `done` of `total` full; one that moves where the total is not known."""
    size = f' value="{done}" max="{total}"' if total else ""
    return f'<progress{size} style="width:24em;max-width:100%"></progress>'
