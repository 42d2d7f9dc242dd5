"""The server as a command of its own."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

from sqlbatch.errors import ServerError
from sqlbatch.server.folder import Folder, FolderLock
from sqlbatch.server.running import Running

if TYPE_CHECKING:
    from types import FrameType

    from sqlbatch.server.config import ServerConfig


def serve(config: ServerConfig) -> None:
    """Run a server until SIGINT or SIGTERM; its base URL is printed on stdout once it answers.

    Call it in the main thread. Raises ServerError when another server holds the folder, naming its address, or when the
    port is taken.
    """
    Folder(config.folder).create()
    lock = FolderLock(config.folder)
    if not lock.acquire():
        holder = lock.holder()
        where = f"the server at {holder[0]} (process {holder[1]})" if holder else "another server"
        raise ServerError(f"{config.folder} is held by {where}; use that one, or choose another --data")
    asked_to_stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    running = Running(config, lock)
    try:
        running.start()
        sys.stdout.write(f"{running.base_url}\n")
        sys.stdout.flush()
        while not asked_to_stop.wait(1.0):  # a wait without end could not be interrupted on every system
            pass
    finally:
        running.stop()
        lock.release()
        for number, handler in before.items():
            signal.signal(number, handler)
