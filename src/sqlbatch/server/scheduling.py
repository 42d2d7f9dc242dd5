"""Chooses the next line for an upstream, and limits how many requests each upstream gets at once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import itertools
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.results import Reply
    from sqlbatch.server.validation import Line


async def wait_for(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until an event is set, for at most `seconds`; None waits without limit."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


_MAX_BYTES = 48 * 1024 * 1024  # bytes of requests in memory; no line is read while more are in memory
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class QueuedLine:
    """A line to send, with the number of failed attempts. `payload` is the request body."""

    batch: BatchLines
    line: Line
    payload: bytes
    failures: int = 0
    timeouts: int = 0


@dataclass(eq=False)
class BatchLines:
    """The lines of one batch: not read yet, in flight, or waiting for a retry.

    `retries` is a heap of (time, order, line). `in_flight` counts every line that has been read and has no result.
    """

    endpoint: str
    lines: Iterator[Line]
    deliver: Callable[[Line, Reply], None]
    in_flight: int = 0
    exhausted: bool = False
    stopped: bool = False
    closed: bool = False
    retries: list[tuple[float, int, QueuedLine]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class LineQueue:
    """The lines of all batches. Upstreams that are ready take the next line."""

    def __init__(self) -> None:
        self._batches: deque[BatchLines] = deque()
        self._changed = asyncio.Event()
        self._bytes = 0
        self._order = itertools.count()

    def add(self, batch: BatchLines) -> None:
        """Add the lines of a batch."""
        self._batches.append(batch)
        self._changed.set()

    def stop_sending(self, batch: BatchLines) -> None:
        """Stop sending lines of a batch. Replies to requests in flight are still delivered."""
        batch.exhausted = batch.stopped = True
        retries, batch.retries = batch.retries, []
        for _, _, item in retries:
            self.remove(item)

    def close(self, batch: BatchLines) -> None:
        """Remove a batch: stop sending its lines, and drop replies that still arrive."""
        self.stop_sending(batch)
        batch.closed = True
        if batch in self._batches:
            self._batches.remove(batch)

    async def next(self) -> QueuedLine:
        """Wait for a line to send."""
        while True:
            item, wait = self._find()
            if item:
                return item
            self._changed.clear()
            await wait_for(self._changed, wait)

    def retry(self, item: QueuedLine, delay: float) -> None:
        """Send a line again after `delay` seconds."""
        if item.batch.stopped:
            self.remove(item)
            return
        heapq.heappush(item.batch.retries, (time.monotonic() + delay, next(self._order), item))
        self._changed.set()

    def deliver(self, item: QueuedLine, reply: Reply) -> None:
        """Deliver the reply to a line."""
        batch = item.batch
        if not batch.closed:
            batch.deliver(item.line, reply)
        self.remove(item)

    def remove(self, item: QueuedLine) -> None:
        """Remove a line that is finished or was given up."""
        batch = item.batch
        self._bytes -= len(item.payload)
        batch.in_flight -= 1
        self._changed.set()
        if batch.closed or (batch.exhausted and not batch.in_flight):
            if batch in self._batches:
                self._batches.remove(batch)
            batch.ended.set()

    def _find(self) -> tuple[QueuedLine | None, float | None]:
        """Return a line to send now, or the seconds until one can be sent, if known. The batches take turns."""
        now, wait = time.monotonic(), None
        for _ in range(len(self._batches)):
            batch = self._batches[0]
            self._batches.rotate(-1)
            if batch.retries and batch.retries[0][0] <= now:
                return heapq.heappop(batch.retries)[2], None
            if batch.retries:
                wait = min(batch.retries[0][0] - now, wait) if wait is not None else batch.retries[0][0] - now
            if not batch.exhausted and (self._bytes < _MAX_BYTES):
                item = self._read(batch)
                if item:
                    return item, None
        return None, wait

    def _read(self, batch: BatchLines) -> QueuedLine | None:
        line = next(batch.lines, None)
        if line is None:
            batch.exhausted = True
            if not batch.in_flight:
                self._batches.remove(batch)
                batch.ended.set()
            return None
        payload = _ENCODE(line.body).encode()
        item = QueuedLine(batch, dataclasses.replace(line, body={}), payload)  # the payload has the body already
        self._bytes += len(payload)
        batch.in_flight += 1
        return item


_SHRINK = 0.7  # factor for the limit after the upstream was overloaded
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0  # seconds; the pause doubles until a request succeeds
_LONGEST_RECONNECT = 5.0  # seconds between attempts to reach an upstream that cannot be reached
_LONGEST_RETRY_AFTER = 3_600.0  # seconds of a Retry-After header


class LoadControl:
    """Limits the concurrent requests to one upstream.

    A burst of errors counts once: the errors of requests sent before the last slowdown are ignored.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.limit = float(maximum)
        self.active = 0
        self._paused_until = 0.0
        self._slowed_at = 0.0
        self._failures = 0
        self._changed = asyncio.Event()

    async def ready(self) -> None:
        """Wait until another request may be sent."""
        while True:
            pause = self._paused_until - time.monotonic()
            if pause <= 0 and self.active < int(self.limit):
                return
            self._changed.clear()
            await wait_for(self._changed, pause if pause > 0 else None)

    def begin(self) -> float:
        """Count a request that starts; return its start time."""
        self.active += 1
        return time.monotonic()

    def end(self) -> None:
        """Count a request that is finished."""
        self.active -= 1
        self._changed.set()

    def succeeded(self) -> None:
        """Raise the limit a little after a success."""
        self._failures = 0
        if self.limit < self._maximum:
            self.limit = min(float(self._maximum), self.limit + 2 / self.limit)

    def overloaded(self, sent_at: float, retry_after: float | None) -> None:
        """Lower the limit and pause, for the seconds of `retry_after` or longer each time."""
        if sent_at >= self._slowed_at:
            self.limit = max(1.0, self.limit * _SHRINK)
            self._failures += 1
            self._pause(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE) if retry_after is None else 0.0)
        if retry_after is not None:
            self._pause(min(retry_after, _LONGEST_RETRY_AFTER))

    def timed_out(self, sent_at: float) -> None:
        """Lower the limit, because the upstream did not reply in time."""
        if sent_at >= self._slowed_at:
            self._slowed_at = time.monotonic()
            self.limit = max(1.0, self.limit * _SHRINK)

    def unreachable(self, sent_at: float) -> bool:
        """Pause, because the upstream cannot be reached; return whether this is the first failure in a row."""
        if sent_at < self._slowed_at:
            return False
        self._failures += 1
        self._pause(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_RECONNECT))
        return self._failures == 1

    def _pause(self, seconds: float) -> None:
        self._slowed_at = time.monotonic()
        self._paused_until = max(self._paused_until, self._slowed_at + seconds)
