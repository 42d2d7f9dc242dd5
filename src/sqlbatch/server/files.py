"""The Files API. Uploads are written to disk as they arrive."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import FileResponse

from sqlbatch.batch_limits import FILE_LIFETIME, MAX_BATCH_BYTES, MAX_FILE_BYTES
from sqlbatch.server.http import (
    ApiError,
    Json,
    invalid_type,
    invalid_value,
    listing,
    missing_parameter,
    new_id,
    page_size,
)
from sqlbatch.server.storage import in_thread
from sqlbatch.server.validation import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.server.app import AppContext
    from sqlbatch.server.storage import FileRecord


PURPOSES = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
_MIN_LIFETIME, _MAX_LIFETIME = 3_600, 2_592_000  # seconds of `expires_after` (OpenAI's limits)
_BAD_FORMAT = "Invalid file format for Batch API. Must be .jsonl"


class Download(FileResponse):
    """A download that is sent in large pieces, because a file may have hundreds of megabytes."""

    chunk_size = 512 * 1024  # bytes


def file_object(record: FileRecord) -> dict[str, Any]:
    """Return the API's JSON object for a file."""
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
        "status_details": None,
    }


def expiry_seconds(name: str, anchor: object, seconds: object) -> int:
    """Return the seconds of an `expires_after` object; `name` is its parameter. Raises ApiError if it is invalid."""
    if anchor != "created_at":
        raise invalid_value(f"{name}.anchor", anchor, ["created_at"])
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not _MIN_LIFETIME <= seconds <= _MAX_LIFETIME:
        message = f"Invalid '{name}.seconds': expected an integer between {_MIN_LIFETIME} and {_MAX_LIFETIME}."
        raise ApiError(400, message, param=f"{name}.seconds", code="invalid_value")
    return seconds


async def create_file(request: Request) -> Response:
    """POST /v1/files. The bytes and the record are on disk before the reply is sent."""
    context: AppContext = request.app.state.context
    upload = Upload(context.folder.uploads, request.headers.get("content-type", ""))
    try:
        await upload.receive(request)
        purpose = upload.fields.get("purpose")
        if purpose is None:
            raise missing_parameter("purpose")
        if purpose not in PURPOSES:
            raise invalid_value("purpose", purpose, PURPOSES)
        lifetime = _lifetime(upload.fields, purpose)
        if purpose == "batch":
            _check_batch_file(upload)
        file_id = new_id("file-")
        await in_thread(upload.make_durable)
        upload.path.replace(context.folder.content(file_id))
        await in_thread(context.folder.sync)
    finally:
        upload.discard()
    created = context.clock.seconds()
    context.state.run(
        "add_file",
        id=file_id,
        filename=upload.filename,
        purpose=purpose,
        bytes=upload.size,
        created_at=created,
        expires_at=None if lifetime is None else created + lifetime,
    )
    return Json(file_object(_find_file(context, file_id)))


async def get_file(request: Request) -> Response:
    """GET /v1/files/{id}."""
    return Json(file_object(_requested(request)))


async def list_files(request: Request) -> Response:
    """GET /v1/files with `purpose`, `limit`, `order` and `after`."""
    context: AppContext = request.app.state.context
    query = request.query_params
    limit = page_size(query.get("limit"), largest=10_000, default=10_000)
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise invalid_value("order", order, ["asc", "desc"])
    after = None
    if "after" in query:
        after = context.state.first_integer("file_position", id=query["after"])
        if after is None:
            raise ApiError(400, f"No such File object: {query['after']}", param="after", code="invalid_value")
    found = context.state.files(
        "list_files_newest" if order == "desc" else "list_files_oldest",
        now=context.clock.now(),
        purpose=query.get("purpose"),
        after=after,
        limit=limit + 1,
    )
    return Json(listing([file_object(record) for record in found], limit))


async def get_content(request: Request) -> Response:
    """GET /v1/files/{id}/content, as a stream. A Range header is honored."""
    context: AppContext = request.app.state.context
    record = _requested(request)
    headers = {"content-disposition": "attachment"}
    return Download(context.folder.content(record.id), media_type="application/octet-stream", headers=headers)


async def delete_file(request: Request) -> Response:
    """DELETE /v1/files/{id}."""
    context: AppContext = request.app.state.context
    record = _requested(request)
    context.state.run("delete_file", id=record.id, now=context.clock.seconds())
    context.folder.content(record.id).unlink(missing_ok=True)
    return Json({"id": record.id, "object": "file", "deleted": True})


def _requested(request: Request) -> FileRecord:
    return _find_file(request.app.state.context, request.path_params["file_id"])


def _find_file(context: AppContext, file_id: str) -> FileRecord:
    record = context.state.file(file_id, context.clock.now())
    if record is None:
        raise ApiError(404, f"No such File object: {file_id}", param="id")
    return record


def _lifetime(fields: dict[str, str], purpose: str) -> int | None:
    """Return the seconds until a file expires, or None. Batch files expire after 30 days by default."""
    if "expires_after" in fields:  # some clients send one JSON field
        try:
            parsed = json.loads(fields["expires_after"])
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise invalid_type("expires_after", dict, fields["expires_after"])
        return expiry_seconds("expires_after", parsed.get("anchor"), parsed.get("seconds"))
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return FILE_LIFETIME if purpose == "batch" else None
    number = int(seconds) if seconds is not None and seconds.isascii() and seconds.isdigit() else seconds
    return expiry_seconds("expires_after", anchor, number)


def _check_batch_file(upload: Upload) -> None:
    """Refuse a file whose first line is not JSON, or whose name has an ending other than .jsonl.

    A name without an ending is accepted: the SDK sends the name `upload` for bytes.
    """
    name = upload.filename or ""
    if "." in name and not name.lower().endswith(".jsonl"):
        raise ApiError(400, _BAD_FORMAT, detail=True)
    try:
        json.loads(upload.first_line().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, _BAD_FORMAT, detail=True) from error


_MAX_FIELD = 64 * 1024  # bytes of a form field other than the file
_MAX_BODY = 2 * MAX_FILE_BYTES  # bytes; the server stops reading a longer body


class Upload:
    """One multipart body that is being received: its text fields, and its file, written to `path`."""

    def __init__(self, folder: Path, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise ApiError(400, "The body must be multipart/form-data with a boundary.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self.path = folder / secrets.token_hex(16)
        self._handle = os.fdopen(
            os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b", buffering=1 << 18
        )
        self._header = self._header_value = b""
        self._disposition = b""
        self._name = ""
        self._value: bytearray | None = None
        self._ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    @property
    def limit(self) -> int:
        """The largest size of the file in bytes. It depends on the purpose if that field came before the file."""
        return MAX_BATCH_BYTES if self.fields.get("purpose") == "batch" else MAX_FILE_BYTES

    async def receive(self, request: Request) -> None:
        """Read the whole body.

        The rest of a file that is too large is read and thrown away: clients read the reply only after sending all.
        """
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > _MAX_BODY:
                raise ApiError(413, "The body is too large.")
            try:
                self._parser.write(chunk)
            except MultipartParseError as error:
                raise ApiError(400, f"The multipart body cannot be read: {error}") from error
        if not self._ended:
            raise ApiError(400, "The multipart body ends before its closing boundary.")
        if self.filename is None:
            raise missing_parameter("file")
        if self.size > self.limit:
            raise ApiError(413, f"The file is larger than the maximum of {self.limit} bytes.")

    def first_line(self) -> bytes:
        """Return the first line of the file, cut at the longest line that a batch may have."""
        self._handle.flush()
        with self.path.open("rb") as handle:
            return handle.readline(MAX_LINE)

    def make_durable(self) -> None:
        """Flush the bytes to disk."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()

    def discard(self) -> None:
        """Delete the written file; does nothing if it has been moved to its final place."""
        self._handle.close()
        self.path.unlink(missing_ok=True)

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)  # given bytes, it keeps names in UTF-8
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._value = None
        if self._name != "file":
            self._value = bytearray()
        elif self.filename is not None:
            raise ApiError(400, "The body must have one file.")
        else:
            self.filename = options.get(b"filename", b"upload").decode("utf-8", "replace")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self.size += end - start
            if self.size <= self.limit:
                self._handle.write(data[start:end])
            return
        if len(self._value) + end - start > _MAX_FIELD:
            raise ApiError(400, f"The field '{self._name}' is too long.")
        self._value += data[start:end]

    def _on_part_end(self) -> None:
        if self._value is not None:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True
