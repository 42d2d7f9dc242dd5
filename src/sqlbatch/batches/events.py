"""The events of a step: frozen values, for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packed:
    """Due requests were packed into batches."""

    batches: int
    requests: int


@dataclass(frozen=True)
class Transferring:
    """Files are being transferred: bytes done of all bytes, if that is known."""

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
class Fencing:
    """A batch is noted as not at the provider, and its input file is deleted next."""

    batch_id: str


@dataclass(frozen=True)
class Progress:
    """The states of the open batches, by the provider's own counts."""

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
    """The job waits for something that passes by itself or needs a person: why, and for how many seconds if known."""

    reason: str
    seconds: float | None = None


@dataclass(frozen=True)
class Notice:
    """A message that changes nothing about what happens next."""

    message: str


@dataclass(frozen=True)
class Previewed:
    """How many requests of a preview are answered, of all that were sent."""

    done: int
    total: int


@dataclass(frozen=True)
class Collected:
    """The requests of an AI function's call are known: how many, and how many the whole job has now."""

    stage: str
    call: str
    requests: int
    total: int


@dataclass(frozen=True)
class Activity:
    """Work in the database that may take a while."""

    doing: str


Event = (
    Packed
    | Transferring
    | Submitted
    | Fencing
    | Progress
    | Loaded
    | Waiting
    | Notice
    | Previewed
    | Collected
    | Activity
)
