"""Print jobs: status, batches, cost, failures by reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlbatch import layout
from sqlbatch.batches.providers import label
from sqlbatch.db.prices import in_dollars
from sqlbatch.display.console import counted, info, nonzero, out, plain, show_facts, sized
from sqlbatch.display.quote import billed_tokens, model_at, quoted, quoted_and_spent
from sqlbatch.display.status import (
    batch_in_words,
    clock_time,
    needs_somebody,
    next_step,
    notable,
    sends,
    status_in_words,
    tried_again,
)
from sqlbatch.display.tables import shortened, show_table
from sqlbatch.layout import harmless, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlbatch.batches.import_files import Imported
    from sqlbatch.db.jobs import Again, BatchRow, Billed, JobRow
    from sqlbatch.inspection import Reason
    from sqlbatch.prune import Prunable
    from sqlbatch.query.target_rows import Joined


# The most characters of a provider's message in a line of ours.
MESSAGE = 200
FAILED = ("failed for", "requests", "for example")
# The most batches whose history is shown, and the most jobs with a next step; --json has all of them.
NOTES, STEPS = 20, 5


def show_joined(joined: Joined) -> None:
    """Print what became of a target's rows."""
    parts = nonzero((joined.failed, "failed"), (joined.pending, "pending"), (joined.skipped, "skipped"))
    info(", ".join([f"{joined.target}: {counted(joined.rows, 'row')}", f"{joined.answered:,} answered", *parts]))


def show_imported(imported: Imported) -> None:
    """Print what result files brought."""
    parts = nonzero((imported.failed, "failed"), (imported.retryable, "to try again"), (imported.known, "known before"))
    info(", ".join([f"{counted(imported.lines, 'line')}: {imported.answered:,} answered", *parts]))
    if imported.elsewhere:
        info(
            f"{counted(imported.elsewhere, 'line')} of other jobs left alone: "
            f"sqlbatch load {imported.other_job} with the same files loads them"
        )
    if imported.foreign:
        info(f"{counted(imported.foreign, 'line')} without a request in this database: kept in sqlbatch.quarantine")


def prunable(what: Prunable) -> str:
    """Return what prune deletes, in words."""
    parts = [f"{what.rows:,} rows of {counted(what.snapshots, 'job')}, kept for a retry"] if what.snapshots else []
    if what.built:
        parts.append(f"{what.built_rows:,} rows of {counted(what.built, 'job')}, published and kept here too")
    if what.inputs:
        parts.append(f"the inputs of {counted(what.inputs, 'request')} ({sized(what.input_bytes)})")
    if what.spool_files:
        parts.append(f"{counted(what.spool_files, 'file')} here ({sized(what.spool_bytes)})")
    if what.provider_files:
        parts.append(f"{counted(what.provider_files, 'file')} at the provider")
    if what.results:
        parts.append(f"{counted(what.results, 'result')} that no target shows any more (asking again costs again)")
    return ", ".join(parts) or "nothing"


def job_json(job: JobRow, at: str = "", billed: Billed | None = None) -> dict[str, object]:
    """Return a job as JSON for a script: its counts, its status in words, what to do next, and its cost."""
    words = {"says": status_in_words(job), "next": next_step(job, at)}
    return job.as_dict() | words | (billed.as_dict() if billed is not None else {})


def show_jobs(
    jobs: Sequence[JobRow],
    spent: Mapping[int, float | None],
    promised: Mapping[int, tuple[float | None, float]],
    at: str = "",
) -> None:
    """Print one line per job, and below them what to do next about jobs that need a person.

    `spent` are dollars by job, `promised` the dollars quoted and the dollars that its batches in flight may cost.
    """
    counts = ("rows", "requests", "answered", "failed", "pending")
    rows = [
        [
            str(job.job_id),
            job.target,
            job.status,
            *(f"{getattr(job, count):,}" for count in counts),
            *_money(job, spent, promised),
            where(job),
            f"{job.created_at:%Y-%m-%d}",
        ]
        for job in jobs
    ]
    money = ("quoted", "spent", "reserved")
    columns: tuple[str, ...] = ("job", "target", "status", *counts, *money, "provider", "started")
    spare = ("reserved", "quoted", "provider", "requests", "pending", "started")
    if any(reserved for _, reserved in promised.values()):
        spare = (*spare[1:], spare[0])
    if any(job.place is not None for job in jobs):
        columns = (*columns, "published")
        rows = [[*row, _published(job)] for row, job in zip(rows, jobs, strict=True)]
    show_table(columns, rows, right={"job", *money, *counts}, spare=spare)
    needy = [job for job in jobs if needs_somebody(job)]
    for job in needy[:STEPS]:
        info(f"job {job.job_id}: {next_step(job, at)}")
    if len(needy) > STEPS:
        info(f"… and {len(needy) - STEPS:,} more: sqlbatch show JOB says what to do next")


def where(job: JobRow) -> str:
    """Return who is asked for a job."""
    return "local (offline)" if job.provider == "local" else label(job.provider, job.base_url)


def _published(job: JobRow) -> str:
    """Return when a job's rows were published to another database, or how far that is."""
    if job.place is None:
        return ""
    if job.published_at is not None:
        return f"{job.published_at:%Y-%m-%d}"
    return "not yet" if job.unpublished or job.built_at is None else "a newer job's"


def _money(
    job: JobRow, spent: Mapping[int, float | None], promised: Mapping[int, tuple[float | None, float]]
) -> list[str]:
    """Return the dollars that a job was quoted, has spent and has reserved; empty for a free job."""
    quoted, reserved = promised.get(job.job_id, (None, 0.0))
    dollars = spent.get(job.job_id, 0.0)
    if job.provider == "local":
        quoted, dollars = 0.0, 0.0
    told = ["unknown" if each is None else in_dollars(each) for each in (quoted, dollars)]
    return [*told, in_dollars(reserved) if reserved else ""]


def show_job(
    job: JobRow,
    batches: Sequence[BatchRow],
    failures: Sequence[tuple[str, int, str | None]],
    billed: Billed,
    again: Sequence[Again],
    at: str = "",
) -> None:
    """Print a job: its request, its status, its batches, its failures by reason."""
    show_facts(out(), job_facts(job, billed, again, at) | {"query": job.query.strip()})
    if batches:
        _show_batches(batches, sending=sends(job))
    if failures:
        _apart()
        show_table(FAILED, failed_rows(failures), right={"requests"})


def failed_rows(failures: Sequence[tuple[str, int, str | None]]) -> list[list[str]]:
    """Return failures by reason as the rows of a table with the columns FAILED."""
    return [[code, f"{number:,}", (message or "")[:MESSAGE]] for code, number, message in failures]


def _show_batches(batches: Sequence[BatchRow], *, sending: bool) -> None:
    """Print one line per batch, and below them anything unusual about them."""
    again = "to send again" if sending else "not answered"
    counts = ("requests", "answered", "failed", again, "not tried", "open")
    rows = []
    for batch in batches:
        failed = batch.failed - batch.again
        numbers = (batch.requests, batch.answered, failed, batch.again, batch.released, batch.open)
        rows.append([_name(batch), _short(batch), *(f"{number:,}" for number in numbers)])
    # A column that is empty for every batch is left out.
    shown = [i for i in range(2 + len(counts)) if i < 3 or any(row[i] != "0" for row in rows)]
    columns = ("batch", "state", *counts)
    _apart()
    show_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows], right=counts)
    said = [batch for batch in batches if notable(batch)]
    if said:
        _apart()
    console = out()
    for batch in said[:NOTES]:
        name, words = _name(batch), batch_in_words(batch, sending=sending)
        if not console.is_terminal:
            console.print(f"{plain(name)}  {plain(words)}", soft_wrap=True)
            continue
        console.print(f"[dim]{plain(name)}[/]", soft_wrap=True)
        for line in wrapped(words, console.width - 2):
            console.print(f"  {plain(line)}", soft_wrap=True)
    if len(said) > NOTES:
        out().print(f"… and {len(said) - NOTES:,} more: sqlbatch show --json has all of them")


def _name(batch: BatchRow) -> str:
    """Return a batch's id, shortened on a terminal; --json has all of it."""
    return shortened(batch.provider_id or batch.batch_id)


def top_reason(reasons: Sequence[tuple[str, int, str | None]]) -> str:
    """Return the most common of failures given as (code, requests, message), most common first."""
    if not reasons:
        return ""
    code, requests, text = reasons[0]
    words = " ".join((text or "").split())
    words = words if len(words) <= MESSAGE else f"{words[: MESSAGE - 1]}…"
    count = f"{requests:,} " if len(reasons) > 1 else ""
    more = f"; {counted(len(reasons) - 1, 'more reason')}" if len(reasons) > 1 else ""
    return f" ({count}{code}{': ' + words if words else ''}{more})"


def _apart() -> None:
    """Print an empty line between two parts; a table on a terminal begins with one."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n")


def job_facts(job: JobRow, billed: Billed, again: Sequence[Again] = (), at: str = "") -> dict[str, str]:
    """Return the facts of a job by their names, for a terminal or a notebook."""
    facts = {"job": f"{job.job_id} {job.target}", "status": status_in_words(job), "next": next_step(job, at)}
    facts["model"] = model_at(job.model, job.provider, job.base_url)
    facts["rows"] = f"{job.rows:,}" + (f", {job.skipped:,} skipped" if job.skipped else "")
    known = f", {job.reused:,} known before" if job.reused else ""
    settled = f"{job.answered:,} answered, {job.failed:,} failed, {job.pending:,} pending"
    facts["requests"] = f"{job.requests:,} distinct{known}: {settled}"
    if again:
        facts["retried"] = tried_again(job, again)
    if billed.results:
        facts["tokens"] = billed_tokens(billed)
    if billed.results or billed.reserved:
        facts["cost"] = quoted_and_spent(billed)
    if accuracy := quoted(job, billed):
        facts["estimate"] = accuracy
    facts["started"] = clock_time(job.created_at)
    if job.finished_at:
        facts["finished"] = clock_time(job.finished_at)
    if job.built_at:
        facts["built"] = f"{clock_time(job.built_at)}, in sqlbatch.built_{job.job_id}"
        facts["published"] = (
            f"{clock_time(job.published_at)}, {job.published_rows or 0:,} rows in {job.target}"
            if job.published_at
            else "not yet" + (f": {job.publish_error}" if job.publish_error else "")
        )
    return facts


def _short(batch: BatchRow) -> str:
    """Return a batch's status in one or two words; at the provider, also how much of it is done."""
    if batch.state == "loaded":
        return "done" if batch.status == "completed" else batch.status or batch.state
    return f"{batch.status or batch.state} {batch.done:,}/{batch.requests:,}" if batch.state == "open" else batch.state


def show_failures(job: JobRow, reasons: Sequence[Reason], most: int) -> None:
    """Print why a job's requests failed, the most common reason first, and for which rows."""
    shown = reasons[:most]
    if sys.stdout.isatty():
        width = out().width
        for reason in shown:
            fields = {"message": reason.message or "", "requests": f"{reason.requests:,}"}
            fields |= {"rows": f"{reason.rows:,}", reason.column: _named(reason)} if reason.rows else {}
            fields["custom_id"] = reason.custom_id + (" (one of them)" if reason.requests > 1 else "")
            lines = layout.records(list(fields), [[harmless(each) for each in fields.values()]], width, [reason.code])
            sys.stdout.write("\n".join([*lines, "", ""]))
        sys.stdout.flush()
    elif shown:
        column = shown[0].column
        columns = ("failed for", "requests", "rows", column, "message", "custom_id")
        rows = [
            [r.code, f"{r.requests:,}", f"{r.rows:,}" if r.rows else "", _named(r), r.message or "", r.custom_id]
            for r in shown
        ]
        show_table(columns, rows, right={"requests", "rows"})
    if len(reasons) > most:
        info(f"{counted(len(reasons) - most, 'more reason')}: --limit {len(reasons)} shows all")
    if not reasons:
        info(f"no request of job {job.job_id} has failed")
        return
    if reasons[0].rows is None:
        info("the rows of these requests are not known: prune deleted the stored rows")
    info(f"sqlbatch show {job.job_id} --request CUSTOM_ID prints a request and what came back in full")


def _named(reason: Reason) -> str:
    more = (reason.rows or 0) - len(reason.named)
    return "; ".join(reason.named) + (f"; and {more:,} more" if more > 0 else "")
