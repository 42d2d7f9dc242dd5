"""The clock of leases, grace periods and pauses. With SQLBATCH_CLOCK_SPEED=60 an hour passes in a minute."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime, timedelta

from sqlbatch.errors import InvalidSettings

_STARTED = time.time()
# Seconds before the second status check of a batch, and the factor by which each further pause is longer.
FIRST_POLL, POLL_GROWTH = 0.1, 1.6


def speed() -> float:
    """Return how many seconds of this clock pass in one real second: 1.0, or SQLBATCH_CLOCK_SPEED.

    Raises InvalidSettings if that is not a number above 0.
    """
    text = os.environ.get("SQLBATCH_CLOCK_SPEED") or "1"
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise InvalidSettings(f"SQLBATCH_CLOCK_SPEED={text}: it must be a number above 0")


def now() -> datetime:
    """Return the time in UTC, without a zone, as the TIMESTAMP columns of the schema store it."""
    factor = speed()
    seconds = time.time() if factor == 1.0 else sped_up(time.time(), factor)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def sped_up(seconds: float, factor: float) -> float:
    """Return the clock's time at a real time. It runs fast from a fixed origin, so all processes read the same time."""
    origin = float(os.environ.get("SQLBATCH_CLOCK_ORIGIN", str(_STARTED)))
    return origin + (seconds - origin) * factor


def after(seconds: float) -> datetime:
    """Return the time `seconds` of this clock from now."""
    return now() + timedelta(seconds=seconds)


def sleep(seconds: float) -> None:
    """Sleep for `seconds` of this clock."""
    time.sleep(max(seconds, 0.0) / speed())


class Backoff:
    """The seconds between two status checks: growing to the provider's slowest pause, or fixed by the user."""

    def __init__(self, first: float, slowest: float, poll: float | None) -> None:
        self._fixed = poll
        self._slowest = slowest
        self._first = first
        self._seconds = first

    def restart(self) -> None:
        """Start over with short pauses."""
        self._seconds = self._first

    def next(self) -> float:
        """Return the seconds of the next pause."""
        if self._fixed is not None:
            return self._fixed
        seconds, self._seconds = self._seconds, min(self._seconds * POLL_GROWTH, self._slowest)
        return seconds

    def early(self) -> float:
        """Return the seconds until an extra, early status check: a batch of a few rows may have ended by then."""
        if self._fixed is not None or self._first == self._slowest:
            return self.next()
        return min(self._first, FIRST_POLL)

    def longer(self, at_least: float | None) -> float:
        """Return the seconds to wait after an error, longer each time."""
        return max(self.next(), at_least or 0.0)
