"""The database that a command works on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db.database import Database
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidOption, InvalidSettings
from sqlbatch.settings.lookup import configured, named

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_DB = "enriched.duckdb"
_SIZE = re.compile(r"\s*\d*[1-9]\d*(\.\d+)?\s*[KMGT]i?B\s*", re.IGNORECASE)


def database(
    db: str | None, attach: Sequence[str] = (), memory_limit: str | None = None, threads: int | None = None
) -> Database:
    """Return the database that `--db` names; `attach` are databases to read besides, as `path` or `path AS name`."""
    # A clock that cannot run is told before anything is made.
    clock.speed()
    if db is not None and not db.strip():
        raise InvalidSettings("--db is empty: name a file, or leave the option out")
    path = Path(configured("db", db) or DEFAULT_DB)
    if str(path) == ":memory:":
        raise InvalidSettings("--db :memory: would forget everything at once: name a file")
    if path.is_dir():
        raise InvalidSettings(f"--db {path} is a folder: name a file in it, for example {path / DEFAULT_DB}")
    if not path.parent.is_dir():
        raise InvalidSettings(f"--db {path}: the folder {path.parent} does not exist: make it first")
    told = {name: named(name, given) for name, given in (("threads", threads), ("memory_limit", memory_limit))}
    threads, memory_limit = configured("threads", threads), configured("memory_limit", memory_limit)
    if threads is not None and threads < 1:
        raise InvalidOption(f"{told['threads']} {threads}: it must be 1 or more")
    if memory_limit is not None and not _SIZE.fullmatch(memory_limit):
        raise InvalidOption(f"{told['memory_limit']} {memory_limit}: write a size with its unit, as 800MB or 2GB")
    more: dict[str, Any] = {"memory_limit": memory_limit} if memory_limit else {}
    spool = path.with_name(path.name + ".sqlbatch") / "spool"
    return Database(path, attach=tuple(_attach_clause(each) for each in attach), threads=threads, spool=spool, **more)


def _attach_clause(text: str) -> str:
    path, separator, name = text.rpartition(" AS ") if " AS " in text else text.rpartition(" as ")
    if not separator:
        path, name = text, Path(text.rpartition(":")[2] or text).stem
    return f"ATTACH {quote_literal(path.strip())} AS {quote_identifier(name.strip())} (READ_ONLY)"
