"""Stored answers judged again: a new version, or another way to read JSON, may make answers of what was refused."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.parse_results import parse_results
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.session import Session


@dataclass(frozen=True)
class JudgedAgain:
    """How many stored results were judged again, and how many of them are answers now."""

    results: int
    answered: int


def judge_again(session: Session, job_id: int, reading: Callable[[str, str], tuple[str, str]]) -> JudgedAgain:
    """Judge the kept lines of a job's failed results by the rules of today, within the caller's transaction.

    Results are appended: a new one replaces the old one for the job, and costs nothing. `reading` makes, of an endpoint
    and the canonical returned columns, SQL over `content` and `vector` that says what is wrong with an answer, and SQL
    over `j.content` of what to keep of one. Raises JobError where no line is kept.
    """
    calls = session.run("import_files.calls", {"job_id": job_id})
    session.run("database.planner_lock")
    session.run("judge_again.kept", {"job_id": job_id})
    if not calls or not session.sql("SELECT count(*) FROM sqlbatch_refused")[0][0]:
        raise JobError(f"job {job_id} has no failed request whose answer was kept: there is nothing to judge again")
    _, endpoint, returns = calls[0]
    check, kept = reading(endpoint, returns)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kept.jsonl"
        session.run("judge_again.lines", file=quote_literal(str(file)))
        parse_results(session, [file], endpoint, check)
    session.append_results("judge_again.results", {"now": clock.now()}, kept=kept)
    return JudgedAgain(*session.run("judge_again.counts")[0])
