"""`--state FOLDER`: a command works on a copy of a state that drivers share, while it holds the lease.

The copy is the command's database: before money is spent, the lease is checked, and before anything new is sent, the
copy is pushed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch.cli.help import RARELY
from sqlbatch.errors import InvalidOption, InvalidSettings, JobError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlbatch.batches.events import Event
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database
    from sqlbatch.lake.mirror import Mirror

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="FOLDER",
        help="A shared folder with copies of it, in place of --db.",
        rich_help_panel=RARELY,
    ),
]
# The state of the running command; a process runs one command at a time.
_held: list[Mirror] = []


@contextlib.contextmanager
def held(folder: str | None, given: dict[str, Any], *, making: bool) -> Iterator[None]:
    """Hold the shared state for the block, with its copy as the command's `db`; without a folder, do nothing.

    Raises InvalidOption if a database is named too, JobError if the folder has no state and the command starts none
    (`making`), DatabaseLocked if another driver has the state.
    """
    if folder is None:
        yield
        return
    if given.get("db") is not None:
        raise InvalidOption("--state is where the database lies: leave --db out")
    # Commands on a file do not need this import.
    from sqlbatch.lake.mirror import mirror_of  # noqa: PLC0415

    mirror = mirror_of(folder)
    if not making and not mirror.exists():
        raise JobError(f"there is no state in {mirror.folder} yet: sqlbatch enrich makes it; is the folder mounted?")
    with mirror.held():
        given["db"] = str(mirror.path)
        _held.append(mirror)
        try:
            yield
        finally:
            _held.remove(mirror)


def opened(database: Database, *providers: Provider) -> Database:
    """Return the database of a command, which sends nothing once the lease on its state is lost.

    Raises InvalidSettings for the local provider, whose batches end with the driver.
    """
    mirror = _mirror(database)
    if mirror is not None:
        if any(provider.embedded for provider in providers):
            raise InvalidSettings(
                "--state does not go with --provider local, whose batches end with the driver: use --db"
            )
        database.guard, database.push, database.shared = mirror.guard, mirror.push, mirror.folder
    return database


def following(database: Database, events: Iterable[Event]) -> Iterable[Event]:
    """Pass on the events of a job's steps; the state is pushed before anything new is sent."""
    mirror = _mirror(database)
    return events if mirror is None else mirror.following(events)


def _mirror(database: Database) -> Mirror | None:
    return next((each for each in _held if each.path == database.path), None)
