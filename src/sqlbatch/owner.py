"""Who holds a lease: a process by its computer and number, so that what a dead one held is free at once."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path


def new_owner() -> str:
    """Return a name for one run of steps in this process."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def name_of(owner: str) -> str:
    """Return an owner in words: its process, and its computer where that is another."""
    host, _, process = owner.rpartition(":")[0].rpartition(":")
    return f"process {process}" + (f" on {host}" if host != socket.gethostname() else "")


def is_gone(owner: str) -> bool:
    """Whether an owner was a process of this computer that has ended; of another computer's nothing is known."""
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _has_ended(int(rest))


def _has_ended(process: int) -> bool:
    """Whether a process has ended and only its parent has not asked how, as a container's first process never may."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2]
    except OSError:
        return False
    return state[:1] in {"Z", "X"}
