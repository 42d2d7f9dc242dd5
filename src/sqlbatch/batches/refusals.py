"""What a refusal to upload a file or to create a batch means: whether waiting can mend it, and what its user can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.errors import ProviderError, ProviderRefused

if TYPE_CHECKING:
    from sqlbatch.db.jobs import JobRow

# Codes of an account without money, which is topped up while the job waits.
_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_MENDED = {
    401: "set the right key",
    403: "use a key that may do this, or let it be allowed there",
    404: "see that the model, the endpoint and the base URL are right; to change them, run its enrich again",
    413: "let [providers.NAME] of sqlbatch.toml say a smaller max_bytes",
}


def code_of(error: ProviderError) -> str | None:
    """Return the provider's code for an error, or its HTTP status as one; None where there is neither."""
    status = getattr(error, "status", None)
    return getattr(error, "code", None) or (f"http_{status}" if status else None)


def waiting_mends(error: ProviderError, file_id: str | None = None) -> bool:
    """Whether what was refused may go well later, with nobody doing anything but to pay.

    A refusal that names the input file (`file_id`) may be one that the provider is not done with, or has lost.
    """
    if not isinstance(error, ProviderRefused) or not 400 <= error.status < 500:
        return True
    return error.status == 402 or error.code in _MONEY or (file_id is not None and file_id in str(error))


def reason(error: ProviderError) -> str:
    """Return why a job sends nothing more, and what its user can do."""
    todo = _MENDED.get(getattr(error, "status", 0))
    return str(error).rstrip(". ") + (f" ({todo})" if todo else "")


def in_words(job: JobRow) -> str:
    """Return where a job is that was refused what waiting cannot mend, why, and how it goes on."""
    return f"blocked: {job.blocked}; nothing more is sent until you say sqlbatch wait {job.job_id}"
