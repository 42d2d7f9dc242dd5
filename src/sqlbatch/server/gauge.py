"""How many requests an upstream is sent at once: as many as allowed, fewer while it says that is too much."""

from __future__ import annotations

import asyncio
import time

_SHRINK = 0.7  # of the requests at once after the upstream was overloaded
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0  # seconds, doubling while nothing succeeds
_LONGEST_DOWN = 5.0  # seconds between attempts to reach an upstream that is down
_LONGEST_ASKED = 3_600.0  # seconds of a Retry-After that are honoured


class Gauge:
    """The load of one upstream. Requests of one burst slow it down once: only what began after the last time counts."""

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
            try:
                await asyncio.wait_for(self._changed.wait(), pause if pause > 0 else None)
            except TimeoutError:
                continue

    def begin(self) -> float:
        """Count a request that is sent; return when that was."""
        self.active += 1
        return time.monotonic()

    def end(self) -> None:
        """Count a request that has ended."""
        self.active -= 1
        self._changed.set()

    def succeeded(self) -> None:
        """Take a success as a reason to send a little more at once."""
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
        """Pause, for the upstream cannot be reached; return whether that is news."""
        if begun < self._slowed:
            return False
        self._failures += 1
        self._pause(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_DOWN))
        return self._failures == 1

    def _pause(self, seconds: float) -> None:
        self._slowed = time.monotonic()
        self._resumes = max(self._resumes, self._slowed + seconds)
