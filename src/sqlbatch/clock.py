"""The one clock that leases, graces and pauses run on; SQLBATCH_CLOCK_SPEED=60 makes an hour pass in a minute."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime, timedelta

from sqlbatch.errors import InvalidSettings

_STARTED = time.time()


def speed() -> float:
    """Return how many seconds of this clock pass in one real second (1.0 unless SQLBATCH_CLOCK_SPEED says more).

    Raises InvalidSettings where it says something else than a number above 0.
    """
    text = os.environ.get("SQLBATCH_CLOCK_SPEED") or "1"
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise InvalidSettings(f"SQLBATCH_CLOCK_SPEED={text}: it must be a number above 0")


def now() -> datetime:
    """Return the time in UTC, without a zone, as every TIMESTAMP of the schema holds it."""
    factor = speed()
    seconds = time.time() if factor == 1.0 else sped_up(time.time(), factor)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def sped_up(seconds: float, factor: float) -> float:
    """Return the clock's reading at a real time: fast from a fixed origin, so that all processes read the same."""
    origin = float(os.environ.get("SQLBATCH_CLOCK_ORIGIN", str(_STARTED)))
    return origin + (seconds - origin) * factor


def after(seconds: float) -> datetime:
    """Return the moment `seconds` of this clock from now."""
    return now() + timedelta(seconds=seconds)


def sleep(seconds: float) -> None:
    """Sleep for `seconds` of this clock."""
    time.sleep(max(seconds, 0.0) / speed())
