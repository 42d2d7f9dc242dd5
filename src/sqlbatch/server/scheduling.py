"""Which line goes to an upstream next, and how many at once."""

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
    """Wait until an event is set, at most some seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


_BUDGET = 48 * 1024 * 1024  # bytes of requests in memory; a single larger one is let through alone
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True)
class Item:
    """One line to send, with its failed attempts."""

    job: Job
    line: Line
    payload: bytes
    failures: int = 0
    timeouts: int = 0


@dataclass(eq=False)
class Job:
    """The lines of one batch: not read yet, in flight, or to be retried at a given time."""

    endpoint: str
    lines: Iterator[Line]
    deliver: Callable[[Line, Reply], None]
    open: int = 0
    exhausted: bool = False
    stopped: bool = False
    closed: bool = False
    later: list[tuple[float, int, Item]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Feed:
    """The queue of lines: gives the next one to whichever upstream is ready."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = asyncio.Event()
        self._held = 0
        self._order = itertools.count()

    def add(self, job: Job) -> None:
        """Take up the lines of a batch."""
        self._jobs.append(job)
        self._changed.set()

    def send_no_more(self, job: Job) -> None:
        """Send no more lines of a batch; replies in flight are still delivered."""
        job.exhausted = job.stopped = True
        later, job.later = job.later, []
        for _, _, item in later:
            self.drop(item)

    def close(self, job: Job) -> None:
        """Drop a batch: no more lines are sent, no more replies delivered."""
        self.send_no_more(job)
        job.closed = True
        if job in self._jobs:
            self._jobs.remove(job)

    async def next(self) -> Item:
        """Wait for a line to send."""
        while True:
            item, wait = self._find()
            if item:
                return item
            self._changed.clear()
            await wait_for(self._changed, wait)

    def again(self, item: Item, delay: float) -> None:
        """Try a line again after `delay` seconds."""
        if item.job.stopped:
            self.drop(item)
            return
        heapq.heappush(item.job.later, (time.monotonic() + delay, next(self._order), item))
        self._changed.set()

    def done(self, item: Item, reply: Reply) -> None:
        """Deliver the reply to a line."""
        job = item.job
        if not job.closed:
            job.deliver(item.line, reply)
        self.drop(item)

    def drop(self, item: Item) -> None:
        """Forget a line."""
        job = item.job
        self._held -= len(item.payload)
        job.open -= 1
        self._changed.set()
        if job.closed or (job.exhausted and not job.open):
            if job in self._jobs:
                self._jobs.remove(job)
            job.ended.set()

    def _find(self) -> tuple[Item | None, float | None]:
        """Return a line that may be sent now, or how many seconds to wait for one; the batches take turns."""
        now, wait = time.monotonic(), None
        for _ in range(len(self._jobs)):
            job = self._jobs[0]
            self._jobs.rotate(-1)
            if job.later and job.later[0][0] <= now:
                return heapq.heappop(job.later)[2], None
            if job.later:
                wait = min(job.later[0][0] - now, wait) if wait is not None else job.later[0][0] - now
            if not job.exhausted and (self._held < _BUDGET):
                item = self._read(job)
                if item:
                    return item, None
        return None, wait

    def _read(self, job: Job) -> Item | None:
        line = next(job.lines, None)
        if line is None:
            job.exhausted = True
            if not job.open:
                self._jobs.remove(job)
                job.ended.set()
            return None
        payload = _ENCODE(line.body).encode()
        item = Item(job, dataclasses.replace(line, body={}), payload)  # the body would take memory a second time
        self._held += len(payload)
        job.open += 1
        return item


_SHRINK = 0.7  # of the requests at once after the upstream was overloaded
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0  # seconds, doubling while nothing succeeds
_LONGEST_DOWN = 5.0  # seconds between attempts to reach an upstream that is down
_LONGEST_ASKED = 3_600.0  # seconds of a Retry-After that are honoured


class Gauge:
    """The load on one upstream. A burst of refusals counts once: only requests sent after the last slowdown count."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = float(most)
        self.active = 0
        self._resumes = 0.0
        self._slowed = 0.0
        self._failures = 0
        self._changed = asyncio.Event()

    async def ready(self) -> None:
        """Wait until another request may be sent."""
        while True:
            pause = self._resumes - time.monotonic()
            if pause <= 0 and self.active < int(self.limit):
                return
            self._changed.clear()
            await wait_for(self._changed, pause if pause > 0 else None)

    def begin(self) -> float:
        """Count a request that is sent; return when that was."""
        self.active += 1
        return time.monotonic()

    def end(self) -> None:
        """Count a request that has ended."""
        self.active -= 1
        self._changed.set()

    def succeeded(self) -> None:
        """Allow a little more at once after a success."""
        self._failures = 0
        if self.limit < self._most:
            self.limit = min(float(self._most), self.limit + 2 / self.limit)

    def overloaded(self, begun: float, retry_after: float | None) -> None:
        """Send fewer at once and pause, as long as the upstream asks or longer each time."""
        if begun >= self._slowed:
            self.limit = max(1.0, self.limit * _SHRINK)
            self._failures += 1
            self._pause(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE) if retry_after is None else 0.0)
        if retry_after is not None:
            self._pause(min(retry_after, _LONGEST_ASKED))

    def slow(self, begun: float) -> None:
        """Send fewer at once, for the upstream took too long."""
        if begun >= self._slowed:
            self._slowed = time.monotonic()
            self.limit = max(1.0, self.limit * _SHRINK)

    def down(self, begun: float) -> bool:
        """Pause because the upstream cannot be reached; return whether it could be until now."""
        if begun < self._slowed:
            return False
        self._failures += 1
        self._pause(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_DOWN))
        return self._failures == 1

    def _pause(self, seconds: float) -> None:
        self._slowed = time.monotonic()
        self._resumes = max(self._resumes, self._slowed + seconds)
