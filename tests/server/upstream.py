"""An upstream for tests: a small HTTP server whose every reply is decided by a function."""

from __future__ import annotations

import asyncio
import collections
import json
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer:
    """A reply: after `delay` seconds a status and body; `hang` never answers, `cut` breaks off in the middle."""

    def __init__(
        self,
        status: int = 200,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        delay: float = 0.0,
        hang: bool = False,
        cut: bool = False,
    ) -> None:
        self.status, self.body, self.headers = status, body, headers or {}
        self.delay, self.hang, self.cut = delay, hang, cut

    def data(self) -> bytes:
        """Return the reply as it goes over the wire."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        head = [f"HTTP/1.1 {self.status} X", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in {"content-type": "application/json", **self.headers}.items()]
        return "\r\n".join([*head, "", ""]).encode() + body


def completion(text: str) -> dict[str, Any]:
    """Return a chat completion that says `text`."""
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "llama",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def said(body: dict[str, Any]) -> str:
    """Return what the user asked in a chat request."""
    return str(body["messages"][-1]["content"])


def echo(_upstream: FakeUpstream, _path: str, body: dict[str, Any], _attempt: int) -> Answer:
    """Answer with the question."""
    return Answer(200, completion(said(body)))


class FakeUpstream:
    """Answers POST requests by `script`, which is told the path, the body and which attempt of this question it is."""

    def __init__(self) -> None:
        self.script: Callable[[FakeUpstream, str, dict[str, Any], int], Answer] = echo
        self.attempts: collections.Counter[str] = collections.Counter()
        self.succeeded: collections.Counter[str] = collections.Counter()
        self.headers: list[dict[str, str]] = []
        self.active = self.most_active = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def base_url(self) -> str:
        """The URL for --upstream."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def die(self) -> None:
        """Stop listening and close every connection."""
        asyncio.run_coroutine_threadsafe(self._die(), self._loop).result(10)

    def come_back(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.headers.append(headers)
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        question = said(body) if "messages" in body else json.dumps(body)
        self.attempts[question] += 1
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        try:
            answer = self.script(self, head[0].split()[1], body, self.attempts[question])
            await asyncio.sleep(3600 if answer.hang else answer.delay)
        finally:
            self.active -= 1
        data = answer.data()
        if answer.status == 200 and not answer.cut:
            self.succeeded[question] += 1
        writer.write(data[: len(data) // 2] if answer.cut else data)
        await writer.drain()
        return not answer.cut
