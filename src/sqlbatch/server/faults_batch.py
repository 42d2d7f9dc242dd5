"""Failures of batches, of their lines and of their output files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.server.faults import FILES, LINES
from sqlbatch.server.results import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlbatch.server.faults import Faults
    from sqlbatch.server.lines import Line

_SEPARATORS = {"\\u2028": "\u2028", "\\u2029": "\u2029", "\\u0085": "\u0085"}
_STATUS_MESSAGES = {429: "Requests per limit rate limit exceeded in Batch API.", 400: "Invalid request."}


class FaultyBatch:
    """What goes wrong with one batch; made once for it, so that each failure is decided once."""

    def __init__(self, faults: Faults, batch_id: str) -> None:
        self._faults = faults
        self._id = batch_id
        self._lines = faults.any_of(LINES)

    def hold(self, status: str) -> float | None:
        """Return how many seconds of the server's clock the batch stays in a status; infinite until it ends."""
        rule = self._faults.take(f"stuck_{status}", self._id)
        return float(rule.options.get("seconds", "inf")) if rule else None

    def holds_still(self, status: str) -> bool:
        """Whether a batch that is held is so still: it goes on when the rule that holds it is taken away."""
        return self._faults.remains(f"stuck_{status}", self._id)

    def refusal(self, size: int, enqueued: int, lines: int) -> list[dict[str, Any]]:
        """Return the errors with which validation ends.

        `size` is the input file's in bytes, `enqueued` the sum of those of all batches that have not ended.
        """
        rule = self._faults.take("token_limit", self._id)
        if rule:
            limit = rule.options.get("limit")
            if limit is None or (size + enqueued) // int(rule.options.get("bytes_per_token", 4)) > int(limit):
                message = (
                    f"Enqueued token limit reached for {rule.options.get('model', 'offline')} in organization "
                    f"org-local. Limit: {int(limit or 900_000):,} enqueued tokens. Please try again once some "
                    "in_progress batches have been completed."
                )
                return [_error("token_limit_exceeded", message)]
        if self._faults.take("billing_limit", self._id):
            return [_error("billing_hard_limit_reached", "Billing hard limit has been reached.")]
        if rule := self._faults.take("model_retired", self._id):
            model = rule.options.get("model", "offline")
            message = f"The provided model '{model}' is not supported by the Batch API."
            return [_error("model_not_found", message, line, "body.model") for line in range(1, min(lines, 1_000) + 1)]
        return []

    def answered_share(self) -> float | None:
        """Return the share of lines that are answered before the batch expires, or None when it does not."""
        rule = self._faults.take("expires", self._id)
        return float(rule.options.get("answered", 0.5)) if rule else None

    def reply(self, line: Line, reply: Reply) -> Reply:
        """Return what becomes of the reply to a line."""
        if not self._lines:
            return reply
        for name in sorted(LINES):
            rule = self._faults.take(name, line.custom_id, line.custom_id)
            if rule is None:
                continue
            if name == "line_error":
                status = int(rule.options.get("status", 500))
                code = rule.options.get("code", "rate_limit_exceeded" if status == 429 else None)
                default = _STATUS_MESSAGES.get(status, "The server had an error.")
                kind = "invalid_request_error" if status < 500 else "server_error"
                error = {
                    "message": rule.options.get("message", default),
                    "type": kind,
                    "param": rule.options.get("param"),
                    "code": code,
                }
                return Reply(status, {"error": error})
            if name == "status_zero":
                return Reply(0, {"error": {"message": "", "type": None, "param": None, "code": None}})
            if reply.succeeded and reply.body:
                return Reply(200, _reshaped(name, reply.body), request_id=reply.request_id)
        return reply

    @property
    def damages_files(self) -> bool:
        """Whether output files are to be rewritten."""
        return self._faults.any_of(FILES)

    def damage(self, source: Path, target: Path) -> int:
        """Write an output file again as it comes out damaged; return its size."""
        with source.open("rb") as whole, target.open("wb") as damaged:
            target.chmod(0o600)
            ending = b"\r\n" if self._faults.take("crlf", self._id) else b"\n"
            if self._faults.take("bom", self._id):
                damaged.write(b"\xef\xbb\xbf")
            blank = self._faults.take("blank_lines", self._id)
            for text in self._lines_of(whole):
                damaged.write(text.encode("utf-8", "surrogateescape") + ending)
                if blank:
                    damaged.write(ending)
            if self._faults.take("no_final_newline", self._id):
                damaged.truncate(max(0, damaged.tell() - len(ending)))
            damaged.seek(0, 2)
            return damaged.tell()

    def _lines_of(self, whole: Iterable[bytes]) -> Iterator[str]:
        take = self._faults.take
        for raw in whole:
            text = raw.decode().rstrip("\n")
            # What else is told of a request is told of its line as it was, whatever became of it.
            line = json.loads(text)
            custom_id = line["custom_id"]
            if take("missing_line", custom_id, custom_id):
                continue
            if take("no_custom_id", custom_id, custom_id):
                text = json.dumps({**json.loads(text), "custom_id": None})
            if take("no_line_id", custom_id, custom_id):
                text = json.dumps({key: value for key, value in json.loads(text).items() if key != "id"})
            if take("not_an_object", custom_id, custom_id):
                text = json.dumps([custom_id])
            if take("malformed_line", custom_id, custom_id):
                text = text[: len(text) // 2]
            if take("invalid_utf8", custom_id, custom_id):
                # Stands for the one byte 0xff, which is in no text of UTF-8.
                text = f"{text[:-20]}\udcff{text[-20:]}"
            if take("separators", custom_id, custom_id):
                text = _with_separators(text)
            yield text
            if take("duplicate_line", custom_id, custom_id):
                yield text
            if take("conflicting_line", custom_id, custom_id):
                yield json.dumps(_conflicting(line))
            if take("foreign_line", custom_id, custom_id):
                yield json.dumps({**line, "custom_id": f"not-yours-{custom_id}"})


def shown_batch(faults: Faults, shown: dict[str, Any]) -> dict[str, Any]:
    """Return a batch object in the words of a provider that deviates."""
    take, batch_id = faults.take, shown["id"]
    if take("empty_error_file_id", batch_id, batch_id) and shown["status"] == "completed":
        shown["error_file_id"] = shown["error_file_id"] or ""
    if take("lying_counts", batch_id, batch_id) and shown["status"] == "completed":
        shown["request_counts"] = {
            **shown["request_counts"],
            "completed": shown["request_counts"]["total"],
            "failed": 0,
        }
    if take("null_counts", batch_id, batch_id):
        shown["request_counts"] = {"total": None, "completed": None, "failed": None}
    if take("uppercase_status", batch_id, batch_id):
        shown["status"] = shown["status"].upper()
    if take("errors_as_list", batch_id, batch_id) and shown["errors"]:
        shown["errors"] = shown["errors"]["data"]
    if take("extra_fields", batch_id, batch_id):
        shown |= {"cancelling_by": None, "priority": {"tier": 1}, "blob": "https://example.com/blob"}
    if take("no_metadata", batch_id, batch_id):
        shown["metadata"] = None
    return shown


def _error(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}


def _reshaped(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer's body as the model gives it when it refuses, is cut off, or answers in another shape."""
    texts = {"invalid_json": "Sure! Here is the JSON you asked for: {", "wrong_shape": '{"unexpected": [1, 2]}'}
    if "choices" in body:
        choice = {**body["choices"][0]}
        message = {**choice["message"]}
        if name == "refusal":
            message |= {"content": None, "refusal": "I'm sorry, I can't help with that."}
        elif name == "length":
            choice["finish_reason"] = "length"
            message["content"] = (message["content"] or "")[: len(message["content"] or "") // 2]
        elif name == "content_filter":
            choice["finish_reason"] = "content_filter"
            message["content"] = None
        else:
            message["content"] = texts.get(name, "")
        return {**body, "choices": [{**choice, "message": message}]}
    if "output" not in body:
        return body
    text = body["output"][0]["content"][0]["text"]
    part: dict[str, Any] = {"type": "output_text", "text": texts.get(name, ""), "annotations": [], "logprobs": []}
    changed: dict[str, Any] = {}
    if name == "refusal":
        part = {"type": "refusal", "refusal": "I'm sorry, I can't help with that."}
    elif name in {"length", "content_filter"}:
        reason = "max_output_tokens" if name == "length" else name
        changed = {"status": "incomplete", "incomplete_details": {"reason": reason}}
        part["text"] = text[: len(text) // 2] if name == "length" else ""
    return {**body, **changed, "output": [{**body["output"][0], "content": [part]}]}


def _conflicting(line: dict[str, Any]) -> dict[str, Any]:
    """Return another answer to the same request."""
    response = line.get("response")
    if not response or "choices" not in (response.get("body") or {}):
        return {**line, "response": None, "error": {"code": "server_error", "message": "Another result."}}
    body = _reshaped("wrong_shape", response["body"])
    return {**line, "response": {**response, "body": body}}


def _with_separators(text: str) -> str:
    """Return a line in which line separators that JSON allows unescaped stand raw; some are put into the answer."""
    for escaped, raw in _SEPARATORS.items():
        text = text.replace(escaped, raw)
    return text[:-1] + ',"note":"a\u2028b\u2029c\u0085d"}' if text.endswith("}") else text
