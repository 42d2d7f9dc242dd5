"""How long to wait between two looks at a job."""

from __future__ import annotations

# Seconds before the second look at a batch, and how much longer each further pause is.
FIRST_POLL, POLL_GROWTH = 0.1, 1.6


class Backoff:
    """Seconds between two looks: short at first, growing to the provider's slowest, or what the user fixed."""

    def __init__(self, first: float, slowest: float, poll: float | None) -> None:
        self._fixed = poll
        self._slowest = slowest
        self._first = first
        self._seconds = first

    def restart(self) -> None:
        """Begin with the short pauses again."""
        self._seconds = self._first

    def next(self) -> float:
        """Return the seconds of the next pause."""
        if self._fixed is not None:
            return self._fixed
        seconds, self._seconds = self._seconds, min(self._seconds * POLL_GROWTH, self._slowest)
        return seconds

    def longer(self, at_least: float | None) -> float:
        """Return the seconds to wait after an error, longer each time."""
        return max(self.next(), at_least or 0.0)
