"""Sends requests to the upstreams, which are OpenAI-compatible servers: lines of batches, and direct calls."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from sqlbatch.server.http import ApiError, parse_json
from sqlbatch.server.results import Reply, failed_line
from sqlbatch.server.scheduling import BatchLines, LineQueue, LoadControl, QueuedLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.validation import Line


_log = logging.getLogger("sqlbatch.server")
_MAX_FAILURES = 20  # failed attempts before a line fails: enough for an upstream that fails half of all requests
_MAX_TIMEOUTS = 5  # attempts without a reply in time before a line fails
_LONGEST_DELAY = 2.0  # seconds between two attempts for one line
_MAX_REPLY = 64 * 1024 * 1024  # bytes of one reply
_STOP_GRACE = 0.3  # seconds to wait for requests in flight when the server stops
_INTERRUPT_GRACE = 5.0  # seconds to wait for requests in flight when their batch is cancelled or expires
_OVERLOADED = frozenset({429, 503, 529})
_FAILED = frozenset({408, 425, 500, 502, 504, 520, 522, 524})
_FINAL_429 = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


@dataclass(frozen=True)
class _UpstreamReply:
    status: int
    headers: Mapping[str, str]
    content: bytes


class Upstream:
    """One upstream, with a connection for each request in flight."""

    def __init__(self, base_url: str, config: ServerConfig) -> None:
        self.base_url = base_url.rstrip("/")
        self.load = LoadControl(config.concurrency)
        self._verify: Any = httpx2.create_ssl_context() if base_url.startswith("https:") else False
        self._free: list[httpx2.AsyncHTTPTransport] = []
        self._timeout = config.upstream_timeout
        url = httpx2.URL(self.base_url)
        self._headers = [("Host", url.netloc.decode("ascii")), ("Content-Type", "application/json"), ("Accept", "*/*")]
        if config.upstream_key:
            self._headers.append(("Authorization", f"Bearer {config.upstream_key}"))
        self._urls: dict[str, httpx2.URL] = {}

    async def post(self, endpoint: str, payload: bytes) -> _UpstreamReply:
        """Send one request and return its complete reply; raises httpx2.TransportError or TimeoutError."""
        url = self._urls.setdefault(endpoint, httpx2.URL(self.base_url + endpoint.removeprefix("/v1")))
        # Each transport has one connection, because a pool searches all of its connections for every request.
        transport = self._free.pop() if self._free else self._new_transport()
        headers = [*self._headers, ("Content-Length", str(len(payload)))]
        connect = min(self._timeout, 10.0)
        timeout = {"connect": connect, "read": self._timeout, "write": self._timeout, "pool": self._timeout}
        request = httpx2.Request("POST", url, headers=headers, content=payload, extensions={"timeout": timeout})
        try:
            async with asyncio.timeout(self._timeout):
                response = await transport.handle_async_request(request)
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        finally:
            self._free.append(transport)
        return _UpstreamReply(response.status_code, response.headers, content)

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._free:
            await transport.aclose()

    def _new_transport(self) -> httpx2.AsyncHTTPTransport:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0)
        return httpx2.AsyncHTTPTransport(verify=self._verify, limits=limits, trust_env=False)


class Upstreams:
    """The upstreams as a backend. They are replicas of each other and share the lines."""

    def __init__(self, config: ServerConfig) -> None:
        self._upstreams = [Upstream(url, config) for url in config.upstreams]
        self._queue = LineQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line, in any order. Returns after the last line, or soon after `interrupted` is set."""
        if not self._tasks:
            self._tasks = {asyncio.create_task(self._dispatch(upstream)) for upstream in self._upstreams}
        batch = BatchLines(endpoint, lines, deliver)
        self._queue.add(batch)
        ended, stop = asyncio.ensure_future(batch.ended.wait()), asyncio.ensure_future(interrupted.wait())
        try:
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                self._queue.stop_sending(batch)
                if batch.in_flight:
                    await asyncio.wait({ended}, timeout=_INTERRUPT_GRACE)
        finally:
            self._queue.close(batch)
            ended.cancel()
            stop.cancel()

    async def close(self) -> None:
        """Wait briefly for requests in flight, then cancel the others; their lines run after the next start."""
        for task in self._tasks:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests, timeout=_STOP_GRACE)
        for task in self._requests:
            task.cancel()
        if self._tasks or self._requests:
            await asyncio.wait({*self._tasks, *self._requests})
        for upstream in self._upstreams:
            await upstream.close()
        await asyncio.sleep(0)  # the event loop releases closed connections in its next round

    async def _dispatch(self, upstream: Upstream) -> None:
        while True:
            await upstream.load.ready()
            item = await self._queue.next()
            sent_at = upstream.load.begin()
            task = asyncio.create_task(self._send(upstream, item, sent_at))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _send(self, upstream: Upstream, item: QueuedLine, sent_at: float) -> None:
        load = upstream.load
        try:
            reply = await upstream.post(item.batch.endpoint, item.payload)
            self._handle_reply(load, item, sent_at, reply)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if load.unreachable(sent_at):
                _log.warning("upstream %s cannot be reached, waiting for it: %s", upstream.base_url, error)
            self._queue.retry(item, 0.0)
        except (httpx2.TimeoutException, TimeoutError):
            load.timed_out(sent_at)
            item.timeouts += 1
            if item.timeouts < _MAX_TIMEOUTS:
                self._queue.retry(item, 0.0)
            else:
                message = (
                    f"This request could not be executed: the upstream did not answer in time, {_MAX_TIMEOUTS} times."
                )
                self._queue.deliver(item, Reply(0, None, error={"code": "upstream_timeout", "message": message}))
        except (httpx2.TransportError, ValueError) as error:
            message = f"This request could not be executed: the upstream broke off its reply ({error})."
            self._retry_or_fail(item, Reply(0, None, error={"code": "upstream_error", "message": message}))
        except asyncio.CancelledError:
            self._queue.remove(item)
            raise
        except Exception as error:  # noqa: BLE001 - one unexpected line must not stop its batch
            self._queue.deliver(item, failed_line(item.line, error))
        finally:
            load.end()

    def _handle_reply(self, load: LoadControl, item: QueuedLine, sent_at: float, reply: _UpstreamReply) -> None:
        result = _line_reply(reply)
        status = reply.status
        if status in _OVERLOADED and _error_code(result.body) not in _FINAL_429:
            load.overloaded(sent_at, _retry_after(reply.headers))
            self._queue.retry(item, 0.0)
        elif status in _FAILED or result.error is not None:
            self._retry_or_fail(item, result)
        else:
            load.succeeded()
            self._queue.deliver(item, result)

    def _retry_or_fail(self, item: QueuedLine, reply: Reply) -> None:
        """Retry a line after a growing pause; after the last attempt, its reply is the result."""
        item.failures += 1
        if item.failures < _MAX_FAILURES:
            spread = 0.5 + item.line.number * 0.618 % 1  # lines that failed together are retried at different times
            self._queue.retry(item, spread * min(0.02 * 2**item.failures, _LONGEST_DELAY))
        else:
            self._queue.deliver(item, reply)


async def _read(response: httpx2.Response) -> bytes:
    chunks, size = [], 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MAX_REPLY:
            raise ValueError(f"it is longer than {_MAX_REPLY} bytes")
        chunks.append(chunk)
    raw = b"".join(chunks)
    if "content-encoding" not in response.headers:
        return raw
    try:
        return httpx2.Response(response.status_code, headers=response.headers, content=raw).content
    except httpx2.DecodingError:  # a proxy decoded the body but left the header
        return raw


def _line_reply(reply: _UpstreamReply) -> Reply:
    """Return an upstream's reply as the reply to a line; an error that is not JSON is put in the envelope."""
    request_id = reply.headers.get("x-request-id")
    try:
        body = parse_json(reply.content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return Reply(reply.status, body, request_id=request_id)
    if 200 <= reply.status < 300:
        message = "This request could not be executed: the upstream's reply is not a JSON object."
        return Reply(0, None, error={"code": "upstream_error", "message": message})
    message = reply.content[:2_000].decode("utf-8", "replace")
    error = {"message": message, "type": "upstream_error", "param": None, "code": None}
    return Reply(reply.status, {"error": error}, request_id=request_id)


def _error_code(body: dict[str, Any] | None) -> object:
    error = (body or {}).get("error")
    return error.get("code") if isinstance(error, dict) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of the header `retry-after-ms` or `retry-after` (a number or a date), or None."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


# The headers of a client's request that are sent to the upstream, and of the upstream's reply that are sent back.
_REQUEST_HEADERS = ("accept", "content-type", "openai-beta", "user-agent")
_REPLY_HEADERS = ("content-type", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry")


class Passthrough:
    """Forwards direct calls to the upstreams in turn, skipping those that cannot be reached."""

    def __init__(self, config: ServerConfig) -> None:
        self._urls = [url.rstrip("/") for url in config.upstreams]
        self._key = config.upstream_key
        self._timeout = httpx2.Timeout(config.upstream_timeout, connect=10.0)
        self._client: httpx2.AsyncClient | None = None
        self._next = 0

    async def forward(self, request: Request, body: bytes | None) -> Response:
        """Forward a request and stream its reply."""
        headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
        headers["accept-encoding"] = request.headers.get("accept-encoding", "identity")
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        path = request.url.path.removeprefix("/v1")
        response = await self._send(request.method, path, headers, body)
        returned = {name: response.headers[name] for name in _REPLY_HEADERS if name in response.headers}
        closing = BackgroundTask(response.aclose)
        return StreamingResponse(response.aiter_raw(), response.status_code, returned, background=closing)

    async def models(self) -> list[dict[str, Any]]:
        """Return the models of an upstream; an empty list if it does not list its models."""
        try:
            response = await self._send("GET", "/models", {}, None)
            try:
                await response.aread()
                found = response.json()
            finally:
                await response.aclose()
        except (ApiError, ValueError, httpx2.HTTPError):
            return []
        data = found.get("data") if isinstance(found, dict) else None
        return [one for one in data if isinstance(one, dict) and "id" in one] if isinstance(data, list) else []

    async def close(self) -> None:
        """Close all connections."""
        if self._client:
            await self._client.aclose()
            await asyncio.sleep(0)  # the event loop releases closed connections in its next round

    async def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> httpx2.Response:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._timeout, trust_env=False)
        problem = ""
        for _ in self._urls:
            url = self._urls[self._next % len(self._urls)]
            self._next += 1
            request = self._client.build_request(method, url + path, headers=headers, content=body)
            try:
                return await self._client.send(request, stream=True)
            except httpx2.ConnectError as error:
                problem = f"the upstream {url} cannot be reached: {error}"
            except httpx2.TransportError as error:
                raise ApiError(502, f"The upstream {url} broke off: {error}", kind="server_error") from error
        raise ApiError(502, f"No answer: {problem}", kind="server_error")
