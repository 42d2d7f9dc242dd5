"""A state for drivers that are thrown away: numbered whole copies in a shared folder, and a numbered lease on them.

    <state>/lease-00000007.json   who has the state, and until when
    <state>/copy-00000003.duckdb  the state, whole

Each number is made once, by a hard link, so that of two drivers one has it. A driver works on a copy of its own, beside
nobody, and puts it back before anything is sent that is not in the shared copy, and at the end of each call. Whoever
comes after a driver that was killed takes every batch of the copy that may have been sent for one whose create has an
unknown outcome: it is looked up at the provider, and sent again only after the grace in which it may still appear.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from sqlbatch import clock
from sqlbatch.batches import budget
from sqlbatch.batches.events import Event, Fencing, Packed, Progress
from sqlbatch.db.database import Database
from sqlbatch.db.open_file import is_open_here
from sqlbatch.errors import DatabaseLocked, InvalidSettings, JobError, SqlbatchError
from sqlbatch.lake import shared_state
from sqlbatch.lake.shared_folder import local_path
from sqlbatch.lake.shared_state import Lease, is_held, newest_lease, write_lease
from sqlbatch.leases import name_of, new_owner
from sqlbatch.paths import state_dir

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where a killed process's copy stays
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlbatch.db.session import Session

# Seconds that a lease lasts; it is renewed after a third of them.
LEASE = 600.0
# Seconds between two copies while results are loaded: they are still at the provider, and loaded again at need.
EVERY = 180.0
# Bytes of a DuckDB file's headers, which a checkpoint writes last.
_HEADERS = 12_288
# How the folder of a process's own copy begins, and what its lock is called.
_HOME, _IN_USE = "sqlbatch-state-", "in-use"
# How often a copy is tried, a tenth of a second apart, while others write.
_TRIES = 50


class Mirror:
    """One shared state, and the copy that this process works on while it holds the lease."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home, self._in_use = _new_home()
        weakref.finalize(self, _leave, self._home, self._in_use)
        self.path = self._home / "state.duckdb"
        self._turn = threading.RLock()
        self._users = 0
        self._interrupted = False
        # The number of the shared copy that is the same as, or older than, our own.
        self._copy = 0
        self._lease: Lease | None = None
        # Our own leases so far: after the last of them our copy has all, however its block ended.
        self._own: set[str] = set()
        self._copied_at: datetime | None = None
        # The headers of our own file as it is in that copy, None where it is not known to be.
        self._copied: bytes | None = None
        self._stop = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease for the block, with the newest copy in place; put ours back at its end.

        Raises DatabaseLocked where another driver has the state.
        """
        with self._turn:
            if not self._users:
                self._take()
                self._interrupted = False
            self._users += 1
        try:
            yield
        except BaseException:
            # Its transfers may go on in their threads, and send what the last copy has as not sent.
            self._interrupted = True
            raise
        finally:
            with self._turn:
                self._users -= 1
                if not self._users:
                    self._give_back()

    def guard(self) -> None:
        """Raise JobError where the lease is not ours any more: called before money is spent.

        One that has ended, because the computer slept, is renewed where nobody has taken it meanwhile.
        """
        lease = self._lease
        try:
            newest = newest_lease(self.folder)
        except OSError as error:
            raise JobError(
                f"the state in {self.folder} cannot be read ({error.strerror}): nothing more is sent"
            ) from error
        ours = lease is not None and newest is not None and newest.owner == lease.owner
        if not ours or (newest is not None and clock.now() >= newest.until and not self._renewed(newest)):
            raise JobError(f"another driver has taken over the state in {self.folder}: this one sends nothing more")

    def following(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass on what a job's steps tell; copies are made while they wait, before anything new is sent.

        Also before a file is deleted at the provider, for a copy that does not say so would have it there.
        """
        for event in events:
            if isinstance(event, Packed | Fencing) or (isinstance(event, Progress) and self._is_due()):
                self.push()
            yield event

    def push(self) -> None:
        """Put a whole copy of our state into the shared folder, under the next number, unless it is there as it is.

        Raises JobError where somebody else has the state by now.
        """
        with self._turn:
            if not self.path.exists():
                return
            self.guard()
            if self._copied is not None and self._copied == _settled(self.path):
                return
            passing = self.folder / f".copy-{os.getpid()}-{threading.get_ident()}"
            try:
                copied = _copy_whole(self.path, passing)
                if not shared_state.make_once(
                    passing, shared_state.name_of_file(self.folder, "copy", self._copy + 1, "duckdb")
                ):
                    raise JobError(
                        f"another driver has written the state in {self.folder}: this one sends nothing more"
                    )
            except OSError as error:
                raise InvalidSettings(f"the state in {self.folder}: {error.strerror}") from error
            finally:
                passing.unlink(missing_ok=True)
            self._copy += 1
            self._copied, self._copied_at = copied, clock.now()
            shared_state.forget(self.folder, "copy", self._copy)

    def _is_due(self) -> bool:
        return self._copied_at is None or clock.now() - self._copied_at > timedelta(seconds=EVERY)

    def _take(self) -> None:
        """Take the lease and put the newest copy in place, unless it is our own."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSettings(f"the state in {self.folder}: {error.strerror}") from error
        before = newest_lease(self.folder)
        if before is not None and is_held(before):
            raise DatabaseLocked(
                f"the state in {self.folder} is used by {name_of(before.owner)} until {before.until:%H:%M:%S} UTC: "
                "wait, or call again then"
            )
        number = before.number + 1 if before is not None else 1
        lease = Lease(number, new_owner(), clock.after(LEASE), clean=False)
        if not write_lease(self.folder, lease):
            raise DatabaseLocked(f"another driver has just taken the state in {self.folder}: wait, or call again later")
        self._lease = lease
        self._stop = threading.Event()
        try:
            newest = max(shared_state.numbers(self.folder, "copy"), default=0)
            if newest != self._copy or before is None or before.owner not in self._own:
                self._restore(newest, clean=before is None or before.clean)
            self._own.add(lease.owner)
            if not newest:
                # So that whoever comes after a driver that is killed early knows the rows that it kept as this state's.
                with Database(self.path).session():
                    pass
                self.push()
        except BaseException:
            self._end_lease(clean=before is None or before.clean)
            raise
        threading.Thread(target=self._renew, args=(self._stop,), daemon=True).start()

    def _restore(self, number: int, *, clean: bool) -> None:
        """Work on a shared copy from now on; where its driver was killed, what it may have sent is unknown."""
        database = Database(self.path)
        if is_open_here(self.path):
            raise DatabaseLocked(
                f"this process is still at work in its copy of the state in {self.folder}: wait for it"
            )
        for left in (self.path, self.path.with_name(self.path.name + ".wal")):
            left.unlink(missing_ok=True)
        shutil.rmtree(state_dir(database), ignore_errors=True)
        self._copy = number
        self._copied, self._copied_at = None, None
        if not number:
            return
        shutil.copyfile(shared_state.name_of_file(self.folder, "copy", number, "duckdb"), self.path)
        self._copied = _headers(self.path)
        if not clean:
            database.write(_make_unsure)

    def _give_back(self) -> None:
        """Put our copy into the folder and end the lease; where it is not ours any more, nothing is put there."""
        self._stop.set()
        pushed = False
        try:
            self.push()
            pushed = True
        except SqlbatchError:
            # What interrupted the call is raised; what was sent since the last copy is in it as not sent.
            if not self._interrupted:
                raise
        finally:
            self._end_lease(clean=pushed and not self._interrupted)

    def _end_lease(self, *, clean: bool) -> None:
        lease, self._lease = self._lease, None
        newest = newest_lease(self.folder)
        if lease is not None and newest is not None and newest.owner == lease.owner:
            write_lease(self.folder, Lease(newest.number + 1, lease.owner, datetime.min, clean))  # noqa: DTZ901 (as in SQL)

    def _renew(self, stop: threading.Event) -> None:
        """Renew the lease until it ends, or is somebody else's."""
        while not stop.wait(LEASE / 3 / clock.speed()):
            with self._turn:
                lease, newest = self._lease, newest_lease(self.folder)
                if stop.is_set() or lease is None or newest is None or newest.owner != lease.owner:
                    return
                with contextlib.suppress(OSError, InvalidSettings):
                    self._renewed(newest)

    def _renewed(self, newest: Lease) -> bool:
        """Renew our lease, which is the newest; return whether nobody else was faster."""
        return write_lease(self.folder, Lease(newest.number + 1, newest.owner, clock.after(LEASE), clean=False))


_MIRRORS: dict[Path, Mirror] = {}
_TURN = threading.Lock()


def mirror_of(state: str | os.PathLike[str]) -> Mirror:
    """Return the mirror of a shared folder, one in a process; raise InvalidSettings for an address."""
    folder = local_path(os.fspath(state))
    if folder is None or not str(state).strip():
        raise InvalidSettings(
            f"state {os.fspath(state)}: name a folder of a file system that the drivers share (NFS, EFS, a volume)"
        )
    folder = folder.absolute()
    with _TURN:
        if folder not in _MIRRORS:
            _MIRRORS[folder] = Mirror(folder)
        return _MIRRORS[folder]


def _make_unsure(session: Session) -> None:
    """Take batches that may have been sent since the copy for such whose create has an unknown outcome."""
    for batch_id, job_id in session.run("kept_rows.unsure"):
        # What it may cost is reserved again before others are let through.
        reserved = budget.reserve(session, job_id, batch_id).dollars if job_id is not None else None
        fact = {"batch_id": batch_id, "reserved": reserved, "now": clock.now()}
        session.run("kept_rows.make_unsure", fact)


def _copy_whole(source: Path, target: Path) -> bytes:
    """Copy a database as it was at one moment, and return its headers.

    What another thread writes meanwhile makes it be copied again.
    """
    database = Database(source)
    for _ in range(_TRIES):
        with contextlib.suppress(duckdb.Error), database.session(migrate=False) as session:
            session.sql("CHECKPOINT")
        database.let_go()
        before = _headers(source)
        shutil.copyfile(source, target)
        if _settled(source) == before:
            with target.open("rb") as file:
                os.fsync(file.fileno())
            return before
        time.sleep(0.1)
    raise DatabaseLocked(f"{source} is written to all the while, and cannot be copied: close it elsewhere")


def _settled(path: Path) -> bytes | None:
    """Return a database's headers, None where a part of it is in its WAL still: a checkpoint writes other headers."""
    wal = path.with_name(path.name + ".wal")
    return None if wal.exists() and wal.stat().st_size else _headers(path)


def _new_home() -> tuple[Path, int | None]:
    """Make a folder for this process's copy, with a lock for as long as the process lives; sweep those of killed ones.

    A copy may be gigabytes, and the next driver on the same disk makes one of its own.
    """
    home = Path(tempfile.mkdtemp(prefix=_HOME))
    in_use = None
    if fcntl is not None:
        # It has its name once it is locked, so that nobody takes it for a dead process's.
        in_use = os.open(home / "coming", os.O_CREAT | os.O_RDWR)
        fcntl.flock(in_use, fcntl.LOCK_EX)
        (home / "coming").rename(home / _IN_USE)
        for lock in home.parent.glob(f"{_HOME}*/{_IN_USE}"):
            with contextlib.suppress(OSError), lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
    return home, in_use


def _leave(home: Path, in_use: int | None) -> None:
    shutil.rmtree(home, ignore_errors=True)
    if in_use is not None:
        os.close(in_use)


def _headers(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADERS)
