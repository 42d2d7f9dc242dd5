"""The faults of replies, batch objects and file objects, as tables."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Options = dict[str, Any]
_LIST, CREATE, _UPLOAD, _CONTENT = "GET /v1/batches", "POST /v1/batches", "POST /v1/files", "GET /v1/files/*/content"
_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
BATCH_ID = "batch_[0-9a-f]{32}"
_ERROR = {"status": 500, "message": "The server had an error while processing your request."}
_QUOTA = "You exceeded your current quota, please check your plan and billing details."


def error_body(how: Options) -> Any:
    """Return the body of an error reply: a JSON value, or text that is not JSON."""
    status, message = int(how["status"]), str(how["message"])
    if "envelope" in how:
        return ENVELOPES[how["envelope"]](status, message)
    kind = how.get("type", "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": how.get("param"), "code": how.get("code")}}


def edit(value: Any, how: Options) -> Any:
    """Return JSON with fields changed by `set`, `drop` and `rename` at dotted paths (`data.*.id`), inside of `wrap`."""
    value = copy.deepcopy(value)
    for path, new in how.get("set", {}).items():
        for holder, key in _find_path(value, path):
            holder[key] = new
    for path in how.get("drop", []):
        for holder, key in _find_path(value, path):
            holder.pop(key, None)
    for path, name in how.get("rename", {}).items():
        for holder, key in _find_path(value, path):
            holder[name] = holder.pop(key, None)
    return {how["wrap"]: value} if "wrap" in how else value


def _find_path(value: Any, path: str) -> Iterator[tuple[Any, Any]]:
    first, _, rest = path.partition(".")
    if isinstance(value, list):
        keys: list[Any] = list(range(len(value))) if first == "*" else [int(first)]
    elif isinstance(value, dict):
        keys = list(value) if first == "*" else [first]
    else:
        return
    for key in keys:
        if not rest:
            yield value, key
        elif isinstance(value, list) or key in value:
            yield from _find_path(value[key], rest)


def _false_counts(batch: Options, how: Options) -> Options:
    everything = batch["request_counts"]["total"]
    return {"total": everything, "completed": everything, "failed": 0, **how}


def _reason(batch: Options) -> str:
    return "; ".join(error["message"] for error in batch["errors"]["data"])


def _with_iso_dates(record: Options) -> Options:
    dates = {key: record[key] for key in _TIMES.split() if record.get(key)}
    return record | {
        key: dt.datetime.fromtimestamp(value, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") for key, value in dates.items()
    }


# Error replies. The request is not carried out, except for `error_after`. The options of the rule override these.
ERRORS: dict[str, Options] = {
    "error": _ERROR,
    "error_after": _ERROR,
    "quota": {"status": 429, "code": "insufficient_quota", "type": "insufficient_quota", "message": _QUOTA},
    "retry_after": {"status": 429, "code": "rate_limit_exceeded", "message": "Rate limit reached.", "retry_after": 300},
    "content_502": {"status": 502, "message": "Bad gateway"},
    "content_gone": {"status": 404, "message": "No such File object."},
    "no_list": {"status": 405, "message": "Method Not Allowed", "envelope": "detail"},
    "no_file_metadata": _ERROR,
}
# The bodies of errors that do not have OpenAI's envelope.
ENVELOPES: dict[str, Callable[[int, str], Any]] = {
    "object": lambda status, text: {"object": "error", "message": text, "type": "BadRequestError", "code": status},
    "detail": lambda _, text: {"detail": text},
    "message": lambda status, text: {"code": status, "message": text, "data": None},
    "text": lambda _, text: {"error": text},
    "html": lambda _, text: _HTML.format(text),
    "plain": lambda _, text: text,
    "empty": lambda *_: "",
}
# Changes of the bytes of a 2xx reply.
TEXTS: dict[str, Callable[[bytes, Options], bytes]] = {
    "html_reply": lambda *_: _HTML.format("Just a moment...").encode(),
    "malformed_reply": lambda body, _: body[: len(body) // 2],
    "empty_reply": lambda *_: b"",
    "content_html": lambda *_: _HTML.format("Service unavailable").encode(),
    "content_json_error": lambda *_: b'{"error": {"message": "File is not ready.", "type": "server_error"}}',
    "content_empty": lambda *_: b"",
    "content_short": lambda body, how: body[: int(how.get("bytes", len(body) // 2))],
    "odd_ids": lambda body, how: re.sub(
        f'"({BATCH_ID})"'.encode(),
        f'"{how.get("form", "projects/p1/batches/{}")}"'.replace("{}", r"\1").encode(),
        body,
    ),
}
# Changes of the JSON of a 2xx reply.
SHAPES: dict[str, Callable[[Any, Options], Any]] = {
    "endless_list": lambda page, _: {"object": "list", "data": page["data"]},
    "list_lags": lambda page, how: {
        **page,
        "data": [one for one in page["data"] if one["created_at"] <= how["now"] - float(how.get("seconds", 60))],
    },
    "list_as_array": lambda page, _: page["data"],
    "wrapped_upload": lambda file, _: {"code": 20000, "message": "Ok", "status": True, "data": file},
    "wrapped_batch": lambda batch, how: {how.get("key", "job"): batch},
    "upload_without_id": lambda file, _: {**file, "id": None},
    "edit_reply": edit,
}
_ENDED = {"completed", "failed", "expired", "cancelled"}
_TIMES = (
    "created_at in_progress_at expires_at finalizing_at completed_at failed_at expired_at cancelling_at cancelled_at"
)
_NOT_STARTED = {"status": "queued", "output_file_id": None, "error_file_id": None, "completed_at": None}
_NOTHING_DONE = {"total": 0, "completed": 0, "failed": 0}
_ODD_FIELDS = {"cancelling_by": None, "priority": {"tier": 1}, "blob": "https://example.com/blob"}
# Changes of a batch object with one of these statuses (None: any status), in every reply. The result None means 404.
BATCHES: dict[str, tuple[set[str] | None, Callable[[Options, Options], Options | None]]] = {
    "empty_error_file_id": ({"completed"}, lambda batch, _: {**batch, "error_file_id": batch["error_file_id"] or ""}),
    "error_file_nowhere": ({"completed"}, lambda batch, _: {**batch, "error_file_id": "file-nowhere"}),
    "output_file_nowhere": ({"completed"}, lambda batch, _: {**batch, "output_file_id": "file-nowhere"}),
    "late_output_file": ({"completed"}, lambda batch, _: {**batch, "output_file_id": None}),
    "lying_counts": ({"completed"}, lambda batch, how: {**batch, "request_counts": _false_counts(batch, how)}),
    "null_counts": (None, lambda batch, _: {**batch, "request_counts": dict.fromkeys(batch["request_counts"])}),
    "counts_as_text": (
        None,
        lambda batch, _: {**batch, "request_counts": {key: str(n) for key, n in batch["request_counts"].items()}},
    ),
    "errors_as_list": ({"failed"}, lambda batch, _: {**batch, "errors": batch["errors"]["data"]}),
    "errors_as_text": ({"failed"}, lambda batch, _: {**batch, "errors": _reason(batch)}),
    "reason_in_error": ({"failed"}, lambda batch, _: {**batch, "errors": None, "error": _reason(batch)}),
    "extra_fields": (None, lambda batch, _: {**batch, **_ODD_FIELDS}),
    "no_metadata": (None, lambda batch, _: {**batch, "metadata": None}),
    "metadata_as_text": (None, lambda batch, _: {**batch, "metadata": json.dumps(batch["metadata"])}),
    "edit_batch": (None, edit),
    "uppercase_status": (None, lambda batch, _: {**batch, "status": batch["status"].upper()}),
    "renamed_status": (
        _ENDED,
        lambda batch, how: {**batch, "status": how["to"]} if batch["status"] == how.get("from", "completed") else batch,
    ),
    "queued_first": (None, lambda batch, _: {**batch, **_NOT_STARTED, "request_counts": _NOTHING_DONE}),
    "batch_forgotten": (None, lambda *_: None),
    "iso_dates": (None, lambda batch, _: _with_iso_dates(batch)),
}
FILES: dict[str, Callable[[Options, Options], Options]] = {
    "edit_file": edit,
    "iso_dates": lambda file, _: _with_iso_dates(file),
}
_CONNECTION = {"drop_before", "drop_after", "hold", "cut", "cut_silently", "upload_breaks"}
NAMES = frozenset({*_CONNECTION, *ERRORS, *TEXTS, *SHAPES, *BATCHES, *FILES})
DEFAULT_ENDPOINTS = {  # the endpoint of a rule without `on`
    **dict.fromkeys(("quota", "wrapped_batch"), CREATE),
    **dict.fromkeys(("content_502", "content_gone", "content_html", "content_json_error", "content_empty"), _CONTENT),
    **dict.fromkeys(("content_short", "cut", "cut_silently"), _CONTENT),
    **dict.fromkeys(("upload_breaks", "wrapped_upload", "upload_without_id"), _UPLOAD),
    **dict.fromkeys(("no_list", "endless_list", "list_lags", "list_as_array"), _LIST),
    "no_file_metadata": "GET /v1/files/file-" + "[0-9a-f]" * 32,
    "odd_ids": "*/v1/batches*",
}
