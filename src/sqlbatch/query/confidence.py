"""How sure the model was: request log probabilities, and the target's column `ai_confidence`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidSettings
from sqlbatch.query.endpoints import Endpoint, endpoint_of, may_think
from sqlbatch.returns import ReturnsMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlbatch.returns import Returns

# The target's column with one number for each returned column.
COLUMN = "ai_confidence"
# The value of `include` in the Responses API.
INCLUDED = "message.output_text.logprobs"
# SQL over a result `r`: whether the provider refused log probabilities.
REFUSED = (
    "(r.outcome = 'failed' AND r.confidence IS NOT NULL AND contains(lower(concat(r.code, ' ', r.message)), 'logprob'))"
)


def parameter(endpoint: Endpoint) -> tuple[str, object]:
    """Return the parameter that requests log probabilities at an endpoint; it is not part of a request's identity."""
    return ("include", [INCLUDED]) if endpoint.name == "responses" else ("logprobs", True)


def check(
    path: str, model: str, params: Mapping[str, object], provider: str, *, gives: bool, wanted: bool
) -> tuple[bool, tuple[str, ...]]:
    """Return whether log probabilities are requested, and notes for the quote.

    `gives`: the provider can return them. `wanted`: --confidence was given. Raises InvalidSettings for a parameter that
    contradicts it.
    """
    if not wanted:
        return False, ()
    endpoint = endpoint_of(path)
    if not endpoint.talks:
        return False, (f"{COLUMN} is NULL: {endpoint.name} has no log probabilities",)
    if not gives:
        return False, (f"{COLUMN} is NULL: {provider} gives no log probabilities",)
    name, value = parameter(endpoint)
    if name in params and not _asks(params[name], value):
        raise InvalidSettings(f"--confidence needs --param {name}={json.dumps(value)}: give it so, or leave it out")
    note = f"{model} may refuse log probabilities while it thinks: a preview shows that for a few requests"
    return True, (note,) if may_think(model) else ()


def _asks(given: object, value: object) -> bool:
    return given is True if value is True else isinstance(given, list) and INCLUDED in given


def answer_columns(returns: Returns, content: str, vector: str, confidence: str | None) -> list[tuple[str, str]]:
    """Return name and SQL of an answer's columns, including COLUMN if `confidence` (SQL of a result's) is given."""
    columns = returns.typed_sql(content, vector)
    return columns if confidence is None else [*columns, (COLUMN, _numbers(returns, confidence))]


def target_columns(returns: Returns, *, confident: bool) -> str:
    """Return SQL of the returned columns of a target, with their names."""
    confidence = "sqlbatch_confidence" if confident else None
    columns = answer_columns(returns, "sqlbatch_content", "sqlbatch_vector", confidence)
    return ", ".join(f"{sql} AS {quote_identifier(name)}" for name, sql in columns)


def _numbers(returns: Returns, confidence: str) -> str:
    """Return SQL of a STRUCT with a number for each returned column; NULL if a result has none."""
    key = {column.name: column.name if returns.mode is ReturnsMode.COLUMNS else "" for column in returns.columns}
    fields = ", ".join(f"{quote_identifier(name)} := {confidence}[{quote_literal(of)}]" for name, of in key.items())
    return f"CASE WHEN cardinality({confidence}) > 0 THEN struct_pack({fields}) END"
