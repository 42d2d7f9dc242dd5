"""Validation of the input file of a batch. Every line is checked before the first line runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import MAX_REQUESTS
from sqlbatch.server.http import parse_json, wrong_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


MAX_LINE = 32 * 1024 * 1024  # bytes of one line: our own limit, which bounds memory


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch. `number` is its line number in the file, from 1."""

    number: int
    custom_id: str
    body: dict[str, Any]


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line that is not blank; a longer line is cut at `MAX_LINE` + 1 bytes."""
    number = 0
    with path.open("rb", buffering=1 << 18) as handle:
        while line := handle.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = handle.readline(1 << 20)
            if not line.isspace():
                yield number, line


MAX_ERRORS = 10_000  # errors of one batch: our own limit, so that the batch object stays readable
_WORK_TIME = 0.05  # seconds of work after which other tasks get a turn
_REQUIRED_INPUTS = {"/v1/chat/completions": "messages", "/v1/responses": "input", "/v1/embeddings": "input"}
_STREAMING = {
    "/v1/chat/completions": "Chat Completions",
    "/v1/responses": "Responses",
    "/v1/completions": "Completions",
}


@dataclass
class Report:
    """The result of validation: the numbers of requests and lines, the model, and the errors in their order."""

    total: int = 0
    lines: int = 0
    model: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        """Add one error."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"code": code, "message": message, "line": line, "param": param})


class Validator:
    """Checks the lines of one input file."""

    def __init__(self, endpoint: str, knows_model: Callable[[str], bool]) -> None:
        self.report = Report()
        self._endpoint = endpoint
        self._knows_model = knows_model
        self._custom_ids: set[str] = set()
        self._inputs = 0

    async def read(self, path: Path, stopped: Callable[[], bool]) -> bool:
        """Check every line; return False if `stopped` returns True before the end. Raises FileNotFoundError."""
        pause = time.monotonic() + _WORK_TIME
        for number, raw in read_lines(path):
            self.check_line(number, raw)
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                if stopped():
                    return False
                pause = time.monotonic() + _WORK_TIME
        self._finish()
        return True

    def check_line(self, number: int, raw: bytes) -> None:
        """Check one line."""
        report = self.report
        report.total += 1
        report.lines = number
        if len(raw) > MAX_LINE:
            report.add("invalid_request", f"This line is longer than the maximum of {MAX_LINE} bytes.", number)
            return
        try:
            line = parse_json(raw)
        except ValueError:
            report.add("invalid_json_line", "This line is not parseable as valid JSON.", number)
            return
        if not isinstance(line, dict):
            report.add("invalid_json_line", "This line is not a JSON object.", number)
            return
        for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
            value = line.get(name)
            if value is None:
                report.add("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
            elif not isinstance(value, kind):
                report.add("invalid_type", wrong_type(name, kind, value), number, name)
        self._check_custom_id(number, line.get("custom_id"))
        method, url = line.get("method"), line.get("url")
        if isinstance(method, str) and method != "POST":
            message = f"Invalid value: '{method}'. Supported values are: 'POST'"
            report.add("invalid_method", message, number, "method")
        if isinstance(url, str) and url != self._endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            report.add("invalid_url", message, number, "url")
        if isinstance(line.get("body"), dict):
            self._check_body(number, line["body"])

    def _check_custom_id(self, number: int, custom_id: object) -> None:
        if not isinstance(custom_id, str):
            return
        if custom_id in self._custom_ids:
            message = (
                f"The custom_id '{custom_id}' for this request is a duplicate of another request. "
                "The custom_id parameter must be unique for each request in a batch."
            )
            self.report.add("duplicate_custom_id", message, number, "custom_id")
        elif len(self._custom_ids) <= MAX_REQUESTS:
            self._custom_ids.add(custom_id)

    def _check_body(self, number: int, body: dict[str, Any]) -> None:
        report = self.report
        model = body.get("model")
        if not isinstance(model, str) or not model:
            report.add("invalid_request", "Model parameter is required.", number, "body.model")
        elif not self._knows_model(model):
            message = f"The provided model '{model}' is not supported by the Batch API."
            report.add("model_not_found", message, number, "body.model")
        elif report.model is None:
            report.model = model
        elif model != report.model:
            message = (
                f"The model '{model}' for this request does not match the rest of the batch. "
                "Each batch must contain requests for a single model."
            )
            report.add("mismatched_model", message, number, "body.model")
        needed = _REQUIRED_INPUTS.get(self._endpoint)
        if needed and body.get(needed) is None and not (needed == "input" and body.get("prompt")):
            report.add("invalid_request", f"{needed.capitalize()} parameter is required.", number, f"body.{needed}")
        if body.get("stream"):
            subject = _STREAMING.get(self._endpoint, "This endpoint")
            message = f"{subject}: Streaming is not supported in the Batch API."
            report.add("streaming_unsupported", message, number, "body.stream")
        if self._endpoint == "/v1/embeddings":
            self._inputs += _count_inputs(body.get("input"))

    def _finish(self) -> None:
        report = self.report
        if not report.total:
            message = "The input file is empty. Please ensure that the batch contains at least one request."
            report.add("empty_file", message)
        for count, things in ((report.total, "requests"), (self._inputs, "embedding inputs")):
            if count > MAX_REQUESTS:
                message = f"The batch has {count} {things}; the maximum is {MAX_REQUESTS}."
                report.errors.insert(0, {"code": "too_many_tasks", "message": message, "line": None, "param": None})


def _count_inputs(value: object) -> int:
    """Return how many texts (or lists of tokens) an embeddings request has."""
    if isinstance(value, list) and value and isinstance(value[0], str | list):
        return len(value)
    return 1
