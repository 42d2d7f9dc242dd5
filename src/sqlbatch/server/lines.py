"""Lines of a batch's input file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE = 32 * 1024 * 1024  # bytes of one line: our own limit, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch; `number` counts the file's lines from 1."""

    number: int
    custom_id: str
    body: dict[str, Any]

    def without_body(self) -> Line:
        """Return the line without its body, which takes memory."""
        return Line(self.number, self.custom_id, {})


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is not blank with its number; one that is too long comes cut at `MAX_LINE` + 1 bytes."""
    number = 0
    with path.open("rb", buffering=1 << 18) as handle:
        while line := handle.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = handle.readline(1 << 20)
            if not line.isspace():
                yield number, line
