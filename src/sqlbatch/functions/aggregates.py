"""Aggregates over texts: a group's texts are split into pieces, each is asked about, and the answers are combined.

A piece ends where the hash of a text says so, not after a number of rows, so that an extra row changes only one piece
and the answers based on it. Each level combines the pieces of the one before, cut by their keys, which are known before
their answers. `ai_agg(x, i)` becomes, from the inside out, a list of the group's texts, then for each level a cut of
the list and a call over it; if a group is already one piece, further levels ask nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.functions.syntax import Node, Syntax

# Levels of a plan; the last one joins all pieces that are left. Four levels handle some hundred megabytes of text a
# group.
LEVELS = 4
# The type of a list of pieces: key, text (or its answer), whether to ask, why there is no answer, place.
PIECES = "STRUCT(k VARCHAR, ask BOOLEAN, why VARCHAR, t VARCHAR, i BIGINT)[]"
_TEXT = "struct_extract(sqlbatch_e, 't')"
_PIECE = "struct_pack(k := md5(t), ask := true, why := CAST(NULL AS VARCHAR), t := t, i := CAST(0 AS BIGINT))"


def texts_of(syntax: Syntax, source: Node, node: Node) -> Node:
    """Return the list of a group's texts as pieces, in the order of the aggregate, or else by hash.

    FILTER and DISTINCT of the aggregate `node` apply to the list.
    """
    text = syntax.expression("sqlbatch_text(x)", x=source)
    ordered = bool(node["order_bys"]["orders"])
    shape = f"list({_PIECE} ORDER BY md5(t), t) FILTER (t IS NOT NULL)"
    listed = syntax.expression(shape, t=text)
    if ordered:
        listed = listed | {"order_bys": node["order_bys"]}
    if node["filter"]:
        listed = listed | {"filter": syntax.all_of([node["filter"], listed["filter"]])}
    return syntax.expression("list_sort(list_distinct(x))", x=listed) if node["distinct"] else listed


def levels_of(syntax: Syntax, texts: Node, call: Callable[[Node, int], Node]) -> Node:
    """Return the value of an aggregate; `call` makes the call of a level over a list of pieces."""
    pieces = texts
    for level in range(1, LEVELS + 1):
        cut = syntax.expression(f"sqlbatch_cut(x, {level}, {level == LEVELS})", x=pieces)
        pieces = call(cut, level)
    return syntax.expression("sqlbatch_whole(x)", x=pieces)


def asked_of_each(ask: str) -> str:
    """Return SQL of the list of inputs of a list of pieces `sqlbatch_x`, from SQL of one input."""
    # In HAVING, DuckDB takes `piece.t` in a lambda for a column.
    asked = f"list_filter(sqlbatch_x, lambda sqlbatch_e: struct_extract(sqlbatch_e, 'ask') AND {_TEXT} IS NOT NULL)"
    return f"list_transform({asked}, lambda sqlbatch_e: {ask.replace('sqlbatch_x', _TEXT)})"


def answered(answers: str, key: str) -> str:
    """Return SQL of a list of pieces in which texts are replaced by their answers, from the table of answers.

    `key` is SQL of a request's id from its text `sqlbatch_e.t`.
    """
    found = f"CASE WHEN sqlbatch_e.ask THEN {key} END"
    return f"""(
      SELECT list(struct_pack(k := sqlbatch_e.k, ask := false, why := coalesce(sqlbatch_e.why, sqlbatch_why),
        t := CASE WHEN sqlbatch_e.ask THEN sqlbatch_value ELSE sqlbatch_e.t END, i := sqlbatch_e.i)
        ORDER BY sqlbatch_e.i)
      FROM (SELECT unnest(sqlbatch_x) AS sqlbatch_e) LEFT JOIN {answers} ON sqlbatch_key = {found})"""
