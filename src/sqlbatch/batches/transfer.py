"""Transfer files: their names, reading and writing in pieces, several at once."""

from __future__ import annotations

import functools
import io
import os
import queue
import re
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import httpx2

from sqlbatch.batches.events import Transferring
from sqlbatch.errors import ProviderUnreachable, SqlbatchError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

Result = TypeVar("Result")
# Transfers at a time: enough to use the network, few enough to need little memory.
AT_ONCE = 4
# Seconds between two progress reports, and after which an interrupt is noticed.
_TELL = 0.2


class CutShort(ProviderUnreachable):
    """A download ended before the file did; the part that came is where it was written."""


def input_name(batch_id: str) -> str:
    """Return the name of a batch's input file."""
    return f"sqlbatch-{batch_id}.jsonl"


def result_name(batch_id: str, kind: str) -> str:
    """Return a unique name for a download of a batch's `output` or `error` file."""
    return f"sqlbatch-{batch_id}.{secrets.token_hex(4)}.{kind}.jsonl"


def batch_of(name: str) -> str | None:
    """Return the batch that a spool file belongs to; None for a file that is not ours."""
    found = re.match(r"sqlbatch-([0-9a-f-]{36})\.", name)
    return found[1] if found else None


class Counted(io.BufferedReader):
    """A file that reports how much of it was read; the SDK rewinds it to start over."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "rb"))
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, and report the total so far."""
        data = super().read(size)
        self._progress(self.tell())
        return data


def save(chunks: Iterable[bytes], path: Path, progress: Callable[[int], None]) -> int:
    """Write chunks to a file that only its owner can read, sync it to the disk, and return its bytes.

    `progress` is called with the bytes written so far. Raises SqlbatchError if the disk does not take them.
    """
    size = 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for chunk in chunks:
                out.write(chunk)
                size += len(chunk)
                progress(size)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise SqlbatchError(
            f"{path} cannot be written: {error.strerror}; fix that, then run sqlbatch wait: nothing is lost"
        ) from error
    return size


def ends_whole(path: Path) -> bool:
    """Return whether a file of JSON lines ends at the end of a line."""
    with path.open("rb") as handle:
        handle.seek(max(os.fstat(handle.fileno()).st_size - 64, 0))
        tail = handle.read()
    return not tail or tail.endswith(b"\n") or tail.rstrip().endswith(b"}")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A finished transfer: its result, or its error."""

    result: Result | None
    error: BaseException | None


def transfers(
    doing: str,
    tasks: Sequence[Callable[[Callable[[int], None]], Result]],
    total: int | None,
) -> Iterator[Transferring | Done[Result]]:
    """Run transfers as `in_threads` does; yield the progress of all together, and each one's end as it comes.

    A task is called with a function that takes the number of bytes moved so far.
    """
    moved = [0] * len(tasks)
    moving = [functools.partial(task, functools.partial(moved.__setitem__, n)) for n, task in enumerate(tasks)]
    for end in in_threads(moving, AT_ONCE):
        yield Transferring(doing, sum(moved), total)
        if end is not None:
            yield end


def in_threads(tasks: Sequence[Callable[[], Result]], at_once: int) -> Iterator[Done[Result] | None]:
    """Run tasks, a few at a time, in threads that an interrupt does not wait for; they start at once.

    Yields each task's end as it comes, and None whenever none has come for a moment.
    """
    ends: queue.SimpleQueue[Done[Result]] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[Callable[[], Result]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ends.put(Done(task(), None))
            except BaseException as error:  # noqa: BLE001 (handed over to the thread that asked)
                ends.put(Done(None, error))

    for each in tasks:
        waiting.put(each)
    for _ in range(min(at_once, len(tasks))):
        threading.Thread(target=work, daemon=True).start()

    def come() -> Iterator[Done[Result] | None]:
        left = len(tasks)
        while left:
            try:
                end = ends.get(timeout=_TELL)
            except queue.Empty:
                yield None
                continue
            left -= 1
            yield end

    return come()


def is_address(file_id: str) -> bool:
    """Whether a file id is an address, as at SiliconFlow."""
    return file_id.startswith(("https://", "http://"))


def body_of(response: httpx2.Response) -> bytes:
    """Return an error's body; empty if the connection broke before it was read."""
    try:
        return response.read()
    except (httpx2.HTTPError, httpx2.StreamError):
        return b""


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the certificates that this computer trusts.

    They are read once, because that takes longer than many steps.
    """
    return httpx2.create_ssl_context()
