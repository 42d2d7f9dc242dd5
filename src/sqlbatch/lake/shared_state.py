"""The files of a state that drivers share: leases and whole copies. Each number is made once, by a hard link."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.errors import InvalidSettings
from sqlbatch.leases import is_gone

if TYPE_CHECKING:
    from pathlib import Path

# Copies and leases that are kept.
KEPT = 2
# Seconds by which the clocks of two computers may differ.
SLACK = 60.0


@dataclass(frozen=True)
class Lease:
    """The holder of the state, until when (UTC); `clean`: its last copy has everything that was sent."""

    number: int
    owner: str
    until: datetime
    clean: bool


def is_held(lease: Lease) -> bool:
    """Whether a lease still holds: its time has not passed, and its process is not known to be gone."""
    return not is_gone(lease.owner) and clock.now() < lease.until + timedelta(seconds=SLACK)


def name_of_file(folder: Path, kind: str, number: int, ending: str) -> Path:
    """Return the path of a numbered file; `kind` is lease or copy."""
    return folder / f"{kind}-{number:08}.{ending}"


def numbers(folder: Path, kind: str) -> list[int]:
    """Return the numbers of all leases or copies."""
    return [int(path.stem.partition("-")[2]) for path in folder.glob(f"{kind}-*.*")]


def make_once(passing: Path, path: Path) -> bool:
    """Give a file its numbered name; return False if another process has made that number."""
    try:
        os.link(passing, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise InvalidSettings(
            f"the state in {path.parent}: its file system makes no hard links ({error.strerror}), which keep two "
            "drivers apart: name a folder on NFS, EFS or a disk"
        ) from error
    return True


def forget(folder: Path, kind: str, newest: int) -> None:
    """Delete all but the newest leases or copies."""
    for path in folder.glob(f"{kind}-*.*"):
        if int(path.stem.partition("-")[2]) <= newest - KEPT:
            path.unlink(missing_ok=True)


def write_lease(folder: Path, lease: Lease) -> bool:
    """Write a lease under its number; return False if another process has made that number."""
    passing = folder / f".lease-{os.getpid()}-{threading.get_ident()}"
    passing.write_text(json.dumps({"owner": lease.owner, "until": lease.until.isoformat(), "clean": lease.clean}))
    try:
        made = make_once(passing, name_of_file(folder, "lease", lease.number, "json"))
    finally:
        passing.unlink(missing_ok=True)
    if made:
        forget(folder, "lease", lease.number)
    return made


def newest_lease(folder: Path) -> Lease | None:
    """Return the newest lease, None if there is none. One that was deleted while it was read has a successor."""
    while found := numbers(folder, "lease"):
        number = max(found)
        try:
            lease = json.loads(name_of_file(folder, "lease", number, "json").read_text())
        except FileNotFoundError:
            continue
        return Lease(number, lease["owner"], datetime.fromisoformat(lease["until"]), bool(lease["clean"]))
    return None
