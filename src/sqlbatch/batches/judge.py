"""What result lines say of their requests: read them, and tell an answer from a failure, in SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.batches.readers import reader_of
from sqlbatch.db.sql import quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlbatch.db.session import Session


def judge(session: Session, files: Sequence[Path], endpoint: str, check: str) -> None:
    """Read what the lines of result files say of their requests into the table `sqlbatch_judged`, in their order.

    `check` is SQL over an answer's text, `content`, or its `vector`: NULL where it has the asked-for shape, else what
    is wrong with it.
    """
    blocking = ", ".join(quote_literal(code) for code in sorted(BLOCKING_CODES))
    places = asdict(reader_of(endpoint)) | {"files": file_list(files), "check": check, "blocking": blocking}
    with session.keeping_row_order(keep=True):
        session.run("results.judged", **places)
        session.run("results.forbidden")


def file_list(paths: Sequence[Path]) -> str:
    """Return paths as a SQL list of literals."""
    return "[" + ", ".join(quote_literal(str(path)) for path in paths) + "]"
