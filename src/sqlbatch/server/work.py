"""One batch on its way: validating, in_progress, finalizing, completed; or failed, expired, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sqlbatch.server.body import parse_json
from sqlbatch.server.envelope import new_id
from sqlbatch.server.lines import Line, read_lines
from sqlbatch.server.results import Progress, Reply, Results
from sqlbatch.server.state import UNFINISHED
from sqlbatch.server.validate import Report, Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.clock import Clock
    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.folder import Folder
    from sqlbatch.server.state import BatchRecord, State

OFFLINE = "offline"
_CHECKPOINT = 0.3  # real seconds between two moments at which progress is made durable and shown
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
_CANCELLED = {
    "code": "batch_cancelled",
    "message": "This request was not executed because the batch was cancelled.",
}


class Superseded(Exception):  # noqa: N818 - it is no error
    """The batch has meanwhile gone another way; its owner cancelled it."""


class Backend(Protocol):
    """What runs the lines of a batch."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line, in any order, until there is none left or `interrupted` is set."""


@dataclass(frozen=True)
class Tools:
    """What all batches share."""

    config: ServerConfig
    folder: Folder
    clock: Clock
    state: State
    offline: Backend
    upstreams: Backend | None
    turn: asyncio.Semaphore


class BatchWork:
    """Takes one batch from whatever state it is in to its end."""

    def __init__(self, batch_id: str, tools: Tools) -> None:
        self.batch_id = batch_id
        self._tools = tools
        self._interrupted = asyncio.Event()
        self._reason = ""
        self._alarm: asyncio.TimerHandle | None = None

    def interrupt(self, reason: str) -> None:
        """Stop running lines; `stop` also ends the work for this process."""
        if self._reason != "stop":
            self._reason = reason
        self._interrupted.set()

    def look_again(self) -> None:
        """Find out whether the batch was cancelled or its window has closed."""
        record = self._record()
        if record.status == "cancelling":
            self.interrupt("cancelled")
        elif self._tools.clock.now() >= record.expires_at:
            self.interrupt("expired")
        else:
            self._set_alarm(record)

    async def run(self) -> None:
        """Work until the batch has ended, or this process is to stop."""
        steps = {
            "validating": self._validate,
            "in_progress": self._execute,
            "finalizing": self._finalize,
            "cancelling": self._end_cancelled,
        }
        self.look_again()
        try:
            while self._reason != "stop" and (step := steps.get(self._record().status)):
                await step()
        finally:
            if self._alarm:
                self._alarm.cancel()

    def _record(self) -> BatchRecord:
        record = self._tools.state.batch(self.batch_id)
        if record is None:
            raise LookupError(f"there is no batch {self.batch_id}")
        return record

    def _set_alarm(self, record: BatchRecord) -> None:
        if self._alarm:
            self._alarm.cancel()
        clock = self._tools.clock
        wait = min(clock.real_seconds(record.expires_at - clock.now()) + 0.01, 3600.0)
        self._alarm = asyncio.get_running_loop().call_later(wait, self.look_again)

    def _knows_model(self, model: str) -> bool:
        config = self._tools.config
        return bool(config.upstreams) or model == OFFLINE or model in config.models

    async def _validate(self) -> None:
        record, tools = self._record(), self._tools
        if self._reason == "expired":
            tools.state.run(
                "expire_batch", id=record.id, now=tools.clock.seconds(), output_file_id=None, error_file_id=None
            )
            return
        report = await self._report(record)
        if report is None:
            return
        now = tools.clock.seconds()
        if report.errors:
            tools.state.run("fail_batch", id=record.id, now=now, errors=json.dumps(report.errors))
            return
        tools.state.run(
            "begin_batch",
            id=record.id,
            now=now,
            total=report.total,
            model=report.model,
            output_draft=new_id("file-"),
            error_draft=new_id("file-"),
        )

    async def _report(self, record: BatchRecord) -> Report | None:
        """Return what validation finds, or None when it was interrupted."""
        tools = self._tools
        validator = Validator(record.endpoint, self._knows_model)
        source = tools.state.file(record.input_file_id, tools.clock.now())
        if source is not None and source.purpose != "batch":
            message = f"The input file has the purpose '{source.purpose}'; it must be 'batch'."
            validator.report.add("invalid_request", message, None, "file_id")
            return validator.report
        try:
            if source is None:
                raise FileNotFoundError
            tools.folder.keep_input(source.id, record.id)
            if not await validator.read(tools.folder.input(record.id), self._interrupted.is_set):
                return None
        except FileNotFoundError:
            message = f"Cannot find file {record.input_file_id}, or organization org-local does not have access to it."
            report = Report()
            report.add("invalid_request", message, None, "file_id")
            return report
        return validator.report

    async def _execute(self) -> None:
        record, tools = self._record(), self._tools
        results = self._results(record)
        try:
            if self._reason != "expired":
                await self._run_in_turn(record, results)
            if self._reason == "expired":
                await self._end_early(record, results, _EXPIRED, "expire_batch")
            elif self._interrupted.is_set():
                await self._checkpoint(results)
            else:
                await self._checkpoint(results)
                tools.state.run("finalize_batch", id=record.id, now=tools.clock.seconds())
        finally:
            results.close()

    async def _run_in_turn(self, record: BatchRecord, results: Results) -> None:
        """Run the lines once it is this batch's turn, unless it is interrupted first."""
        turn = asyncio.ensure_future(self._tools.turn.acquire())
        stop = asyncio.ensure_future(self._interrupted.wait())
        await asyncio.wait({turn, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not turn.done():
            turn.cancel()
            return
        try:
            await self._run_lines(record, results)
        finally:
            self._tools.turn.release()

    async def _run_lines(self, record: BatchRecord, results: Results) -> None:
        """Run the lines that have no result yet, making progress durable every now and then."""
        tools = self._tools
        backend = tools.offline if tools.upstreams is None or record.model == OFFLINE else tools.upstreams

        def deliver(line: Line, reply: Reply) -> None:
            results.append(line.number, line.custom_id, reply)

        ended = asyncio.Event()
        saver = asyncio.create_task(self._save_regularly(results, ended))
        try:
            await backend.run(record.endpoint, self._open_lines(record, results), deliver, self._interrupted)
        finally:
            ended.set()
            await saver

    def _open_lines(self, record: BatchRecord, results: Results) -> Iterator[Line]:
        for number, raw in read_lines(self._tools.folder.input(record.id)):
            if number >= len(results.done) or not results.done[number]:
                line = parse_json(raw)
                yield Line(number, line["custom_id"], line["body"])

    async def _save_regularly(self, results: Results, ended: asyncio.Event) -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _CHECKPOINT)
            if not ended.is_set():
                await self._checkpoint(results)

    async def _checkpoint(self, results: Results) -> None:
        reached = await results.make_durable()
        self._tools.state.run("mark_progress", id=self.batch_id, **vars(reached))

    async def _finalize(self) -> None:
        record = self._record()
        results = self._results(record)
        try:
            await self._publish(record, results, "complete_batch")
        finally:
            results.close()

    async def _end_cancelled(self) -> None:
        record, tools = self._record(), self._tools
        if record.in_progress_at is None:  # it was stopped before any line was known to be valid
            nothing = {"output_file_id": None, "error_file_id": None}
            tools.state.run("end_cancelled_batch", id=record.id, now=tools.clock.seconds(), **nothing)
            return
        results = self._results(record)
        try:
            await self._end_early(record, results, _CANCELLED, "end_cancelled_batch")
        finally:
            results.close()

    async def _end_early(self, record: BatchRecord, results: Results, error: dict[str, str], block: str) -> None:
        """Write why each remaining line did not run, and end the batch by the statement `block`."""
        for line in self._open_lines(record, results):
            results.append(line.number, line.custom_id, Reply(0, None, error=error))
            if not line.number % 500:
                await asyncio.sleep(0)
                if self._reason == "stop":
                    await self._checkpoint(results)
                    return
        await self._publish(record, results, block)

    async def _publish(self, record: BatchRecord, results: Results, block: str) -> None:
        """Make the output files readable and end the batch, both at once."""
        await self._checkpoint(results)
        tools = self._tools
        await asyncio.to_thread(tools.folder.sync)
        now = tools.clock.seconds()
        lifetime = record.output_expires_seconds or 2_592_000  # 30 days (contract section 2)
        published: dict[str, str | None] = {}
        with contextlib.suppress(Superseded), tools.state.transaction():
            for column, draft, size, name in (
                ("output_file_id", record.output_draft, results.progress.output_bytes, "output"),
                ("error_file_id", record.error_draft, results.progress.error_bytes, "error"),
            ):
                published[column] = draft if size else None
                if draft and size:
                    tools.state.run(
                        "add_file",
                        id=draft,
                        filename=f"{record.id}_{name}.jsonl",
                        purpose="batch_output",
                        bytes=size,
                        created_at=now,
                        expires_at=now + lifetime,
                    )
            if not tools.state.run(block, id=record.id, now=now, **published):
                raise Superseded
        if self._record().status in UNFINISHED:
            return
        tools.folder.forget_input(record.id)
        for column, draft in (("output_file_id", record.output_draft), ("error_file_id", record.error_draft)):
            if draft and not published[column]:
                tools.folder.content(draft).unlink(missing_ok=True)

    def _results(self, record: BatchRecord) -> Results:
        folder = self._tools.folder
        if record.output_draft is None or record.error_draft is None:
            raise LookupError(f"batch {record.id} has no output files")
        durable = Progress(
            input_tokens=record.input_tokens,
            cached_tokens=record.cached_tokens,
            output_tokens=record.output_tokens,
            reasoning_tokens=record.reasoning_tokens,
            output_bytes=record.output_bytes,
            error_bytes=record.error_bytes,
        )
        paths = folder.content(record.output_draft), folder.content(record.error_draft)
        return Results(*paths, record.total, durable)
