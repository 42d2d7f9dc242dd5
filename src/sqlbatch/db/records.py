"""Rows of the state, as frozen values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

# The year until which a job is paused that waits for its user.
_NEVER = 9999


@dataclass(frozen=True)
class JobRow:
    """A job with its counts of distinct requests; times are UTC.

    `newest` is the newest job of its target, `successor` the newest that was not cancelled; `kept` says whether its
    rows are still there, to be asked again.
    """

    job_id: int
    target: str
    status: str
    provider: str
    base_url: str
    query: str
    enrichment: str
    rows: int
    skipped: int
    requests: int
    answered: int
    failed: int
    pending: int
    reused: int
    bytes: int
    tokens: int
    max_attempts: int
    replacing: bool
    created_at: datetime
    finished_at: datetime | None
    paused_until: datetime | None
    blocked: str | None
    error: str | None
    blocked_code: str | None
    failing: bool | None
    newest: int
    successor: int | None
    kept: bool

    @property
    def open(self) -> bool:
        """Whether there is still something to do for it."""
        return self.status in {"running", "blocked"}

    @property
    def refused(self) -> bool:
        """Whether the provider refused it what waiting cannot mend, so that it waits for its user."""
        endless = self.paused_until is not None and self.paused_until.year == _NEVER
        return self.status == "blocked" and endless and self.blocked_code != "budget"

    def as_dict(self) -> dict[str, object]:
        """Return the job as one JSON object; of what it asked, its query and its model."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        del values["enrichment"]
        return values | {"model": self.model}

    @property
    def model(self) -> str:
        """The model that answers it."""
        return str(json.loads(self.enrichment)["model"])


@dataclass(frozen=True)
class Tally:
    """How many requests of a job are answered, failed, not settled, and, while it is open, due."""

    answered: int
    failed: int
    unsettled: int
    due: int


@dataclass(frozen=True)
class BatchRow:
    """A batch with the counts of its audit; `done` as the provider counts, `again` those that may be sent again.

    `gone` are results that the provider keeps no longer, `doubled` requests that were sent again before it appeared.
    """

    batch_id: str
    state: str
    status: str | None
    provider_id: str | None
    requests: int
    answered: int
    failed: int
    released: int
    open: int
    bytes: int
    planned_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None
    loaded_at: datetime | None
    adopted: bool
    error: str | None
    error_code: str | None
    done: int
    again: int
    gone: int
    fenced_until: datetime | None
    taken_from: str | None
    doubled: int

    def as_dict(self) -> dict[str, object]:
        """Return the batch as one JSON object."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Billed:
    """What was billed for a job: results, tokens, and dollars (None where a price is not known)."""

    results: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    dollars: float | None

    def as_dict(self) -> dict[str, object]:
        """Return it as the JSON object that a job has of it."""
        values = asdict(self)
        values["billed_results"] = values.pop("results")
        return values


@dataclass(frozen=True)
class Again:
    """Requests that failed in passing, by the last reason: how many, and what became of them; tries at most so far."""

    code: str | None
    requests: int
    answered: int
    open: int
    given_up: int
    tries: int


def _plain(value: object) -> object:
    return value.isoformat(timespec="seconds") + "Z" if hasattr(value, "isoformat") else value
