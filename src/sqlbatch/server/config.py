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

    `folder` keeps its state and files. `port` 0 takes a free one. `upstreams` are base URLs of OpenAI-compatible
    servers (`http://127.0.0.1:11434/v1`), replicas of each other; without any, the model is the built-in `offline`.
    `upstream_key_env` and `api_key_env` name environment variables: the key sent upstream, and the key asked of
    clients. `concurrency` is the largest number of requests in flight per upstream, `upstream_timeout` the seconds
    one may take. `window` is the completion window in seconds of the server's clock, which runs `clock_speed` times
    as fast as a real one. `models` are further names the offline model answers to. `faults` is a file of failures to
    act out (docs/server.md).
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


@dataclass(frozen=True)
class ServerContext:
    """The parts of a server that its two threads share: one answers clients, the other runs batches."""

    config: ServerConfig
    folder: Folder
    clock: Clock
    faults: Faults | None
    ledger: Ledger | None
