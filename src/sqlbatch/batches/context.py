"""What every stage of a step works with: one frozen context, and the batches in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlbatch import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database


# Pages of the provider's list of batches, of 100 each, that are read beyond those that are needed.
SPARE_PAGES = 5


@dataclass(frozen=True)
class StepContext:
    """What a step works with; the same for all steps of one run of one job.

    `owner` names this run in leases. `spool` is the folder of transfers in progress. `check` turns an endpoint and the
    returned columns into SQL that says what is wrong with an answer. `started` is when this run started, and `done`
    holds what it does once.
    """

    database: Database
    api: BatchAPI
    provider: Provider
    job_id: int
    owner: str
    spool: Path
    check: Callable[[str, str], str]
    started: datetime = field(default_factory=clock.now)
    done: set[str] = field(default_factory=set)

    def first_time(self, what: str) -> bool:
        """Return whether this run says or does something for the first time, and remember it."""
        if what in self.done:
            return False
        self.done.add(what)
        return True

    def give_up_hint(self, job_id: int | None) -> str:
        """Return how the user can free requests that are not sent again; None stands for this run's job."""
        return (
            f"sqlbatch cancel {self.job_id if job_id is None else job_id} --give-up lets them be sent again (it asks "
            "first); results that appear later are still loaded"
        )


class OpenBatch(NamedTuple):
    """A batch that the provider is working on; `job_id` is the job that sent it."""

    batch_id: str
    provider_id: str
    requests: int
    opened_at: datetime
    job_id: int | None


class Lost(NamedTuple):
    """A batch whose create has an unknown outcome; `grace` is how long, in seconds, it may still appear.

    It has no `input_file_id` if the database was restored from a copy made before the upload.
    """

    batch_id: str
    state: str
    input_file_id: str | None
    requests: int
    grace: float
    fenced_at: datetime | None
    job_id: int | None
