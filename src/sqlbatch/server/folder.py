"""The server's folder: what lies where, and which process holds it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":  # pragma: no cover - the same promise with that system's own lock
    import msvcrt
else:
    import fcntl


class Folder:
    """Paths below the server's folder, private to its owner; names given by clients never become paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"
        self.uploads = path / "uploads"
        self.inputs = path / "inputs"
        self.database = path / "state.sqlite"
        self.ledger = path / "ledger.jsonl"

    def create(self) -> None:
        """Make the folder and its parts, readable by their owner only."""
        for part in (self.path, self.files, self.uploads, self.inputs):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            self.path.chmod(0o700)
        self.database.touch(mode=0o600)

    def content(self, file_id: str) -> Path:
        """Return where the bytes of a file lie; `file_id` is one of ours, read from the state."""
        return self.files / file_id

    def input(self, batch_id: str) -> Path:
        """Return where a batch keeps its input file, which it goes on reading when the file itself is deleted."""
        return self.inputs / batch_id

    def keep_input(self, file_id: str, batch_id: str) -> bool:
        """Give a batch its own name for its input file; False when that has been deleted."""
        kept = self.input(batch_id)
        kept.unlink(missing_ok=True)
        try:
            kept.hardlink_to(self.content(file_id))
        except FileNotFoundError:
            return False
        except OSError:  # this file system has no links
            try:
                shutil.copyfile(self.content(file_id), kept)
            except FileNotFoundError:
                return False
        return True

    def forget_input(self, batch_id: str) -> None:
        """Remove a batch's own name for its input file."""
        self.input(batch_id).unlink(missing_ok=True)

    def tidy(self, files: set[str], batches: set[str]) -> None:
        """Remove what a killed process left: everything but the contents of `files` and the inputs of `batches`."""
        for folder, kept in ((self.files, files), (self.inputs, batches), (self.uploads, set[str]())):
            for path in folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Make the names in the files folder durable."""
        if sys.platform == "win32":  # pragma: no cover - there names are durable with the file
            return
        descriptor = os.open(self.files, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FolderLock:
    """Who holds the folder: a lock that the system frees when its process dies, and beside it the holder's address."""

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "server.lock"
        self._address = folder / "server.json"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the folder; False when another server holds it."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":  # pragma: no cover
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._address.unlink(missing_ok=True)  # the address of a holder that died
        return True

    def announce(self, base_url: str) -> None:
        """Write down where the holder answers; the whole file appears at once."""
        text = json.dumps({"base_url": base_url, "pid": os.getpid()})
        draft = self._address.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            handle.write(text)
        draft.replace(self._address)

    def holder(self) -> tuple[str, int] | None:
        """Return the holder's base URL and process id, or None while it has not announced itself."""
        try:
            found = json.loads(self._address.read_text(encoding="utf-8"))
            return str(found["base_url"]), int(found["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def release(self) -> None:
        """Give the folder back; harmless when it is not ours."""
        if self._descriptor is None:
            return
        self._address.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
