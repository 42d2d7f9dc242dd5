"""Uploads: multipart bodies written straight to disk, whatever their size."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from sqlbatch.server.envelope import ApiError, missing_parameter

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

MAX_FILE = 512 * 1024 * 1024  # bytes of any file (contract section 1)
MAX_BATCH_FILE = 209_715_200  # bytes of a batch input file (contract section 1)
_MAX_FIELD = 64 * 1024  # bytes of a form field that is no file
_MAX_DRAINED = 2 * MAX_FILE  # a body beyond this is not even read to its end


class Upload:
    """One multipart body on its way to disk: its text fields, and its file at `path`."""

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
        self._header = b""
        self._headers: dict[str, str] = {}
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
        self._header_value = b""

    @property
    def limit(self) -> int:
        """The most bytes the file may have, for its purpose as far as it is known."""
        return MAX_BATCH_FILE if self.fields.get("purpose") == "batch" else MAX_FILE

    async def receive(self, request: Request) -> None:
        """Read the whole body; a file that is too large is read on without being kept, so that the client hears why."""
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > _MAX_DRAINED:
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

    def first_line(self, limit: int) -> bytes:
        """Return the first line of the file, at most `limit` bytes of it."""
        self._handle.flush()
        with self.path.open("rb") as handle:
            return handle.readline(limit)

    def make_durable(self) -> None:
        """See to it that the bytes are on disk."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()

    def discard(self) -> None:
        """Remove what was written; harmless after the file has been moved to its place."""
        self._handle.close()
        self.path.unlink(missing_ok=True)

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._header = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._header_value.decode("utf-8", "replace")
        self._header = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
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
