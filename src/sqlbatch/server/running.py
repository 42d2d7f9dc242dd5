"""One running server: the folder's state, the batches' thread and the HTTP server, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn

from sqlbatch.errors import ServerError
from sqlbatch.server.app import make_app
from sqlbatch.server.context import Context
from sqlbatch.server.folder import Folder, FolderLock
from sqlbatch.server.passthrough import Passthrough
from sqlbatch.server.runner import Runner
from sqlbatch.server.state import State
from sqlbatch.server.testing.faults import load
from sqlbatch.server.testing.ledger import Ledger

if TYPE_CHECKING:
    from sqlbatch.server.config import ServerConfig

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_THREAD = "sqlbatch-server"
_START_TIMEOUT = 30.0  # seconds; far more than a start takes


class _Http(uvicorn.Server):
    """Uvicorn, telling when it listens, and ending at once when told to rather than at its next look."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Answer until `end` is called."""
        self._loop = asyncio.get_running_loop()
        self.listening.set()
        await self._ending.wait()

    def end(self) -> None:
        """Stop answering; may be called from any thread."""
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._ending.set)


class Running:
    """A server in this process. The folder's lock must be held; `start` raises ServerError when the port is taken."""

    def __init__(self, config: ServerConfig, lock: FolderLock) -> None:
        _check_open_to_nobody(config)
        _check_values(config)
        self._config = config
        self._lock = lock
        self.instance = secrets.token_hex(8)
        self.base_url = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the folder, listen, and take up unfinished batches; returns when requests are answered."""
        with contextlib.ExitStack() as undo:
            self._start(undo)
            undo.pop_all()

    def _start(self, undo: contextlib.ExitStack) -> None:
        """Start everything, leaving on `undo` what must be closed when a later part cannot be started."""
        config = self._config
        faults = load(config.faults) if config.faults else None
        listener = _listen(config)
        undo.callback(listener.close)
        folder = Folder(config.folder)
        folder.create()
        state = State(folder.database, shared=True)
        undo.callback(state.close)
        state.create()
        folder.tidy(set(state.ids("kept_contents")), set(state.ids("unfinished_batches")))
        clock = state.clock(config.clock_speed)
        upstream = Passthrough(config) if config.upstreams else None
        ledger = Ledger(folder.ledger) if faults else None
        self._runner = Runner(config, folder, clock, faults, ledger)
        self._context = Context(self.instance, config, folder, clock, state, self._runner, upstream, faults, ledger)
        host, port = listener.getsockname()[:2]
        self.base_url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        settings = uvicorn.Config(
            make_app(self._context),
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
            server_header=False,
            date_header=False,
            ws="none",
        )
        self._http = _Http(settings)
        self._thread = threading.Thread(target=self._http.run, args=([listener],), name=_THREAD, daemon=True)
        self._runner.start()
        self._thread.start()
        if not self._http.listening.wait(_START_TIMEOUT):
            raise ServerError(f"the server does not listen on {self.base_url}")
        self._lock.announce(self.base_url)

    def stop(self) -> None:
        """Answer what is under way for at most a second, keep what batches have reached, and give the folder back."""
        if self._thread is None:
            return
        self._http.end()
        self._runner.stop()
        self._thread.join(10)
        self._thread = None
        self._context.state.keep_clock(self._context.clock)
        self._context.state.close()
        if self._context.ledger:
            self._context.ledger.close()
        self._lock.release()


def _listen(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # Only with the protocol named does asyncio switch Nagle's algorithm off, which costs 40 ms a reply.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise ServerError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another --port"
        ) from error
    return listener


def _check_open_to_nobody(config: ServerConfig) -> None:
    if config.api_key_env and not os.environ.get(config.api_key_env):
        raise ServerError(f"the environment variable {config.api_key_env} is empty; put the key asked of clients there")
    if config.host not in _LOOPBACK and not config.api_key_env:
        raise ServerError(f"host {config.host} can be reached by others: name the variable of a key with --api-key-env")


def _check_values(config: ServerConfig) -> None:
    for url in config.upstreams:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ServerError(f"the upstream {url} is no URL; write it as http://127.0.0.1:11434/v1")
    if config.upstream_key_env and not os.environ.get(config.upstream_key_env):
        raise ServerError(f"the environment variable {config.upstream_key_env} is empty; put the upstream's key there")
    if config.clock_speed <= 0 or config.window <= 0 or config.concurrency < 1 or config.upstream_timeout <= 0:
        raise ServerError("concurrency, clock speed, window and upstream timeout must be above zero")


def _is_not_ours(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD


# What goes wrong here is logged by our own handlers; another Uvicorn of this process goes on logging.
logging.getLogger("uvicorn.error").addFilter(_is_not_ours)
