"""The faults of batches, of their answers, and of the lines of their result files, as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlbatch.server.results import Reply
from sqlbatch.server.testing.shapes import Options, edit, error_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.validation import Line

_STATUS_MESSAGES = {429: "Requests per limit rate limit exceeded in Batch API.", 400: "Invalid request."}
_NO_SCHEMA = "This model does not support response_format 'json_schema'."
# The fields of the answer that a fault changes: `content`, `refusal`, `reasoning_content`, `finish`. {text} is the real
# answer, {half} and {rest} are its halves, {surrogate} is the answer with a lone surrogate in its first text. The
# options of the rule override these.
ANSWERS: dict[str, Options] = {
    "answer": {},
    "refusal": {"content": None, "refusal": "I'm sorry, I can't help with that."},
    "empty_refusal": {"refusal": ""},
    "length": {"content": "{half}", "finish": "length"},
    "content_filter": {"content": None, "finish": "content_filter"},
    "finish_reason": {"finish": "error"},
    "empty_content": {"content": ""},
    "invalid_json": {"content": "Sure! Here is the JSON you asked for: {"},
    "wrong_shape": {"content": '{"unexpected": [1, 2]}'},
    "fenced": {"content": "```json\n{text}\n```"},
    "thinking": {"content": '<think>\nThe text says {half}. So {"a": 1}?\n</think>\n\n{text}'},
    "chatty": {"content": "Here is the JSON:\n\n{text}\n\nAnything else?"},
    "content_parts": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]},
            {"type": "text", "text": "{half}"},
            {"type": "text", "text": "{rest}"},
        ]
    },
    "content_object": {"content": {"answer": "{text}"}},
    "reasoning_only": {"content": None, "reasoning_content": "{text}"},
    "lone_surrogate": {"content": "{surrogate}"},
}
# Changes of the JSON of a line in a result file.
EDITS: dict[str, Callable[[Options, Options], Any]] = {
    "no_custom_id": lambda line, _: {**line, "custom_id": None},
    "no_line_id": lambda line, _: {key: value for key, value in line.items() if key != "id"},
    "bare_response": lambda line, _: {"custom_id": line["custom_id"], "response": _body(line)},
    "body_as_text": lambda line, _: _with_body(line, json.dumps(_body(line))),
    "status_as_text": lambda line, _: edit(line, {"set": {"response.status_code": str(_status(line))}}),
    "empty_error": lambda line, how: {**line, "error": how.get("value", {})},
    "empty_body_error": lambda line, how: _with_body(line, {**(_body(line) or {}), "error": how.get("value", "")}),
    "error_as_text": lambda line, how: {**line, "response": None, "error": how.get("message", "Something went wrong.")},
    "long_line": lambda line, how: _with_body(
        line, {**(_body(line) or {}), "padding": "x" * int(how.get("bytes", 34_000_000))}
    ),
    "edit_line": edit,
}
# Changes of the text of a line. U+DCFF is written as the byte 0xff, which never occurs in UTF-8.
TEXTS: dict[str, Callable[[str], str]] = {
    "not_an_object": lambda text: json.dumps([json.loads(text)["custom_id"]]),
    "malformed_line": lambda text: text[: len(text) // 2],
    "invalid_utf8": lambda text: f"{text[:-20]}\udcff{text[-20:]}",
    "separators": lambda text: _with_separators(text),  # noqa: PLW0108 - defined below
}
# Additional lines, made from the unchanged line and from its changed text.
EXTRAS: dict[str, Callable[[Options, str], str]] = {
    "duplicate_line": lambda _, text: text,
    "conflicting_line": lambda line, _: json.dumps(_conflicting(line)),
    "foreign_line": lambda line, _: json.dumps({**line, "custom_id": f"not-yours-{line['custom_id']}"}),
}
# Errors with which validation fails a batch.
REASONS: dict[str, Options] = {
    "token_limit": {"code": "token_limit_exceeded"},
    "billing_limit": {"code": "billing_hard_limit_reached", "message": "Billing hard limit has been reached."},
    "model_retired": {"code": "model_not_found"},
    "batch_fails": {"code": "server_error", "message": "The batch could not be processed."},
}
_REPLIES = ("line_error", "no_json_schema", "status_zero", *ANSWERS)
_LINES = {"missing_line", *EDITS, *TEXTS, *EXTRAS}
_FILES = {"crlf", "bom", "blank_lines", "no_final_newline"}
_STUCK = {"stuck_validating", "stuck_in_progress", "stuck_finalizing", "stuck_cancelling"}
NAMES = frozenset({*_REPLIES, *_LINES, *_FILES, *_STUCK, *REASONS, "expires"})


class FaultyBatch:
    """The faults of one batch. A batch keeps one object, so that each fault is decided once."""

    def __init__(self, faults: Faults, batch_id: str) -> None:
        self._faults = faults
        self._id = batch_id
        self._replies = faults.any_of(_REPLIES)

    def stuck_seconds(self, status: str) -> float | None:
        """Return how long a stuck_* fault keeps the batch in a status, in seconds of the server's clock, or None."""
        rule = self._faults.take(f"stuck_{status}", self._id)
        return float(rule.options.get("seconds", "inf")) if rule else None

    def is_still_stuck(self, status: str) -> bool:
        """Return whether the stuck_* fault still applies. Removing the rule releases the batch."""
        return self._faults.has_rule(f"stuck_{status}", self._id)

    def validation_errors(self, size: int, enqueued: int, lines: int) -> list[Options]:
        """Return the errors with which validation fails the batch; an empty list without such a fault.

        `size` is the size of the input file in bytes, `enqueued` the size of the input files of all other unfinished
        batches, `lines` the number of requests.
        """
        for rule in self._faults.firing(REASONS, self._id):
            how = {"model": "offline", **REASONS[rule.name], **rule.options}
            error = {"code": how["code"], "message": how.get("message"), "line": None, "param": how.get("param")}
            if rule.name == "token_limit":
                limit = how.get("limit")
                if limit is not None and (size + enqueued) // int(how.get("bytes_per_token", 4)) <= int(limit):
                    continue
                error["message"] = (
                    f"Enqueued token limit reached for {how['model']} in organization org-local. Limit: "
                    f"{int(limit or 900_000):,} enqueued tokens. Please try again once some in_progress batches have "
                    "been completed."
                )
            if rule.name == "model_retired":
                message = f"The provided model '{how['model']}' is not supported by the Batch API."
                error |= {"message": message, "param": "body.model"}
                return [{**error, "line": line} for line in range(1, min(lines, 1_000) + 1)]
            return [error]
        return []

    def answered_share(self) -> float | None:
        """Return the share of lines that are answered before the batch expires, or None if it does not expire."""
        rule = self._faults.take("expires", self._id)
        return float(rule.options.get("answered", 0.5)) if rule else None

    def reply(self, line: Line, reply: Reply) -> Reply:
        """Return the reply to a line as its faults change it."""
        if not self._replies:
            return reply
        for rule in self._faults.firing(_REPLIES, line.custom_id, line.custom_id):
            if rule.name == "line_error":
                status = int(rule.options.get("status", 500))
                code = "rate_limit_exceeded" if status == 429 else None
                message = _STATUS_MESSAGES.get(status, "The server had an error.")
                body = error_body({"status": status, "message": message, "code": code, **rule.options})
                return Reply(status, body if isinstance(body, dict) else None, json.dumps(body))
            if rule.name == "no_json_schema" and _asks_for_a_schema(line.body):
                return Reply(400, error_body({"status": 400, "message": _NO_SCHEMA, **rule.options}))
            if rule.name == "status_zero":
                return Reply(0, {"error": {"message": "", "type": None, "param": None, "code": None}})
            if rule.name in ANSWERS and reply.succeeded and reply.body:
                reply = Reply(
                    200, change_answer(reply.body, {**ANSWERS[rule.name], **rule.options}), None, None, reply.request_id
                )
        return reply

    @property
    def damages_files(self) -> bool:
        """Whether a rule changes the result files."""
        return self._faults.any_of(_LINES | _FILES)

    def damage(self, source: Path, target: Path) -> int:
        """Write a damaged copy of a result file; return its size."""
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
        for raw in whole:
            text = raw.decode().rstrip("\n")
            line = json.loads(text)
            custom_id = line["custom_id"]
            if self._faults.take("missing_line", custom_id, custom_id):
                continue
            edits = self._faults.firing(EDITS, custom_id, custom_id)
            changed = line
            for rule in edits:
                changed = EDITS[rule.name](changed, rule.options)
            text = json.dumps(changed) if edits else text
            for rule in self._faults.firing(TEXTS, custom_id, custom_id):
                text = TEXTS[rule.name](text)
            yield text
            for rule in self._faults.firing(EXTRAS, custom_id, custom_id):
                yield EXTRAS[rule.name](line, text)


def change_answer(body: Options, how: Options) -> Options:
    """Return the body of an answer with the content, refusal, reasoning and finish reason of a fault."""
    if "choices" in body:
        choice = {**body["choices"][0]}
        text = choice["message"]["content"] if isinstance(choice["message"].get("content"), str) else ""
        said = {
            key: _fill_placeholders(how[key], text) for key in ("content", "refusal", "reasoning_content") if key in how
        }
        choice |= {
            "message": {**choice["message"], **said},
            "finish_reason": how.get("finish", choice["finish_reason"]),
        }
        return {**body, "choices": [choice]}
    message: Options = next((item for item in body.get("output", ()) if item.get("content")), {})
    if not message:
        return body
    text = message["content"][0].get("text", "")
    content = _fill_placeholders(how.get("content", text), text)
    parts = content if isinstance(content, list) else [] if content is None else [{"text": content}]
    texts = [_output_text(part["text"]) for part in parts if part.get("text") is not None]
    changed: Options = {}
    if how.get("refusal"):
        texts = [{"type": "refusal", "refusal": how["refusal"]}]
    if "finish" in how:
        reason = "max_output_tokens" if how["finish"] == "length" else how["finish"]
        changed = {"status": "incomplete", "incomplete_details": {"reason": reason}}
        texts = texts or [_output_text("")]
    output = [{**message, "content": texts}] if texts else []
    if "reasoning_content" in how or isinstance(content, list):
        thought = _fill_placeholders(how.get("reasoning_content", "Let me see."), text)
        reasoning = {"type": "reasoning_text", "text": thought}
        output.insert(0, {"id": "rs_0", "type": "reasoning", "summary": [], "content": [reasoning]})
    return {**body, **changed, "output": output}


def _output_text(text: object) -> Options:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _fill_placeholders(value: Any, text: str) -> Any:
    if isinstance(value, list):
        return [_fill_placeholders(one, text) for one in value]
    if isinstance(value, dict):
        return {key: _fill_placeholders(one, text) for key, one in value.items()}
    if not isinstance(value, str):
        return value
    half = len(text) // 2
    for name, stands_for in (("half", text[:half]), ("rest", text[half:]), ("surrogate", _with_surrogate(text))):
        value = value.replace(f"{{{name}}}", stands_for)
    return value.replace("{text}", text)


def _with_surrogate(text: str) -> str:
    """Return an answer whose first text ends in a lone surrogate, which is half of an emoji."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text
    if not isinstance(answer, dict):
        return f"{text}\ud83d"
    key = next((key for key, value in answer.items() if isinstance(value, str)), None)
    return json.dumps(answer if key is None else {**answer, key: f"{answer[key]}\ud83d"}, ensure_ascii=False)


def _body(line: Options) -> Any:
    return (line.get("response") or {}).get("body")


def _status(line: Options) -> int:
    return int((line.get("response") or {}).get("status_code", 0))


def _with_body(line: Options, body: Any) -> Options:
    return {**line, "response": {**line["response"], "body": body}} if line.get("response") else line


def _conflicting(line: Options) -> Options:
    """Return a line with a different result for the same request."""
    body = _body(line)
    if not body or "choices" not in body:
        return {**line, "response": None, "error": {"code": "server_error", "message": "Another result."}}
    return _with_body(line, change_answer(body, ANSWERS["wrong_shape"]))


def _with_separators(text: str) -> str:
    """Return a line with unescaped line separators that JSON allows, those of the answer and some more."""
    for escaped, raw in (("\\u2028", "\u2028"), ("\\u2029", "\u2029"), ("\\u0085", "\u0085")):
        text = text.replace(escaped, raw)
    return text[:-1] + ',"note":"a\u2028b\u2029c\u0085d"}' if text.endswith("}") else text


def _asks_for_a_schema(body: Options) -> bool:
    answer_format = body.get("response_format") or (body.get("text") or {}).get("format")
    return isinstance(answer_format, dict) and answer_format.get("type") == "json_schema"
