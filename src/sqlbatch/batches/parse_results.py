"""Read result lines: where each endpoint's reply has its parts, what counts as an answer, and odd files."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import re
import zipfile
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, cast

from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.db.sql import quote_literal, statement
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlbatch.db.session import Session

# The code of results that may exist but cannot be read; their requests are never sent again unless the user asks.
UNREADABLE = "unreadable_results"
# The finish reasons, in lower case, of a complete answer. Any other reason fails under its own name: an unknown reason
# never counts as good. NULL (no reason given) is good.
GOOD_FINISHES = ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed", "finished", "done")
# Error codes that recur on every try, for replies without an HTTP status that says so.
FINAL_CODES = (
    "authentication_error",
    "context_length_exceeded",
    "invalid_request_error",
    "model_not_found",
    "not_found_error",
    "permission_error",
    "request_too_large",
)
# The finish reasons of an answer that was cut off at a token limit.
CUT_FINISHES = ("length", "max_tokens", "model_length", "max_output_tokens", "token_limit")
# Bytes of the longest line that is read at first, and of the longest that is read at all. Of a longer line only the
# beginning is kept, which shows its request.
LONGEST_LINE, LONGEST_AT_ALL = 32 << 20, 256 << 20
_CHUNK = 1 << 20

_BODY = "$.response.body"
_NOWHERE = "$.response.body.sqlbatch_reads_nothing"


@dataclass(frozen=True)
class Reader:
    """JSON paths of a result line.

    The `_sql` fields are SQL over `line` and the texts found there, x[3] (content) to x[5]. `text_key` is the key under
    which an answer must be text (or a list of parts), if it must be. `reply_key` is a key that every reply of the
    endpoint has: if a line has no `response.body`, it shows which object is the reply.
    """

    content: str
    refusal: str = _NOWHERE
    finish: str = _NOWHERE
    tokens_in: str = _NOWHERE
    tokens_cached: str = _NOWHERE
    tokens_cache_write: str = _NOWHERE
    tokens_out: str = _NOWHERE
    content_sql: str = "x[3]"
    refusal_sql: str = "x[4]"
    finish_sql: str = "x[5]"
    vector_sql: str = "NULL::FLOAT[]"
    text_key: str = ""
    reply_key: str = "data"
    logprobs_sql: str = "NULL::JSON[]"
    thoughts: str = _NOWHERE


_CHAT = Reader(
    f"{_BODY}.choices[0].message.content",
    f"{_BODY}.choices[0].message.refusal",
    f"{_BODY}.choices[0].finish_reason",
    f"{_BODY}.usage.prompt_tokens",
    f"{_BODY}.usage.prompt_tokens_details.cached_tokens",
    f"{_BODY}.usage.prompt_tokens_details.cache_write_tokens",
    f"{_BODY}.usage.completion_tokens",
    text_key="content",
    reply_key="choices",
    logprobs_sql=f"json_extract(line, '{_BODY}.choices[0].logprobs.content[*]')",
    thoughts=f"{_BODY}.choices[0].message",
)


def _parts(kind: str, key: str) -> str:
    """Return SQL for the texts of one kind in a response's messages, joined in order, without its reasoning."""
    parts = f"json_extract(line, '{_BODY}.output[*].content[*]')"
    of_kind = f"list_filter({parts}, lambda part: part->>'$.type' = '{kind}')"
    text = f"CASE json_type(part, '$.{key}') WHEN 'VARCHAR' THEN part->>'$.{key}' END"
    texts = f"list_transform({of_kind}, lambda part: {text})"
    # One text of another type makes the whole invalid: half an answer is no answer.
    whole = f"len({of_kind}) > 0 AND len({texts}) = list_count({texts})"
    return f"CASE WHEN ok AND {whole} THEN array_to_string({texts}, '') END"


_RESPONSES = Reader(
    f"{_BODY}.incomplete_details.reason",
    _NOWHERE,
    f"{_BODY}.status",
    f"{_BODY}.usage.input_tokens",
    f"{_BODY}.usage.input_tokens_details.cached_tokens",
    f"{_BODY}.usage.input_tokens_details.cache_write_tokens",
    f"{_BODY}.usage.output_tokens",
    content_sql=_parts("output_text", "text"),
    refusal_sql=_parts("refusal", "refusal"),
    finish_sql="CASE WHEN x[5] = 'completed' THEN 'stop' WHEN x[3] = 'max_output_tokens' THEN 'length' "
    "WHEN x[3] = 'content_filter' THEN x[3] ELSE x[5] END",
    reply_key="output",
    logprobs_sql=f"json_extract(line, '{_BODY}.output[*].content[*].logprobs[*]')",
)
_WHOLE = Reader(
    _BODY,
    tokens_in=f"{_BODY}.usage.input_tokens",
    tokens_cached=f"{_BODY}.usage.input_tokens_details.cached_tokens",
    tokens_cache_write=f"{_BODY}.usage.input_tokens_details.cache_write_tokens",
    tokens_out=f"{_BODY}.usage.output_tokens",
)
_READERS = {
    "chat/completions": _CHAT,
    "responses": _RESPONSES,
    "embeddings": Reader(
        f"{_BODY}.data[0].embedding",
        tokens_in=f"{_BODY}.usage.prompt_tokens",
        vector_sql="TRY_CAST(x[3] AS FLOAT[])",
    ),
    "moderations": Reader(f"{_BODY}.results[0]", reply_key="results"),
    "completions": Reader(
        f"{_BODY}.choices[0].text",
        finish=f"{_BODY}.choices[0].finish_reason",
        tokens_in=f"{_BODY}.usage.prompt_tokens",
        tokens_cached=f"{_BODY}.usage.prompt_tokens_details.cached_tokens",
        tokens_cache_write=f"{_BODY}.usage.prompt_tokens_details.cache_write_tokens",
        tokens_out=f"{_BODY}.usage.completion_tokens",
        text_key="text",
        reply_key="choices",
    ),
}


def places_of(endpoint: str) -> dict[str, str]:
    """Return the places of the SQL that reads an endpoint's lines, except the files and the check.

    For an endpoint that is not listed, the whole body is the answer.
    """
    reader = _READERS.get(re.sub(r"^/(v\d+/)?", "", endpoint).rstrip("/"), _WHOLE)
    return asdict(reader) | {
        "blocking": _literals(sorted(BLOCKING_CODES)),
        "good_finishes": _literals(GOOD_FINISHES),
        "cut_finishes": _literals(CUT_FINISHES),
        "final_codes": _literals(FINAL_CODES),
    }


def parse_results(
    session: Session, files: Sequence[Path], endpoint: str, check: str, *, longest: int = LONGEST_LINE
) -> None:
    """Read the lines of result files into the table `sqlbatch_parsed_results`, one row each, in order.

    `check` is SQL over an answer's text, `content`, or its `vector`: NULL if it has the requested shape, otherwise what
    is wrong. Lines longer than `longest` bytes, and lines that are not UTF-8, are left out: see `as_text`.
    """
    places = places_of(endpoint) | {"check": check, "lines": lines_sql(session, files, longest=longest)}
    with session.keeping_row_order(keep=True):
        session.run("results.parsed", **places)
        session.run("results.forbidden")
        if session.run("confidence.any"):
            session.run("confidence.measured")
            session.run("confidence.joined")
        session.run("confidence.forget")


def lines_sql(session: Session, files: Sequence[Path], *, longest: int = LONGEST_LINE) -> str:
    """Return SQL that reads the lines of files as texts; DuckDB skips lines that are longer, or not UTF-8."""
    listed = "[" + ", ".join(quote_literal(str(path)) for path in files) + "]"
    return statement("results.lines", session.catalog, files=listed, longest=str(longest))


@contextlib.contextmanager
def as_text(files: Sequence[Path], folder: Path | None = None) -> Iterator[tuple[tuple[Path, ...], int]]:
    """Yield files of which DuckDB reads every line, and the bytes of the longest line.

    A file that is compressed (gzip, zip), in UTF-16, partly not UTF-8, or has a line beyond LONGEST_AT_ALL is replaced
    by a text copy, in `folder` or beside it, which is deleted at the end of the block. Invalid bytes become U+FFFD
    there. Memory stays small at any file size. Raises InvalidSettings for an archive that cannot be read.
    """
    with contextlib.ExitStack() as copies:
        readable: list[Path] = []
        longest = LONGEST_LINE
        for number, path in enumerate(files):
            plain, length = _scan(path)
            if plain:
                readable.append(path)
            else:
                name = f"{path.stem}.{number}.text"
                copy = (folder or path.parent) / name
                copies.callback(copy.unlink, missing_ok=True)
                length = _write_text(path, copy)
                readable.append(copy)
            longest = max(longest, length + 2)
        yield tuple(readable), longest


def _scan(path: Path) -> tuple[bool, int]:
    """Return whether a file is UTF-8 with readable lines, and the bytes of its longest line."""
    with path.open("rb") as source:
        if source.read(4).startswith((b"\x1f\x8b", b"PK\x03\x04", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return False, 0
        source.seek(0)
        strict = codecs.getincrementaldecoder("utf-8")()
        longest = length = 0
        try:
            while chunk := source.read(_CHUNK):
                # A UTF-16 file without a byte order mark is full of NUL bytes, yet valid UTF-8.
                if chunk.count(0) * 3 > len(chunk):
                    return False, 0
                strict.decode(chunk)
                first, *more = chunk.split(b"\n")
                length += len(first)
                for part in more:
                    longest, length = max(longest, length), len(part)
            strict.decode(b"", final=True)
        except UnicodeDecodeError:
            return False, 0
    return max(longest, length) <= LONGEST_AT_ALL, max(longest, length)


def _write_text(path: Path, copy: Path) -> int:
    """Write a copy of a file as UTF-8, unpacked and with its longest lines cut.

    Return the bytes of the longest line.
    """
    longest = length = 0
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        for text in _decoded(path):
            for number, part in enumerate(text.split(b"\n")):
                if number:
                    out.write(b"\n")
                    length = 0
                out.write(part[: max(0, LONGEST_AT_ALL - length)])
                length = min(length + len(part), LONGEST_AT_ALL)
                longest = max(longest, length)
    return longest


def _decoded(path: Path) -> Iterator[bytes]:
    """Yield a file's text in UTF-8, unpacked, piece by piece; invalid bytes become U+FFFD."""
    try:
        for number, source in enumerate(_unpacked(path)):
            if number:
                yield b"\n"
            head = source.read(4)
            decoder = codecs.getincrementaldecoder(_encoding(head))("replace")
            yield decoder.decode(head).encode()
            while chunk := source.read(_CHUNK):
                yield decoder.decode(chunk).encode(errors="replace")
            yield decoder.decode(b"", final=True).encode()
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InvalidSettings(
            f"{path} cannot be unpacked ({error}): unpack it yourself, and load the JSON lines"
        ) from None


def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file))
        elif magic == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    if not name.endswith("/") and not name.startswith("__MACOSX/"):
                        with archive.open(name) as member:
                            yield member
        else:
            yield file


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) == 4 and head[1] == head[3] == 0:
        return "utf-16-le"
    return "utf-16-be" if len(head) == 4 and head[0] == head[2] == 0 else "utf-8"


def _literals(texts: Sequence[str]) -> str:
    return ", ".join(quote_literal(text) for text in texts)
