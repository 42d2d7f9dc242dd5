"""Every field of every reply, and what may have become of it: missing, null, of another type, wrapped, renamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MISSING = object()
# What a field has in the place of its value.
KINDS: dict[str, Callable[[Any], Any]] = {
    "missing": lambda _: MISSING,
    "null": lambda _: None,
    "a number": lambda _: 7,
    "a text": lambda _: "odd",
    "empty text": lambda _: "",
    "true": lambda _: True,
    "a list": lambda _: [],
    "an object": lambda _: {},
    "in a list": lambda value: [value],
    "wrapped": lambda value: {"data": value},
    "as text": lambda value: value if isinstance(value, str) else json.dumps(value),
    "renamed": lambda _: MISSING,
}
# What a whole body may be.
BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "null": lambda _: b"null",
    "a page": lambda _: b"<html><body>Sign in</body></html>",
    "a text": lambda _: b'"odd"',
    "a list": lambda _: b"[]",
    "an object": lambda _: b"{}",
    "in a list": lambda body: b"[" + body + b"]",
    "wrapped": lambda body: b'{"code": 20000, "message": "Ok", "data": ' + body + b"}",
    "an error": lambda _: b'{"error": {"message": "Not now.", "type": "server_error", "code": null}}',
    "cut": lambda body: body[: len(body) // 2],
    "not UTF-8": lambda body: b"\xff\xfe" + body,
}
_BATCH = ("id", "status", "input_file_id", "output_file_id", "error_file_id", "request_counts",
          "request_counts.completed", "created_at", "metadata", "errors", "object")  # fmt: skip
_FILE = ("id", "bytes", "filename", "purpose", "created_at")
FIELDS: dict[str, tuple[str, ...]] = {
    "upload": _FILE,
    "create": _BATCH,
    "retrieve": _BATCH,
    "list, entry": _BATCH,
    "list of files, entry": _FILE,
    "file": _FILE,
    "delete": ("id", "deleted"),
    "cancel": ("id", "status", "output_file_id"),
}
LISTS = {"list": ("data", "has_more"), "list of files": ("data", "has_more")}
_LINE = ("id", "custom_id", "response", "response.status_code", "response.request_id", "response.body", "error")
LINES: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions": (
        *_LINE, "response.body.choices", "response.body.choices.0", "response.body.choices.0.message",
        "response.body.choices.0.message.content", "response.body.choices.0.message.refusal",
        "response.body.choices.0.finish_reason", "response.body.model", "response.body.usage",
        "response.body.usage.prompt_tokens",
    ),
    "/v1/responses": (
        *_LINE, "response.body.output", "response.body.output.0", "response.body.output.0.content",
        "response.body.output.0.content.0", "response.body.output.0.content.0.text",
        "response.body.output.0.content.0.type", "response.body.output.0.type", "response.body.status",
        "response.body.error", "response.body.incomplete_details", "response.body.usage",
    ),
    "/v1/embeddings": (
        *_LINE, "response.body.data", "response.body.data.0", "response.body.data.0.embedding",
        "response.body.data.0.embedding.0", "response.body.model", "response.body.usage",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change of one reply: of a field, of a whole body (field None), or of a field of each result line."""

    place: str
    field: str | None
    kind: str
    endpoint: str = "/v1/chat/completions"

    @property
    def name(self) -> str:
        """How the change is called in the tests."""
        where = f"{self.place}, {self.endpoint.rpartition('/')[2]}" if self.place == "line" else self.place
        return f"{where}: {self.field or 'the body'}: {self.kind}"

    @property
    def may_cost_the_answer(self) -> bool:
        """Whether a request may fail by it: what is in a result file, or which it is, cannot be known otherwise."""
        return self.place in {"line", "content"} or self.field == "output_file_id"

    @property
    def texts(self) -> tuple[str, ...]:
        """The answers that a changed line may have besides its own: what stands where a text belongs is the answer."""
        last = (self.field or "").rpartition(".")[2]
        return {"a text": ("odd",), "empty text": ("",)}.get(self.kind, ()) if last in {"content", "text"} else ()

    def __call__(self, body: bytes) -> bytes:
        """Return a reply's body as it is sent."""
        if self.field is None:
            return BODIES[self.kind](body)
        return json.dumps(self._changed(json.loads(body))).encode() + b"\n"

    def _changed(self, whole: Any) -> Any:
        *path, last = str(self.field).split(".")
        found = whole
        for step in path:
            found = found[int(step)] if isinstance(found, list) else found[step]
        key: Any = int(last) if isinstance(found, list) else last
        value = KINDS[self.kind](found[key])
        if self.kind == "renamed" and isinstance(found, dict):
            found[f"{key}_of_it"] = found[key]
        if value is MISSING:
            del found[key]
        else:
            found[key] = value
        return whole


def changes() -> list[Change]:
    """Return every change of every reply, but for those that nobody could know from a reply that is right."""
    found = [
        Change(place, name, kind) for place, fields in (FIELDS | LISTS).items() for name in fields for kind in KINDS
    ]
    found += [
        Change(place, None, kind) for place in (*FIELDS, *LISTS, "content") if "entry" not in place for kind in BODIES
    ]
    found += [
        Change("line", name, kind, endpoint) for endpoint, fields in LINES.items() for name in fields for kind in KINDS
    ]
    # A list that is empty is one that is right, too, and so is a vector of another number.
    lies = {("list", "data", "a list"), ("line", "response.body.data.0.embedding.0", "a number")}
    lies |= {
        (place, "id", kind) for place in ("upload", "create", "list, entry") for kind in ("a text", "a number", "true")
    }
    return [each for each in found if (each.place, each.field, each.kind) not in lies]


def groups(found: Sequence[Change], size: int = 48) -> list[list[Change]]:
    """Return changes as they can be acted out together: of one place and endpoint; those of a whole list one by one.

    Of more than three open batches the list is read, so that of a batch's own reply no more are changed at a time.
    """
    together: dict[tuple[str, str, bool], list[list[Change]]] = {}
    for change in found:
        whole = change.place == "retrieve" and change.field is None
        most = 1 if change.place in LISTS else 3 if whole else size
        lots = together.setdefault((change.place, change.endpoint, whole), [[]])
        if len(lots[-1]) == most:
            lots.append([])
        lots[-1].append(change)
    return [lot for lots in together.values() for lot in lots]
