"""Download the result files of finished batches."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from sqlbatch import clock
from sqlbatch.batches.transfer import CutShort, input_name, result_name
from sqlbatch.db.files import size_of
from sqlbatch.errors import ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.replies import ProviderBatch


# For this long after a batch has ended, its results may be missing or unreadable at the provider. Results that were
# paid for are not given up because of one 404, or one proxy's page instead of a file.
GONE_AFTER = timedelta(minutes=15)
# After this many downloads of a file that all end too early, the part that came is used.
CUT_AT_MOST = 3
# Bytes of result files that are loaded together, so that DuckDB's work on them fits in its memory.
TOGETHER = 500_000_000
# A finished batch with its result files.
Brought: TypeAlias = "tuple[Ended, Fetched]"


@dataclass(frozen=True)
class Ended:
    """A finished batch whose results are to be loaded.

    `fenced`: we deleted its input file, so that it could not run. `completed`: how many requests the provider counts as
    answered. `looks`: how often its result files were downloaded and could not be used. `counted`: whether the provider
    gives counts at all.
    """

    batch_id: str
    provider_id: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    requests: int
    endpoint: str
    returns: str
    fenced: bool
    ended_at: datetime
    completed: int = 0
    looks: int = 0
    counted: bool = True

    @property
    def never_ran(self) -> bool:
        """Whether it failed before any of it ran: some providers call a partly answered batch failed."""
        return self.status == "failed" and self.output_file_id is None and not self.completed

    @property
    def kind(self) -> tuple[str, str]:
        """The endpoint and the returned columns, which say how its lines are read."""
        return self.endpoint, self.returns

    @property
    def overdue(self) -> bool:
        """Whether its results should have arrived by now."""
        return clock.now() >= self.ended_at + GONE_AFTER


@dataclass(frozen=True)
class Fetched:
    """The downloaded result files of a batch.

    `gone`: the provider no longer has a file that it names. `late`: it does not have the file yet. `cut`: less of a
    file came than was announced, and how much. `failed` describes a batch that failed, which has no files.
    """

    files: tuple[Path, ...]
    gone: bool
    late: bool = False
    cut: str | None = None
    failed: ProviderBatch | None = None


def bring(api: BatchAPI, spool: Path, batch: Ended, progress: Callable[[int], None]) -> Brought:
    """Download a finished batch's files, or, for a failed batch, the input file that its errors refer to."""
    if not batch.never_ran:
        if batch.looks:
            batch = look_again(api, batch)
        return batch, fetch(api, batch, spool, progress)
    failed = api.retrieve(batch.provider_id)
    fetch_input(api, batch, failed, spool)
    return batch, Fetched((), gone=False, failed=failed)


def groups(brought: list[Brought]) -> Iterator[list[Brought]]:
    """Yield groups of batches that can be loaded together.

    Their lines are read alike, and have at most TOGETHER bytes.
    """
    group: list[Brought] = []
    size = 0
    for each in sorted(brought, key=lambda each: each[0].kind):
        # Another process may have loaded a batch and deleted its files.
        own = sum(size_of(str(path))[0] or 0 for path in each[1].files)
        if group and (size + own > TOGETHER or each[0].kind != group[0][0].kind):
            yield group
            group, size = [], 0
        group.append(each)
        size += own
    if group:
        yield group


def look_again(api: BatchAPI, batch: Ended) -> Ended:
    """Return a batch as the provider describes it now: its files could not be used, and others may be named by now."""
    try:
        told = api.retrieve(batch.provider_id)
    except ProviderRefused as error:
        if error.status not in {404, 410}:
            raise
        return batch
    return replace(
        batch,
        output_file_id=told.output_file_id or batch.output_file_id,
        error_file_id=told.error_file_id or batch.error_file_id,
        completed=max(told.completed, batch.completed),
    )


def fetch(api: BatchAPI, batch: Ended, spool: Path, progress: Callable[[int], None]) -> Fetched:
    """Download a batch's output and error file to the spool, under unique names."""
    paths: list[Path] = []
    before, gone, late, cut = 0, False, False, None
    try:
        for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
            if file_id is None:
                continue
            path = spool / result_name(batch.batch_id, kind)
            paths.append(path)
            try:
                done = before
                before += api.download(file_id, path, lambda size, done=done: progress(done + size))  # type: ignore[misc]
            except CutShort as error:
                # The part that came may be complete; otherwise the file is downloaded again.
                cut = str(error)
            except ProviderRefused as error:
                if error.status not in {404, 410}:
                    raise
                paths.remove(path)
                if error.status == 404 and not (batch.looks and batch.overdue):
                    # Some gateways name an error file that never exists; it is not needed if the other file has every
                    # request.
                    late = True
                    continue
                # With the key of another project, nothing of the batch is visible, so nothing is known about its files.
                api.retrieve(batch.provider_id)
                gone = True
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return Fetched(tuple(paths), gone, late, cut)


def fetch_input(api: BatchAPI, batch: Ended, told: ProviderBatch, spool: Path) -> Path:
    """Return the path of the input file that a failed batch's errors refer to; download it if it is not kept.

    If the provider does not return it either, no file exists at the path.
    """
    kept = spool / input_name(batch.batch_id)
    named = any(error.line is not None for error in told.errors)
    if named and not batch.fenced and told.input_file_id is not None and not kept.exists():
        part = spool / result_name(batch.batch_id, "input")
        try:
            # Nothing of a failed batch is billed, so a file that is always cut off is not needed.
            for _ in range(CUT_AT_MOST):
                with contextlib.suppress(CutShort):
                    api.download(told.input_file_id, part, lambda _: None)
                    part.replace(kept)
                    break
        except ProviderRefused:
            pass
        finally:
            part.unlink(missing_ok=True)
    return kept
