"""The thread that runs batches. The event loop that answers clients runs in another thread."""

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
from sqlbatch.server.execution import BatchRun
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
        """Answer every line, in any order. Returns after the last line, or soon after `interrupted` is set."""


@dataclass(frozen=True)
class WorkContext(ServerContext):
    """Everything needed to run batches. `state` is this thread's own connection, `turn` limits concurrent batches."""

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


_WORK_TIME = 0.02  # seconds of work after which other batches and checkpoints get a turn


class OfflineBackend:
    """The built-in offline model."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line in the order of the file. Returns after the last line, or when `interrupted` is set."""
        encode = json.JSONEncoder(separators=(",", ":")).encode
        pause = time.monotonic() + _WORK_TIME
        for line in lines:
            try:
                status, body = answer(endpoint, line.body)
                reply = Reply(status, body, encode(body))
            except Exception as error:  # noqa: BLE001 - one unexpected line must not stop its batch
                reply = failed_line(line, error)
            deliver(line, reply)
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + _WORK_TIME
            if interrupted.is_set():
                return


_log = logging.getLogger("sqlbatch.server")
_MAX_BATCHES = 16  # batches that run at the same time; the others wait
_EXPIRY_CHECK = 30.0  # real seconds between checks for expired files
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # real seconds before a batch that raised an error is retried
_STOP_TIMEOUT = 5.0  # real seconds to wait for running batches when the server stops


class Runner:
    """Runs every unfinished batch. `wake`, `clock_moved` and `stop` may be called from any thread."""

    def __init__(self, shared: ServerContext) -> None:
        self._shared = shared
        self._thread = threading.Thread(target=self._run, name="sqlbatch-batches", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._batches: dict[str, BatchRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: WorkContext | None = None

    def start(self) -> None:
        """Start the thread. It starts with the batches that an earlier process left unfinished."""
        self._thread.start()

    def wake(self, batch_id: str) -> None:
        """Tell the thread that a batch was created or cancelled."""
        self._call_in_loop(self._work_on, batch_id)

    def clock_moved(self) -> None:
        """Tell the thread that the clock was moved, so that it checks the completion windows of all batches."""
        self._call_in_loop(self._check_all)

    def stop(self) -> None:
        """Stop at the next line. Answers are kept; the other lines run after the next start."""
        if not self._thread.is_alive():
            return
        self._call_in_loop(self._stopping.set)
        self._thread.join(2 * _STOP_TIMEOUT)

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
        turn = asyncio.Semaphore(_MAX_BATCHES)
        self._context = WorkContext(**vars(shared), state=state, upstreams=upstreams, turn=turn)
        try:
            for batch_id in state.ids("unfinished_batches"):
                self._work_on(batch_id)
            while not self._stopping.is_set():
                self._remove_expired_files(state)
                await wait_for(self._stopping, _EXPIRY_CHECK)
            for batch in self._batches.values():
                batch.interrupt("stop")
            if upstreams:
                await upstreams.close()
            if self._tasks:
                _, pending = await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT)
                for task in pending:
                    task.cancel()
        finally:
            state.close()

    def _work_on(self, batch_id: str) -> None:
        if self._stopping.is_set() or self._context is None:
            return  # the thread finds the batch when it opens the state, now or at the next start
        batch = self._batches.get(batch_id)
        if batch is None:
            self._batches[batch_id] = batch = BatchRun(batch_id, self._context)
            task = self._loop.create_task(self._run_batch(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            batch.check_status()

    async def _run_batch(self, batch: BatchRun) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                try:
                    await batch.run()
                except Exception:  # noqa: BLE001 - an error of one batch, such as a full disk, must not stop the others
                    _log.exception("batch %s raised an error; retrying in %.0f s", batch.batch_id, pause)
                else:
                    break
                await wait_for(self._stopping, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            del self._batches[batch.batch_id]

    def _check_all(self) -> None:
        for batch in self._batches.values():
            batch.check_status()

    def _remove_expired_files(self, state: State) -> None:
        now = self._shared.clock.now()
        for file_id in state.ids("expired_files", now=now):
            state.run("delete_file", id=file_id, now=int(now))
            self._shared.folder.content(file_id).unlink(missing_ok=True)
