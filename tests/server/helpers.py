"""What the tests of the server share."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import openai
    from openai.types import Batch

Found = TypeVar("Found")
ENDED = {"completed", "failed", "expired", "cancelled"}
CHAT: Any = "/v1/chat/completions"


def chat_line(
    custom_id: str, text: str = "A short text. And more.", model: str = "offline", **body: Any
) -> dict[str, Any]:
    """Return one line of a batch's input file."""
    messages = [{"role": "user", "content": text}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {"model": model, "messages": messages, **body},
    }


def chat_lines(count: int, **body: Any) -> list[dict[str, Any]]:
    """Return so many lines with the ids r0, r1 and so on."""
    return [chat_line(f"r{number}", f"Text number {number}. And more.", **body) for number in range(count)]


def jsonl(lines: Iterable[object]) -> bytes:
    """Return lines as a file; a str stands for itself."""
    return b"".join((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n" for line in lines)


def upload(client: openai.OpenAI, lines: Iterable[object]) -> str:
    """Upload lines as a batch input file; return its id."""
    return client.files.create(file=("input.jsonl", jsonl(lines)), purpose="batch").id


def create(client: openai.OpenAI, lines: Iterable[object], endpoint: Any = CHAT, **more: Any) -> Batch:
    """Upload lines and create their batch."""
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h", **more
    )


def wait(client: openai.OpenAI, batch: Batch, until: set[str] | frozenset[str] = frozenset(ENDED)) -> Batch:
    """Poll a batch until it has one of some statuses."""

    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        if found.status.lower() in until:
            return found
        assert found.status.lower() not in ENDED, found
        return None

    return eventually(look)


def eventually(look: Callable[[], Found | None], seconds: float = 30) -> Found:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def run(client: openai.OpenAI, lines: Iterable[object], endpoint: Any = CHAT, **more: Any) -> Batch:
    """Run lines as a batch to its end."""
    return wait(client, create(client, lines, endpoint, **more))


def raw(client: openai.OpenAI, file_id: str | None) -> bytes:
    """Return a file's bytes."""
    assert file_id
    return client.files.content(file_id).content


def results(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """Return the lines of an output file; none where there is no file."""
    if not file_id:
        return []
    return [json.loads(line) for line in raw(client, file_id).split(b"\n") if line]


def answers(client: openai.OpenAI, batch: Batch) -> dict[str, str]:
    """Return the texts that a batch of chat requests answered, by custom_id."""
    return {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
        for line in results(client, batch.output_file_id)
    }
