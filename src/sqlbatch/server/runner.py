"""The thread that works on batches, beside the event loop that answers clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from sqlbatch.server.offline_backend import OfflineBackend
from sqlbatch.server.state import State
from sqlbatch.server.tools import Tools
from sqlbatch.server.upstream import Upstreams
from sqlbatch.server.work import BatchWork

if TYPE_CHECKING:
    from sqlbatch.server.clock import Clock
    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.folder import Folder
    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.testing.ledger import Ledger

_log = logging.getLogger("sqlbatch.server")
_AT_ONCE = 16  # batches whose lines are run side by side; the others wait their turn
_SWEEP = 30.0  # real seconds between looks for files that have expired
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # real seconds before a batch that raised an error is tried again
_PATIENCE = 5.0  # real seconds that a stop waits for what is under way


class Runner:
    """Takes every unfinished batch to its end; `wake` and `stop` may be called from any thread."""

    def __init__(
        self, config: ServerConfig, folder: Folder, clock: Clock, faults: Faults | None, ledger: Ledger | None
    ) -> None:
        self._config = config
        self._folder = folder
        self._clock = clock
        self._faults = faults
        self._ledger = ledger
        self._thread = threading.Thread(target=self._run, name="sqlbatch-batches", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._works: dict[str, BatchWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tools: Tools | None = None

    def start(self) -> None:
        """Begin, with the batches that an earlier process left unfinished."""
        self._thread.start()

    def wake(self, batch_id: str) -> None:
        """Say that a batch was created, or that its owner wants it stopped."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the next start finds the batch by itself
            self._loop.call_soon_threadsafe(self._attend, batch_id)

    def clock_moved(self) -> None:
        """Say that the clock was moved, so that windows are looked at again."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rearm)

    def stop(self) -> None:
        """Stop at the next line; what has been answered is kept, the rest goes on at the next start."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(2 * _PATIENCE)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _main(self) -> None:
        state = State(self._folder.database)
        upstreams = Upstreams(self._config) if self._config.upstreams else None
        self._tools = Tools(
            self._config,
            self._folder,
            self._clock,
            state,
            OfflineBackend(),
            upstreams,
            asyncio.Semaphore(_AT_ONCE),
            self._faults,
            self._ledger,
        )
        try:
            for batch_id in state.ids("unfinished_batches"):
                self._attend(batch_id)
            while not self._stopping.is_set():
                self._remove_expired_files(state)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _SWEEP)
            for work in self._works.values():
                work.interrupt("stop")
            if upstreams:
                await upstreams.close()
            if self._tasks:
                _, pending = await asyncio.wait(self._tasks, timeout=_PATIENCE)
                for task in pending:
                    task.cancel()
        finally:
            state.close()

    def _attend(self, batch_id: str) -> None:
        if self._stopping.is_set() or self._tools is None:
            return  # before the state is open, the batch is found by the first look; after the stop, by the next start
        work = self._works.get(batch_id)
        if work is None:
            self._works[batch_id] = work = BatchWork(batch_id, self._tools)
            task = self._loop.create_task(self._finish(work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            work.look_again()

    async def _finish(self, work: BatchWork) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                try:
                    await work.run()
                except Exception:  # noqa: BLE001 - a full disk or the like: one batch must not stop the others
                    _log.exception("batch %s cannot be worked on; trying again in %.0f s", work.batch_id, pause)
                else:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._works[work.batch_id]

    def _rearm(self) -> None:
        for work in self._works.values():
            work.look_again()

    def _remove_expired_files(self, state: State) -> None:
        now = self._clock.now()
        for file_id in state.ids("expired_files", now=now):
            state.run("delete_file", id=file_id, now=int(now))
            self._folder.content(file_id).unlink(missing_ok=True)
