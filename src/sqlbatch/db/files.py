"""Read many files with DuckDB, some of them at a time; files that cannot be read are left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlbatch.db.session import Session

# DuckDB reads up to 2,048 files into one vector; this total size at a time keeps its memory small.
BYTES_AT_ONCE, FILES_AT_ONCE = 64_000_000, 1_000


def size_of(path: str) -> tuple[int, None] | tuple[None, str]:
    """Return a file's size in bytes, or None and why it cannot be read."""
    try:
        found = Path(path)
        size = found.stat().st_size
        if not found.is_file():
            return None, "it is a folder" if found.is_dir() else "it is not a file"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return None, (reason or "no file can have this name").lower()
    return size, None


def in_parts(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Return paths in parts that can be read at once, in order."""
    part: list[str] = []
    room = BYTES_AT_ONCE
    for path, size in sizes.items():
        if part and (size > room or len(part) >= FILES_AT_ONCE):
            yield part
            part, room = [], BYTES_AT_ONCE
        part.append(path)
        room -= size
    if part:
        yield part


def read_with(session: Session, block: str, paths: Sequence[str], **places: str) -> None:
    """Run a block that reads the files `$paths`; only files that DuckDB cannot open are left out."""
    try:
        session.run(block, {"paths": [as_pattern(path) for path in paths]}, **places)
    except DatabaseError:
        if len(paths) > 1:
            middle = len(paths) // 2
            read_with(session, block, paths[:middle], **places)
            read_with(session, block, paths[middle:], **places)


def as_pattern(path: str) -> str:
    """Return a path as a pattern that matches only itself."""
    return re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", path)
