"""Makers of values, one kind for each kind of JSON Schema that has others inside."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from sqlbatch.server.offline.text import Text

_DEEP = 3  # levels of recursion after which values are made as small as they may be
_ITEMS = 3  # items of a list where the schema leaves it open


class InvalidSchema(ValueError):
    """The schema cannot be asked for; the message says why."""


class Nothing:
    """Stands for `the text says nothing about this` where null may be answered."""


NOTHING = Nothing()


class Asked:
    """The making of one answer: its text, the depth of recursion, which item of a list, which numbers are used."""

    __slots__ = ("depth", "text", "turn", "used")

    def __init__(self, text: Text) -> None:
        self.text = text
        self.depth = 0
        self.turn = 0
        self.used: set[int | Fraction] = set()


class Node:
    """One schema. `height` is how many levels its smallest value has; infinite while no finite value is known."""

    height = 0.0

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value; NOTHING is allowed when `optional` and the text says nothing."""
        raise NotImplementedError

    def parts(self) -> list[Node]:
        """Return the schemas inside."""
        return []

    def measure(self) -> float:
        """Return the height as far as those of the parts are known."""
        return 0.0


class Maker(Node):
    """A schema without parts, made by a function."""

    def __init__(self, make: Callable[[Asked, bool], Any]) -> None:
        self._make = make

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value."""
        return self._make(asked, optional)


class Object(Node):
    """An object: its properties in the schema's order."""

    height = math.inf

    def __init__(self, properties: dict[str, Node], required: frozenset[str]) -> None:
        self._properties = properties
        self._required = required

    def make(self, asked: Asked, optional: bool) -> Any:  # noqa: ARG002
        """Return an object; properties that are not required are left out deep in a recursion."""
        deep = asked.depth > _DEEP
        return {
            name: node.make(asked, False)
            for name, node in self._properties.items()
            if name in self._required or (not deep and node.height < math.inf)
        }

    def parts(self) -> list[Node]:
        """Return the properties."""
        return list(self._properties.values())

    def measure(self) -> float:
        """Return one level more than the highest required property."""
        return 1 + max(
            (self._properties[name].height for name in self._required if name in self._properties), default=0
        )


class Array(Node):
    """A list; its length is bounded by the schema, by what the text offers, and by recursion."""

    height = math.inf

    def __init__(self, item: Node, schema: dict[str, Any], offers: Callable[[Text], int]) -> None:
        self._item = item
        self._least = max(0, int(schema.get("minItems", 0)))
        self._most = int(schema.get("maxItems", max(self._least, _ITEMS)))
        self._offers = offers
        self._unique = bool(schema.get("uniqueItems"))

    def make(self, asked: Asked, optional: bool) -> Any:  # noqa: ARG002
        """Return a list without repetitions where the text allows that."""
        wanted = max(self._least, min(self._offers(asked.text), self._most, max(self._least, _ITEMS)))
        if asked.depth > _DEEP or self._item.height == math.inf:
            wanted = self._least
        outer, made = asked.turn, list[Any]()
        for turn in itertools.count():
            if len(made) >= wanted or turn > 2 * wanted + 20:
                break
            asked.turn = outer + turn
            value = self._item.make(asked, False)
            if value not in made or (turn >= wanted and not self._unique):
                made.append(value)
        while len(made) < self._least:
            made.append(self._item.make(asked, False))
        asked.turn = outer
        return made

    def parts(self) -> list[Node]:
        """Return the item's schema."""
        return [self._item]

    def measure(self) -> float:
        """Return one level more than an item, where there must be one."""
        return 1 + (self._item.height if self._least else 0)


class AnyOf(Node):
    """One of several schemas; null only where the text says nothing."""

    height = math.inf

    def __init__(self, options: list[Node], *, nullable: bool) -> None:
        self._options = options
        self._nullable = nullable

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value of the first schema that finds something; deep in a recursion, the smallest."""
        if asked.depth > _DEEP and (self._nullable or not self._options):
            return None
        options = [option for option in self._options if option.height < math.inf]
        if asked.depth > _DEEP:
            options = [min(options, key=lambda option: option.height)]
        for option in options:
            value = option.make(asked, True)
            if value is not NOTHING:
                return value
        if self._nullable:
            return None
        return NOTHING if optional else options[0].make(asked, False)

    def parts(self) -> list[Node]:
        """Return the schemas to choose from."""
        return self._options

    def measure(self) -> float:
        """Return the least height among the schemas; null has none."""
        return 0.0 if self._nullable else min((option.height for option in self._options), default=math.inf)


class Ref(Node):
    """A reference, bound once the whole schema is known."""

    height = math.inf

    def __init__(self) -> None:
        self.target: Node | None = None

    def make(self, asked: Asked, optional: bool) -> Any:
        """Return a value of the schema referred to, one level deeper."""
        if self.target is None:
            raise InvalidSchema("a reference leads nowhere")
        asked.depth += 1
        try:
            return self.target.make(asked, optional)
        finally:
            asked.depth -= 1

    def parts(self) -> list[Node]:
        """Return the schema referred to."""
        return [self.target] if self.target else []

    def measure(self) -> float:
        """Return one level more than the schema referred to."""
        return 1 + self.target.height if self.target else math.inf
