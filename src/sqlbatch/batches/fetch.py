"""The result files of ended batches, brought here from the provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.transfer import input_name, result_name
from sqlbatch.errors import ProviderRefused, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.replies import ProviderBatch
    from sqlbatch.db.session import Session


# A result file that is not found so soon after the end may still come: what was paid for is not given up for one 404.
GONE_AFTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Ended:
    """A batch whose results are to be loaded; `fenced` where we deleted its input file, so that it could not run."""

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

    @property
    def kind(self) -> tuple[str, str]:
        """What tells how its lines are read and judged."""
        return self.endpoint, self.returns


@dataclass(frozen=True)
class Fetched:
    """The result files of a batch, here; `gone` where the provider had one that it has no longer."""

    files: tuple[Path, ...]
    gone: bool


def ended(session: Session, base_url: str) -> list[Ended]:
    """Return the batches that have ended and are not loaded."""
    return [Ended(*row) for row in session.run("results.ended", {"base_url": base_url})]


def fetch(api: BatchAPI, batch: Ended, spool: Path, progress: Callable[[int], None]) -> Fetched:
    """Download a batch's output and error file to the spool, under names that no other download has."""
    paths: list[Path] = []
    try:
        return _fetched(api, batch, spool, paths, progress)
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _fetched(api: BatchAPI, batch: Ended, spool: Path, paths: list[Path], progress: Callable[[int], None]) -> Fetched:
    before, gone = 0, False
    for kind, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
        if file_id is None:
            continue
        path = spool / result_name(batch.batch_id, kind)
        paths.append(path)
        try:
            done = before
            before += api.download(file_id, path, lambda size, done=done: progress(done + size))  # type: ignore[misc]
        except ProviderRefused as error:
            if error.status not in {404, 410}:
                raise
            if kind == "error" and paths[:-1] and _lines(paths[0]) >= batch.requests:
                # Some gateways name an error file that never exists: nothing of the batch can be in it.
                paths.remove(path)
                continue
            if error.status == 404 and clock.now() < batch.ended_at + GONE_AFTER:
                raise ProviderUnreachable(f"{api.name} does not have {file_id} yet; it is asked for again") from None
            # With the key of another project nothing of the batch can be seen, and nothing is known of its files.
            api.retrieve(batch.provider_id)
            paths.remove(path)
            gone = True
    return Fetched(tuple(paths), gone)


def _lines(path: Path) -> int:
    """Return how many lines a file has."""
    with path.open("rb") as handle:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: handle.read(1 << 20), b""))


def fetch_input(api: BatchAPI, batch: Ended, told: ProviderBatch, spool: Path) -> Path:
    """Return where the input file is whose lines a failed batch's errors name, fetched back where it is not kept.

    Where the provider does not give it back either, nothing is there.
    """
    kept = spool / input_name(batch.batch_id)
    named = any(error.line is not None for error in told.errors)
    if named and not batch.fenced and told.input_file_id is not None and not kept.exists():
        part = spool / result_name(batch.batch_id, "input")
        try:
            api.download(told.input_file_id, part, lambda _: None)
            part.replace(kept)
        except ProviderRefused:
            part.unlink(missing_ok=True)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return kept
