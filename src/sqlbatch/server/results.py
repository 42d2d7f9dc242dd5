"""The result files of a batch: written line by line, recovered after a crash, published when the batch finishes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import FILE_LIFETIME
from sqlbatch.server.http import new_id, parse_json
from sqlbatch.server.storage import UNFINISHED, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlbatch.server.execution import Execution
    from sqlbatch.server.testing.lines import FaultyBatch
    from sqlbatch.server.validation import Line
    from sqlbatch.server.worker import WorkContext


_log = logging.getLogger("sqlbatch.server")
# The id of a result contains the number of its line, so that a restart knows which lines have a result: 8 hex digits
# of the number, then 24 random ones.
_ID = re.compile(rb'\{"id":"batch_req_([0-9a-f]{8})[0-9a-f]{24}"')


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one line: an HTTP status and a JSON body, or an error for a line that never ran.

    `text` is the body as JSON text if the caller has it, so that it is not serialized again.
    """

    status: int
    body: dict[str, Any] | None
    text: str | None = None
    error: dict[str, str] | None = None
    request_id: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the result belongs in the output file."""
        return self.error is None and 200 <= self.status < 300


def failed_line(line: Line, error: Exception) -> Reply:
    """Return the reply to a line that raised `error`, and log the error with the request id of the reply."""
    request_id = new_id("req_")
    _log.error("line %d (%s) failed, request %s", line.number, line.custom_id, request_id, exc_info=error)
    message = f"The server had an error while processing this request; its log has request {request_id}."
    body = {"error": {"message": message, "type": "server_error", "param": None, "code": None}}
    return Reply(500, body, request_id=request_id)


@dataclass
class Progress:
    """The progress of a batch: counts and tokens of the results in its files, and the files' lengths in bytes."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_bytes: int = 0
    error_bytes: int = 0

    def add_usage(self, body: dict[str, Any] | None) -> None:
        """Add the tokens of one answer, from the usage object of any endpoint."""
        usage = body.get("usage") if body else None
        if not isinstance(usage, dict):
            return
        if "prompt_tokens" in usage:
            names = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
        else:
            names = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")
        self.input_tokens += _count(usage.get(names[0]))
        self.output_tokens += _count(usage.get(names[2]))
        details = usage.get(names[1])
        if isinstance(details, dict):
            self.cached_tokens += _count(details.get("cached_tokens"))
        details = usage.get(names[3])
        if isinstance(details, dict):
            self.reasoning_tokens += _count(details.get("reasoning_tokens"))


class _ResultFile:
    """One result file, with `count` results in `size` bytes."""

    def __init__(self, path: Path) -> None:
        self.count = self.size = 0
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._path = path

    def append(self, line: bytes) -> None:
        """Write one result. The operating system may accept less than the whole line at a time."""
        written = os.write(self.descriptor, line)
        while written < len(line):
            written += os.write(self.descriptor, line[written:])
        self.count += 1
        self.size += len(line)

    def recover(self, durable: int, done: bytearray) -> Iterator[dict[str, Any]]:
        """Mark lines that have a result, and cut off an incomplete last one; yield results after `durable` bytes."""
        with self._path.open("rb", buffering=1 << 18) as handle:
            for line in handle:
                match = _ID.match(line)
                number = int(match[1], 16) if match else len(done)
                if number >= len(done) or not line.endswith(b"\n"):
                    break
                if self.size >= durable:  # after the part that was flushed to disk, even a complete line may be damaged
                    try:
                        yield parse_json(line)
                    except ValueError:
                        break
                done[number] = 1
                self.count += 1
                self.size += len(line)
        os.ftruncate(self.descriptor, self.size)


class Results:
    """The two result files of a batch. Each result is written at once, so that no restart runs its line again."""

    def __init__(self, output: Path, errors: Path, *, lines: int, durable: Progress) -> None:
        self.done = bytearray(lines + 1)
        self._output, self._errors = _ResultFile(output), _ResultFile(errors)
        if output.stat().st_size < durable.output_bytes or errors.stat().st_size < durable.error_bytes:
            durable = Progress()  # a file was damaged: count everything again
        self._usage = durable
        for result in self._output.recover(durable.output_bytes, self.done):
            self._usage.add_usage(result["response"]["body"])
        for _ in self._errors.recover(durable.error_bytes, self.done):
            pass

    @property
    def progress(self) -> Progress:
        """The progress so far."""
        output, errors = self._output, self._errors
        sizes = {"output_bytes": output.size, "error_bytes": errors.size}
        return dataclasses.replace(self._usage, completed=output.count, failed=errors.count, **sizes)

    @property
    def count(self) -> int:
        """The number of lines with a result."""
        return self._output.count + self._errors.count

    def append(self, number: int, custom_id: str, reply: Reply) -> None:
        """Write the result of one line. The result survives if this process is killed after that."""
        if reply.error is not None:
            response, error = "null", json.dumps(reply.error)
        else:
            body = reply.text if reply.text is not None else json.dumps(reply.body, separators=(",", ":"))
            request_id = json.dumps(reply.request_id or new_id("req_"))
            response = f'{{"status_code":{reply.status},"request_id":{request_id},"body":{body}}}'
            error = "null"
        line = (
            f'{{"id":"{new_id(f"batch_req_{number:08x}")[:42]}","custom_id":{json.dumps(custom_id)},'
            f'"response":{response},"error":{error}}}\n'
        ).encode()
        if reply.succeeded:
            self._output.append(line)
            self._usage.add_usage(reply.body)
        else:
            self._errors.append(line)
        self.done[number] = 1

    async def make_durable(self) -> Progress:
        """Flush both files to disk; return the progress that is on disk now."""
        flushed = self.progress
        await in_thread(self._sync)
        return flushed

    def _sync(self) -> None:
        os.fsync(self._output.descriptor)
        os.fsync(self._errors.descriptor)

    def close(self) -> None:
        """Close both files."""
        os.close(self._output.descriptor)
        os.close(self._errors.descriptor)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


class StatusChanged(Exception):
    """The batch was cancelled while its files were published."""


async def publish(context: WorkContext, execution: Execution, block: str, faulty: FaultyBatch | None) -> None:
    """Publish the result files of a batch and set its final status with the SQL block `block`.

    Does nothing if the status of the batch has changed so that the block does not apply.
    """
    await execution.checkpoint()
    record, progress = execution.record, execution.results.progress
    drafts = {
        "output_file_id": (record.output_draft, progress.output_bytes, "output"),
        "error_file_id": (record.error_draft, progress.error_bytes, "error"),
    }
    if faulty and faulty.damages_files:
        drafts = await in_thread(functools.partial(_damaged_copies, context, faulty, drafts))
    await in_thread(context.folder.sync)
    now = context.clock.seconds()
    published = {column: draft if size else None for column, (draft, size, _) in drafts.items()}
    with contextlib.suppress(StatusChanged), context.state.transaction():
        for draft, size, name in drafts.values():
            if draft and size:
                context.state.run(
                    "add_file",
                    id=draft,
                    filename=f"{record.id}_{name}.jsonl",
                    purpose="batch_output",
                    bytes=size,
                    created_at=now,
                    expires_at=now + (record.output_expires_seconds or FILE_LIFETIME),
                )
        if not context.state.run(block, id=record.id, now=now, **published):
            raise StatusChanged
    ended = context.state.batch(record.id)
    if ended is None or ended.status in UNFINISHED:
        return
    context.folder.delete_input(record.id)
    for draft in (record.output_draft, record.error_draft):
        if draft and draft not in published.values():
            context.folder.content(draft).unlink(missing_ok=True)


def _damaged_copies(
    context: WorkContext, faulty: FaultyBatch, drafts: dict[str, tuple[str | None, int, str]]
) -> dict[str, tuple[str | None, int, str]]:
    """Write damaged copies of the result files under new ids, as the fault rules say."""
    damaged: dict[str, tuple[str | None, int, str]] = {}
    for column, (draft, size, name) in drafts.items():
        if not draft or not size:
            damaged[column] = (draft, size, name)
            continue
        other = new_id("file-")
        damaged[column] = (other, faulty.damage(context.folder.content(draft), context.folder.content(other)), name)
    return damaged
