"""What has ended at the provider: its result files are brought here a wave at a time, and loaded together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sqlbatch.batches import fetch, results
from sqlbatch.batches.events import Activity, Transferring
from sqlbatch.batches.transfer import input_name, transfers
from sqlbatch.db.files import size_of
from sqlbatch.errors import DatabaseError, DatabaseLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.database import Database

Check: TypeAlias = "Callable[[str, str], str]"
# A batch that has ended, with its result files, or with what the provider tells of one that failed.
_Brought: TypeAlias = "tuple[fetch.Ended, fetch.Fetched | ProviderBatch]"

# So many batches' files are brought here before they are loaded: DuckDB compresses results 122,880 at a time, so that
# to load a few batches at once is half the work of one after the other, and little of the disk is taken.
WAVE = 8
# Bytes of result files that are loaded at once: what they say, and what DuckDB does with it, fits in its memory.
TOGETHER = 500_000_000


def take(
    database: Database, api: BatchAPI, base_url: str, spool: Path, check: Check
) -> Iterator[Transferring | Activity | results.LoadedBatch]:
    """Bring and load what has ended; what goes wrong with a batch holds up no other, and is raised at the end.

    `check` is as for `results.load_files`.
    """
    batches = database.read(lambda session: fetch.ended(session, base_url))
    problem: BaseException | None = None
    for first in range(0, len(batches), WAVE):
        for each in _wave(database, api, batches[first : first + WAVE], spool, check):
            if isinstance(each, BaseException):
                problem = problem or each
            else:
                yield each
    if problem is not None:
        raise problem


def _wave(
    database: Database, api: BatchAPI, batches: list[fetch.Ended], spool: Path, check: Check
) -> Iterator[Transferring | Activity | results.LoadedBatch | BaseException]:
    brought: list[_Brought] = []
    try:
        for end in transfers("download", [partial(_bring, api, spool, batch) for batch in batches], None):
            if isinstance(end, Transferring):
                yield end
            elif end.result is not None:
                brought.append(end.result)
            elif end.error is not None:
                yield end.error
        if brought:
            yield Activity(f"loading {sum(batch.requests for batch, _ in brought):,} results")
        yield from _load(database, spool, brought, check)
    finally:
        # What could not be loaded is downloaded again: kept, each try would fill the disk a little more.
        for _, files in brought:
            for path in files.files if isinstance(files, fetch.Fetched) else ():
                path.unlink(missing_ok=True)


def groups(brought: list[tuple[fetch.Ended, fetch.Fetched]]) -> Iterator[list[tuple[fetch.Ended, fetch.Fetched]]]:
    """Yield batches that can be loaded together: they ask the same way, and have not more than TOGETHER to read."""
    group: list[tuple[fetch.Ended, fetch.Fetched]] = []
    size = 0
    for each in sorted(brought, key=lambda each: each[0].kind):
        # Files of a batch that another process has loaded meanwhile may be gone.
        own = sum(size_of(str(path))[0] or 0 for path in each[1].files)
        if group and (size + own > TOGETHER or each[0].kind != group[0][0].kind):
            yield group
            group, size = [], 0
        group.append(each)
        size += own
    if group:
        yield group


def _bring(api: BatchAPI, spool: Path, batch: fetch.Ended, progress: Callable[[int], None]) -> _Brought:
    if batch.status != "failed":
        return batch, fetch.fetch(api, batch, spool, progress)
    told = api.retrieve(batch.provider_id)
    fetch.fetch_input(api, batch, told, spool)
    return batch, told


def _load(
    database: Database, spool: Path, brought: list[_Brought], check: Check
) -> Iterator[results.LoadedBatch | BaseException]:
    """Load what was brought, together what can be, and yield what became of each batch."""
    alone = [each for each in brought if not isinstance(each[1], fetch.Fetched)]
    for group in groups([(batch, files) for batch, files in brought if isinstance(files, fetch.Fetched)]):
        try:
            done = results.load_together(database, group, check)
        except DatabaseLocked:
            raise
        except DatabaseError:
            # One of them may be the cause, and shall not hold up the others.
            done = None
        if done is None:
            alone += group
            continue
        yield from done
        for batch, _ in group:
            (spool / input_name(batch.batch_id)).unlink(missing_ok=True)
    for batch, files in alone:
        kept = spool / input_name(batch.batch_id)
        try:
            if isinstance(files, fetch.Fetched):
                loaded = results.load_files(database, batch, files, check)
            else:
                loaded = results.load_failed(database, batch, files, kept)
        except DatabaseLocked:
            raise
        except Exception as error:  # noqa: BLE001 (told at the end, after the others)
            yield error
            continue
        kept.unlink(missing_ok=True)
        if loaded is not None:
            yield loaded
