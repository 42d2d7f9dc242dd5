"""The server's clock: real time, or a faster one, that goes on across restarts."""

from __future__ import annotations

import threading
import time


class Clock:
    """Seconds since 1970, running `speed` times as fast as real time from an origin, and moved forward on demand."""

    def __init__(self, speed: float = 1.0, real: float | None = None, shown: float | None = None) -> None:
        self.speed = speed
        self._real = time.time() if real is None else real
        self._shown = self._real if shown is None else shown
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the time this clock shows, in seconds since 1970."""
        with self._lock:
            return self._shown + (time.time() - self._real) * self.speed

    def seconds(self) -> int:
        """Return the time this clock shows in whole seconds, as the API's timestamps are."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        with self._lock:
            self._shown += seconds

    def origin(self) -> tuple[float, float]:
        """Return the real time and the shown time at one instant, from which the clock can be set up again."""
        real = time.time()
        with self._lock:
            return real, self._shown + (real - self._real) * self.speed

    def real_seconds(self, shown: float) -> float:
        """Return how long, in real seconds, a span of this clock lasts; never negative."""
        return max(0.0, shown / self.speed)
