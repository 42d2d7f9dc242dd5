"""A job's events as they come: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from sqlbatch import clock
from sqlbatch.batches.events import Activity, Loaded, Notice, Packed, Previewed, Submitted, Transferring, Waiting
from sqlbatch.batches.events import Progress as BatchProgress
from sqlbatch.display.console import counted, err, info, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import TaskID

    from sqlbatch.batches.events import Event

# Seconds between two plain lines about the same thing, where stderr is no terminal.
_PLAIN_EVERY = 10.0
# How a batch ended, where the provider's word alone tells too little.
_ENDED = {
    "expired": "expired after its 24 hours, what was answered is kept",
    "cancelled": "cancelled, what was answered is kept",
    "failed": "not taken by the provider",
}


def follow(events: Iterable[Event]) -> None:
    """Consume a job's events and show them: bars on a terminal, plain lines elsewhere."""
    if err.is_terminal and not err.quiet:
        _Bars().follow(events)
    else:
        _Lines().follow(events)


def message(event: Event) -> str | None:
    """Return the line that an event is worth, or None."""
    match event:
        case Packed(batches, requests):
            return f"planned {counted(requests, 'request')} in {counted(batches, 'batch', 'batches')}"
        case Submitted(_, provider_id, requests, adopted):
            how = "found at the provider (its reply was lost), not sent twice" if adopted else "submitted"
            return f"batch {provider_id} {how}: {counted(requests, 'request')}"
        case Loaded(batch_id, provider_id, status, answered, failed, retryable, released):
            parts = [f"{answered:,} answered"]
            parts += [f"{failed:,} failed"] if failed else []
            parts += [f"{retryable:,} {'not' if status == 'cancelled' else 'to send again'}"] if retryable else []
            parts += [f"{released:,} not tried"] if released else []
            how = _ENDED.get(status, status)
            return f"batch {provider_id or batch_id} {how}: {', '.join(parts)}"
        case Waiting(reason, seconds):
            return reason if reason.startswith("blocked: ") else f"waiting{_how_long(seconds)}: {reason}"
        case Notice(text):
            return text
        case _:
            return None


def _how_long(seconds: float | None) -> str:
    """Return how long something is waited for; where it is minutes, until when."""
    if seconds is None or seconds < 1:
        return ""
    return f" {seconds:,.0f} s" if seconds < 60 else f" until {clock.after(seconds):%H:%M:%S} UTC"


class _Lines:
    """Plain lines, for a log: what happens once, and the counts when they change, not too often."""

    def __init__(self) -> None:
        self._counts: tuple[object, ...] = ()
        self._at = 0.0
        self._held = ""

    def follow(self, events: Iterable[Event]) -> None:
        for event in events:
            line = message(event)
            if isinstance(event, BatchProgress) and event.batches:
                counts = (event.completed, event.failed, event.statuses)
                if counts != self._counts and time.monotonic() - self._at > _PLAIN_EVERY:
                    line = f"{statuses(event)}: {event.completed + event.failed:,} of {event.total:,} requests"
                    self._counts, self._at = counts, time.monotonic()
            if line is None or (isinstance(event, Waiting) and event.reason == self._held):
                continue
            self._held = event.reason if isinstance(event, Waiting) else ""
            info(line)


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
                line = message(event)
                if isinstance(event, Transferring):
                    self._transfer(event)
                elif isinstance(event, BatchProgress):
                    self._progress(event)
                elif isinstance(event, Activity):
                    self._count(event.doing, 0, None)
                elif isinstance(event, Previewed):
                    self._count(f"{counted(event.total, 'request')} sent", event.done, event.total)
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
        self._count(statuses(event), event.completed + event.failed, event.total or None)

    def _count(self, doing: str, done: int, total: int | None) -> None:
        if self._waiting is None:
            self._waiting = self._bars.add_task("", total=None)
        self._bars.update(self._waiting, description=doing, completed=done, total=total)


def statuses(event: BatchProgress) -> str:
    """Return how many open batches there are, in the provider's words for where they are."""
    if len(event.statuses) == 1:
        return f"{counted(event.batches, 'batch', 'batches')} {event.statuses[0][0]}"
    return f"{event.batches:,} batches: " + ", ".join(f"{number:,} {status}" for status, number in event.statuses)
