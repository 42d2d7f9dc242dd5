"""The faults of HTTP replies: dropped, delayed, cut off, replaced by an error, or changed."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from sqlbatch.server.testing.shapes import BATCH_ID, BATCHES, CREATE, ERRORS, FILES, SHAPES, TEXTS, error_body

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sqlbatch.server.config import Clock
    from sqlbatch.server.testing.faults import Faults, Rule
    from sqlbatch.server.testing.shapes import Options


class ConnectionDropped(Exception):
    """A fault closes the connection."""


@dataclass
class RecordedRequest:
    """One received HTTP request, for the control endpoint; `status` is 0 if the client got no reply."""

    method: str
    path: str
    at: float
    status: int = 0


class FaultyHttp:
    """Middleware that applies faults to requests and replies, and records every request."""

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock, requests: deque[RecordedRequest]) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, with its faults."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        if self._faults.any_of({"odd_ids"}):
            scope["path"] = re.sub(f"^/v1/batches/.*({BATCH_ID})[^/]*", r"/v1/batches/\1", scope["path"])
            scope["query_string"] = re.sub(
                f"after=[^&]*({BATCH_ID})[^&]*".encode(), rb"after=\1", scope["query_string"]
            )
        record = RecordedRequest(scope["method"], scope["path"], time.time())
        self._requests.append(record)
        exchange = _Exchange(scope, receive, send, record)
        try:
            await self._act(f"{scope['method']} {scope['path']}", exchange)
        except ConnectionDropped:
            await exchange.drop()

    async def _act(self, place: str, exchange: _Exchange) -> None:
        take = self._faults.take
        if take("drop_before", place):
            raise ConnectionDropped
        if rule := take("upload_breaks", place):
            exchange.upload_left = int(rule.options.get("bytes", 65_536))
        hold = take("hold", place)
        if hold and hold.options.get("before"):
            await asyncio.sleep(float(hold.options.get("seconds", 60)))
        for refusal in self._faults.firing([name for name in ERRORS if name != "error_after"], place):
            await exchange.reply(_error_reply(refusal))
            return
        if hold and not hold.options.get("before"):
            exchange.hold = float(hold.options.get("seconds", 60))
        if take("drop_after", place):
            exchange.mute = True
            await exchange.run(self._app)
            raise ConnectionDropped
        if rule := take("error_after", place):
            exchange.mute = True
            await exchange.run(self._app)
            exchange.mute = False
            await exchange.reply(_error_reply(rule))
            return
        for name in ("cut", "cut_silently"):
            if rule := take(name, place):
                exchange.cut = int(rule.options.get("bytes", 1_000))
                exchange.silent = name == "cut_silently"
        rules = self._faults.firing([*SHAPES, *TEXTS], place, place)
        if any(rule.name == "endless_list" for rule in rules):
            exchange.scope["query_string"] = re.sub(rb"after=[^&]*", b"", exchange.scope["query_string"])
        changes_objects = not place.endswith("/content") and self._faults.any_of({*BATCHES, *FILES})
        if rules or changes_objects:
            exchange.rewrite = lambda body: self._rewrite(place, body, rules, changes_objects=changes_objects)
        await exchange.run(self._app)
        if exchange.mute:
            raise ConnectionDropped

    def _rewrite(self, place: str, body: bytes, rules: list[Rule], *, changes_objects: bool) -> tuple[int, bytes]:
        """Return the status and the bytes of a successful reply as its faults change it."""
        shapes = [rule for rule in rules if rule.name in SHAPES]
        if changes_objects or shapes:
            reply = json.loads(body)
            # `list_lags` compares dates, so it comes before the faults that change them to text.
            for rule in (rule for rule in shapes if rule.name == "list_lags"):
                reply = SHAPES[rule.name](reply, {**rule.options, "now": self._clock.now()})
            if changes_objects and reply.get("object") == "list":
                changed = (self._change_object(place, one) for one in reply["data"])
                reply["data"] = [one for one in changed if one is not None]
            elif changes_objects:
                reply = self._change_object(place, reply)
            if reply is None:
                return 404, json.dumps(error_body({"status": 404, "message": "No batch found."})).encode()
            for rule in (rule for rule in shapes if rule.name != "list_lags"):
                reply = SHAPES[rule.name](reply, rule.options)
            body = json.dumps(reply, separators=(",", ":")).encode()
        for rule in (rule for rule in rules if rule.name in TEXTS):
            body = TEXTS[rule.name](body, rule.options)
        return 200, body

    def _change_object(self, place: str, original: Options) -> Options | None:
        """Return a batch or file object as its faults change it; None if the server pretends not to know it."""
        kind, found = original.get("object"), original
        if kind == "file":
            for rule in self._faults.firing(FILES, original["id"], original["id"]):
                found = FILES[rule.name](found, rule.options)
        if kind == "batch":
            names = [
                name for name, (statuses, _) in BATCHES.items() if statuses is None or original["status"] in statuses
            ]
            if place == CREATE:
                names = [name for name in names if name not in {"batch_forgotten", "queued_first"}]
            for rule in self._faults.firing(names, original["id"], original["id"]):
                changed = BATCHES[rule.name][1](found, rule.options)
                if changed is None:
                    return None
                found = changed
        return found


@dataclass
class _Exchange:
    """One request and its reply, changed by the faults that apply to it."""

    scope: Scope
    receive: Receive
    send: Send
    record: RecordedRequest
    upload_left: int | None = None  # bytes of the request's body until the connection is closed
    hold: float = 0.0  # seconds before the reply is sent
    cut: int | None = None  # bytes of the reply's body until the connection is closed
    silent: bool = False  # whether a cut reply looks complete
    mute: bool = False  # whether nothing more is sent
    rewrite: Callable[[bytes], tuple[int, bytes]] | None = None  # makes another status and body of a successful body
    _ended: bool = False
    _read: bool = False
    _start: Message | None = None
    _body: bytes = b""

    async def run(self, app: ASGIApp) -> None:
        """Run the application."""
        self._read = True
        await app(self.scope, self._receive, self._send if self.rewrite is None else self._send_changed)

    async def reply(self, response: Response) -> None:
        """Read the request and reply in place of the application."""
        while not self._read:
            message = await self.receive()
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        await response(self.scope, self.receive, self._send)

    async def drop(self) -> None:
        """Close the connection without a reply."""
        # ASGI cannot do this. Uvicorn's `send` is a method of the object that has the transport.
        self.record.status = 0
        transport = getattr(getattr(self.send, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()
            while (await self.receive())["type"] != "http.disconnect":
                pass

    async def _receive(self) -> Message:
        message = await self.receive()
        if self.upload_left is not None:
            self.upload_left -= len(message.get("body", b""))
            if self.upload_left <= 0:
                self.mute = True
                return {"type": "http.disconnect"}
        return message

    async def _send_changed(self, message: Message) -> None:
        """Collect the complete reply, then send it changed. An error reply is not changed."""
        if self._start is None:
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        status, body = self._start["status"], self._body
        if status < 300 and self.rewrite:
            status, body = self.rewrite(body)
        kept = [(key, value) for key, value in self._start["headers"] if key.lower() != b"content-length"]
        if body.startswith(b"<"):
            kept = [*(one for one in kept if one[0].lower() != b"content-type"), (b"content-type", b"text/html")]
        headers = [*kept, (b"content-length", str(len(body)).encode())]
        await self._send({**self._start, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send(self, message: Message) -> None:
        if self.mute:
            return
        if message["type"] == "http.response.start":
            if self.hold:
                await asyncio.sleep(self.hold)
            self.record.status = message["status"]
            if self.cut is not None and self.silent:
                headers = [(name, value) for name, value in message["headers"] if name.lower() != b"content-length"]
                message = {**message, "headers": headers}
        elif self.cut is not None:
            await self._send_cut(message)
            return
        await self.send(message)

    async def _send_cut(self, message: Message) -> None:
        if self._ended or self.cut is None:
            return
        body = message.get("body", b"")[: self.cut]
        self.cut -= len(body)
        if self.cut > 0 and message.get("more_body"):
            await self.send({**message, "body": body})
            return
        self._ended = True
        if self.silent:
            await self.send({"type": "http.response.body", "body": body, "more_body": False})
            return
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.05)  # lets the sent bytes arrive before the connection is closed
        # The application finishes normally, and the connection is closed after that. An error here would be logged.
        self.mute = True


def _error_reply(rule: Rule) -> Response:
    how = {**ERRORS[rule.name], **rule.options}
    body = error_body(how)
    headers = {"x-request-id": "req_fault"}
    if "retry_after" in how:
        headers["retry-after"] = str(how["retry_after"])
    text, kind = (body, "text/html") if isinstance(body, str) else (json.dumps(body), "application/json")
    return Response(text, int(how["status"]), headers, kind)
