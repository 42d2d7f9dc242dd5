"""Jobs as a person reads them: state, batches, cost, failures by reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlbatch import layout
from sqlbatch.batches.providers import label
from sqlbatch.display.console import counted, info, out, plain, show_facts, sized
from sqlbatch.display.quote import quoted, spent
from sqlbatch.display.status import (
    batch_in_words,
    needs_somebody,
    next_step,
    notable,
    sends,
    status_in_words,
    tried_again,
)
from sqlbatch.display.tables import show_table
from sqlbatch.layout import harmless, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.batches.import_files import Imported
    from sqlbatch.db.jobs import Again, BatchRow, Billed, JobRow
    from sqlbatch.maintenance import Failure, Prunable
    from sqlbatch.query.target import Joined


# Of so many batches the story is told, and of so many jobs what to do next; all of them are in the JSON.
NOTES, STEPS = 20, 5


def show_joined(joined: Joined) -> None:
    """Tell what became of a target's rows."""
    parts = [f"{joined.answered:,} answered"]
    parts += [f"{joined.failed:,} failed"] if joined.failed else []
    parts += [f"{joined.pending:,} pending"] if joined.pending else []
    parts += [f"{joined.skipped:,} skipped"] if joined.skipped else []
    info(f"{joined.target}: {counted(joined.rows, 'row')}, {', '.join(parts)}")


def show_handed(handed: Imported) -> None:
    """Tell what result files brought."""
    parts = [f"{handed.answered:,} answered"]
    parts += [f"{handed.failed:,} failed"] if handed.failed else []
    parts += [f"{handed.retryable:,} to try again"] if handed.retryable else []
    parts += [f"{handed.known:,} known before"] if handed.known else []
    info(f"{counted(handed.lines, 'line')}: {', '.join(parts)}")
    if handed.elsewhere:
        info(
            f"{counted(handed.elsewhere, 'line')} of other jobs' requests left alone: "
            f"sqlbatch load {handed.other_job} with the same files takes them"
        )
    if handed.foreign:
        info(f"{counted(handed.foreign, 'line')} of no request of this database: kept in sqlbatch.quarantine")


def prunable(what: Prunable) -> str:
    """Return what is given up, in words."""
    parts = [f"{what.rows:,} rows of {counted(what.snapshots, 'job')}, kept for a retry"] if what.snapshots else []
    if what.inputs:
        parts.append(f"the inputs of {counted(what.inputs, 'request')} ({sized(what.input_bytes)})")
    if what.spool_files:
        parts.append(f"{counted(what.spool_files, 'file')} here ({sized(what.spool_bytes)})")
    if what.provider_files:
        parts.append(f"{counted(what.provider_files, 'file')} at the provider")
    if what.results:
        parts.append(f"{counted(what.results, 'result')} that no target shows any more (asked again is paid again)")
    return ", ".join(parts) or "nothing"


def job_json(job: JobRow, at: str = "", billed: Billed | None = None) -> dict[str, object]:
    """Return a job as a script reads it: its counts, where it is in words, what to do next, and what it cost."""
    words = {"says": status_in_words(job), "next": next_step(job, at)}
    return job.as_dict() | words | (billed.as_dict() if billed is not None else {})


def show_jobs(jobs: Sequence[JobRow], at: str = "") -> None:
    """Print one line a job, and below what to do next about those that need somebody."""
    rows = [
        [
            str(job.job_id),
            job.target,
            job.status,
            *(f"{count:,}" for count in (job.rows, job.requests, job.answered, job.failed, job.pending)),
            "local (offline)" if job.provider == "local" else label(job.provider, job.base_url),
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
        ]
        for job in jobs
    ]
    counts = ("rows", "requests", "answered", "failed", "pending")
    columns = ("job", "target", "status", *counts, "provider", "created (UTC)")
    show_table(columns, rows, right={"job", *counts}, spare=("provider", "requests", "created (UTC)"))
    needy = [job for job in jobs if needs_somebody(job)]
    for job in needy[:STEPS]:
        info(f"job {job.job_id}: {next_step(job, at)}")
    if len(needy) > STEPS:
        info(f"… and {len(needy) - STEPS:,} more: sqlbatch show JOB says what to do next")


def show_job(
    job: JobRow,
    batches: Sequence[BatchRow],
    failures: Sequence[tuple[str, int, str | None]],
    billed: Billed,
    again: Sequence[Again],
    at: str = "",
) -> None:
    """Print a job: what it asked, where it is, its batches, its failures by reason."""
    console = out()
    show_facts(console, job_facts(job, billed, again, at) | {"query": job.query.strip()})
    if batches:
        _show_batches(batches, sending=sends(job))
    if failures:
        _apart()
        rows = [[code, f"{number:,}", (message or "")[:200]] for code, number, message in failures]
        show_table(("failed for", "requests", "for example"), rows, right={"requests"})


def _show_batches(batches: Sequence[BatchRow], *, sending: bool) -> None:
    """Print a line a batch, and below what there is to say of them."""
    again = "to send again" if sending else "not answered"
    counts = ("requests", "answered", "failed", again, "not tried", "open")
    rows = []
    for batch in batches:
        failed = batch.failed - batch.again
        numbers = (batch.requests, batch.answered, failed, batch.again, batch.released, batch.open)
        rows.append([batch.provider_id or batch.batch_id, _short(batch), *(f"{number:,}" for number in numbers)])
    # What is nothing in every batch need not take room.
    shown = [i for i in range(2 + len(counts)) if i < 3 or any(row[i] != "0" for row in rows)]
    columns = ("batch", "state", *counts)
    _apart()
    show_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows], right=counts, short="batch")
    said = [batch for batch in batches if notable(batch)]
    if said:
        _apart()
    console = out()
    for batch in said[:NOTES]:
        name, words = batch.provider_id or batch.batch_id, batch_in_words(batch, sending=sending)
        if not console.is_terminal:
            console.print(f"{plain(name)}  {plain(words)}", soft_wrap=True)
            continue
        console.print(f"[dim]{plain(name)}[/]", soft_wrap=True)
        for line in wrapped(words, console.width - 2):
            console.print(f"  {plain(line)}", soft_wrap=True)
    if len(said) > NOTES:
        out().print(f"… and {len(said) - NOTES:,} more: sqlbatch show --json has all of them")


def _apart() -> None:
    """Leave a line between two parts; a table on a terminal begins with one."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n")


def job_facts(job: JobRow, billed: Billed, again: Sequence[Again] = (), at: str = "") -> dict[str, str]:
    """Return the facts of a job by their names, for a terminal or a notebook."""
    facts = {"job": f"{job.job_id} {job.target}", "status": status_in_words(job), "next": next_step(job, at)}
    facts["model"] = f"{job.model} at {label(job.provider, job.base_url)}" + (
        " (no language model)" if job.provider == "local" else ""
    )
    facts["rows"] = f"{job.rows:,}" + (f", {job.skipped:,} skipped" if job.skipped else "")
    known = f", {job.reused:,} known before" if job.reused else ""
    settled = f"{job.answered:,} answered, {job.failed:,} failed, {job.pending:,} pending"
    facts["requests"] = f"{job.requests:,} distinct{known}: {settled}"
    if again:
        facts["not at once"] = tried_again(job, again)
    if billed.results:
        facts["tokens"] = f"{billed.tokens_in:,} in ({billed.tokens_cached:,} cached), {billed.tokens_out:,} out"
        facts["cost"] = spent(billed)
        told = quoted(job, billed)
        if told is not None:
            facts["quoted"] = told
    facts["begun"] = f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if job.finished_at:
        facts["ended"] = f"{job.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    return facts


def _short(batch: BatchRow) -> str:
    """Return where a batch is in one word or two; of one at the provider how much of it is done."""
    if batch.state == "loaded":
        return "done" if batch.status == "completed" else batch.status or batch.state
    return f"{batch.status or batch.state} {batch.done:,}/{batch.requests:,}" if batch.state == "open" else batch.state


# Characters of a line as it came that are shown; --json has all of it.
_LINE = 300


def show_failures(job: JobRow, failures: Sequence[Failure]) -> None:
    """Print failed requests, one below the other; in a pipe one line each."""
    if sys.stdout.isatty():
        console = out()
        for failure in failures:
            fields = {"message": failure.message or "", "rows": _rows(failure), "custom_id": failure.custom_id}
            fields |= {"line": _shortened(failure.raw)} if failure.raw else {}
            values = [harmless(value) for value in fields.values()]
            for line in layout.records(list(fields), [values], console.width, [harmless(failure.code)]):
                sys.stdout.write(line + "\n")
            sys.stdout.write("\n")
        sys.stdout.flush()
    elif failures:
        columns = ("custom_id", "code", "rows", "message", "line")
        rows = [[f.custom_id, f.code, _rows(f), f.message or "", _shortened(f.raw or "")] for f in failures]
        show_table(columns, rows)
    more = job.failed - len(failures)
    if more > 0:
        info(f"{more:,} more: --limit {job.failed} shows all")
    if failures:
        info(f"sqlbatch show {job.job_id} --request CUSTOM_ID prints a request and what came back in full")
    else:
        info(f"no request of job {job.job_id} has failed")


def _rows(failure: Failure) -> str:
    if failure.rows is None or failure.asked_by is None:
        return "no longer kept"
    more = failure.asked_by - len(failure.rows)
    return ", ".join(map(str, failure.rows)) + (f" and {more:,} more" if more else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
