"""Running the lines of one batch, with progress that outlives the process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from sqlbatch.server.body import parse_json
from sqlbatch.server.lines import Line, read_lines
from sqlbatch.server.results import Progress, Reply, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.state import BatchRecord
    from sqlbatch.server.testing.lines import FaultyBatch
    from sqlbatch.server.tools import Tools

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
    """The lines of one batch and the files that their results go to; what these hold already is not run again."""

    def __init__(self, tools: Tools, record: BatchRecord, faulty: FaultyBatch | None) -> None:
        if record.output_draft is None or record.error_draft is None:
            raise LookupError(f"batch {record.id} has no output files")
        self.record = record
        self._tools = tools
        self._faulty = faulty
        durable = Progress(
            input_tokens=record.input_tokens,
            cached_tokens=record.cached_tokens,
            output_tokens=record.output_tokens,
            reasoning_tokens=record.reasoning_tokens,
            output_bytes=record.output_bytes,
            error_bytes=record.error_bytes,
        )
        paths = tools.folder.content(record.output_draft), tools.folder.content(record.error_draft)
        self.results = Results(*paths, lines=record.lines, durable=durable)

    async def run(self, interrupted: asyncio.Event) -> bool:
        """Run the lines that have no result yet once it is this batch's turn; True when all have one in the end."""
        turn = asyncio.ensure_future(self._tools.turn.acquire())
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
                backend = self._tools.backend(self.record.model)
                await backend.run(self.record.endpoint, self._open_lines(most), self._deliver, interrupted)
            finally:
                ended.set()
                await saver
        finally:
            self._tools.turn.release()
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
        """Make what has been written durable, and show it in the batch's counts."""
        reached = await self.results.make_durable()
        self._tools.state.run("mark_progress", id=self.record.id, **vars(reached))

    def close(self) -> None:
        """Close the files."""
        self.results.close()

    def _deliver(self, line: Line, reply: Reply) -> None:
        if self._tools.ledger:
            self._tools.ledger.add(self.record.endpoint, self.record.id, line.custom_id, line.number)
        if self._faulty:
            reply = self._faulty.reply(line, reply)
        self.results.append(line.number, line.custom_id, reply)

    def _open_lines(self, most: int | None) -> Iterator[Line]:
        """Yield the lines without a result, at most the first `most` of the batch."""
        done = self.results.done
        path = self._tools.folder.input(self.record.id)
        for count, (number, raw) in enumerate(read_lines(path)):
            if most is not None and count >= most:
                return
            if not done[number]:
                line = parse_json(raw)
                yield Line(number, line["custom_id"], line["body"])

    async def _save_regularly(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _CHECKPOINT)
            if not ended.is_set():
                await self.checkpoint()
