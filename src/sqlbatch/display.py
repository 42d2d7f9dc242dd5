"""What the user sees: messages and progress on stderr, data on stdout, and the exit codes."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from sqlbatch.answering.events import Held, Loaded, Noted, Packed, Submitted, Transferring
from sqlbatch.answering.events import Progress as BatchProgress
from sqlbatch.answering.providers import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.progress import TaskID

    from sqlbatch.answering.events import Event
    from sqlbatch.query.join import Joined
    from sqlbatch.query.quote import Quote
    from sqlbatch.store.records import BatchRow, JobRow

# Seconds between two plain lines about the same thing, where stderr is no terminal.
_PLAIN_EVERY = 10.0
# C0 and C1 controls but tab and line feed, each as its escape: an answer may hold what clears a screen.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in {9, 10}}


class Exit(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    """Every row is answered or skipped, or a step was done as asked."""
    ERROR = 1
    """Something is wrong, or nothing could be sent."""
    USAGE = 2
    """The command was not understood."""
    FAILED_ROWS = 3
    """The job ended, and some of its rows failed."""
    INTERRUPTED = 4
    """Ctrl-C; the job goes on at the provider."""


err = Console(stderr=True, highlight=False, soft_wrap=True)


def out() -> Console:
    """Return the console of stdout, wide enough in a pipe for a table to be read."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def plain(text: str) -> str:
    """Return a text for the console: no markup, and control characters, which could steer a terminal, made visible."""
    return escape(text.translate(_CONTROLS))


def say(message: str) -> None:
    """Tell something on stderr, as it is."""
    err.print(plain(message))


def error(message: str) -> None:
    """Tell an error on stderr."""
    err.print(f"[bold red]error:[/] {plain(message)}")


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def working(doing: str) -> Iterator[None]:
    """Show that something goes on for the block: a moving bar on a terminal, one line elsewhere."""
    if not err.is_terminal:
        say(f"{doing} …")
        yield
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err, transient=True
    ) as bar:
        bar.add_task(doing, total=None)
        yield


def show_quote(quote: Quote) -> None:
    """Tell what would be sent, what not, and why."""
    offline = " (no language model: it answers from the text alone)" if quote.provider == "local" else ""
    facts = {"target": quote.target, "model": f"{quote.model} at {label(quote.provider, quote.base_url)}{offline}"}
    facts["rows"] = f"{quote.rows:,}" + "".join(f"; {count:,} skipped: {reason}" for reason, count in quote.skipped_why)
    facts["the model sees"] = ", ".join(quote.sees)
    if quote.rides_along:
        facts["rides along"] = ", ".join(quote.rides_along)
    settled = [f"{quote.distinct:,} distinct"]
    settled += [f"{quote.answered:,} answered before"] if quote.answered else []
    settled += [f"{quote.failed_before:,} failed before, not sent"] if quote.failed_before else []
    settled += [f"{quote.in_flight:,} in flight"] if quote.in_flight else []
    facts["requests"] = ", ".join(settled)
    if quote.to_send:
        batches = _count(quote.batches, "batch", "batches")
        size = f"{quote.bytes / 1e6:,.1f} MB, about {quote.tokens:,} tokens of input"
        facts["to send"] = f"{_count(quote.to_send, 'request')} in {batches}, {size}"
    else:
        facts["to send"] = "nothing"
    free = quote.provider == "local" or not quote.to_send
    facts["cost"] = "nothing" if free else "unknown: no price is known for it"
    _show_facts(err, facts)
    for note in quote.notes:
        err.print(f"[yellow]note:[/] {plain(note)}")


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; no is the default."""
    err.print(f"{plain(question)} \\[y/N] ", end="")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def follow(events: Iterable[Event]) -> None:
    """Consume a job's events and show them: bars on a terminal, plain lines elsewhere."""
    if err.is_terminal:
        _Bars().follow(events)
    else:
        _Lines().follow(events)


def told(event: Event) -> str | None:
    """Return the line that an event is worth, or None."""
    match event:
        case Packed(batches, requests):
            return f"planned {_count(requests, 'request')} in {_count(batches, 'batch', 'batches')}"
        case Submitted(_, provider_id, requests, adopted):
            how = "found at the provider, its reply was lost" if adopted else "submitted"
            return f"batch {provider_id} {how}: {_count(requests, 'request')}"
        case Loaded(batch_id, provider_id, status, answered, failed, retryable, released):
            parts = [f"{answered:,} answered"]
            parts += [f"{failed:,} failed"] if failed else []
            parts += [f"{retryable:,} to try again"] if retryable else []
            parts += [f"{released:,} not tried"] if released else []
            return f"batch {provider_id or batch_id} {status}: {', '.join(parts)}"
        case Held(reason, seconds):
            return f"waiting{f' {seconds:,.0f} s' if seconds and seconds >= 1 else ''}: {reason}"
        case Noted(message):
            return message
        case _:
            return None


class _Lines:
    """Plain lines, for a log: what happens once, and the counts when they change, not too often."""

    def __init__(self) -> None:
        self._counts: tuple[object, ...] = ()
        self._at = 0.0
        self._held = ""

    def follow(self, events: Iterable[Event]) -> None:
        for event in events:
            line = told(event)
            if isinstance(event, BatchProgress) and event.batches:
                counts = (event.completed, event.failed, event.statuses)
                if counts != self._counts and time.monotonic() - self._at > _PLAIN_EVERY:
                    line = f"{_statuses(event)}: {event.completed + event.failed:,} of {event.total:,} requests"
                    self._counts, self._at = counts, time.monotonic()
            if line is None or (isinstance(event, Held) and event.reason == self._held):
                continue
            self._held = event.reason if isinstance(event, Held) else ""
            say(line)


class _Bars:
    """Moving bars, for a terminal, with what happens once as lines above them."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=err, transient=True,
        )  # fmt: skip
        self._bytes = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=err,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = None

    def follow(self, events: Iterable[Event]) -> None:
        from rich.console import Group  # noqa: PLC0415 (only a terminal needs it)
        from rich.live import Live  # noqa: PLC0415

        with Live(Group(self._bytes, self._bars), console=err, transient=True, refresh_per_second=10):
            held = ""
            for event in events:
                line = told(event)
                if isinstance(event, Transferring):
                    self._transfer(event)
                elif isinstance(event, BatchProgress):
                    self._progress(event)
                elif line is not None and not (isinstance(event, Held) and event.reason == held):
                    err.print(f"[dim]{plain(line)}[/]")
                if not isinstance(event, Transferring | BatchProgress):
                    held = event.reason if isinstance(event, Held) else ""
                    self._hide_transfers()

    def _transfer(self, event: Transferring) -> None:
        if event.doing not in self._tasks:
            self._tasks[event.doing] = self._bytes.add_task(event.doing, total=event.total)
        self._bytes.update(self._tasks[event.doing], completed=event.done, total=event.total)

    def _hide_transfers(self) -> None:
        for task in self._tasks.values():
            self._bytes.remove_task(task)
        self._tasks.clear()

    def _progress(self, event: BatchProgress) -> None:
        self._hide_transfers()
        if self._waiting is None:
            self._waiting = self._bars.add_task("", total=None)
        done = event.completed + event.failed
        self._bars.update(self._waiting, description=_statuses(event), completed=done, total=event.total or None)


def show_joined(joined: Joined) -> None:
    """Tell what became of a target's rows."""
    parts = [f"{joined.answered:,} answered"]
    parts += [f"{joined.failed:,} failed"] if joined.failed else []
    parts += [f"{joined.pending:,} pending"] if joined.pending else []
    parts += [f"{joined.skipped:,} skipped"] if joined.skipped else []
    say(f"{joined.target}: {_count(joined.rows, 'row')}, {', '.join(parts)}")


def show_jobs(jobs: Sequence[JobRow]) -> None:
    """Print one line a job."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in (
        "job",
        "target",
        "status",
        "rows",
        "requests",
        "answered",
        "failed",
        "pending",
        "provider",
        "created (UTC)",
    ):
        table.add_column(
            heading,
            justify="right" if heading in {"rows", "requests", "answered", "failed", "pending"} else "left",
            no_wrap=heading != "target",
            overflow="fold",
        )
    for job in jobs:
        counts = (job.rows, job.requests, job.answered, job.failed, job.pending)
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        model = "local (offline)" if job.provider == "local" else label(job.provider, job.base_url)
        table.add_row(str(job.job_id), plain(job.target), job.status, *(f"{n:,}" for n in counts), model, created)
    out().print(table)


def show_job(
    job: JobRow, batches: Sequence[BatchRow], failures: Sequence[tuple[str, int, str | None]], billed: Sequence[int]
) -> None:
    """Print a job: what it asked, where it is, its batches, its failures by reason."""
    console = out()
    model = json.loads(job.enrichment)["model"]
    facts = {"job": f"{job.job_id} {job.target}", "status": _status_in_words(job)}
    facts["model"] = f"{model} at {label(job.provider, job.base_url)}" + (
        " (no language model)" if job.provider == "local" else ""
    )
    facts["rows"] = f"{job.rows:,}" + (f", {job.skipped:,} skipped" if job.skipped else "")
    known = f", {job.reused:,} known before" if job.reused else ""
    settled = f"{job.answered:,} answered, {job.failed:,} failed, {job.pending:,} pending"
    facts["requests"] = f"{job.requests:,} distinct{known}: {settled}"
    if any(billed):
        facts["tokens"] = f"{billed[0]:,} in ({billed[1]:,} cached), {billed[2]:,} out"
    facts["begun"] = f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if job.finished_at:
        facts["ended"] = f"{job.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    facts["query"] = job.query.strip()
    _show_facts(console, facts)
    if batches:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("batch", "state", "requests", "answered", "failed", "not tried", "open"):
            table.add_column(heading)
        for batch in batches:
            state = batch.state if batch.status in {None, "completed"} else f"{batch.state} ({batch.status})"
            counts = (batch.requests, batch.answered, batch.failed, batch.released, batch.open)
            adopted = ", adopted" if batch.adopted else ""
            table.add_row(batch.provider_id or batch.batch_id, state + adopted, *(f"{n:,}" for n in counts))
        console.print(table)
    if failures:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("failed for", "requests", "for example"):
            table.add_column(heading)
        for code, count, message in failures:
            table.add_row(plain(code), f"{count:,}", plain((message or "")[:200]))
        console.print(table)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[str | None]], more: int = 0) -> None:
    """Print rows as a table, long text wrapped; `more` rows are only counted."""
    table = Table(box=box.ROUNDED, show_lines=any(value and len(value) > 40 for row in rows for value in row))
    for column in columns:
        table.add_column(plain(column), overflow="fold")
    for row in rows:
        table.add_row(*("[dim]NULL[/]" if value is None else plain(value) for value in row))
    out().print(table)
    if more:
        say(f"{more:,} more rows")


def _status_in_words(job: JobRow) -> str:
    match job.status:
        case "done" if job.error:
            return f"done, but the target was not written: {job.error}"
        case "done" if job.failed:
            return f"done, {_count(job.failed, 'request')} failed"
        case "blocked":
            until = f" until {job.paused_until:%H:%M:%S} UTC" if job.paused_until else ""
            return f"blocked{until}: {job.blocked} (sqlbatch wait {job.job_id} goes on)"
        case "running":
            return f"running (sqlbatch wait {job.job_id} follows it)"
        case "superseded":
            return f"superseded: a newer job has the target {job.target}"
        case status:
            return status


def _show_facts(console: Console, facts: dict[str, str]) -> None:
    """Print facts, one a line, their names in one column; a long one is left to the terminal to wrap."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        lines = value.splitlines() or [""]
        console.print(f"[dim]{name:<{width}}[/]  {plain(lines[0])}", soft_wrap=True)
        for line in lines[1:]:
            console.print(" " * (width + 2) + plain(line), soft_wrap=True)


def _statuses(event: BatchProgress) -> str:
    if len(event.statuses) == 1:
        return f"{_count(event.batches, 'batch', 'batches')} {event.statuses[0][0]}"
    return f"{event.batches:,} batches: " + ", ".join(f"{count:,} {status}" for status, count in event.statuses)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
