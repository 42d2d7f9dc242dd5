"""Result files whose bytes are not all UTF-8: a copy that is text, with each wrong byte as an escape."""

from __future__ import annotations

import codecs
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ERRORS = "sqlbatch_escapes"
_CHUNK = 1 << 20


def as_text(path: Path, copy: Path) -> bool:
    r"""Write a copy of a file in which bytes that are no UTF-8 stand as `\xff`; without such bytes write none.

    Returns whether there is a copy. Such a line is no JSON then, but it can be told which request it was for. Memory
    stays small at any size.
    """
    try:
        with path.open("rb") as source:
            strict = codecs.getincrementaldecoder("utf-8")()
            while chunk := source.read(_CHUNK):
                strict.decode(chunk)
            strict.decode(b"", final=True)
    except UnicodeDecodeError:
        _write(path, copy)
        return True
    return False


def _write(path: Path, copy: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
    with path.open("rb") as source, os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(decoder.decode(chunk).encode())
        out.write(decoder.decode(b"", final=True).encode())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = "".join(f"\\x{byte:02x}" for byte in error.object[error.start : error.end])
    # Behind a backslash, `\x` would be a good escape of JSON, and a wrong text would pass for an answer.
    behind = error.start == 0 or error.object[error.start - 1 : error.start] == b"\\"
    return f" {wrong}" if behind else wrong, error.end


codecs.register_error(_ERRORS, _escaped)
