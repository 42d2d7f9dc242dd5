"""How values are shown: SQL that shortens them in the database, and the cells of a page."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlbatch.db.sql import quote_identifier
from sqlbatch.query.pictures import TYPE_OF_CONTENT

# The most characters of a text in a row, and of its part before it is unfolded.
LONGEST, FOLDED = 3_000, 220
# The most elements of a list, numbers of a vector, and characters of a nested value.
CHIPS, NUMBERS, NESTED = 24, 4, 6_000
PICTURES = 8
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\))")
_TIME = re.compile(r"(DATE|TIME|TIMESTAMP|INTERVAL).*")
_VECTOR = re.compile(r"(FLOAT|DOUBLE)\[(\d*)\]")
_HELD = re.compile(r'STRUCT\((.*, )?"?bytes"? BLOB\b.*\)')


class Kind(StrEnum):
    """How a column's values are shown."""

    TEXT = "text"
    NUMBER = "number"
    WORD = "word"
    TIME = "time"
    ID = "id"
    CHIPS = "chips"
    VECTOR = "vector"
    TREE = "tree"
    BYTES = "bytes"
    PICTURE = "picture"


@dataclass(frozen=True)
class Column:
    """A column that is shown: its name, DuckDB's type, its kind, and its part: yours, answer or status."""

    name: str
    type: str
    kind: Kind
    part: str

    @property
    def sql(self) -> str:
        """The column's name as SQL."""
        return quote_identifier(self.name)

    @property
    def number(self) -> str | None:
        """SQL of the number for a histogram; None if there is none."""
        match self.kind:
            case Kind.NUMBER:
                return f"TRY_CAST({self.sql} AS DOUBLE)"
            case Kind.TIME if self.type.startswith(("DATE", "TIMESTAMP")):
                return f"epoch({self.sql})::DOUBLE"
            case Kind.TEXT:
                return f"length({self.sql})::DOUBLE"
            case Kind.CHIPS | Kind.VECTOR:
                return f"len({self.sql})::DOUBLE"
            case _:
                return None

    @property
    def measure(self) -> str:
        """The meaning of that number, in words."""
        return {Kind.TEXT: "characters", Kind.CHIPS: "elements", Kind.VECTOR: "numbers"}.get(self.kind, "")

    @property
    def values(self) -> str:
        """SQL of a list of texts to count: the elements of a list, or the one value."""
        if self.kind is Kind.CHIPS:
            return f"list_transform({self.sql}, lambda sqlbatch_x: sqlbatch_x::VARCHAR)"
        return f"[{self.sql}::VARCHAR]"

    @property
    def counted(self) -> bool:
        """Whether it makes sense to count its values."""
        return self.kind not in {Kind.VECTOR, Kind.BYTES, Kind.PICTURE, Kind.TREE}


def kind_of(name: str, column_type: str, pictures: set[str]) -> Kind:  # noqa: PLR0911 (one a kind)
    """Return how a column is shown; `pictures` are the columns that a job sent as pictures."""
    if name in pictures or _HELD.fullmatch(column_type):
        return Kind.PICTURE
    if column_type.startswith("BLOB"):
        return Kind.BYTES if column_type != "BLOB" else Kind.PICTURE
    if _NUMBER.fullmatch(column_type):
        return Kind.NUMBER
    if column_type == "BOOLEAN" or (column_type.startswith("ENUM") and not column_type.endswith("]")):
        return Kind.WORD
    if column_type == "UUID":
        return Kind.ID
    if _VECTOR.fullmatch(column_type):
        return Kind.VECTOR
    nested = column_type.startswith(("STRUCT", "MAP", "UNION", "JSON")) or "][" in column_type
    if column_type.endswith("]") and not nested:
        return Kind.CHIPS
    if nested or column_type.endswith("]"):
        return Kind.TREE
    return Kind.TIME if _TIME.fullmatch(column_type) else Kind.TEXT


def shown_sql(column: Column, *, whole: bool = False) -> str:
    """Return SQL of what a page needs of a value, as a list of texts, so that no more leaves the database.

    A text is cut unless it is wanted as a `whole`.
    """
    name, content = column.sql, bytes_of(column)
    match column.kind:
        case Kind.TEXT:
            text = f"{name}::VARCHAR"
            texts = f"[{text if whole else f'left({text}, {LONGEST})'}, length({text})::VARCHAR]"
        case Kind.CHIPS:
            texts = f"[to_json({name}[:{CHIPS}])::VARCHAR, len({name})::VARCHAR]"
        case Kind.VECTOR:
            plain = f"{name}::{column.type.partition('[')[0]}[]"
            texts = f"[to_json(({plain})[:{NUMBERS}])::VARCHAR, len({plain})::VARCHAR]"
        case Kind.TREE:
            text = name if column.type == "JSON" else f"to_json({name})"
            texts = f"[left({text}::VARCHAR, {NESTED + 1}), length({text}::VARCHAR)::VARCHAR]"
        case Kind.BYTES:
            texts = f"[len({name}::VARCHAR)::VARCHAR]"
        case Kind.PICTURE if content is not None:
            kind = TYPE_OF_CONTENT.replace("content", f"({content})")
            texts = f"['bytes', octet_length({content})::VARCHAR, {kind}]"
        case Kind.PICTURE:
            listed = f"{name}" if column.type.endswith("[]") else f"[{name}::VARCHAR]"
            texts = f"list_transform({listed}[:{PICTURES}], lambda sqlbatch_x: left(sqlbatch_x::VARCHAR, 300))"
        case _:
            texts = f"[{name}::VARCHAR]"
    return f"CASE WHEN {name} IS NOT NULL THEN {texts} END"


def bytes_of(column: Column) -> str | None:
    """Return SQL of a picture's bytes, None if the column only names its pictures."""
    if column.type == "BLOB":
        return column.sql
    return f"struct_extract({column.sql}, 'bytes')" if _HELD.fullmatch(column.type) else None


@dataclass(frozen=True)
class Cell:
    """A value on a page.

    `text` is all that is shown, `folded` its beginning if it is long, `items` a list's elements or pictures, `more` how
    much is not shown, `tree` a nested value.
    """

    column: Column
    null: bool = False
    text: str = ""
    folded: str | None = None
    items: tuple[Any, ...] = ()
    more: int = 0
    tree: Any = None


def cell(column: Column, shown: list[str | None] | None, *, whole: bool = False) -> Cell:  # noqa: PLR0911 (one a kind)
    """Return the cell of a result of `shown_sql`; a text is folded unless it is wanted as a `whole`."""
    if shown is None:
        return Cell(column, null=True)
    first, size = shown[0] or "", int(shown[1] or 0) if len(shown) > 1 and column.kind is not Kind.PICTURE else 0
    match column.kind:
        case Kind.TEXT:
            return Cell(column, text=first, folded=None if whole else _beginning(first), more=size - len(first))
        case Kind.CHIPS | Kind.VECTOR:
            items = tuple(_word(each) for each in json.loads(first))
            return Cell(column, items=items, more=size - len(items), text=f"{size:,}")
        case Kind.TREE:
            return (
                Cell(column, tree=json.loads(first)) if size <= NESTED else Cell(column, text=first, more=size - NESTED)
            )
        case Kind.PICTURE:
            return Cell(column, items=tuple(shown))
        case Kind.ID:
            return Cell(column, text=first, folded=first[:8])
        case _:
            return Cell(column, text=first)


def _beginning(text: str) -> str | None:
    """Return the beginning of a long text, up to the end of a word; None if it is short."""
    if len(text) <= FOLDED * 1.3:
        return None
    return text[:FOLDED].rpartition(" ")[0] or text[:FOLDED]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
