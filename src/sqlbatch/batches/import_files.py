"""Results that do not come with a batch: files that the user downloaded, and stored answers checked again.

Each line of a file is assigned to the batch that carried its request, once.
"""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.parse_results import as_text, lines_sql, parse_results
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidSettings, JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlbatch.db.session import Session


@dataclass(frozen=True)
class Imported:
    """What result files brought for a job: results by outcome, known results, and lines of other jobs.

    `elsewhere` counts lines of requests of other jobs, such as `other_job`; `foreign` counts lines of no known request,
    and second results of a request, which are kept in `sqlbatch.quarantine`.
    """

    lines: int
    answered: int
    failed: int
    retryable: int
    known: int
    elsewhere: int
    other_job: int | None
    foreign: int


def read_files(
    session: Session,
    job_id: int,
    begun: datetime,
    files: Sequence[Path],
    check: Callable[[str, str], str],
    *,
    as_whole: bool = False,
) -> Imported:
    """Load result files for a job, within the caller's transaction; results that are already loaded change nothing.

    The files may be compressed (gzip, zip) or in UTF-16. With `as_whole`, they replace their batches' unreadable files:
    a request without a line in them was not answered, and may be sent again. `check` is as for `results.load_files`.
    Raises JobError if no line of the files is a result of the job, InvalidSettings if a file cannot be unpacked.
    """
    calls = session.run("import_files.calls", {"job_id": job_id})
    if not calls:
        raise JobError(f"job {job_id} no longer has any requests: there is nothing to load results for")
    # A job has one call so far. Lines of another call would be checked against the wrong columns, so they are left
    # alone.
    call_id, endpoint, returns = calls[0]
    now = clock.now()
    session.run("database.planner_lock")
    with tempfile.TemporaryDirectory() as folder, as_text(files, Path(folder)) as (readable, longest):
        parse_results(session, readable, endpoint, check(endpoint, returns), longest=longest)
        session.run("results.chosen")
        session.run("import_files.theirs", {"job_id": job_id, "call_id": call_id})
        session.run("import_files.new")
        session.run("import_files.strange")
        lines, foreign, no_results, theirs = session.run("import_files.told")[0]
        elsewhere, other = session.run("import_files.elsewhere", {"job_id": job_id})[0]
        named = ", ".join(str(path) for path in files)
        if lines == no_results:
            raise JobError(
                f"{named}: no line is a result of the Batch API (load a batch's output or error file, not its input "
                "file)"
            )
        if not theirs:
            command = shlex.join(["sqlbatch", "load", str(other), *map(str, files)])
            where = f"; {elsewhere:,} belong to job {other}: {command}" if elsewhere else ""
            raise JobError(f"{named}: none of {lines:,} lines is a result of job {job_id}, nothing is changed{where}")
        session.run("import_files.touch")
        session.run("import_files.forget")
        session.append_results("import_files.results", {"asked_at": begun, "now": now})
        if as_whole:
            session.run("import_files.absent")
        session.run("import_files.whole", {"now": now})
        session.run("import_files.unsent", {"now": now})
        if foreign:
            session.run("import_files.put_aside", {"now": now}, lines=lines_sql(session, readable, longest=longest))
    answered, failed, retryable, known = session.run("import_files.counts")[0]
    return Imported(lines, answered, failed, retryable, known, elsewhere, other, foreign)


def forget_kept(session: Session, folder: Path) -> None:
    """Delete the kept files of batches whose results have all become readable."""
    needed = {batch_id for (batch_id,) in session.run("import_files.unreadable")}
    for path in folder.glob("*.jsonl"):
        if path.name.split(".")[0] not in needed:
            path.unlink(missing_ok=True)


def readable(files: Sequence[Path]) -> None:
    """Raise InvalidSettings for a file that does not exist, cannot be read, or has a name that matches several."""
    for path in files:
        if any(character in path.name for character in "*?["):
            raise InvalidSettings(f"{path}: a file with *, ? or [ in its name cannot be loaded: rename it")
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise InvalidSettings(f"{path} cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class JudgedAgain:
    """How many stored results were checked again, and how many of them count as answers now."""

    results: int
    answered: int


def judge_stored(session: Session, job_id: int, reading: Callable[[str, str], tuple[str, str]]) -> JudgedAgain:
    """Check the kept lines of a job's failed results again by the current rules, within the caller's transaction.

    Results are only appended: a new one replaces the old one for the job, and costs nothing. `reading` turns an
    endpoint and the canonical returned columns into SQL over `content` and `vector` that says what is wrong with an
    answer, and SQL over `j.content` for the part of an answer to keep. Raises JobError if no line was kept.
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
