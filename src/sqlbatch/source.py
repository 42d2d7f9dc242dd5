"""Read a query and its texts: from an argument, a `.sql` file with options in its first comment, standard input."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import InvalidQuery, InvalidReturns, InvalidSettings
from sqlbatch.query.enrichment import read_front_matter
from sqlbatch.returns import Returns, returns_from_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Source:
    """A query, the options in its file, the file's stem (the target's default name) and the file's folder."""

    query: str
    options: Mapping[str, Any]
    stem: str | None
    folder: Path | None = None


def read_source(argument: str | os.PathLike[str]) -> Source:
    """Return the query of QUERY|FILE|- or of a Path; raise InvalidQuery if the file cannot be read."""
    if not isinstance(argument, str):
        argument = os.fspath(argument)
        if not argument.casefold().endswith(".sql"):
            raise InvalidQuery(
                f"{argument} is not a .sql file: to read its rows, give the query, \"FROM '{argument}'\""
            )
    if argument == "-":
        try:
            text = sys.stdin.read().removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise InvalidQuery("standard input is not UTF-8 text") from None
        check_text(text, "what came on standard input")
        return Source(text, read_front_matter(text, "the query"), None)
    check_text(argument, "the query")
    path = Path(argument)
    looks_like_file = argument.casefold().endswith(".sql") and "\n" not in argument
    if not looks_like_file:
        _refuse_rows(argument)
        return Source(argument, read_front_matter(argument, "the query"), None)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidQuery(f"{argument} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise InvalidQuery(f"{argument} cannot be read: {error.strerror}") from None
    return Source(text, read_front_matter(text, argument), path.stem, path.parent)


def _refuse_rows(query: str) -> None:
    """Raise InvalidQuery if a data file was given instead of a query: no SQL is a single word with a file's name."""
    with contextlib.suppress(OSError):
        if not re.search(r"\s", query) and Path(query).is_file():
            raise InvalidQuery(f"{query} is not a .sql file: to read its rows, give the query, \"FROM '{query}'\"")


def read_json_schema(value: str | Mapping[str, Any], folder: Path | None, columns: str | None = None) -> Returns:
    """Return the returned columns of a JSON Schema, given as text or as a file (relative to a folder).

    If a column list is given too, it names the columns, and the schema details those of type JSON.

    Raises InvalidReturns, which names the file and the place in it.
    """
    if not isinstance(value, str):
        return returns_from_schema(dict(value), columns)
    path = Path(folder or ".", value)
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidReturns(f"--json-schema {value}: the file cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidReturns(f"--json-schema {value}: it is not JSON: {error.msg} at {where}") from None
    except ValueError as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no file can have this name"
        raise InvalidReturns(f"--json-schema {value}: {reason}") from None
    if not isinstance(schema, dict):
        raise InvalidReturns(f"--json-schema {value}: $: expected an object, the schema")
    try:
        return returns_from_schema(schema, columns)
    except InvalidReturns as error:
        raise InvalidReturns(str(error).replace("--json-schema", f"--json-schema {value}", 1)) from None


def check_text(text: str, what: str) -> None:
    """Raise InvalidSettings for a text that no database can store: bytes that are not UTF-8, lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSettings(f"{what} is not UTF-8 text") from None


def read_text_option(value: str | None, name: str, folder: Path | None = None) -> str | None:
    """Return a text option; `@file` is read from a file, and `@@` starts a text that begins with @.

    A relative name is looked up in the folder, if given, then in the working directory.
    """
    if value is None or not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    try:
        path = Path(folder or ".", value[1:])
        return (path if path.exists() else Path(value[1:])).read_text(encoding="utf-8-sig").rstrip("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        if not isinstance(error, OSError | UnicodeDecodeError):
            reason = "no file can have this name"
        raise InvalidSettings(f"{name} {value}: the file cannot be read: {reason} (a text begins with @@)") from None
