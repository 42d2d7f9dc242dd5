"""The field in which a reviewer types the right value, and the typed text as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlbatch.errors import InvalidSettings
from sqlbatch.returns.types import Column as Returned
from sqlbatch.returns.types import Decimal, Enum, Json, List, Scalar, Struct

_NUMBERS = ("INT", "FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Editor:
    """How a value is typed: `kind` is line, text, lines (one element each), choice or json; `text` is its content."""

    kind: str
    text: str
    choices: tuple[str, ...] = ()
    nullable: bool = True


def editor_of(returned: Returned, value: str) -> Editor:
    """Return the field for a value, which is JSON text."""
    held, nullable = json.loads(value), not returned.not_null
    match returned.type:
        case Enum(values):
            return Editor("choice", "" if held is None else str(held), values, nullable)
        case Scalar("BOOLEAN"):
            return Editor(
                "choice", json.dumps(held) if held is not None else "", ("true", "false"), not returned.not_null
            )
        case Scalar("VARCHAR"):
            return Editor("text", held or "")
        case Scalar() | Decimal():
            return Editor("line", "" if held is None else held if isinstance(held, str) else json.dumps(held))
        case List(Scalar() | Enum()):
            return Editor("lines", "\n".join(_plain(each) for each in held or ()))
        case _:
            return Editor("json", json.dumps(held, indent=2, ensure_ascii=False))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def value_in_words(value: str) -> str:
    """Return a value, which is JSON text, as a page shows it: a list with commas, a text without quotes."""
    held = json.loads(value)
    if isinstance(held, list) and all(not isinstance(each, list | dict) for each in held):
        return ", ".join(map(_plain, held))
    return _plain(held)


def as_json(returned: Returned, text: str) -> str:
    """Return the typed text as JSON text of a column's value; raise InvalidSettings if it is not valid."""
    text = text.replace("\r\n", "\n")
    match returned.type:
        case Scalar("VARCHAR"):
            return json.dumps(text if text.strip() or returned.not_null else None, ensure_ascii=False)
        case List(Scalar() | Enum() | Decimal()) as kind:
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            return json.dumps([_one(returned.name, kind.element, line) for line in lines], ensure_ascii=False)
        case Struct() | Json() | List():
            try:
                return json.dumps(json.loads(text), ensure_ascii=False)
            except ValueError as error:
                raise InvalidSettings(f"{returned.name}: this is not JSON: {error}") from None
        case _:
            return json.dumps(_one(returned.name, returned.type, text.strip()) if text.strip() else None)


def _one(name: str, kind: object, text: str) -> Any:
    """Return one value for JSON: a number, a boolean, or else its text."""
    if isinstance(kind, Decimal) and kind.is_text:
        return text
    if isinstance(kind, Decimal) or (isinstance(kind, Scalar) and any(word in kind.name for word in _NUMBERS)):
        try:
            held = json.loads(text)
        except ValueError:
            held = None
        if isinstance(held, bool) or not isinstance(held, int | float):
            raise InvalidSettings(f"{name}: {text[:60]} is not a number")
        return held
    if kind == Scalar("BOOLEAN"):
        if text not in {"true", "false"}:
            raise InvalidSettings(f"{name}: it must be true or false")
        return text == "true"
    return text
