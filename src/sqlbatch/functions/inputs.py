"""The inputs of calls: allowed expressions, templates of prompt('…', …), and pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlbatch.functions.syntax import Node, Syntax, calling, function_of, point, walk

if TYPE_CHECKING:
    from sqlbatch.functions import catalogue

# The name of a call in the planned SQL, followed by its number.
VALUE = "sqlbatch_ai_"
# The same of a call that tells why there is no answer.
WHY = "sqlbatch_why_"
# The macro of a picture in the planned SQL.
PICTURE = "sqlbatch_picture"
# Aggregates whose result depends on the order of their rows.
ORDERED = frozenset({"string_agg", "group_concat", "listagg", "list", "array_agg", "first", "last", "arbitrary"})


class Inputs:
    """Parses the inputs of the calls in a query."""

    def __init__(self, syntax: Syntax, query: str) -> None:
        self.syntax = syntax
        self.query = query
        self.pictured: list[Node] = []

    def _image(self, node: Node, place: str) -> Node:
        """Return a picture: the whole input of a call, or a value in prompt('…', …)."""
        given = [each["expression"] for each in node["arguments"]]
        if len(given) != 1:
            raise self.error(node, "ai_image takes one argument: a path, a URL, or a BLOB")
        if not place:
            raise self.error(node, "ai_image is the input of another function: write ai_classify(ai_image(path), …) or "
                             "ai_filter(prompt('… {0} …', ai_image(path)))")  # fmt: skip
        if any(function_of(part).startswith(VALUE) for part in walk(given)):
            raise self.error(node, "ai_image takes a path, a URL or a BLOB of a source, not an answer: pictures are "
                             "looked at when the query is planned")  # fmt: skip
        picture = calling(node, PICTURE) | {"alias": ""}
        return picture if place == "part" else self._pictured(None, [picture])

    def _pictured(self, text: Node | None, shown: list[Node]) -> Node:
        """Return an input of a text and pictures: NULL if one of them is NULL."""
        told = text or self.syntax.expression("CAST(NULL AS VARCHAR)")
        whole = self.syntax.expression("struct_pack(t := sqlbatch_t, p := sqlbatch_p)", sqlbatch_t=told,
                                       sqlbatch_p=self.syntax.list_of(shown))  # fmt: skip
        needed = [*([text] if text else []), *(each["arguments"][0]["expression"] for each in shown)]
        there = self.syntax.all_of([self.syntax.expression("x IS NOT NULL", x=each) for each in needed])
        whole = self.syntax.expression("CASE WHEN g THEN x END", g=there or whole, x=whole)
        self.pictured.append(whole)
        return whole

    def _shows(self, function: catalogue.Function, source: Node, node: Node) -> bool:
        """Return whether a call has pictures in its input; raise InvalidQuery if its function accepts none."""
        shows = any(source is each for each in self.pictured)
        if shows and (function.embeds or function.aggregates):
            raise self.error(node, f"{function.name} accepts no pictures: describe them first, as in "
                             f"{function.name}(ai_complete(ai_image(path), 'Describe it.'))")  # fmt: skip
        return shows

    def _template(self, node: Node) -> Node:
        """Return the text of prompt('… {0} …', a, b) as an expression: NULL if a value is NULL."""
        parts = [each["expression"] for each in node["arguments"]]
        literal = parts[0].get("literal") or {}
        if literal.get("kind") != "STRING":
            raise self.error(parts[0], "prompt begins with a constant template: prompt('… {0} …', a)")
        whole: Node | None = None
        pictures: list[Node] = []
        for number, piece in enumerate(re.split(r"\{(\d+)\}", literal["text"])):
            if not piece:
                continue
            shown = self.syntax.text(piece)
            if number % 2:
                if int(piece) + 1 >= len(parts):
                    raise self.error(parts[0], f"prompt has {{{piece}}} and only {len(parts) - 1} values")
                value = parts[int(piece) + 1]
                shown = self.syntax.expression("sqlbatch_text(x)", x=value)
                if function_of(value) == PICTURE:
                    # Pictures follow the text, which refers to them by number.
                    pictures += [] if any(value is each for each in pictures) else [value]
                    shown = self.syntax.text(f"picture {1 + next(i for i, p in enumerate(pictures) if p is value)}")
            whole = shown if whole is None else self.syntax.expression("a || b", a=whole, b=shown)
        whole = whole or self.syntax.text("")
        return self._pictured(whole, pictures) if pictures else whole

    def _check_input(self, function: catalogue.Function, source: Node) -> None:
        for node in walk(source):
            if node.get("class") == "WINDOW":
                raise self.error(node, f"{function.name} over a window function: compute the window in a subquery, and "
                                 "call the function outside of it")  # fmt: skip
            if node.get("class") == "STAR":
                raise self.error(node, f"{function.name} takes one input, not * or COLUMNS: name the column, or "
                                 "several as {'a': a, 'b': b}")  # fmt: skip
            name = function_of(node)
            if name in ORDERED and not node["order_bys"]["orders"] and not function.aggregates:
                raise self.error(node, f"{name} inside {function.name} returns another text each time, because it "
                                 f"has no order: write {name}(… ORDER BY …)")  # fmt: skip

    def error(self, node: Node | None, message: str) -> Exception:
        """Return an error about a place in the query."""
        return point(self.query, node, message)


def is_prompt(node: Node) -> bool:
    """Whether a node calls prompt."""
    return function_of(node) == "prompt"
