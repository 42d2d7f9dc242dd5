"""Read a provider's replies: JSON of any shape becomes records, an error body becomes the provider's words.

Any field may be missing, null, of another type, wrapped or renamed. `text`, `number`, `moment` and `listing` read one
field each and never raise; only a reply without the requested id or list raises NotUnderstood.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

# Our key in a batch's metadata, to recognize it.
OUR_ID = "sqlbatch_batch_id"
# Statuses of a batch that has ended, and of one that the provider is still working on.
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
WORKING = frozenset(
    {"validating", "in_progress", "finalizing", "cancelling", "queued", "in_queue", "pending", "running"}
    | {"created", "not_started", "preparing", "preparing_input", "processing", "scheduled", "started", "submitted"}
)
_SPELLINGS = {
    "canceled": "cancelled",
    "canceling": "cancelling",
    "inprogress": "in_progress",
    "progress": "in_progress",
}
# Keys under which gateways wrap the requested object.
_WRAPPERS = ("data", "job", "batch", "file", "result", "response")
# Keys of an error's message, by the names that providers use.
_MESSAGES = (
    "message", "detail", "msg", "error", "error_message", "error_description", "reason", "description", "title",
)  # fmt: skip
_LONGEST_MESSAGE, _START = 2_000, 200
# Larger whole numbers do not fit into the database; a larger date is in milliseconds.
_LARGEST, _MILLISECONDS = 2**62, 10**11
# Seconds: the longest wait that a provider may ask for, one day.
_LONGEST_WAIT = 86_400.0


class NotUnderstood(ValueError):
    """A reply is not what was requested; the message is the start of the reply."""


class NoList(ProviderRefused):
    """The provider has no list of batches, so a lost create cannot be looked up there."""


@dataclass(frozen=True)
class BatchError:
    """One error of a failed batch; `line` counts from 1 in the input file."""

    code: str | None
    message: str | None
    line: int | None


@dataclass(frozen=True)
class ProviderBatch:
    """The provider's batch as last seen: status in lower case, ids None if it has none, counts never null.

    `created_at` is in seconds since 1970. `closed`: the provider gives the time at which the batch ended.
    """

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
    closed: bool = False

    @property
    def known(self) -> bool:
        """Whether sqlbatch knows the status."""
        return self.status in ENDED or self.status in WORKING

    @property
    def ended(self) -> bool:
        """Whether the provider has finished with it.

        For an unknown status, a result file together with complete counts, or with the time of the end, is the
        evidence.
        """
        if self.known:
            return self.status in ENDED
        full = self.total > 0 and self.completed + self.failed >= self.total
        return (self.output_file_id or self.error_file_id) is not None and (full or self.closed)

    def facts(self) -> dict[str, object]:
        """Return the facts that are stored at each status check."""
        first = self.errors[0] if self.errors else None
        names = ("status", "completed", "failed", "output_file_id", "error_file_id", "ended")
        told = {"code": first.code if first else None, "error": first.message if first else None}
        # Counts of 0 come from a provider that gives no counts, or a batch that never started.
        unknown = {} if self.total or self.completed or self.failed else {"completed": None, "failed": None}
        return {name: getattr(self, name) for name in names} | unknown | told


@dataclass(frozen=True)
class ProviderFile:
    """A file at the provider; missing or odd fields are None. `created_at` is in seconds since 1970."""

    file_id: str
    name: str | None
    bytes: int | None
    created_at: int | None


@dataclass(frozen=True)
class Page:
    """One page of a list: its objects with an id, how many have none, and whether and how the list continues.

    `more` is None if the provider does not say; `cursor` is Groq's key of the next page.
    """

    entries: tuple[dict[str, Any], ...]
    unread: int
    more: bool | None
    cursor: str | None


def text(value: object) -> str | None:
    """Return a text, or a whole number as text, in valid UTF-8; None for anything else and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _LARGEST else None
    if not isinstance(value, str) or not value.strip():
        return None
    return value.strip().encode("utf-8", "replace").decode("utf-8")


def number(value: object) -> int:
    """Return a count given as a number or as text; 0 for anything else."""
    if isinstance(value, str):
        try:
            value = float(value.replace(",", ""))
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return int(value) if 0 <= value < _LARGEST else 0


def moment(value: object) -> int | None:
    """Return a time in seconds since 1970, from seconds or milliseconds (also as text) or ISO text; None otherwise."""
    seconds = number(value)
    if not seconds and isinstance(value, str):
        try:
            at = datetime.fromisoformat(value.strip())
            seconds = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            return None
    if seconds > _MILLISECONDS:
        seconds //= 1_000
    return seconds if 0 < seconds <= _MILLISECONDS else None


def listing(value: object) -> list[Any]:
    """Return a list, or the list in `data`; a single text or object becomes a list of one, null an empty list."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        return list(value["data"])
    return [value] if isinstance(value, dict | str) and value else []


def parsed(content: bytes) -> Any:
    """Return the JSON of a reply; raise NotUnderstood if it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NotUnderstood(start_of(content)) from None


def read_batch(body: object) -> ProviderBatch:
    """Return a batch; raise NotUnderstood if it has no id."""
    found = _unwrapped(body, "batch_id")
    counts, metadata = found.get("request_counts"), _fields(found.get("metadata"))
    counts = counts if isinstance(counts, dict) else {}
    status = re.sub(r"[\s-]+", "_", text(found.get("status")) or "").lower()[:100]
    return ProviderBatch(
        provider_id=found["id"],
        status=_SPELLINGS.get(status, status),
        input_file_id=_file_id(found.get("input_file_id")),
        output_file_id=_file_id(found.get("output_file_id")),
        error_file_id=_file_id(found.get("error_file_id")),
        created_at=moment(found.get("created_at")),
        total=number(counts.get("total")),
        completed=number(counts.get("completed")),
        failed=number(counts.get("failed")),
        batch_id=text(metadata.get(OUR_ID)),
        errors=_errors(found),
        closed=any(moment(found.get(name)) for name in ("completed_at", "failed_at", "expired_at", "cancelled_at")),
    )


def read_file(body: object) -> ProviderFile:
    """Return a file; raise NotUnderstood if it has no id, because a file without one cannot be used."""
    found = _unwrapped(body, "file_id")
    size = found.get("bytes")
    return ProviderFile(
        found["id"], text(found.get("filename")), number(size) if size else None, moment(found.get("created_at"))
    )


def read_page(body: object) -> Page:
    """Return one page of a list, be it a bare array, in `value` or elsewhere; raise NotUnderstood if there is none."""
    found = body if isinstance(body, list) else None
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    while found is None and fields:
        lists = [value for value in fields.values() if isinstance(value, list)]
        named = [fields[name] for name in ("data", "value", "batches", "items") if isinstance(fields.get(name), list)]
        found = named[0] if named else lists[0] if len(lists) == 1 else None
        if found is None:
            inner = [value for value in fields.values() if isinstance(value, dict)]
            if len(inner) != 1:
                break
            fields = inner[0]
    if found is None:
        raise NotUnderstood(start_of(json.dumps(body).encode()))
    entries = []
    for each in found:
        try:
            entries.append(_unwrapped(each, "batch_id"))
        except NotUnderstood:
            continue
    cursor = text(_fields(fields.get("paging")).get("next_cursor"))
    more = fields.get("has_more")
    return Page(
        tuple(entries), len(found) - len(entries), True if cursor else more if isinstance(more, bool) else None, cursor
    )


def error_words(content: bytes) -> tuple[str, str | None]:
    """Return the message of an error body of any shape, and its code; without a message, the start of the body."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return start_of(content), None
    code = None
    for each in (_fields(body).get("error"), body):
        code = code or (each.get("code") if isinstance(each, dict) else None)
    words = _words(body)
    return (words or start_of(content)), code if isinstance(code, str) and code else None


def start_of(content: bytes) -> str:
    """Return the start of a body, on one line and without HTML tags."""
    words = content[: 20 * _START].decode("utf-8", "replace")
    if "<" in words[:50]:
        words = re.sub(r"(?s)<(script|style)\b.*?(</\1>|$)|<[^>]*>", " ", words)
    words = " ".join(words.split())
    return (words[:_START] + "…" * (len(words) > _START)) or "nothing"


def _words(value: object, depth: int = 0) -> str | None:
    """Return the text of an error: itself, or the value of one of the usual names, several joined."""
    if isinstance(value, str):
        return (text(value) or "")[:_LONGEST_MESSAGE] or None
    if depth > 4:
        return None
    if isinstance(value, list):
        found = [words for each in value[:5] if (words := _words(each, depth + 1))]
        return "; ".join(found) or None
    if isinstance(value, dict):
        # The innermost error is the most specific: {"error": {"message": …}} comes before {"message": "Bad Request"}.
        named = [value.get(name) for name in ("error", "errors", *_MESSAGES)]
        return next((words for each in named if (words := _words(each, depth + 1))), None)
    return None


def _errors(batch: dict[str, Any]) -> tuple[BatchError, ...]:
    """Return a batch's errors: objects, texts, a single one, or the reason in `error`."""
    named = [batch.get(name) for name in ("errors", "error", "failure_reason", "error_message")]
    listed: list[Any] = next((found for each in named if (found := listing(each))), [])
    errors = []
    for each in listed:
        fields = each if isinstance(each, dict) else {}
        line = number(fields.get("line"))
        code = fields.get("code")
        error = BatchError(
            text(code) if isinstance(code, str) else None, _words(each), line if 0 < line < 2**31 else None
        )
        if error.code or error.message:
            errors.append(error)
    return tuple(errors)


def _unwrapped(body: object, other_name: str, depth: int = 0) -> dict[str, Any]:
    """Return the object that has an id, with the id as text.

    It may be wrapped in `data`, `job` and the like, or in a list of one.
    """
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if isinstance(body, dict):
        given = next((found for name in ("id", other_name) if (found := text(body.get(name)))), None)
        if given is not None and given not in {".", ".."}:
            return body | {"id": given}
        for name in _WRAPPERS if depth < 3 else ():
            try:
                return _unwrapped(body.get(name), other_name, depth + 1)
            except NotUnderstood:
                continue
    raise NotUnderstood(start_of(json.dumps(body, default=str).encode()))


def _fields(value: object) -> dict[str, Any]:
    """Return an object, also one given as JSON text; an empty one for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _file_id(value: object) -> str | None:
    """Return a file's id, also one inside an object or a list of one."""
    for _ in range(3):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict):
            value = value.get("id") or value.get("data") or value.get("file_id")
    given = text(value)
    return None if given in {".", ".."} else given


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a reply asks to wait; None if it does not, or cannot be read."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, _LONGEST_WAIT) if math.isfinite(seconds) and seconds > 0 else None
