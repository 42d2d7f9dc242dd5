"""What the model sees of a row, and what stays the same for all rows: the call."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sqlbatch.errors import InvalidPrompt, InvalidSettings
from sqlbatch.query.enrichment import CHAT
from sqlbatch.query.returns import Returns, ReturnsMode
from sqlbatch.store.queries import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.query.enrichment import Enrichment

# The innermost braces, so that a place may stand between single ones.
_PLACE = re.compile(r"\{\{(?!\{)(.*?)\}\}", re.DOTALL)
_NESTED = re.compile(r"(\[\d*\]|^STRUCT\(.*\)|^MAP\(.*\)|^UNION\(.*\))$", re.DOTALL)


@dataclass(frozen=True)
class QueryColumn:
    """A column of the user's query: its name and DuckDB's name of its type."""

    name: str
    type: str


@dataclass(frozen=True)
class Sight:
    """What the model sees of a row, as SQL over the query's columns.

    `input` is the varying part of a request's body (VARCHAR, NULL for a skipped row), `skipped` says why a row is
    skipped (NULL where it is not), `columns` are the names that the model sees.
    """

    input: str
    skipped: str
    columns: tuple[str, ...]
    invalid: str | None = None


@dataclass(frozen=True)
class Call:
    """The constant side of a model call: a request's body is `head || input || tail`."""

    base_url: str
    endpoint: str
    model: str
    head: str
    tail: str
    returns: str

    @property
    def call_id(self) -> uuid.UUID:
        """Return the hash of all of it; it is hashed again with the input into a request's custom_id."""
        parts = (self.base_url, self.endpoint, self.head, self.tail, self.returns)
        return uuid.UUID(hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32])


def find_column(name: str, columns: Sequence[QueryColumn], where: str) -> QueryColumn:
    """Return the column of a name, as SQL compares names; raise InvalidPrompt with a near one where there is none."""
    for column in columns:
        if column.name.casefold() == name.casefold():
            return column
    near = get_close_matches(name, [column.name for column in columns], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the query has: {', '.join(column.name for column in columns)}"
    raise InvalidPrompt(f"{where}: the query has no column {name}; {hint}")


def see(enrichment: Enrichment, columns: Sequence[QueryColumn]) -> Sight:
    """Return what the model sees: the template, a prompt or messages column, or the input columns, in this order.

    Raises InvalidPrompt where nothing says so, or where a name in it is no column of the query.
    """
    if enrichment.prompt is not None:
        if enrichment.inputs:
            raise InvalidPrompt("--prompt and --input are two ways to say what the model sees: give one of them")
        return _template(enrichment.prompt, columns)
    named = {column.name.casefold(): column for column in columns}
    if not enrichment.inputs and "messages" in named:
        return _messages(named["messages"])
    if not enrichment.inputs and "prompt" in named:
        column = named["prompt"]
        return _one_text(_text(column), _null_reason([column]), (column.name,))
    if enrichment.instructions is None:
        raise InvalidPrompt(
            "nothing says what the model shall do: give --prompt 'a template with {{ column }}', or --instructions "
            "(with --input COLUMN for what it sees), or a column named prompt in the query"
        )
    chosen = [find_column(name, columns, "--input") for name in enrichment.inputs] or list(columns)
    doubled = next((column.name for column in chosen if chosen.count(column) > 1), None)
    if doubled is not None:
        raise InvalidPrompt(f"--input names {doubled} twice: name each column once")
    if len(chosen) == 1:
        return _one_text(_text(chosen[0]), _null_reason(chosen), (chosen[0].name,))
    fields = ", ".join(f"{quote_identifier(column.name)} := {quote_identifier(column.name)}" for column in chosen)
    return _one_text(f"to_json(struct_pack({fields}))::VARCHAR", _null_reason(chosen), tuple(c.name for c in chosen))


def call_of(enrichment: Enrichment, returns: Returns) -> Call:
    """Return the constant side of the enrichment's requests; raise InvalidSettings for an endpoint not yet known."""
    if enrichment.endpoint != CHAT:
        raise InvalidSettings(f"--endpoint {enrichment.endpoint}: sqlbatch speaks {CHAT}; leave the option out")
    system = enrichment.instructions
    tail: dict[str, object] = {}
    if returns.mode is ReturnsMode.JSON:
        tail["response_format"] = {"type": "json_object"}
        # The provider refuses JSON mode where no message has the word.
        if "json" not in (system or "").lower():
            system = f"{system}\n\nAnswer with one JSON object." if system else "Answer with one JSON object."
    elif returns.mode is ReturnsMode.COLUMNS:
        schema = {"name": "row", "strict": True, "schema": returns.json_schema()}
        tail["response_format"] = {"type": "json_schema", "json_schema": schema}
    tail |= {name: json.loads(value) for name, value in enrichment.params}
    head = f'{{"model":{_json(enrichment.model)},"messages":['
    if system is not None:
        head += _json({"role": "system", "content": system}) + ","
    rest = "".join(f",{_json(name)}:{_json(value)}" for name, value in tail.items())
    return Call(enrichment.base_url, enrichment.endpoint, enrichment.model, head, f"]{rest}}}", returns.text)


def _template(template: str, columns: Sequence[QueryColumn]) -> Sight:
    pieces = _PLACE.split(template)
    seen: list[QueryColumn] = []
    parts: list[str] = []
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            if piece:
                parts.append(quote_literal(piece))
            continue
        name = piece.strip()
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = name[1:-1].replace('""', '"')
        column = find_column(name, columns, f"--prompt {{{{ {name} }}}}")
        parts.append(_text(column))
        if column not in seen:
            seen.append(column)
    if not seen:
        raise InvalidPrompt(
            "--prompt names no column, so every row would ask the same: write {{ column }} where a value belongs"
        )
    # A row is skipped when any value is NULL, as || makes it.
    text = "(" + " || ".join(parts) + ")" if len(parts) > 1 else parts[0]
    reason = "CASE " + " ".join(
        f"WHEN {quote_identifier(c.name)} IS NULL THEN {quote_literal(f'{c.name} is NULL')}" for c in seen
    )
    return _one_text(text, f"{reason} END", tuple(column.name for column in seen))


def _messages(column: QueryColumn) -> Sight:
    """See a column of whole conversations: a JSON array, sent as it is behind the system message."""
    name = quote_identifier(column.name)
    value = name if column.type in {"JSON", "VARCHAR"} else f"to_json({name})"
    array = f"TRY_CAST({value}::VARCHAR AS JSON)"
    usable = f"coalesce(json_type({array}) = 'ARRAY' AND json_array_length({array}) > 0, false)"
    inner = f"(json({array})::VARCHAR)"
    return Sight(
        input=f"CASE WHEN {usable} THEN {inner}[2:-2] END",
        skipped=f"CASE WHEN {name} IS NULL THEN {quote_literal(f'{column.name} is NULL')} END",
        columns=(column.name,),
        invalid=f"CASE WHEN {name} IS NOT NULL AND NOT {usable} THEN "
        f"{quote_literal(f'{column.name} is not a JSON array with messages')} END",
    )


def _one_text(text: str, skipped: str, columns: tuple[str, ...]) -> Sight:
    """See a text as the content of one user message; to_json of a struct is safe with NULL and the same in Spark."""
    message = f"to_json(struct_pack(role := 'user', content := {text}))::VARCHAR"
    return Sight(input=f"CASE WHEN ({skipped}) IS NULL THEN {message} END", skipped=skipped, columns=columns)


def _text(column: QueryColumn) -> str:
    name = quote_identifier(column.name)
    # A list or struct reads better as JSON than as DuckDB prints it.
    return f"to_json({name})::VARCHAR" if _NESTED.search(column.type) else f"{name}::VARCHAR"


def _null_reason(columns: Sequence[QueryColumn]) -> str:
    every = " AND ".join(f"{quote_identifier(column.name)} IS NULL" for column in columns)
    names = [column.name for column in columns]
    reason = f"{names[0]} is NULL" if len(names) == 1 else f"{', '.join(names)} are all NULL"
    return f"CASE WHEN {every} THEN {quote_literal(reason)} END"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
