"""Direct calls that go on to an upstream as they are, streams included."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from sqlbatch.server.envelope import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.config import ServerConfig

_PASSED = ("accept", "content-type", "openai-beta", "user-agent")  # headers of the client that the upstream is told
_RETURNED = (
    "content-type",
    "content-encoding",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)  # headers of its reply that the client is


class Passthrough:
    """Forwards requests to the upstreams, each time to the next one that can be reached."""

    def __init__(self, config: ServerConfig) -> None:
        self._urls = [url.rstrip("/") for url in config.upstreams]
        self._key = os.environ.get(config.upstream_key_env) if config.upstream_key_env else None
        self._timeout = httpx2.Timeout(config.upstream_timeout, connect=10.0)
        self._client: httpx2.AsyncClient | None = None
        self._turn = 0

    async def forward(self, request: Request, body: bytes | None) -> Response:
        """Send a request on, and the reply back as it comes."""
        headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
        headers["accept-encoding"] = request.headers.get("accept-encoding", "identity")
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        path = request.url.path.removeprefix("/v1")
        response = await self._send(request.method, path, headers, body)
        returned = {name: response.headers[name] for name in _RETURNED if name in response.headers}
        closing = BackgroundTask(response.aclose)
        return StreamingResponse(response.aiter_raw(), response.status_code, returned, background=closing)

    async def models(self) -> list[dict[str, Any]]:
        """Return the models of the upstreams; none where they have no such list."""
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
            await asyncio.sleep(0)  # a closed connection is let go of in the loop's next round

    async def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> httpx2.Response:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._timeout, trust_env=False)
        problem = ""
        for _ in self._urls:
            url = self._urls[self._turn % len(self._urls)]
            self._turn += 1
            request = self._client.build_request(method, url + path, headers=headers, content=body)
            try:
                return await self._client.send(request, stream=True)
            except httpx2.ConnectError as error:
                problem = f"the upstream {url} cannot be reached: {error}"
            except httpx2.TransportError as error:
                raise ApiError(502, f"The upstream {url} broke off: {error}", kind="server_error") from error
        raise ApiError(502, f"No answer: {problem}", kind="server_error")
