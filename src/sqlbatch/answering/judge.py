"""What result lines say of their requests: read them, and tell an answer from a failure, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.answering.batch_api import BLOCKING_CODES
from sqlbatch.store.queries import quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlbatch.store.database import Session

# Where a chat completion has what we read, as JSON paths of a result line.
_PATHS = {
    "content": "$.response.body.choices[0].message.content",
    "refusal": "$.response.body.choices[0].message.refusal",
    "finish": "$.response.body.choices[0].finish_reason",
    "tokens_in": "$.response.body.usage.prompt_tokens",
    "tokens_cached": "$.response.body.usage.prompt_tokens_details.cached_tokens",
    "tokens_out": "$.response.body.usage.completion_tokens",
}


def judge(session: Session, files: Sequence[Path], check: str) -> None:
    """Read the lines of result files into the table `sqlbatch_lines`, and what they say into `sqlbatch_judged`.

    `check` is SQL over an answer's text, `content`: NULL where it has the asked-for shape, else what is wrong with it.
    """
    with session.keeping_row_order(keep=True):
        session.run("load.lines", files=file_list(files), **_PATHS)
    blocking = ", ".join(quote_literal(code) for code in sorted(BLOCKING_CODES))
    session.run("load.judged", check=check, blocking=blocking)


def file_list(paths: Sequence[Path]) -> str:
    """Return paths as a SQL list of literals."""
    return "[" + ", ".join(quote_literal(str(path)) for path in paths) + "]"
