"""Failures of the HTTP layer: replies dropped, held, cut or replaced, before or after the deed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.server.envelope import ApiError, Json

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sqlbatch.server.faults import Faults, Rule

_KEPT = 20_000  # requests that are remembered
_READY_MADE: dict[str, dict[str, Any]] = {
    "quota": {
        "status": 429,
        "code": "insufficient_quota",
        "type": "insufficient_quota",
        "message": "You exceeded your current quota, please check your plan and billing details.",
    },
    "retry_after": {"status": 429, "code": "rate_limit_exceeded", "message": "Rate limit reached.", "retry_after": 300},
    "content_502": {"status": 502, "message": "Bad gateway"},
    "content_gone": {"status": 404, "message": "No such File object."},
    "error": {"status": 500, "message": "The server had an error while processing your request."},
    "error_after": {"status": 500, "message": "The server had an error while processing your request."},
}


class ConnectionDropped(Exception):
    """The connection was closed on purpose."""


@dataclass
class Seen:
    """One HTTP request as a test may ask for it; `status` is 0 where the client got no reply."""

    method: str
    path: str
    at: float
    status: int = 0


class FaultyHttp:
    """Stands before the whole application and acts failures out; remembers every request."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults
        self.seen: deque[Seen] = deque(maxlen=_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not quite."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        seen = Seen(scope["method"], scope["path"], time.time())
        self.seen.append(seen)
        place = f"{scope['method']} {scope['path']}"
        exchange = _Exchange(scope, receive, send, seen)
        try:
            await self._act(place, exchange)
        except ConnectionDropped:
            await exchange.drop()

    async def _act(self, place: str, exchange: _Exchange) -> None:
        take = self._faults.take
        if take("drop_before", place):
            raise ConnectionDropped
        if rule := take("upload_breaks", place):
            exchange.break_upload(int(rule.options.get("bytes", 65_536)))
        hold = take("hold", place)
        if hold and hold.options.get("before"):
            await asyncio.sleep(float(hold.options.get("seconds", 60)))
        for name in ("error", "quota", "retry_after", "content_502", "content_gone"):
            if rule := take(name, place):
                await exchange.reply(_error_reply(rule))
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
        await exchange.run(self._app)
        if exchange.mute:
            raise ConnectionDropped


class _Exchange:
    """One request and its reply, on their way through the failures."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> None:
        self._scope = scope
        self._receive_from = receive
        self._send_to = send
        self._seen = seen
        self._upload_left: int | None = None
        self._ended = False
        self._read = False
        self.mute = False
        self.hold = 0.0
        self.cut: int | None = None
        self.silent = False

    async def run(self, app: ASGIApp) -> None:
        """Let the application do the deed."""
        self._read = True
        await app(self._scope, self._receive, self._send)

    async def reply(self, response: Json) -> None:
        """Answer in the application's place, having read the request."""
        while not self._read:
            message = await self._receive_from()
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        await response(self._scope, self._receive_from, self._send)

    async def drop(self) -> None:
        """Close the connection without a reply."""
        # ASGI has no word for this; Uvicorn's `send` is a method of the object that holds the transport.
        self._seen.status = 0
        transport = getattr(getattr(self._send_to, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()
            while (await self._receive_from())["type"] != "http.disconnect":
                pass

    def break_upload(self, size: int) -> None:
        """Close the connection once `size` bytes of the request's body have come."""
        self._upload_left = size

    async def _receive(self) -> Message:
        message = await self._receive_from()
        if self._upload_left is not None:
            self._upload_left -= len(message.get("body", b""))
            if self._upload_left <= 0:
                self.mute = True
                return {"type": "http.disconnect"}
        return message

    async def _send(self, message: Message) -> None:
        if self.mute:
            return
        if message["type"] == "http.response.start":
            if self.hold:
                await asyncio.sleep(self.hold)
            self._seen.status = message["status"]
            if self.cut is not None and self.silent:
                headers = [(name, value) for name, value in message["headers"] if name.lower() != b"content-length"]
                message = {**message, "headers": headers}
        elif self.cut is not None:
            await self._send_cut(message)
            return
        await self._send_to(message)

    async def _send_cut(self, message: Message) -> None:
        if self._ended or self.cut is None:
            return
        body = message.get("body", b"")[: self.cut]
        self.cut -= len(body)
        if self.cut > 0 and message.get("more_body"):
            await self._send_to({**message, "body": body})
            return
        self._ended = True
        if self.silent:
            await self._send_to({"type": "http.response.body", "body": body, "more_body": False})
            return
        await self._send_to({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(0.05)  # what was sent shall arrive before the connection ends
        # The application ends as if all was sent, and the connection is dropped then: an error here would be logged.
        self.mute = True


def _error_reply(rule: Rule) -> Json:
    said = {**_READY_MADE[rule.name], **rule.options}
    error = ApiError(
        int(said["status"]),
        str(said["message"]),
        code=said.get("code"),
        kind=str(said.get("type", "invalid_request_error" if int(said["status"]) < 500 else "server_error")),
    )
    headers = {"x-request-id": "req_fault"}
    if "retry_after" in said:
        headers["retry-after"] = str(said["retry_after"])
    return Json(error.body, status_code=error.status, headers=headers)
