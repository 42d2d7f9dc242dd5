"""The thread that works on batches; the event loop that answers clients runs in another one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlbatch.batch_limits import OFFLINE
from sqlbatch.server.config import ServerContext
from sqlbatch.server.endpoints import answer
from sqlbatch.server.execution import BatchWork
from sqlbatch.server.results import Reply, failed_line
from sqlbatch.server.scheduling import wait_for
from sqlbatch.server.storage import State
from sqlbatch.server.upstream import Upstreams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.validation import Line


class Backend(Protocol):
    """A model that answers the lines of a batch."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line, in any order, until there is none left or `interrupted` is set."""


@dataclass(frozen=True)
class WorkContext(ServerContext):
    """What running batches takes; `state` is this thread's own connection, `turn` limits the batches run at a time."""

    state: State
    upstreams: Backend | None
    turn: asyncio.Semaphore

    def backend(self, model: str | None) -> Backend:
        """Return the backend of a model."""
        return OfflineBackend() if self.upstreams is None or self._is_offline(model) else self.upstreams

    def knows_model(self, model: str) -> bool:
        """Return whether a batch may name a model. Upstreams decide for themselves which names they know."""
        return self.upstreams is not None or self._is_offline(model)

    def _is_offline(self, model: str | None) -> bool:
        return model == OFFLINE or model in self.config.models


_SLICE = 0.02  # seconds of work between two moments at which other batches and checkpoints get their turn


class OfflineBackend:
    """The offline model as a backend."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line in the order of the file, until there is none left or `interrupted` is set."""
        encode = json.JSONEncoder(separators=(",", ":")).encode
        pause = time.monotonic() + _SLICE
        for line in lines:
            try:
                status, body = answer(endpoint, line.body)
                reply = Reply(status, body, encode(body))
            except Exception as error:  # noqa: BLE001 - one odd line must not hang its batch
                reply = failed_line(line, error)
            deliver(line, reply)
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + _SLICE
            if interrupted.is_set():
                return


_log = logging.getLogger("sqlbatch.server")
_AT_ONCE = 16  # batches whose lines are run side by side; the others wait their turn
_SWEEP = 30.0  # real seconds between looks for files that have expired
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # real seconds before a batch that raised an error is tried again
_PATIENCE = 5.0  # real seconds that a stop waits for what is under way


class Runner:
    """Runs every unfinished batch until it ends; `wake` and `stop` may be called from any thread."""

    def __init__(self, shared: ServerContext) -> None:
        self._shared = shared
        self._thread = threading.Thread(target=self._run, name="sqlbatch-batches", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._works: dict[str, BatchWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: WorkContext | None = None

    def start(self) -> None:
        """Start the thread; it first takes up the batches that an earlier process left unfinished."""
        self._thread.start()

    def wake(self, batch_id: str) -> None:
        """Announce that a batch was created or cancelled."""
        self._call_in_loop(self._attend, batch_id)

    def clock_moved(self) -> None:
        """Announce that the clock was moved, so that batches check their windows again."""
        self._call_in_loop(self._rearm)

    def stop(self) -> None:
        """Stop at the next line; what has been answered is kept, the rest goes on at the next start."""
        if not self._thread.is_alive():
            return
        self._call_in_loop(self._stopping.set)
        self._thread.join(2 * _PATIENCE)

    def _call_in_loop(self, function: Callable[..., None], *values: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed; the next start finds every unfinished batch
            self._loop.call_soon_threadsafe(function, *values)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _main(self) -> None:
        shared = self._shared
        state = State(shared.folder.database)
        upstreams = Upstreams(shared.config) if shared.config.upstreams else None
        turn = asyncio.Semaphore(_AT_ONCE)
        self._context = WorkContext(**vars(shared), state=state, upstreams=upstreams, turn=turn)
        try:
            for batch_id in state.ids("unfinished_batches"):
                self._attend(batch_id)
            while not self._stopping.is_set():
                self._remove_expired_files(state)
                await wait_for(self._stopping, _SWEEP)
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
        if self._stopping.is_set() or self._context is None:
            return  # before the state is open, the batch is found by the first look; after the stop, by the next start
        work = self._works.get(batch_id)
        if work is None:
            self._works[batch_id] = work = BatchWork(batch_id, self._context)
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
                await wait_for(self._stopping, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._works[work.batch_id]

    def _rearm(self) -> None:
        for work in self._works.values():
            work.look_again()

    def _remove_expired_files(self, state: State) -> None:
        now = self._shared.clock.now()
        for file_id in state.ids("expired_files", now=now):
            state.run("delete_file", id=file_id, now=int(now))
            self._shared.folder.content(file_id).unlink(missing_ok=True)
