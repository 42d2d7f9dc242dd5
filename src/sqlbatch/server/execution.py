"""Runs one batch: validating, in_progress, finalizing, completed; or failed, expired, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from sqlbatch.server.http import new_id, parse_json
from sqlbatch.server.results import Progress, Reply, Results, publish
from sqlbatch.server.scheduling import wait_for
from sqlbatch.server.testing.lines import FaultyBatch
from sqlbatch.server.validation import Line, Report, Validator, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.storage import BatchRecord
    from sqlbatch.server.worker import WorkContext


_STUCK_CHECK = 0.05  # real seconds between checks while a stuck_* fault applies
_MAX_TIMER = 3_600.0  # real seconds


class BatchRun:
    """Runs one batch from its current status to its final status."""

    def __init__(self, batch_id: str, context: WorkContext) -> None:
        self.batch_id = batch_id
        self._context = context
        self._interrupted = asyncio.Event()
        self._reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._faulty = FaultyBatch(context.faults, batch_id) if context.faults else None

    def interrupt(self, reason: str) -> None:
        """Stop running lines. The reason is `cancelled`, `expired`, or `stop` if the server stops."""
        if self._reason != "stop":
            self._reason = reason
        self._interrupted.set()

    def check_status(self) -> None:
        """Interrupt the batch if it was cancelled or its window is over; otherwise check again when the window ends."""
        record = self._record()
        clock = self._context.clock
        if record.status == "cancelling":
            self.interrupt("cancelled")
        elif clock.now() >= record.expires_at:
            self.interrupt("expired")
        else:
            if self._timer:
                self._timer.cancel()
            wait = min(clock.real_seconds(record.expires_at - clock.now()) + 0.01, _MAX_TIMER)
            self._timer = asyncio.get_running_loop().call_later(wait, self.check_status)

    async def run(self) -> None:
        """Run until the batch has a final status or the server stops."""
        steps = {
            "validating": self._validate,
            "in_progress": self._execute,
            "finalizing": self._finalize,
            "cancelling": self._end_cancelled,
        }
        self.check_status()
        try:
            while self._reason != "stop":
                status = self._record().status
                if status not in steps:
                    break
                await self._wait_while_stuck(status)
                if self._reason != "stop" and self._record().status == status:
                    await steps[status]()
        finally:
            if self._timer:
                self._timer.cancel()

    def _record(self) -> BatchRecord:
        record = self._context.state.batch(self.batch_id)
        if record is None:
            raise LookupError(f"there is no batch {self.batch_id}")
        return record

    async def _wait_while_stuck(self, status: str) -> None:
        """Wait in a status while a stuck_* fault applies."""
        faulty = self._faulty
        seconds = faulty.stuck_seconds(status) if faulty else None
        if faulty is None or seconds is None:
            return
        record = self._record()
        since = record.created_at if status == "validating" else getattr(record, f"{status}_at")
        until = since + seconds
        ignored = {"", "cancelled"} if status == "cancelling" else {""}
        while faulty.is_still_stuck(status) and self._context.clock.now() < until and self._reason in ignored:
            await asyncio.sleep(_STUCK_CHECK)

    async def _validate(self) -> None:
        record, context = self._record(), self._context
        now = context.clock.seconds
        if self._reason == "expired":
            context.state.run("expire_batch", id=record.id, now=now(), output_file_id=None, error_file_id=None)
            context.folder.delete_input(record.id)
            return
        report = await self._validation_report(record)
        if report is None:
            return
        if report.errors:
            if context.state.run("fail_batch", id=record.id, now=now(), errors=json.dumps(report.errors)):
                context.folder.delete_input(record.id)
            return
        drafts = {"output_draft": new_id("file-"), "error_draft": new_id("file-")}
        context.state.run(
            "begin_batch", id=record.id, now=now(), total=report.total, lines=report.lines, model=report.model, **drafts
        )

    async def _validation_report(self, record: BatchRecord) -> Report | None:
        """Validate the input file; return None if interrupted."""
        context = self._context
        validator = Validator(record.endpoint, context.knows_model)
        report = validator.report
        source = context.state.file(record.input_file_id, context.clock.now())
        if source is not None and source.purpose != "batch":
            message = f"The input file has the purpose '{source.purpose}'; it must be 'batch'."
            report.add("invalid_request", message, None, "file_id")
            return report
        if source is None or not context.folder.link_input(source.id, record.id):
            message = f"Cannot find file {record.input_file_id}, or organization org-local does not have access to it."
            report.add("invalid_request", message, None, "file_id")
            return report
        if not await validator.read(context.folder.input(record.id), self._interrupted.is_set):
            return None
        if self._faulty and not report.errors:
            enqueued = context.state.first_integer("enqueued_bytes", id=record.id) or 0
            report.errors.extend(self._faulty.validation_errors(source.bytes, enqueued, report.total))
        return report

    async def _execute(self) -> None:
        record, context = self._record(), self._context
        with contextlib.closing(Execution(context, record, self._faulty)) as execution:
            if self._reason != "expired" and await execution.run(self._interrupted):
                context.state.run("finalize_batch", id=record.id, now=context.clock.seconds())
            elif self._reason == "expired" or not self._interrupted.is_set():
                await self._end_early(execution, EXPIRED, "expire_batch")

    async def _finalize(self) -> None:
        record = self._record()
        with contextlib.closing(Execution(self._context, record, self._faulty)) as execution:
            if execution.results.count < record.total:  # a result file was damaged while the server was down
                await execution.run(self._interrupted)
            if self._reason == "expired":
                await self._end_early(execution, EXPIRED, "expire_batch")
            elif not self._interrupted.is_set():
                await publish(self._context, execution, "complete_batch", self._faulty)

    async def _end_cancelled(self) -> None:
        record, context = self._record(), self._context
        if record.in_progress_at is None:  # it was cancelled during validation
            nothing = {"output_file_id": None, "error_file_id": None}
            context.state.run("end_cancelled_batch", id=record.id, now=context.clock.seconds(), **nothing)
            context.folder.delete_input(record.id)
            return
        with contextlib.closing(Execution(context, record, self._faulty)) as execution:
            await self._end_early(execution, CANCELLED, "end_cancelled_batch")

    async def _end_early(self, execution: Execution, error: dict[str, str], block: str) -> None:
        """Write `error` for each line without a result, and end the batch with the SQL block `block`."""
        if await execution.fail_open_lines(error, lambda: self._reason == "stop"):
            await publish(self._context, execution, block, self._faulty)


EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
CANCELLED = {
    "code": "batch_cancelled",
    "message": "This request was not executed because the batch was cancelled.",
}
_CHECKPOINT = 0.3  # real seconds between two checkpoints


class Execution:
    """Runs the lines of one batch. A line that has a result in the result files is not run again."""

    def __init__(self, context: WorkContext, record: BatchRecord, faulty: FaultyBatch | None) -> None:
        if record.output_draft is None or record.error_draft is None:
            raise LookupError(f"batch {record.id} has no output files")
        self.record = record
        self._context = context
        self._faulty = faulty
        durable = Progress(
            input_tokens=record.input_tokens,
            cached_tokens=record.cached_tokens,
            output_tokens=record.output_tokens,
            reasoning_tokens=record.reasoning_tokens,
            output_bytes=record.output_bytes,
            error_bytes=record.error_bytes,
        )
        paths = context.folder.content(record.output_draft), context.folder.content(record.error_draft)
        self.results = Results(*paths, lines=record.lines, durable=durable)

    async def run(self, interrupted: asyncio.Event) -> bool:
        """Wait for this batch's turn, then run the lines without a result; return whether all lines have one."""
        turn = asyncio.ensure_future(self._context.turn.acquire())
        stop = asyncio.ensure_future(interrupted.wait())
        await asyncio.wait({turn, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not turn.done():
            turn.cancel()
            return False
        try:
            share = self._faulty.answered_share() if self._faulty else None
            limit = None if share is None else int(self.record.total * share)
            ended = asyncio.Event()
            saver = asyncio.create_task(self._checkpoint_regularly(ended))
            try:
                backend = self._context.backend(self.record.model)
                await backend.run(self.record.endpoint, self._open_lines(limit), self._record_reply, interrupted)
            finally:
                ended.set()
                await saver
        finally:
            self._context.turn.release()
        await self.checkpoint()
        return limit is None and not interrupted.is_set()

    async def fail_open_lines(self, error: dict[str, str], stopped: Callable[[], bool]) -> bool:
        """Write `error` for each line without a result; return False if `stopped` returns True before the last line."""
        for count, line in enumerate(self._open_lines(None)):
            self.results.append(line.number, line.custom_id, Reply(0, None, error=error))
            if not count % 500:
                await asyncio.sleep(0)
                if stopped():
                    break
        else:
            return True
        await self.checkpoint()
        return False

    async def checkpoint(self) -> None:
        """Flush the results to disk and save the batch's counts."""
        durable = await self.results.make_durable()
        self._context.state.run("mark_progress", id=self.record.id, **vars(durable))

    def close(self) -> None:
        """Close the files."""
        self.results.close()

    def _record_reply(self, line: Line, reply: Reply) -> None:
        if self._context.ledger:
            self._context.ledger.add(self.record.endpoint, self.record.id, line.custom_id, line.number)
        if self._faulty:
            reply = self._faulty.reply(line, reply)
        self.results.append(line.number, line.custom_id, reply)

    def _open_lines(self, limit: int | None) -> Iterator[Line]:
        """Yield the lines without a result; with `limit`, only among the first `limit` lines of the batch."""
        done = self.results.done
        path = self._context.folder.input(self.record.id)
        for count, (number, raw) in enumerate(read_lines(path)):
            if limit is not None and count >= limit:
                return
            if not done[number]:
                line = parse_json(raw)
                yield Line(number, line["custom_id"], line["body"])

    async def _checkpoint_regularly(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await wait_for(ended, _CHECKPOINT)
            if not ended.is_set():
                await self.checkpoint()
