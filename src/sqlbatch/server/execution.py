"""The life of one batch: validating, in_progress, finalizing, completed; or failed, expired, cancelled."""

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


_LOOK = 0.05  # real seconds between looks at the clock while a failure holds a batch up
_LONGEST_ALARM = 3_600.0  # real seconds


class BatchWork:
    """Runs one batch from its present status until it ends."""

    def __init__(self, batch_id: str, context: WorkContext) -> None:
        self.batch_id = batch_id
        self._context = context
        self._interrupted = asyncio.Event()
        self._reason = ""
        self._alarm: asyncio.TimerHandle | None = None
        self._faulty = FaultyBatch(context.faults, batch_id) if context.faults else None

    def interrupt(self, reason: str) -> None:
        """Stop running lines; `stop` also ends the work for this process."""
        if self._reason != "stop":
            self._reason = reason
        self._interrupted.set()

    def look_again(self) -> None:
        """Check whether the batch was cancelled or its window has closed."""
        record = self._record()
        clock = self._context.clock
        if record.status == "cancelling":
            self.interrupt("cancelled")
        elif clock.now() >= record.expires_at:
            self.interrupt("expired")
        else:
            if self._alarm:
                self._alarm.cancel()
            wait = min(clock.real_seconds(record.expires_at - clock.now()) + 0.01, _LONGEST_ALARM)
            self._alarm = asyncio.get_running_loop().call_later(wait, self.look_again)

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
            while self._reason != "stop":
                status = self._record().status
                if status not in steps:
                    break
                await self._hold(status)
                if self._reason != "stop" and self._record().status == status:
                    await steps[status]()
        finally:
            if self._alarm:
                self._alarm.cancel()

    def _record(self) -> BatchRecord:
        record = self._context.state.batch(self.batch_id)
        if record is None:
            raise LookupError(f"there is no batch {self.batch_id}")
        return record

    async def _hold(self, status: str) -> None:
        """Stay in a status while a stuck_* fault says so."""
        faulty = self._faulty
        seconds = faulty.hold(status) if faulty else None
        if faulty is None or seconds is None:
            return
        record = self._record()
        since = record.created_at if status == "validating" else getattr(record, f"{status}_at")
        until = since + seconds
        goes_on = {"", "cancelled"} if status == "cancelling" else {""}
        while faulty.holds_still(status) and self._context.clock.now() < until and self._reason in goes_on:
            await asyncio.sleep(_LOOK)

    async def _validate(self) -> None:
        record, context = self._record(), self._context
        now = context.clock.seconds
        if self._reason == "expired":
            context.state.run("expire_batch", id=record.id, now=now(), output_file_id=None, error_file_id=None)
            return
        report = await self._report(record)
        if report is None:
            return
        if report.errors:
            if context.state.run("fail_batch", id=record.id, now=now(), errors=json.dumps(report.errors)):
                context.folder.forget_input(record.id)
            return
        drafts = {"output_draft": new_id("file-"), "error_draft": new_id("file-")}
        context.state.run(
            "begin_batch", id=record.id, now=now(), total=report.total, lines=report.lines, model=report.model, **drafts
        )

    async def _report(self, record: BatchRecord) -> Report | None:
        """Return what validation finds, or None when it was interrupted."""
        context = self._context
        validator = Validator(record.endpoint, context.knows_model)
        report = validator.report
        source = context.state.file(record.input_file_id, context.clock.now())
        if source is not None and source.purpose != "batch":
            message = f"The input file has the purpose '{source.purpose}'; it must be 'batch'."
            report.add("invalid_request", message, None, "file_id")
            return report
        if source is None or not context.folder.keep_input(source.id, record.id):
            message = f"Cannot find file {record.input_file_id}, or organization org-local does not have access to it."
            report.add("invalid_request", message, None, "file_id")
            return report
        if not await validator.read(context.folder.input(record.id), self._interrupted.is_set):
            return None
        if self._faulty and not report.errors:
            enqueued = context.state.position("enqueued_bytes", id=record.id) or 0
            report.errors.extend(self._faulty.refusal(source.bytes, enqueued, report.total))
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
            if execution.results.count < record.total:  # a file was damaged while the server was down
                await execution.run(self._interrupted)
            if self._reason == "expired":
                await self._end_early(execution, EXPIRED, "expire_batch")
            elif not self._interrupted.is_set():
                await publish(self._context, execution, "complete_batch", self._faulty)

    async def _end_cancelled(self) -> None:
        record, context = self._record(), self._context
        if record.in_progress_at is None:  # it was stopped before any line was known to be valid
            nothing = {"output_file_id": None, "error_file_id": None}
            context.state.run("end_cancelled_batch", id=record.id, now=context.clock.seconds(), **nothing)
            context.folder.forget_input(record.id)
            return
        with contextlib.closing(Execution(context, record, self._faulty)) as execution:
            await self._end_early(execution, CANCELLED, "end_cancelled_batch")

    async def _end_early(self, execution: Execution, error: dict[str, str], block: str) -> None:
        """Write `error` for each remaining line, and end the batch with the statement `block`."""
        if await execution.give_up(error, lambda: self._reason == "stop"):
            await publish(self._context, execution, block, self._faulty)


EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
CANCELLED = {
    "code": "batch_cancelled",
    "message": "This request was not executed because the batch was cancelled.",
}
_CHECKPOINT = 0.3  # real seconds between two moments at which progress is made durable and shown


class Execution:
    """Runs the lines of one batch; a line whose result is in the files already is not run again."""

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
        """Run the lines that have no result yet once it is this batch's turn; True when all have one in the end."""
        turn = asyncio.ensure_future(self._context.turn.acquire())
        stop = asyncio.ensure_future(interrupted.wait())
        await asyncio.wait({turn, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not turn.done():
            turn.cancel()
            return False
        try:
            share = self._faulty.answered_share() if self._faulty else None
            most = None if share is None else int(self.record.total * share)
            ended = asyncio.Event()
            saver = asyncio.create_task(self._save_regularly(ended))
            try:
                backend = self._context.backend(self.record.model)
                await backend.run(self.record.endpoint, self._open_lines(most), self._deliver, interrupted)
            finally:
                ended.set()
                await saver
        finally:
            self._context.turn.release()
        await self.checkpoint()
        return most is None and not interrupted.is_set()

    async def give_up(self, error: dict[str, str], stopped: Callable[[], bool]) -> bool:
        """Write `error` for each line that has no result; False when `stopped` said so before the end."""
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
        """Flush the results to disk and update the batch's counts."""
        reached = await self.results.make_durable()
        self._context.state.run("mark_progress", id=self.record.id, **vars(reached))

    def close(self) -> None:
        """Close the files."""
        self.results.close()

    def _deliver(self, line: Line, reply: Reply) -> None:
        if self._context.ledger:
            self._context.ledger.add(self.record.endpoint, self.record.id, line.custom_id, line.number)
        if self._faulty:
            reply = self._faulty.reply(line, reply)
        self.results.append(line.number, line.custom_id, reply)

    def _open_lines(self, most: int | None) -> Iterator[Line]:
        """Yield the lines without a result, at most the first `most` of the batch."""
        done = self.results.done
        path = self._context.folder.input(self.record.id)
        for count, (number, raw) in enumerate(read_lines(path)):
            if most is not None and count >= most:
                return
            if not done[number]:
                line = parse_json(raw)
                yield Line(number, line["custom_id"], line["body"])

    async def _save_regularly(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await wait_for(ended, _CHECKPOINT)
            if not ended.is_set():
                await self.checkpoint()
