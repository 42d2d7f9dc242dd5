"""What a step tells while it works: frozen values, for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packed:
    """Due requests were laid into batches."""

    batches: int
    requests: int


@dataclass(frozen=True)
class Transferring:
    """Files are on their way: bytes done of all bytes, where that is known."""

    doing: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Submitted:
    """A batch was created at the provider, or found there after its reply was lost."""

    batch_id: str
    provider_id: str
    requests: int
    adopted: bool = False


@dataclass(frozen=True)
class Progress:
    """Where the open batches are, by the provider's own counts."""

    batches: int
    total: int
    completed: int
    failed: int
    statuses: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Loaded:
    """A batch's results are in the database."""

    batch_id: str
    provider_id: str | None
    status: str
    answered: int
    failed: int
    retryable: int
    released: int


@dataclass(frozen=True)
class Waiting:
    """Something passes by itself or by a person, and is waited for: why, and for how many seconds if known."""

    reason: str
    seconds: float | None = None


@dataclass(frozen=True)
class Notice:
    """Something a reader should know that changes nothing in what happens next."""

    message: str


@dataclass(frozen=True)
class Previewed:
    """So many requests of a preview have come back, of all that were sent."""

    done: int
    total: int


@dataclass(frozen=True)
class Collected:
    """What a call of an AI function asks is known: so many requests, and so many of the whole job."""

    stage: str
    call: str
    requests: int
    total: int


@dataclass(frozen=True)
class Activity:
    """What the database is at now, and may take a while with."""

    doing: str


Event = Packed | Transferring | Submitted | Progress | Loaded | Waiting | Notice | Previewed | Collected | Activity
