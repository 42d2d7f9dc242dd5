"""What a preview brought, row by row: as JSON has it, as text, and as a notebook shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlbatch import layout


@dataclass(frozen=True)
class PreviewRow:
    """One row of a preview: its number in the query, its columns, and the returned ones where it is answered.

    `status` is answered, failed, skipped or pending, `error` says why it is not answered; `kept` is true where the
    answer was there before. Values are as JSON has them.
    """

    number: int
    status: str
    error: str | None
    kept: bool
    input: dict[str, Any]
    answer: dict[str, Any] | None

    def as_dict(self) -> dict[str, object]:
        """Return the row as one JSON object."""
        return {
            "row": self.number, "status": self.status, "error": self.error, "kept": self.kept,
            "input": self.input, "answer": self.answer,
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Preview:
    """What a preview brought: its rows, how many requests were sent for them, the tokens that those took, and dollars.

    `dollars` are at the ordinary price, None where no price is known.
    """

    rows: tuple[PreviewRow, ...]
    sees: tuple[str, ...]
    sent: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    dollars: float | None

    def of(self, status: str) -> int:
        """Return how many rows have a status."""
        return sum(row.status == status for row in self.rows)

    def as_dict(self) -> dict[str, object]:
        """Return the preview as one JSON object."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "requests_sent": self.sent,
            "tokens_in": self.tokens_in,
            "tokens_cached": self.tokens_cached,
            "tokens_out": self.tokens_out,
            "dollars": self.dollars,
        }

    def __repr__(self) -> str:
        return "\n".join(
            line
            for row in self.rows
            for line in layout.records(*_named(row), width=100, titles=[f"row {row.number}, {row.status}"])
        )

    def _repr_html_(self) -> str:
        """Return the preview as a notebook shows it: a line a row, what came back behind what was sent."""
        sent = list(dict.fromkeys(name for row in self.rows for name in row.input))
        returned = list(dict.fromkeys(name for row in self.rows for name in row.answer or {}))
        return layout.html_table(
            ["row", *sent, *(f"→ {name}" for name in returned), "status"],
            [
                [
                    str(row.number),
                    *(text_of(row.input.get(name)) for name in sent),
                    *(text_of((row.answer or {}).get(name)) for name in returned),
                    row.status if row.error is None else f"{row.status}: {row.error}",
                ]
                for row in self.rows
            ],
        )


def _named(row: PreviewRow) -> tuple[list[str], list[list[str | None]]]:
    """Return names and texts of a row's fields, what came back behind an arrow."""
    came = row.answer if row.answer is not None else {row.status: row.error}
    names = [*row.input, *(f"-> {name}" for name in came)]
    return names, [[text_of(value) for value in (*row.input.values(), *came.values())]]


def text_of(value: Any) -> str | None:
    """Return a JSON value as a person reads it: a text as it is, lists and objects as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
