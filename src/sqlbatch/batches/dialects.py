"""A provider's batch in one spelling, whatever its dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BatchError:
    """One error of a failed batch; `line` counts from 1 in the input file."""

    code: str | None
    message: str | None
    line: int | None


@dataclass(frozen=True)
class ProviderBatch:
    """The provider's batch as last seen: status in lower case, ids None where it has none, counts never null."""

    provider_id: str
    status: str
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    created_at: int | None
    total: int
    completed: int
    failed: int
    batch_id: str | None
    errors: tuple[BatchError, ...]

    @property
    def ended(self) -> bool:
        """Whether the provider does nothing more with it."""
        return self.status in {"completed", "failed", "expired", "cancelled"}


def normalised(batch: Any) -> ProviderBatch:
    """Return a provider's batch object in one spelling, whatever its dialect: case, nulls, empty ids, error lists.

    Raises ValueError for what is no batch.
    """
    # Together answers a create with the batch under `job`.
    batch = batch if field(batch, "id") else field(batch, "job") or batch
    provider_id = field(batch, "id")
    if not isinstance(provider_id, str) or not provider_id:
        raise ValueError("a batch without an id")
    status = str(field(batch, "status") or "").lower()
    counts, errors = field(batch, "request_counts"), field(batch, "errors")
    listed = errors if isinstance(errors, list) else field(errors, "data") or []
    metadata = field(batch, "metadata") or {}
    return ProviderBatch(
        provider_id=provider_id,
        status="cancelled" if status == "canceled" else status,
        input_file_id=field(batch, "input_file_id") or None,
        output_file_id=field(batch, "output_file_id") or None,
        error_file_id=field(batch, "error_file_id") or None,
        created_at=field(batch, "created_at"),
        total=int(field(counts, "total") or 0),
        completed=int(field(counts, "completed") or 0),
        failed=int(field(counts, "failed") or 0),
        batch_id=metadata.get("sqlbatch_batch_id"),
        errors=tuple(
            BatchError(field(each, "code"), field(each, "message"), field(each, "line")) for each in listed if each
        ),
    )


def field(thing: Any, name: str) -> Any:
    """Return what a reply has under a name, be it a dictionary or a record; None where it has nothing."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
