"""Files on their way, a piece at a time: read for an upload, written from a download."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from sqlbatch.errors import SqlbatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Counted(io.BufferedReader):
    """A file that tells how much of it was read; it is rewound where the SDK starts over."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "rb"))
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, and tell how many there have been."""
        data = super().read(size)
        self._progress(self.tell())
        return data


def save(chunks: Iterable[bytes], path: Path, progress: Callable[[int], None]) -> int:
    """Write chunks to a file of its owner alone, down to the disk, and return their bytes.

    `progress` is told the bytes written so far. Raises SqlbatchError where the disk does not take them.
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
            f"{path} cannot be written: {error.strerror}; see to it, then run sqlbatch wait: nothing is lost"
        ) from error
    return size


def ends_whole(path: Path) -> bool:
    """Whether a file of JSON lines ends where a line may end."""
    with path.open("rb") as handle:
        handle.seek(max(os.fstat(handle.fileno()).st_size - 64, 0))
        tail = handle.read()
    return not tail or tail.endswith(b"\n") or tail.rstrip().endswith(b"}")
