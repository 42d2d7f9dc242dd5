"""The options of a server, and its clock."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.batch_limits import WINDOW

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.server.storage import Folder
    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.testing.ledger import Ledger


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class ServerConfig:
    """The options of one server.

    `folder` has its state and files. `port` 0 takes a free port. `upstreams` are base URLs of OpenAI-compatible servers
    (`http://127.0.0.1:11434/v1`) that are replicas of each other; without an upstream, the built-in model `offline`
    answers. `upstream_key_env` and `api_key_env` name environment variables: the key that is sent to the upstreams, and
    the key that clients must send. `concurrency` is the maximum number of requests in flight per upstream,
    `upstream_timeout` the maximum seconds of one request. `window` is the completion window of a batch, in seconds of
    the server's clock. The clock runs `clock_speed` times as fast as real time. `models` are additional names of the
    offline model. `faults` is a file with the faults to simulate (docs/server.md).
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    upstreams: tuple[str, ...] = ()
    upstream_key_env: str | None = None
    upstream_timeout: float = 600.0
    concurrency: int = 16
    api_key_env: str | None = None
    faults: Path | None = None
    clock_speed: float = 1.0
    window: float = WINDOW
    models: tuple[str, ...] = ()

    @property
    def upstream_key(self) -> str | None:
        """The key that is sent to the upstreams, or None."""
        return os.environ.get(self.upstream_key_env) if self.upstream_key_env else None

    @property
    def api_key(self) -> str | None:
        """The key that clients must send, or None."""
        return os.environ.get(self.api_key_env, "") if self.api_key_env else None

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can reach the server."""
        return self.host in LOOPBACK


class Clock:
    """A clock that runs `speed` times as fast as real time and can be moved forward; times are seconds since 1970."""

    def __init__(self, speed: float = 1.0, real: float | None = None, shown: float | None = None) -> None:
        self.speed = speed
        self._real = time.time() if real is None else real
        self._shown = self._real if shown is None else shown
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the time of this clock, in seconds since 1970."""
        with self._lock:
            return self._shown + (time.time() - self._real) * self.speed

    def seconds(self) -> int:
        """Return the time of this clock in whole seconds, as the API's timestamps have it."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        with self._lock:
            self._shown += seconds

    def origin(self) -> tuple[float, float]:
        """Return the current real time and the current time of this clock; a new clock can start from them."""
        real = time.time()
        with self._lock:
            return real, self._shown + (real - self._real) * self.speed

    def real_seconds(self, shown: float) -> float:
        """Convert seconds of this clock to real seconds; never negative."""
        return max(0.0, shown / self.speed)


@dataclass(frozen=True)
class ServerContext:
    """The parts of a server that its two threads share: one answers clients, the other runs batches."""

    config: ServerConfig
    folder: Folder
    clock: Clock
    faults: Faults | None
    ledger: Ledger | None
