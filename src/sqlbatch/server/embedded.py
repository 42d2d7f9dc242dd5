"""The server inside this process, or the one of the process that holds the folder already."""

from __future__ import annotations

import atexit
import dataclasses
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self

from sqlbatch.errors import ServerError
from sqlbatch.server.config import ServerConfig
from sqlbatch.server.folder import Folder, FolderLock
from sqlbatch.server.running import Running

if TYPE_CHECKING:
    from pathlib import Path

_JOIN_TIMEOUT = 30.0  # seconds that a holder may take to start


class EmbeddedServer:
    """The server inside this process on a free loopback port, or the one of the process that already holds the folder.

    `base_url` (`http://127.0.0.1:PORT/v1`) is valid after `start`. `start` may be called again at any time: it returns
    at once while the server answers, and takes the folder over when the process that held it has gone.
    """

    def __init__(self, folder: Path, *, config: ServerConfig | None = None) -> None:
        self.base_url = ""
        self._config = dataclasses.replace(config, folder=folder) if config else ServerConfig(folder)
        self._lock = FolderLock(folder)
        self._running: Running | None = None

    @property
    def joined(self) -> bool:
        """Whether the server is another process's (or another EmbeddedServer's) rather than our own."""
        return bool(self.base_url) and self._running is None

    def start(self) -> EmbeddedServer:
        """Start or join; returns when the server answers. Raises ServerError when neither is possible."""
        if self._running:
            return self
        Folder(self._config.folder).create()
        deadline = time.monotonic() + _JOIN_TIMEOUT
        while time.monotonic() < deadline:
            if self._lock.acquire():
                self._start_own()
                return self
            holder = self._lock.holder()
            if holder and _answers(holder[0]):
                self.base_url = holder[0]
                return self
            time.sleep(0.02)
        raise ServerError(f"another process holds {self._config.folder}, but its server does not answer; end it first")

    def stop(self) -> None:
        """Stop our own server, quickly; batches go on at the next start. Harmless when joined or called twice."""
        self.base_url = ""
        if self._running:
            atexit.unregister(self.stop)
            running, self._running = self._running, None
            running.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_own(self) -> None:
        try:
            running = Running(self._config, self._lock)
            running.start()
        except BaseException:
            self._lock.release()
            raise
        self._running = running
        self.base_url = running.base_url
        atexit.register(self.stop)


def _answers(base_url: str) -> bool:
    """Whether a server answers at `base_url`; that it asks for a key counts."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(base_url.removesuffix("/v1") + "/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False
