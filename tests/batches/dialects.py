"""A gateway before our own server that speaks as other providers do: other spellings, other lists, other statuses."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2


@dataclass(frozen=True)
class Dialect:
    """How a provider says what OpenAI says otherwise; the gateway refuses what is not said in it."""

    purpose: str = "batch"
    endpoint: str = "/v1/chat/completions"
    line_url: str = "/v1/chat/completions"
    uppercase: bool = False
    wrapped_create: bool = False
    cursors: bool = False
    values: bool = False
    page: int = 2
    upload_path: str = "/v1/files"
    upload_fields: tuple[str, ...] = ()
    wrapped_upload: bool = False
    bare_list: bool = False
    iso_dates: bool = False
    without: tuple[str, ...] = ()
    statuses: tuple[tuple[str, str], ...] = ()
    addresses: bool = False


DIALECTS = {
    "azure": Dialect(endpoint="/chat/completions", line_url="/chat/completions", values=True),
    "groq": Dialect(cursors=True),
    # As docs.together.ai shows its files and batches.
    "together": Dialect(
        purpose="batch-api",
        uppercase=True,
        wrapped_create=True,
        upload_path="/v1/files/upload",
        upload_fields=("file_name", "file_type"),
        bare_list=True,
        iso_dates=True,
        without=("metadata", "request_counts", "errors"),
    ),
    # As docs.siliconflow.cn shows them.
    "siliconflow": Dialect(
        wrapped_upload=True,
        statuses=(("validating", "in_queue"),),
        without=("request_counts",),
        addresses=True,
    ),
    "mine": Dialect(endpoint="/v4/chat/completions", line_url="/chat/completions"),
}
CHAT = "/v1/chat/completions"


class Gateway:
    """Forwards to `upstream` (…/v1), translating both ways."""

    def __init__(self, upstream: str, dialect: Dialect) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/results/"):
                    # An address is its own permission: the key must not go there.
                    assert "Authorization" not in self.headers
                    self.path = f"/v1/files/{self.path.partition('?')[0].removeprefix('/results/')}/content"
                self._pass("GET", b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == dialect.upload_path:
                    assert all(f'name="{field}"'.encode() in body for field in dialect.upload_fields)
                    self.path = "/v1/files"
                    assert b"\r\n\r\n" + dialect.purpose.encode() + b"\r\n" in body
                    assert body.count(b'"url":"' + dialect.line_url.encode() + b'"') == body.count(b'"custom_id"')
                    body = body.replace(f"\r\n\r\n{dialect.purpose}\r\n".encode(), b"\r\n\r\nbatch\r\n")
                    body = body.replace(f'"url":"{dialect.line_url}"'.encode(), f'"url":"{CHAT}"'.encode())
                elif self.path == "/v1/batches":
                    asked = json.loads(body)
                    assert asked["endpoint"] == dialect.endpoint
                    body = json.dumps(asked | {"endpoint": CHAT}).encode()
                self._pass("POST", body)

            def do_DELETE(self) -> None:
                self._pass("DELETE", b"")

            def _pass(self, method: str, body: bytes) -> None:
                kind = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
                url = upstream.removesuffix("/v1") + self.path
                if dialect.cursors and self.path.startswith("/v1/batches?"):
                    url = f"{upstream}/batches?limit=100"
                reply = httpx2.request(method, url, content=body or None, headers=kind)
                content = reply.content
                if "json" in reply.headers["content-type"] and reply.status_code == 200:
                    found = reply.json()
                    if "/batches" in self.path:
                        content = json.dumps(self._said(found, method)).encode()
                    elif method == "POST" and dialect.wrapped_upload:
                        content = json.dumps({"code": 20000, "message": "Ok", "status": True, "data": found}).encode()
                self.send_response(reply.status_code)
                self.send_header("Content-Type", reply.headers["content-type"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _said(self, found: dict[str, Any], method: str) -> dict[str, Any] | list[Any]:
                for batch in [found] if found.get("object") != "list" else found["data"]:
                    self._spell(batch)
                if found.get("object") != "list":
                    return {"job": found, "warning": ""} if dialect.wrapped_create and method == "POST" else found
                if dialect.bare_list:
                    return list(found["data"])
                if dialect.values:
                    return {"value": found["data"], "has_more": found["has_more"]}
                if dialect.cursors:
                    query = dict(each.split("=") for each in self.path.partition("?")[2].split("&"))
                    start = int(query.get("cursor", 0))
                    end = start + dialect.page
                    more = end < len(found["data"])
                    return {"data": found["data"][start:end], "paging": {"next_cursor": str(end) if more else None}}
                return found

            def _spell(self, batch: dict[str, Any]) -> None:
                batch["status"] = dict(dialect.statuses).get(batch["status"], batch["status"])
                if dialect.uppercase:
                    batch["status"] = batch["status"].upper()
                for name in [each for each in batch if dialect.iso_dates and each.endswith("_at") and batch[each]]:
                    batch[name] = datetime.fromtimestamp(batch[name], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                for name in dialect.without:
                    del batch[name]
                for name in ("output_file_id", "error_file_id"):
                    if dialect.addresses and batch[name]:
                        batch[name] = f"http://{self.headers['Host']}/results/{batch[name]}?signature=s3cret"

            def log_message(self, *_: object) -> None:
                """Keep stderr for what is tested."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
