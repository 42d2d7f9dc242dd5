"""What result lines say of their requests: read them, and tell an answer from a failure, in SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlbatch.answering.batch_api import BLOCKING_CODES
from sqlbatch.answering.readers import reader_of
from sqlbatch.store.queries import quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlbatch.store.database import Session


def judge(session: Session, files: Sequence[Path], endpoint: str, check: str) -> None:
    """Read the lines of result files into the table `sqlbatch_lines`, and what they say into `sqlbatch_judged`.

    `check` is SQL over an answer's text, `content`, or its `vector`: NULL where it has the asked-for shape, else what
    is wrong with it.
    """
    with session.keeping_row_order(keep=True):
        session.run("load.lines", files=file_list(files), **asdict(reader_of(endpoint)))
    blocking = ", ".join(quote_literal(code) for code in sorted(BLOCKING_CODES))
    session.run("load.judged", check=check, blocking=blocking)


def file_list(paths: Sequence[Path]) -> str:
    """Return paths as a SQL list of literals."""
    return "[" + ", ".join(quote_literal(str(path)) for path in paths) + "]"
