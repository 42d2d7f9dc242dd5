"""A provider written by somebody else's habits, and the real command: nothing lost, paid twice or mistaken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import duckdb
import pytest

from tests.batches.bench import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Fast enough for waits that are none, and slow enough for a busy machine to upload within a lease.
SPEED = "240"
PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"


def chat(text: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    """Return a completion."""
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], **more}


def usual(custom_id: str, body: Any, status: Any = 200, error: Any = None) -> dict[str, Any]:
    """Return a result line in the usual envelope."""
    return {"custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": error}


def anthropic(custom_id: str, text: str, _: int) -> dict[str, Any]:
    """Return a result line as Anthropic writes it."""
    message = {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": {}}
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


# How each row's line is written, from its id, the right answer and how often it has run; what comes of it, and why.
LINES: tuple[tuple[Callable[[str, str, int], Any], str, str], ...] = (
    (lambda i, t, _: {"custom_id": i, **chat(t)}, "answered", ""),
    (anthropic, "answered", ""),
    (lambda i, t, _: usual(i, json.dumps(chat(t)), "200 OK"), "answered", ""),
    (lambda i, t, n: usual(i, chat(t)) if n > 1 else usual(i, None, 200, "overloaded"), "answered", ""),
    (lambda i, t, _: {"custom_id": i, "response": chat([{"type": "text", "text": t}])}, "answered", ""),
    (lambda i, t, _: usual(i, chat(t, error={}, usage={"prompt_tokens": -7}), 200, ""), "answered", ""),
    (lambda i, t, _: usual(i, chat(t, "insufficient_system_resource")), "failed", "insufficient_system_resource: "),
    (lambda i, t, _: usual(i, chat(t), 200, {"code": 503, "message": "Busy."}), "failed", "http_503: Busy."),
    (lambda i, t, _: json.dumps(usual(i, chat(t)))[:-30], "failed", "unreadable_results: "),
    (lambda i, _t, _n: usual(i, {"detail": "Not for you."}, 422), "failed", "http_422: Not for you."),
    (lambda i, t, _: {"custom_id": i, "status": "failed", "response": chat(t)}, "failed", "unreadable_results: "),
)


class Stranger(ThreadingHTTPServer):
    """Wraps an upload, loses the reply to a create behind a page, and has a status, ids and lists of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Desk)
        self.base_url = f"http://127.0.0.1:{self.server_port}/v1"
        self.files: dict[int, list[tuple[str, int]]] = {}
        self.batches: list[int] = []
        self.ran: Counter[int] = Counter()
        self.looks: Counter[str] = Counter()

    def batch(self, number: int) -> dict[str, Any]:
        """Return a batch as this provider shows it."""
        rows = str(len(self.files[number]))
        return {
            "batch_id": f"projects/p1/batches/{number}",
            "status": "SUCCESS",
            "input_file_id": number,
            "output_file_id": {"id": f"out {number}"},
            "error_file_id": "",
            "created_at": "2026-10-01T10:00:00Z",
            "request_counts": {"total": rows, "completed": rows, "failed": "0"},
            "metadata": "",
        }

    def results(self, number: int) -> bytes:
        """Return the result file of a batch."""
        lines = [LINES[row][0](custom_id, f"row {row}", self.ran[row]) for custom_id, row in self.files[number]]
        return "\r\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines).encode()


class Desk(BaseHTTPRequestHandler):
    """Answers for the stranger."""

    server: Stranger
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say each thing wrong for the first time."""
        path = unquote(self.path.partition("?")[0])
        self.server.looks[path] += 1
        first = self.server.looks[path] == 1
        if path == "/v1/batches":
            entries = [self.server.batch(number) for number in self.server.batches]
            self._say(503, PAGE) if first else self._say(200, {"page": {"results": entries}})
        elif path.startswith("/v1/batches/"):
            self._say(200, b'{"id":') if first else self._say(200, {"job": self.server.batch(int(path[-1]))})
        elif path.endswith("/content"):
            number = int(re.findall(r"\d+", path)[-1])
            self._say(200, PAGE) if first else self._say(200, self.server.results(number))
        else:
            self._say(404 if path == "/v1/files" else 500, {"detail": "no metadata here"})

    def do_POST(self) -> None:
        """Take a file, or run a batch and lose the reply."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/files":
            number = len(self.server.files) + 1
            self.server.files[number] = [
                (custom_id.decode(), int(row))
                for custom_id, row in re.findall(rb'"custom_id":"([0-9a-f-]{36})".*?row (\d+)"', body)
            ]
            self._say(200, {"code": 20000, "message": "Ok", "data": {"id": number}})
            return
        number = int(json.loads(body)["input_file_id"])
        self.server.batches.append(number)
        self.server.ran.update(row for _, row in self.server.files[number])
        self._say(200, PAGE)

    def do_DELETE(self) -> None:
        """Delete nothing."""
        self._say(405, b"")

    def _say(self, status: int, body: bytes | dict[str, Any]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep stderr for what is tested."""


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """Run the provider."""
    with Stranger() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_command_loses_pays_and_mistakes_nothing_at_a_provider_of_other_habits(
    stranger: Stranger, tmp_path: Path
) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SQLBATCH_"))}
    variables |= {"OPENAI_API_KEY": KEY, "SQLBATCH_CLOCK_SPEED": SPEED, "SQLBATCH_CLOCK_ORIGIN": str(time.time())}
    query = f"SELECT 'row ' || n AS text FROM range({len(LINES)}) r(n)"

    asked = [
        "enrich",
        query,
        "--instructions",
        "Repeat the text.",
        "--yes",
        "--model",
        "stranger-1",
        "--into",
        "answers",
    ]
    asked += ["--base-url", stranger.base_url, "--poll", "30"]
    command = [sys.executable, "-m", "sqlbatch", *asked]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "--debug" not in done.stderr
    assert KEY not in done.stderr
    assert done.returncode == 3, done.stderr
    assert "has the status 'success', which sqlbatch does not know" in done.stderr
    with duckdb.connect(str(tmp_path / "enriched.duckdb"), read_only=True) as con:
        rows = con.execute("SELECT text, response, ai_status, coalesce(ai_error, '') FROM answers").fetchall()
        assert con.execute("FROM sqlbatch.audit WHERE NOT balanced").fetchall() == []
    assert [row[0] for row in rows] == [f"row {number}" for number in range(len(LINES))]
    assert [row[2] for row in rows] == [status for _, status, _ in LINES]
    assert [row[1] for row in rows] == [row[0] if row[2] == "answered" else None for row in rows]
    assert all(row[3].startswith(reason) for row, (_, _, reason) in zip(rows, LINES, strict=True))
    # Only what came with an error and without an answer was asked for, and paid, again.
    assert stranger.ran == Counter(range(len(LINES))) + Counter([3])
