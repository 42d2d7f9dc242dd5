"""Show a job's events as they come: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sqlbatch import clock
from sqlbatch.batches.events import (
    Activity,
    Collected,
    Loaded,
    Notice,
    Packed,
    Previewed,
    Submitted,
    Transferring,
    Waiting,
)
from sqlbatch.batches.events import Progress as BatchProgress
from sqlbatch.display.console import counted, err, info, nonzero, plain
from sqlbatch.display.tables import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import TaskID

    from sqlbatch.batches.events import Event
    from sqlbatch.db.jobs import JobRow

# Seconds between two plain lines about the same thing, if stderr is not a terminal.
_PLAIN_EVERY = 10.0
# The end of a batch in words, if the provider's word alone says too little.
_ENDED = {
    "expired": "expired after its 24 hours, what was answered is kept",
    "cancelled": "cancelled, what was answered is kept",
    "failed": "not taken by the provider",
}


def follow(events: Iterable[Event], job: JobRow | None = None) -> None:
    """Consume a job's events and show them: bars on a terminal, plain lines elsewhere."""
    counts = Counts(job)
    if err.is_terminal and not err.quiet:
        _Bars(counts).follow(events)
    else:
        _print_lines(events, counts)


class Counts:
    """The progress of a whole job, from its events: requests that are done, and those that are sent again."""

    def __init__(self, job: JobRow | None) -> None:
        self._total, self._most, self._settled = 0, 0, 0
        if job is not None:
            self._total, self._most, self._settled = job.requests, job.max_attempts, job.answered + job.failed
        self._retrying = 0
        self._attempt = 1
        self._retried = False

    def take(self, event: Event) -> None:
        """Add an event."""
        if isinstance(event, Collected):
            self._total = event.total
        elif isinstance(event, Loaded):
            # A batch may also carry requests of other jobs.
            self._settled = min(self._settled + event.answered + event.failed, self._total)
            self._retrying = min(self._retrying * (not self._retried) + event.retryable, self._total - self._settled)
            self._retried = False
        elif isinstance(event, Packed) and self._retrying and not self._retried:
            self._attempt, self._retried = min(self._attempt + 1, self._most), True

    def of(self, event: BatchProgress) -> tuple[int, int]:
        """Return how many requests are done, by the provider's counts of the open batches, and how many there are."""
        total = self._total or event.total
        return min(self._settled + event.completed + event.failed, total), total

    def in_words(self, event: BatchProgress) -> str:
        """Return the progress in words: `906/950 done, 44 retrying (attempt 2 of 3)`."""
        done, total = self.of(event)
        retrying = f", {self._retrying:,} retrying (attempt {self._attempt} of {self._most})" if self._retrying else ""
        return f"{done:,}/{total:,} done{retrying}"


def message(event: Event) -> str | None:  # noqa: PLR0911 (one for each kind of event)
    """Return the line for an event, or None."""
    match event:
        case Collected(stage, call, requests):
            return f"{stage}, {counted(requests, 'request')}: {call}"
        case Packed(batches, requests):
            return f"planned {counted(requests, 'request')} in {counted(batches, 'batch', 'batches')}"
        case Submitted(_, provider_id, requests, adopted):
            how = "found at the provider (its reply was lost), not sent twice" if adopted else "submitted"
            return f"batch {shortened(provider_id)} {how}: {counted(requests, 'request')}"
        case Loaded(batch_id, provider_id, status, answered, failed, retryable, released):
            again = "not" if status == "cancelled" else "to send again"
            parts = nonzero((failed, "failed"), (retryable, again), (released, "not tried"))
            how = f"batch {shortened(provider_id or batch_id)} {_ENDED.get(status, status)}"
            return ", ".join([f"{how}: {answered:,} answered", *parts])
        case Waiting(reason, seconds):
            return reason if reason.startswith("blocked: ") else f"waiting{_how_long(seconds)}: {reason}"
        case Notice(text):
            return text
        case _:
            return None


def _how_long(seconds: float | None) -> str:
    """Return how long a wait is; if it is minutes, until when."""
    if seconds is None or seconds < 1:
        return ""
    return f" {seconds:,.0f} s" if seconds < 60 else f" until {clock.after(seconds):%H:%M:%S} UTC"


def _print_lines(events: Iterable[Event], counts: Counts) -> None:
    """Print plain lines, for a log: each event once, and the counts when they change, not too often."""
    told: tuple[object, ...] = ()
    at, held = 0.0, ""
    for event in events:
        line = message(event)
        counts.take(event)
        if isinstance(event, BatchProgress) and event.batches:
            found = (event.completed, event.failed, event.statuses)
            if found != told and time.monotonic() - at > _PLAIN_EVERY:
                line = f"{counts.in_words(event)}; {statuses(event)}"
                told, at = found, time.monotonic()
        if line is None or (isinstance(event, Waiting) and event.reason == held):
            continue
        held = event.reason if isinstance(event, Waiting) else ""
        info(line)


class _Bars:
    """Moving bars for a terminal, with events as lines above them."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        start = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24))
        safe = TextColumn("[dim]· Ctrl-C is safe[/]")
        self._bars = Progress(*start, TimeElapsedColumn(), safe, console=err, transient=True)
        self._bytes = Progress(*start, DownloadColumn(), console=err, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = None

    def follow(self, events: Iterable[Event]) -> None:
        from rich.console import Group  # noqa: PLC0415 (only a terminal needs it)
        from rich.live import Live  # noqa: PLC0415

        with Live(Group(self._bytes, self._bars), console=err, transient=True, refresh_per_second=10):
            held = ""
            for event in events:
                line = message(event)
                self._counts.take(event)
                if isinstance(event, Transferring):
                    self._transfer(event)
                elif isinstance(event, BatchProgress):
                    self._progress(event)
                elif isinstance(event, Activity):
                    self._count(event.doing, 0, None)
                elif isinstance(event, Previewed):
                    self._count(f"{event.done:,}/{event.total:,} done", event.done, event.total)
                elif line is not None and not (isinstance(event, Waiting) and event.reason == held):
                    err.print(f"[dim]{plain(line)}[/]")
                if not isinstance(event, Transferring | BatchProgress):
                    held = event.reason if isinstance(event, Waiting) else ""
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
        done, total = self._counts.of(event)
        self._count(self._counts.in_words(event), done, total or None)

    def _count(self, doing: str, done: int, total: int | None) -> None:
        if self._waiting is None:
            self._waiting = self._bars.add_task("", total=None)
        self._bars.update(self._waiting, description=doing, completed=done, total=total)


def statuses(event: BatchProgress) -> str:
    """Return how many batches are open, by the provider's words for their status."""
    if len(event.statuses) == 1:
        return f"{counted(event.batches, 'batch', 'batches')} {event.statuses[0][0]}"
    return f"{event.batches:,} batches: " + ", ".join(f"{number:,} {status}" for status, number in event.statuses)
