"""Build the SQL of a row's input: the text and the pictures that are sent to the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidPrompt, did_you_mean
from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.query.pictures import IMAGE_INFO, check_columns
from sqlbatch.query.request import input_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.select import QueryColumn

# The most tokens that OpenAI's embedding models accept in one text. There is no tokenizer here, so a text is skipped as
# too long only if it has more bytes per token than any prose has; the provider refuses shorter ones by itself.
EMBEDDING_TOKENS, LEAST_TOKEN_BYTES = 8192, 6
# The innermost braces, so that a placeholder may stand between single ones.
_PLACE = re.compile(r"\{\{(?!\{)(.*?)\}\}", re.DOTALL)
_NESTED = re.compile(r"(\[\d*\]|^STRUCT\(.*\)|^MAP\(.*\)|^UNION\(.*\))$", re.DOTALL)


@dataclass(frozen=True)
class PromptSql:
    """A row's input as SQL over the query's columns.

    `input` is the varying part of a request's body (VARCHAR, NULL for a skipped row), `skipped` says why a row is
    skipped (NULL if it is not), `columns` are the names of the columns that are sent, and `invalid` says what cannot be
    sent. `images` are the columns with pictures; then the SQL also uses the facts about these, IMAGE_INFO.
    """

    input: str
    skipped: str
    columns: tuple[str, ...]
    invalid: str | None = None
    images: tuple[QueryColumn, ...] = ()


@dataclass(frozen=True)
class _Text:
    """The text that is sent for a row: SQL for it, for why a row is skipped, and its columns.

    With `needed`, a row without text is skipped even if it has pictures.
    """

    sql: str
    skipped: str
    columns: tuple[str, ...]
    needed: bool = True


def find_column(name: str, columns: Sequence[QueryColumn], where: str) -> QueryColumn:
    """Return the column of a name, compared as SQL compares names.

    Raise InvalidPrompt with a similar name if there is none.
    """
    for column in columns:
        if column.name.casefold() == name.casefold():
            return column
    known = [column.name for column in columns]
    hint = did_you_mean(name, known, 0.5, f"the query has: {', '.join(known)}")
    raise InvalidPrompt(f"{where}: the query has no column {name}; {hint}")


def build_prompt(enrichment: Enrichment, columns: Sequence[QueryColumn]) -> PromptSql:
    """Return a row's input: from the template, a prompt or messages column, or the input columns, in this order.

    Raises InvalidPrompt if none of these is given, or if a name in it is not a column of the query.
    """
    named = {column.name.casefold(): column for column in columns}
    images = tuple(find_column(name, columns, "--image") for name in enrichment.images)
    if images:
        check_columns(enrichment, images)
    given = bool(enrichment.inputs) or enrichment.prompt is not None
    talks = endpoint_of(enrichment.endpoint).talks
    if not given and "messages" in named:
        if images:
            raise InvalidPrompt(
                "--image cannot be combined with a column named messages: put the pictures into the conversations"
            )
        if not talks:
            raise InvalidPrompt(
                f"{enrichment.endpoint} takes no conversations: name its text with --input, not messages"
            )
        return _messages(named["messages"])
    others = [column for column in columns if column not in images]
    if not images or given or "prompt" in named or others:
        text = _text_of(enrichment, columns if enrichment.prompt is not None else others, named)
    elif talks and enrichment.instructions is None:
        raise InvalidPrompt("nothing tells the model what to do with the pictures: give --instructions, or --prompt")
    else:
        text = _Text("CAST(NULL AS VARCHAR)", "CAST(NULL AS VARCHAR)", (), needed=False)
    if images:
        return _with_pictures(enrichment, text, images)
    skipped = _also_skipped(enrichment, text)
    shown = input_of(enrichment.endpoint, text.sql)
    return PromptSql(f"CASE WHEN ({skipped}) IS NULL THEN {shown} END", skipped, text.columns)


def _with_pictures(enrichment: Enrichment, text: _Text, images: tuple[QueryColumn, ...]) -> PromptSql:
    """Add a row's pictures after its text, if any; a row without a picture is skipped."""
    skipped = f"CASE WHEN {IMAGE_INFO}.urls IS NULL THEN {_all_null(images)} END"
    if text.needed:
        skipped = f"coalesce({text.skipped}, {skipped})"
    shown = input_of(enrichment.endpoint, text.sql, f"{IMAGE_INFO}.urls", enrichment.image_detail)
    # A request that cannot be sent is a request too, so that it is counted and reported as failed.
    unsent = f"to_json(struct_pack(unsent := {IMAGE_INFO}.failed))::VARCHAR"
    asked = f"CASE WHEN {IMAGE_INFO}.failed IS NULL THEN {shown} ELSE {unsent} END"
    seen = (*text.columns, *(image.name for image in images))
    return PromptSql(f"CASE WHEN ({skipped}) IS NULL THEN {asked} END", skipped, seen, images=images)


def _text_of(enrichment: Enrichment, columns: Sequence[QueryColumn], named: Mapping[str, QueryColumn]) -> _Text:
    if enrichment.prompt is not None:
        if enrichment.inputs:
            raise InvalidPrompt("--prompt and --input both say what is sent to the model: give one of them")
        return _template(enrichment.prompt, columns)
    if not enrichment.inputs and "prompt" in named:
        column = named["prompt"]
        return _Text(_text(column), _null_reason([column]), (column.name,))
    talks = endpoint_of(enrichment.endpoint).talks
    if talks and enrichment.instructions is None:
        raise InvalidPrompt(
            "nothing tells the model what to do: give --prompt 'a template with {{ column }}', or --instructions "
            "(with --input COLUMN for what to send), or a column named prompt in the query"
        )
    if not talks and not enrichment.inputs and len(columns) > 1:
        raise InvalidPrompt(
            f"nothing says what {enrichment.endpoint} gets of a row: name it with --input COLUMN, or give "
            "--prompt 'a template with {{ column }}'"
        )
    chosen = [find_column(name, list(named.values()), "--input") for name in enrichment.inputs] or list(columns)
    doubled = next((column.name for column in chosen if chosen.count(column) > 1), None)
    if doubled is not None:
        raise InvalidPrompt(f"--input names {doubled} twice: name each column once")
    skipped, text = _null_reason(chosen), _text(chosen[0])
    if len(chosen) > 1:
        fields = ", ".join(f"{quote_identifier(column.name)} := {quote_identifier(column.name)}" for column in chosen)
        text = f"to_json(struct_pack({fields}))::VARCHAR"
        if enrichment.images:
            text = f"CASE WHEN ({skipped}) IS NULL THEN {text} END"
    return _Text(text, skipped, tuple(column.name for column in chosen), needed=False)


def _also_skipped(enrichment: Enrichment, text: _Text) -> str:
    """Return SQL for why a row is skipped, including what embeddings refuse: an empty text, and a very long one."""
    if endpoint_of(enrichment.endpoint).name != "embeddings":
        return text.skipped
    what = " and ".join(text.columns)
    cases = f"WHEN {text.sql} = '' THEN {quote_literal(f'{what} is empty, and an empty text has no embedding')}"
    if enrichment.model.startswith("text-embedding-"):
        long = f"{what} is longer than {EMBEDDING_TOKENS:,} tokens; shorten it, for example with left(column, 30000)"
        cases += f" WHEN strlen({text.sql}) > {EMBEDDING_TOKENS * LEAST_TOKEN_BYTES} THEN {quote_literal(long)}"
    return f"coalesce({text.skipped}, CASE {cases} END)"


def _template(template: str, columns: Sequence[QueryColumn]) -> _Text:
    seen: list[QueryColumn] = []
    parts: list[str] = []
    for number, piece in enumerate(_PLACE.split(template)):
        if number % 2 == 0:
            if "{{" in piece:
                near = piece[piece.index("{{") :].split("\n")[0][:30]
                raise InvalidPrompt(f"--prompt opens {near!r} and never closes it: write {{{{ column }}}}")
            if piece:
                parts.append(quote_literal(piece))
            continue
        name = piece.strip()
        if not name:
            raise InvalidPrompt("--prompt has an empty {{ }}: write {{ column }}")
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
    # A row is skipped if any value is NULL, because || makes the whole text NULL.
    text = "(" + " || ".join(parts) + ")" if len(parts) > 1 else parts[0]
    reasons = " ".join(f"WHEN {quote_identifier(c.name)} IS NULL THEN {_all_null([c])}" for c in seen)
    return _Text(text, f"CASE {reasons} END", tuple(column.name for column in seen))


def _messages(column: QueryColumn) -> PromptSql:
    """Send a column of whole conversations: each is a JSON array, sent unchanged after the system message."""
    name = quote_identifier(column.name)
    value = name if column.type in {"JSON", "VARCHAR"} else f"to_json({name})"
    array = f"TRY_CAST({value}::VARCHAR AS JSON)"
    usable = f"coalesce(json_type({array}) = 'ARRAY' AND json_array_length({array}) > 0, false)"
    inner = f"(json({array})::VARCHAR)"
    return PromptSql(
        input=f"CASE WHEN {usable} THEN {inner}[2:-2] END",
        skipped=_null_reason([column]),
        columns=(column.name,),
        invalid=f"CASE WHEN {name} IS NOT NULL AND NOT {usable} THEN "
        f"{quote_literal(f'{column.name} is not a JSON array with messages')} END",
    )


def _text(column: QueryColumn) -> str:
    name = quote_identifier(column.name)
    # A list or struct is easier to read as JSON than as DuckDB prints it.
    return f"to_json({name})::VARCHAR" if _NESTED.search(column.type) else f"{name}::VARCHAR"


def _null_reason(columns: Sequence[QueryColumn]) -> str:
    """Return SQL for why a row without a value in these columns is skipped."""
    every = " AND ".join(f"{quote_identifier(column.name)} IS NULL" for column in columns)
    return f"CASE WHEN {every} THEN {_all_null(columns)} END"


def _all_null(columns: Sequence[QueryColumn]) -> str:
    names = [column.name for column in columns]
    return quote_literal(f"{names[0]} is NULL" if len(names) == 1 else f"{', '.join(names)} are all NULL")
