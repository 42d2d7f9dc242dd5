"""A state for drivers whose disk does not last: numbered whole copies in a shared folder, and a numbered lease on them.

    <state>/lease-00000007.json   who has the state, and until when
    <state>/copy-00000003.duckdb  a whole copy of the state

Each number is made once, by a hard link, so that only one of two drivers gets it. A driver works on a copy of its own,
and pushes it before anything is sent that is not in the shared copy, and at the end of each call. After a driver was
killed, the next one treats every batch of the copy that may have been sent as a create with an unknown outcome: it is
looked up at the provider, and sent again only after the grace period in which it may still appear.
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
# Seconds between two copies while results are loaded; they are still at the provider, and can be loaded again.
EVERY = 180.0
# Bytes of a DuckDB file's headers, which a checkpoint writes last.
_HEADERS = 12_288
# The prefix of the folder of a process's own copy, and the name of its lock.
_HOME, _IN_USE = "sqlbatch-state-", "in-use"
# How often a copy is tried, a tenth of a second apart, while other threads write.
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
        # Our own leases so far: our copy is complete after the last of them, however its block ended.
        self._own: set[str] = set()
        self._copied_at: datetime | None = None
        # The headers of our own file in that copy, None if it may differ.
        self._copied: bytes | None = None
        self._stop = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease for the block, with the newest copy in place; push our copy at its end.

        Raises DatabaseLocked if another driver has the state.
        """
        with self._turn:
            if not self._users:
                self._take()
                self._interrupted = False
            self._users += 1
        try:
            yield
        except BaseException:
            # Its transfers may continue in their threads, and send what the last copy has as not sent.
            self._interrupted = True
            raise
        finally:
            with self._turn:
                self._users -= 1
                if not self._users:
                    self._give_back()

    def exists(self) -> bool:
        """Return whether the folder has a state."""
        return bool(shared_state.numbers(self.folder, "copy"))

    def guard(self) -> None:
        """Raise JobError if the lease is no longer ours; called before money is spent.

        A lease that expired because the computer slept is renewed, unless another driver has taken it.
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
        """Pass on the events of a job's steps; copies are pushed before anything new is sent.

        Also before a file is deleted at the provider, because an older copy would still expect it there.
        """
        for event in events:
            if isinstance(event, Packed | Fencing) or (isinstance(event, Progress) and self._is_due()):
                self.push()
            yield event

    def push(self) -> None:
        """Put a whole copy of our state into the shared folder, under the next number, unless it is unchanged.

        Raises JobError if another driver has the state by now.
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
                path = shared_state.name_of_file(self.folder, "copy", self._copy + 1, "duckdb")
                if not shared_state.make_once(passing, path):
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
        """Take the lease and put the newest copy in place, unless ours is the newest."""
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
                # If this driver is killed early, the next one can then tell that the rows it kept belong to this state.
                with Database(self.path).session():
                    pass
                self.push()
        except BaseException:
            self._end_lease(clean=before is None or before.clean)
            raise
        threading.Thread(target=self._renew, args=(self._stop,), daemon=True).start()

    def _restore(self, number: int, *, clean: bool) -> None:
        """Work on a shared copy from now on; if its driver was killed, it is unknown what that driver has sent."""
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
        """Push our copy and end the lease; if the lease is no longer ours, nothing is pushed."""
        self._stop.set()
        pushed = False
        try:
            self.push()
            pushed = True
        except SqlbatchError:
            # The cause of the interrupt is raised; requests sent since the last copy are in it as not sent.
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
        """Renew the lease until it ends, or another driver has it."""
        while not stop.wait(LEASE / 3 / clock.speed()):
            with self._turn:
                lease, newest = self._lease, newest_lease(self.folder)
                if stop.is_set() or lease is None or newest is None or newest.owner != lease.owner:
                    return
                with contextlib.suppress(OSError, InvalidSettings):
                    self._renewed(newest)

    def _renewed(self, newest: Lease) -> bool:
        """Renew our lease, the newest; return False if another driver was faster."""
        return write_lease(self.folder, Lease(newest.number + 1, newest.owner, clock.after(LEASE), clean=False))


_MIRRORS: dict[Path, Mirror] = {}
_TURN = threading.Lock()


def mirror_of(state: str | os.PathLike[str]) -> Mirror:
    """Return the mirror of a shared folder, one per process; raise InvalidSettings for an address."""
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
    """Treat batches that may have been sent since the copy as creates with an unknown outcome."""
    for batch_id, job_id in session.run("kept_rows.unsure"):
        # Their cost is reserved again before other batches are claimed.
        reserved = budget.reserve(session, job_id, batch_id).dollars if job_id is not None else None
        fact = {"batch_id": batch_id, "reserved": reserved, "now": clock.now()}
        session.run("kept_rows.make_unsure", fact)


def _copy_whole(source: Path, target: Path) -> bytes:
    """Copy a database as it was at one moment, and return its headers.

    If another thread writes meanwhile, it is copied again.
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
    """Return a database's headers, None if a part of it is still in its WAL: a checkpoint writes other headers."""
    wal = path.with_name(path.name + ".wal")
    return None if wal.exists() and wal.stat().st_size else _headers(path)


def _new_home() -> tuple[Path, int | None]:
    """Make a folder for this process's copy, locked as long as the process lives; delete those of killed processes.

    A copy may be gigabytes, and each driver on the same disk makes its own.
    """
    home = Path(tempfile.mkdtemp(prefix=_HOME))
    in_use = None
    if fcntl is not None:
        # The lock gets its name only once it is locked, so that nobody takes it for a dead process's.
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
