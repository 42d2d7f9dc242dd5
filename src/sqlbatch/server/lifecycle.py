"""Starts and stops a server: as a command, or embedded in this process. Also joins the server of another process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import logging
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import uvicorn

from sqlbatch.errors import ServerError
from sqlbatch.server.app import AppContext, make_app
from sqlbatch.server.config import ServerConfig, ServerContext
from sqlbatch.server.storage import Folder, FolderLock, State
from sqlbatch.server.testing.faults import load
from sqlbatch.server.testing.ledger import Ledger
from sqlbatch.server.upstream import Passthrough
from sqlbatch.server.worker import Runner

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType


_THREAD = "sqlbatch-server"
_START_TIMEOUT = 30.0  # seconds; much longer than a start takes


class _HttpServer(uvicorn.Server):
    """Uvicorn with an event that is set when it listens, and a stop without delay."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Answer requests until `end` is called."""
        self._loop = asyncio.get_running_loop()
        self.listening.set()
        await self._ending.wait()

    def end(self) -> None:
        """Stop the server; may be called from any thread."""
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._ending.set)


class Server:
    """A server in this process. The caller must hold the folder's lock."""

    def __init__(self, config: ServerConfig, lock: FolderLock) -> None:
        _check_access(config)
        _check_values(config)
        self._config = config
        self._lock = lock
        self.base_url = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the folder, listen, and continue unfinished batches. Returns when the server answers requests.

        Raises ServerError if the port is in use.
        """
        with contextlib.ExitStack() as undo:
            self._start(undo)
            undo.pop_all()

    def _start(self, undo: contextlib.ExitStack) -> None:
        """Start every part; `undo` closes the parts that started if a later one fails."""
        config = self._config
        faults = load(config.faults) if config.faults else None
        listener = _listen(config)
        undo.callback(listener.close)
        folder = Folder(config.folder)
        folder.create()
        state = State(folder.database, shared=True)
        undo.callback(state.close)
        state.create()
        folder.delete_leftovers(set(state.ids("kept_contents")), set(state.ids("unfinished_batches")))
        ledger = Ledger(folder.ledger) if faults else None
        shared = ServerContext(config, folder, state.clock(config.clock_speed), faults, ledger)
        self._runner = Runner(shared)
        upstream = Passthrough(config) if config.upstreams else None
        self._context = AppContext(**vars(shared), state=state, runner=self._runner, upstream=upstream)
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
        self._http = _HttpServer(settings)
        thread = threading.Thread(target=self._http.run, args=([listener],), name=_THREAD, daemon=True)
        self._runner.start()
        undo.callback(self._runner.stop)
        thread.start()
        undo.callback(self._http.end)
        if not self._http.listening.wait(_START_TIMEOUT):
            raise ServerError(f"the server does not listen on {self.base_url}")
        self._lock.announce(self.base_url)
        self._thread = thread

    def stop(self) -> None:
        """Finish open requests within a second, save the progress of batches, and release the folder."""
        if self._thread is None:
            return
        self._http.end()
        self._runner.stop()
        self._thread.join(10)
        self._thread = None
        self._context.state.save_clock(self._context.clock)
        self._context.state.close()
        if self._context.ledger:
            self._context.ledger.close()
        self._lock.release()


def _listen(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio turns off Nagle's algorithm, which delays each reply by 40 ms, only if the protocol is given.
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


def _check_access(config: ServerConfig) -> None:
    if config.api_key_env and not config.api_key:
        raise ServerError(
            f"the environment variable {config.api_key_env} is empty; set it to the key that clients must send"
        )
    if not config.is_loopback and not config.api_key_env:
        raise ServerError(f"other computers can reach host {config.host}: choose an API key with --api-key-env")


def _check_values(config: ServerConfig) -> None:
    for url in config.upstreams:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ServerError(f"the upstream {url} is not a URL; write it as http://127.0.0.1:11434/v1")
    if config.upstream_key_env and not config.upstream_key:
        raise ServerError(f"the environment variable {config.upstream_key_env} is empty; set it to the upstream's key")
    if config.clock_speed <= 0 or config.window <= 0 or config.concurrency < 1 or config.upstream_timeout <= 0:
        raise ServerError("concurrency, clock speed, window and upstream timeout must be above zero")


def _is_from_other_server(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD


# This server logs its errors itself. Another Uvicorn server in this process keeps its own log.
logging.getLogger("uvicorn.error").addFilter(_is_from_other_server)


_JOIN_TIMEOUT = 30.0  # seconds that another server may take to start


class EmbeddedServer:
    """A server in this process on a free loopback port, or the server of the process that holds the folder's lock.

    `base_url` (`http://127.0.0.1:PORT/v1`) is valid after `start`. `start` may be called again at any time: it returns
    at once if the server answers, and starts a server here if the process that held the lock has exited.
    """

    def __init__(self, folder: Path, *, config: ServerConfig | None = None) -> None:
        self.base_url = ""
        self._config = dataclasses.replace(config, folder=folder) if config else ServerConfig(folder)
        self._lock = FolderLock(folder)
        self._server: Server | None = None

    @property
    def joined(self) -> bool:
        """Whether the server belongs to another process or another EmbeddedServer."""
        return bool(self.base_url) and self._server is None

    def start(self) -> EmbeddedServer:
        """Start or join a server; returns when it answers. Raises ServerError if neither is possible."""
        if self._server:
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
        raise ServerError(
            f"another process uses {self._config.folder}, but its server does not answer; stop that process first"
        )

    def stop(self) -> None:
        """Stop our own server; its batches continue after the next start. Does nothing to a server that was joined."""
        self.base_url = ""
        if self._server:
            atexit.unregister(self.stop)
            server, self._server = self._server, None
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_own(self) -> None:
        try:
            server = Server(self._config, self._lock)
            server.start()
        except BaseException:
            self._lock.release()
            raise
        self._server = server
        self.base_url = server.base_url
        atexit.register(self.stop)


def _answers(base_url: str) -> bool:
    """Return whether a server answers at `base_url`. The status 401 counts, too."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(base_url.removesuffix("/v1") + "/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False


def serve(config: ServerConfig) -> None:
    """Run a server until SIGINT or SIGTERM, and print its base URL on stdout when it answers.

    Call it in the main thread. Raises ServerError if another server uses the folder or the port.
    """
    lock = FolderLock(config.folder)
    server = Server(config, lock)
    Folder(config.folder).create()
    if not lock.acquire():
        holder = lock.holder()
        where = f"the server at {holder[0]} (process {holder[1]})" if holder else "another server"
        raise ServerError(f"{config.folder} is in use by {where}; use that server, or choose another --data")
    asked_to_stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.start()
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        while not asked_to_stop.wait(1.0):  # on some systems a signal does not interrupt a wait without timeout
            pass
    finally:
        server.stop()
        lock.release()
        for number, handler in before.items():
            signal.signal(number, handler)
