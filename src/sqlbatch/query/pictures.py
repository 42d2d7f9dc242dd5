"""The pictures of rows: found, read once, and named in requests by the sha256 of their bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sqlbatch import clock
from sqlbatch.db.files import in_parts, read_with, size_of
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidPrompt, InvalidSettings
from sqlbatch.query.endpoints import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.select import QueryColumn

# The column with the facts about a row's pictures, beside the query's own.
IMAGE_INFO = "sqlbatch_look"
DETAILS = ("auto", "low", "high", "original")
UNSUPPORTED = ": it is no PNG, JPEG, WEBP or GIF without animation"
# SQL for the type of a picture by its first bytes; a GIF with several frames has as many control blocks.
_ANIMATED = "len(regexp_extract_all(hex(content), '0021F904.{8}00(?:2C|21)')) > 1"
TYPE_OF_CONTENT = (
    r"CASE WHEN content[1:8] = '\x89PNG\x0D\x0A\x1A\x0A'::BLOB THEN 'image/png' "
    r"WHEN content[1:3] = '\xFF\xD8\xFF'::BLOB THEN 'image/jpeg' "
    "WHEN content[1:4] = 'RIFF'::BLOB AND content[9:12] = 'WEBP'::BLOB THEN 'image/webp' "
    "WHEN content[1:6] IN ('GIF87a'::BLOB, 'GIF89a'::BLOB) "
    f"THEN CASE WHEN {_ANIMATED} THEN NULL ELSE 'image/gif' END END"
)
# The most bytes of a request's pictures in base64; writing one of that size takes 0.8 GB of memory.
REQUEST_BYTES = 100_000_000
# Files that are looked up at a time, so that a million paths need no memory here.
_AT_ONCE = 10_000
_IS_DATA = "lower(left(value, 5)) = 'data:'"
# The part after the comma of a data: URL; NULL if that is not base64.
_DECODED = (
    "CASE WHEN regexp_matches(left(value, 1000), '^(?i:data):[^,]*;(?i:base64),') "
    "THEN TRY(from_base64(substr(value, strpos(value, ',') + 1))) END"
)


def check_detail(path: str, detail: str | None) -> None:
    """Raise InvalidSettings for a detail that the endpoint does not accept."""
    known = DETAILS if endpoint_of(path).name == "responses" else DETAILS[:3]
    if detail is not None and detail not in known:
        more = " (original is for --endpoint responses)" if detail == "original" else ""
        raise InvalidSettings(f"--image-detail {detail}: it is one of {', '.join(known)}{more}")


def check_columns(enrichment: Enrichment, columns: Sequence[QueryColumn]) -> None:
    """Raise InvalidPrompt if the endpoint takes no pictures, or a column holds none."""
    if not endpoint_of(enrichment.endpoint).pictures:
        raise InvalidPrompt(f"--image: {enrichment.endpoint} accepts no pictures")
    for number, column in enumerate(columns):
        if column in columns[:number]:
            raise InvalidPrompt(f"--image names {column.name} twice: name each column once")
        if _holds_bytes(column):
            continue
        if column.type.removesuffix("[]") not in {"VARCHAR", "BLOB"}:
            raise InvalidPrompt(
                f"--image {column.name}: the column is {column.type}; a picture is a VARCHAR (a path or URL) or a BLOB"
            )


def _holds_bytes(column: QueryColumn) -> bool:
    """Return whether a column has pictures as in Hugging Face's data sets: STRUCT(bytes BLOB, path VARCHAR)."""
    return re.match(r'STRUCT\((.*, )?"?bytes"? BLOB\b', column.type) is not None and not column.type.endswith("[]")


def look(session: Session, scratch: str, columns: Sequence[QueryColumn], folder: Path, line_limit: int) -> None:
    """Find the pictures in columns of the snapshot and read each once; the facts of each row are in `looks`.

    `folder` is where relative paths are looked up first; `line_limit` is the most bytes of a request's line.
    """
    line_limit = min(line_limit, REQUEST_BYTES)
    # Base64 turns three bytes into four.
    most = line_limit // 4 * 3
    session.run("pictures.begin", scratch=scratch)
    for place, column in enumerate(columns):
        name = quote_identifier(column.name)
        if _holds_bytes(column):
            name = f"struct_extract({name}, 'bytes')"
        values = name if column.type.endswith("[]") else f"[{name}]"
        places = {"scratch": scratch, "place": str(place), "values": values}
        binary = column.type.removesuffix("[]") == "BLOB" or _holds_bytes(column)
        if not binary:
            session.run("pictures.named", **places)
        content, which = ("value", "octet_length(value) > 0") if binary else (_DECODED, _IS_DATA)
        problems = {
            "unreadable": f"image_unreadable: {column.name}: the data: URL has no base64",
            "unsupported": f"image_unsupported: {column.name}{UNSUPPORTED}",
            "too_large": f"image_too_large: {column.name}: a request can carry {most:,} bytes of pictures",
            "most": most,
        }
        session.run("pictures.held", problems, content=content, holds=which, type=TYPE_OF_CONTENT, **places)
        session.run("pictures.contents", content=content, **places)
    session.run("pictures.files", scratch=scratch)
    _look_at_files(session, scratch, folder, most)
    too_many = f"image_too_large: the pictures of the row are more than the {most:,} bytes that a request can carry"
    limits = {"most_of_row": line_limit, "too_many": too_many}
    session.run("pictures.looks", limits, scratch=scratch, unsupported=quote_literal(UNSUPPORTED))


def tokens(detail: str | None) -> int:
    """Return the approximate tokens billed for a picture: OpenAI's tiles of 512 pixels for one of 1024 x 1024."""
    return 85 if detail == "low" else 765


def unsent_requests(session: Session, scratch: str) -> list[tuple[str, str, str]]:
    """Return the requests that cannot be sent: custom_id, code and message."""
    found = session.run("pictures.unsent_ids", scratch=scratch)
    return [(custom_id, *reason.split(": ", 1)) for custom_id, reason in found]


def store(session: Session, scratch: str) -> None:
    """Store the places of the pictures, within the caller's transaction."""
    session.run("pictures.store", scratch=scratch)


def settle(session: Session, scratch: str, job_id: int) -> None:
    """Make requests due that could not be sent before and now can; note those that cannot be sent as failed."""
    session.run("pictures.readable_again", {"job_id": job_id, "now": clock.now()})
    fail(session, scratch)


def fail(session: Session, scratch: str) -> None:
    """Note what cannot be sent as failed, within the caller's transaction."""
    session.append_results("pictures.fail", {"now": clock.now()}, scratch=scratch)


def _look_at_files(session: Session, scratch: str, folder: Path, most: int) -> None:
    after = 0
    while files := session.run("pictures.some_files", {"after": after, "many": _AT_ONCE}, scratch=scratch):
        after += _AT_ONCE
        paths = [located(source, folder) for _, source in files]
        states = [size_of(path) for path in paths]
        problems = [
            _problem(source, size, reason, most) for (_, source), (size, reason) in zip(files, states, strict=True)
        ]
        numbers = [number for number, _ in files]
        sizes = [size for size, _ in states]
        found = {"numbers": numbers, "paths": paths, "sizes": sizes, "problems": problems}
        session.run("pictures.located", found, scratch=scratch)
        readable = zip(paths, sizes, problems, strict=True)
        for part in in_parts({path: size for path, size, wrong in readable if wrong is None and size is not None}):
            read_with(session, "pictures.found", part, scratch=scratch, type=TYPE_OF_CONTENT)


def located(source: str, folder: Path) -> str:
    """Return the path of a file that a row names: a path or a file: URL.

    A relative path begins in the folder; where nothing is there, in the working directory, as for DuckDB's own readers.
    """
    if re.match(r"file://", source, re.IGNORECASE):
        source = unquote(urlsplit(source).path)
    beside = Path(folder, source)
    here = Path.cwd() / source
    return str(here if size_of(str(beside))[0] is None and size_of(str(here))[0] is not None else beside)


def _problem(source: str, size: int | None, reason: str | None, most: int) -> str | None:
    shown = source if len(source) <= 200 else source[:199] + "…"
    if reason is not None:
        return f"image_unreadable: {shown}: {reason}"
    if size is not None and size > most:
        return f"image_too_large: {shown} has {size:,} bytes, and a request can carry {most:,} of pictures"
    return None
