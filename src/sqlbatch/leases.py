"""Owners of leases: a process is named by its computer and number, so that a dead process's leases are free at once."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TURN = threading.Lock()
# The owners of this process: how many blocks of `hold_leases` each is in, and the owners that have left all of theirs.
_AT_WORK: Counter[str] = Counter()
_ENDED: set[str] = set()


def new_owner() -> str:
    """Return a new owner name for one run of steps in this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@contextmanager
def hold_leases(owner: str) -> Iterator[None]:
    """Keep an owner alive for the block; when no thread of this process is in such a block, its leases are free."""
    with _TURN:
        _AT_WORK[owner] += 1
        _ENDED.discard(owner)
    try:
        yield
    finally:
        with _TURN:
            _AT_WORK[owner] -= 1
            if not _AT_WORK[owner]:
                del _AT_WORK[owner]
                _ENDED.add(owner)


def name_of(owner: str) -> str:
    """Return an owner in words: its process, and its computer if that is another one."""
    host, _, process = owner.rpartition(":")[0].rpartition(":")
    return f"process {process}" + (f" on {host}" if host != socket.gethostname() else "")


def is_gone(owner: str) -> bool:
    """Whether an owner was a process of this computer that has ended, or a finished run of this process.

    Owners on other computers are never taken for gone.
    """
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdigit():
        return False
    if int(rest) == os.getpid():
        return owner in _ENDED
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _has_ended(int(rest))


def _has_ended(process: int) -> bool:
    """Whether a process has ended, even if its parent never collects it (a container's first process may not)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
    except OSError:
        return False
    return state[:1] in {"Z", "X"}
