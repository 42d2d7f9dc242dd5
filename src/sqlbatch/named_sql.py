"""The project's SQL files: blocks that begin with a line `-- name: description`."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_HEADER = re.compile(r"^-- (?P<name>[a-z][a-z0-9_]*): (?P<description>\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One named statement (or a few, separated by `;`) of a SQL file, with its line of description."""

    name: str
    description: str
    sql: str


def sql_folder() -> Traversable:
    """Return the folder of SQL files: `sqlbatch/sql` in an installed wheel, otherwise `sql/` of the checkout."""
    packaged = resources.files("sqlbatch") / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "sql"


def read_sql(path: str) -> str:
    """Return the text of a file in the SQL folder, such as `migrations/0001_initial.sql`."""
    return sql_folder().joinpath(*path.split("/")).read_text(encoding="utf-8")


@functools.cache
def blocks(file: str) -> dict[str, Block]:
    """Return the named blocks of one SQL file (`plan.sql`), by name.

    Raises ValueError if a name occurs twice.
    """
    text = read_sql(file)
    headers = list(_HEADER.finditer(text))
    found: dict[str, Block] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        if name in found:
            raise ValueError(f"{file}: the block {name} occurs twice")
        sql = text[header.end() : following.start() if following else len(text)].strip().rstrip(";")
        found[name] = Block(name, header["description"], sql)
    return found
