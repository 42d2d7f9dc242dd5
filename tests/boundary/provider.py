"""A provider in memory whose replies can be changed on their way: no socket, no server, every reply at once."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_URL = "http://127.0.0.1:9/v1"
# The reply that a change is about, by method and path.
PLACES = {
    "upload": ("POST", r"/v1/files"),
    "list of files": ("GET", r"/v1/files"),
    "file": ("GET", r"/v1/files/[^/]+"),
    "delete": ("DELETE", r"/v1/files/[^/]+"),
    "content": ("GET", r"/v1/files/[^/]+/content"),
    "create": ("POST", r"/v1/batches"),
    "list": ("GET", r"/v1/batches"),
    "retrieve": ("GET", r"/v1/batches/[^/]+"),
    "cancel": ("POST", r"/v1/batches/[^/]+/cancel"),
}
_NOW = 1_789_000_000
_NO_FILE = {
    "status": "failed",
    "failed_at": _NOW,
    "errors": {"object": "list", "data": [{"code": "invalid_request", "message": "Cannot find file.", "line": None}]},
}


class Hung(BaseException):
    """A command asks and asks, and does not end."""


@dataclass
class MemoryProvider:
    """Files and batches as OpenAI has them; a batch is answered, and ended, when it is looked at for the second time.

    Each batch has one request, known by the number at the end of its text. `change` takes a place, that number (None
    for a list as a whole) and a body, and returns the body that is sent; the entries of a list come one by one, as
    the place `list of files, entry` and the like. `lose` names replies of which the first about each request is lost,
    `before` or `after` the deed. `held` batches stay in progress.
    """

    change: Callable[[str, int | None, bytes], bytes] = lambda _place, _number, body: body
    lose: dict[str, str] = field(default_factory=dict)
    held: bool = False
    patience: int = 2_000
    files: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    ledger: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    nameless: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _lost: set[tuple[str, int | None]] = field(default_factory=set)
    # The SDK transfers files in several threads.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        request.read()
        with self._lock:
            status, body = self._reply(request)
        return httpx2.Response(status, content=body, headers={"content-type": "application/json"}, request=request)

    def _reply(self, request: httpx2.Request) -> tuple[int, bytes]:
        place = next(
            name
            for name, (method, path) in PLACES.items()
            if request.method == method and re.fullmatch(path, request.url.path)
        )
        self.asked.append(place)
        if len(self.asked) > self.patience:
            raise Hung(f"{len(self.asked)} requests, the last of them {', '.join(self.asked[-5:])}")
        number = self._number(place, request)
        lost = None if (place, number) in self._lost else self.lose.get(place)
        self._lost.add((place, number))
        if lost == "before":
            raise httpx2.ReadError("lost on the way")
        status, body = self._answer(place, request)
        if lost == "after":
            raise httpx2.ReadError("lost on the way back")
        return status, self.change(place, number, body) if status == 200 else body

    def _number(self, place: str, request: httpx2.Request) -> int | None:
        """Return which request an exchange is about."""
        if place == "upload":
            return int(re.findall(rb'row (\d+)"', request.content)[0])
        if place == "create":
            file_id = json.loads(request.content).get("input_file_id")
            self.nameless += not (isinstance(file_id, str) and file_id)
            return self._numbers.get(str(file_id))
        return self._numbers.get([*request.url.path.split("/"), ""][3])

    def _answer(self, place: str, request: httpx2.Request) -> tuple[int, bytes]:
        name = request.url.path.split("/")[3:4]
        found = self.batches if "/batches" in request.url.path else self.files
        if name and name[0] not in found:
            error = {
                "message": f"No such object: {name[0]}",
                "type": "invalid_request_error",
                "param": "id",
                "code": None,
            }
            return 404, json.dumps({"error": error}).encode()
        if place == "content":
            return 200, self.files[name[0]][1]
        return 200, json.dumps(getattr(self, f"_{place.replace(' ', '_')}")(*name, request)).encode()

    def _entries(self, place: str, shown: list[dict[str, Any]]) -> dict[str, Any]:
        data = [
            json.loads(self.change(f"{place}, entry", self._numbers.get(each["id"]), json.dumps(each).encode()))
            for each in shown
        ]
        return {"object": "list", "data": data, "has_more": False, "first_id": None, "last_id": None}

    def _upload(self, request: httpx2.Request) -> Any:
        body = request.content
        filename = re.search(rb'filename="([^"]+)"', body)
        content = body[body.index(b"\r\n\r\n", body.index(b"filename=")) + 4 :]
        content = content[: content.rindex(b"\r\n--")]
        number = int(re.findall(rb'row (\d+)"', content)[0])
        return self._kept(number, content, filename[1].decode() if filename else "upload", "batch")

    def _list_of_files(self, _: httpx2.Request) -> Any:
        return self._entries("list of files", [shown for shown, _ in reversed(self.files.values())])

    def _file(self, name: str, _: httpx2.Request) -> Any:
        return self.files[name][0]

    def _delete(self, name: str, _: httpx2.Request) -> Any:
        del self.files[name]
        return {"id": name, "object": "file", "deleted": True}

    def _create(self, request: httpx2.Request) -> Any:
        asked = json.loads(request.content)
        batch_id = f"batch_{len(self.batches) + 1:04}"
        batch: dict[str, Any] = {
            "id": batch_id, "object": "batch", "endpoint": asked["endpoint"], "model": "offline", "errors": None,
            "input_file_id": asked.get("input_file_id"), "completion_window": "24h", "status": "validating",
            "output_file_id": None, "error_file_id": None, "created_at": _NOW, "in_progress_at": None,
            "expires_at": _NOW + 86_400, "finalizing_at": None, "completed_at": None, "failed_at": None,
            "expired_at": None, "cancelling_at": None, "cancelled_at": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0}, "metadata": asked["metadata"],
        }  # fmt: skip
        self.batches[batch_id] = batch
        if asked.get("input_file_id") in self.files:
            self._numbers[batch_id] = self._numbers[asked.get("input_file_id")]
        else:
            batch |= _NO_FILE
        return batch

    def _list(self, request: httpx2.Request) -> Any:
        after = request.url.params.get("after")
        newest = [self._looked_at(batch) for batch in reversed(self.batches.values())]
        names = [batch["id"] for batch in newest]
        return self._entries("list", newest[names.index(after) + 1 :] if after in names else newest)

    def _retrieve(self, name: str, _: httpx2.Request) -> Any:
        return self._looked_at(self.batches[name])

    def _looked_at(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["status"] == "validating":
            batch |= {"status": "in_progress"} if batch["input_file_id"] in self.files else _NO_FILE
        elif batch["status"] == "in_progress" and not self.held:
            if batch["input_file_id"] not in self.files:
                return batch | _NO_FILE
            line = json.loads(self.files[batch["input_file_id"]][1])
            number = self._numbers[batch["id"]]
            self.ledger.append(number)
            output = self._kept(number, json.dumps(result(line)).encode() + b"\n", "output.jsonl", "batch_output")
            batch |= {
                "status": "completed", "completed_at": _NOW, "output_file_id": output["id"],
                "request_counts": {"total": 1, "completed": 1, "failed": 0},
            }  # fmt: skip
        return batch

    def _cancel(self, name: str, _: httpx2.Request) -> Any:
        batch = self.batches[name]
        if batch["status"] in {"validating", "in_progress"}:
            batch |= {"status": "cancelled", "cancelled_at": _NOW}
        return batch

    def _kept(self, number: int, content: bytes, filename: str, purpose: str) -> dict[str, Any]:
        name = f"file-{len(self._numbers):05}"
        self._numbers[name] = number
        self.files[name] = (
            {"id": name, "object": "file", "bytes": len(content), "created_at": _NOW, "filename": filename,
             "purpose": purpose, "status": "processed", "status_details": None, "expires_at": _NOW + 2_592_000},
            content,
        )  # fmt: skip
        return self.files[name][0]


def result(line: dict[str, Any]) -> dict[str, Any]:
    """Return the result line of a request line: a model that repeats the text it is given."""
    body, endpoint = line["body"], line["url"]
    if endpoint == "/v1/chat/completions":
        message = {"role": "assistant", "content": body["messages"][-1]["content"], "refusal": None}
        reply: dict[str, Any] = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": _NOW, "model": "offline",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
                      "prompt_tokens_details": {"cached_tokens": 2}},
        }  # fmt: skip
    elif endpoint == "/v1/responses":
        told = body["input"] if isinstance(body["input"], str) else body["input"][-1]["content"]
        part: dict[str, Any] = {"type": "output_text", "text": told, "annotations": []}
        reply = {
            "id": "resp_1", "object": "response", "created_at": _NOW, "model": "offline", "status": "completed",
            "error": None, "incomplete_details": None,
            "output": [{"type": "message", "role": "assistant", "status": "completed", "content": [part]}],
            "usage": {"input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}},
        }  # fmt: skip
    else:
        vector = [float(ord(character)) for character in body["input"][-4:]]
        reply = {
            "object": "list", "model": "offline", "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }  # fmt: skip
    response = {"status_code": 200, "request_id": "req_1", "body": reply}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": None}
