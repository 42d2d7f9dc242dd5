"""The endpoints of a batch: their names, their parameters, and what each returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.batch_limits import OFFLINE, OFFLINE_DIMENSIONS
from sqlbatch.errors import InvalidReturns, InvalidSettings, did_you_mean, nearest
from sqlbatch.returns import JSON_RETURNS, Returns, ReturnsMode, Structured, parse_returns, vector_returns
from sqlbatch.returns.convert import json_in_text

if TYPE_CHECKING:
    from collections.abc import Mapping

# The length of the vectors of embedding models unless `dimensions` changes it; `offline` is ours.
LENGTHS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    OFFLINE: OFFLINE_DIMENSIONS,
}


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of the API, by its path without the version.

    `field` is the key of a body that holds the row's input. `talks`: it takes a conversation with a system message, and
    answers in returned columns. `pictures`: it accepts pictures.
    """

    name: str
    field: str
    talks: bool = False
    pictures: bool = False


ENDPOINTS = {
    each.name: each
    for each in (
        Endpoint("chat/completions", "messages", talks=True, pictures=True),
        Endpoint("responses", "input", talks=True, pictures=True),
        Endpoint("embeddings", "input"),
        Endpoint("moderations", "input", pictures=True),
        Endpoint("completions", "prompt"),
        Endpoint("images/generations", "prompt"),
        Endpoint("images/edits", "prompt", pictures=True),
        Endpoint("videos", "prompt"),
    )
}
_SHORT = {"chat": "chat/completions", "embedding": "embeddings", "moderation": "moderations", "response": "responses"}
# Parameters with another name at this endpoint, and that name.
_OTHER_NAMES = {
    "chat/completions": {
        "max_output_tokens": "max_completion_tokens={value}",
        "reasoning": "reasoning_effort=low (or another effort)",
    },
    "responses": {
        "max_tokens": "max_output_tokens={value}",
        "max_completion_tokens": "max_output_tokens={value}",
        "reasoning_effort": 'reasoning={{"effort": "{value}"}}',
    },
}
# Models that think before they answer, and refuse max_tokens (contract of the API, section 5).
_REASONING = re.compile(r"(o\d|gpt-[5-9])")


def find_endpoint(text: str) -> str:
    """Return the path of an endpoint given as a path or a short name; raise InvalidSettings for an unknown one.

    A path with another version, or none, is unchanged: other providers have such paths.
    """
    name = _SHORT.get(text.strip().casefold(), text.strip())
    path = name if name.startswith("/") else f"/v1/{name.removeprefix('v1/')}"
    if _name(path) not in ENDPOINTS:
        hint = did_you_mean(_name(path), ENDPOINTS, 0.5)
        raise InvalidSettings(f"--endpoint {text}: the Batch API has no such endpoint; {hint}")
    return path


def endpoint_of(path: str) -> Endpoint:
    """Return the endpoint of a path from `find_endpoint`."""
    return ENDPOINTS[_name(path)]


def returns_of(
    path: str,
    text: str | None,
    model: str,
    params: Mapping[str, object],
    structured: Structured = Structured.JSON_SCHEMA,
) -> Returns:
    """Return what an endpoint returns, given the values of `--returns` (None: not given) and `--structured`.

    Raises InvalidReturns for columns that it cannot return, and for vectors of unknown length.
    """
    endpoint = endpoint_of(path)
    if endpoint.talks:
        return parse_returns(text, structured)
    if endpoint.name == "embeddings":
        return vector_returns(_length(text, model, params))
    returns = parse_returns(text)
    whole = endpoint.name != "completions"
    if returns.mode is not ReturnsMode.TEXT and not (whole and returns.mode is ReturnsMode.JSON):
        column = "response JSON, of which a query takes what it needs" if whole else "response VARCHAR"
        raise InvalidReturns(
            f"--returns cannot be combined with {path}, which gives one column, {column}: leave it out"
        )
    return JSON_RETURNS if whole else returns


def read_returns(path: str, text: str) -> Returns:
    """Return what an endpoint returns, from the canonical text of `returns_of`."""
    if endpoint_of(path).name == "embeddings":
        return vector_returns(_given_length(text) or 0)
    return parse_returns(text or None)


# Known parameters of the endpoints, to find typos; a provider may have others.
_PARAMS = (
    "background", "dimensions", "encoding_format", "enable_thinking", "frequency_penalty", "include", "logit_bias",
    "logprobs", "max_completion_tokens", "max_output_tokens", "max_tokens", "max_tool_calls", "metadata", "min_p",
    "modalities", "n", "parallel_tool_calls", "presence_penalty", "prompt_cache_key", "reasoning", "reasoning_effort",
    "repetition_penalty", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store",
    "temperature", "text", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "truncation", "user", "verbosity",
)  # fmt: skip


def check_params(path: str, model: str, params: Mapping[str, object]) -> None:
    """Raise InvalidSettings for a parameter that the endpoint or the model refuses, with its right name."""
    endpoint = endpoint_of(path)
    for name, value in params.items():
        other = _OTHER_NAMES.get(endpoint.name, {}).get(name)
        if other is None and name == "max_tokens" and endpoint.talks and _REASONING.match(model):
            other = "max_completion_tokens={value} (it also bounds the thinking, so leave room)"
        if other is None and name not in _PARAMS:
            near = nearest(name, _PARAMS, 0.85)
            if near:
                raise InvalidSettings(f"--param {name}: did you mean {near}?")
        if other is not None:
            where = model if name == "max_tokens" and endpoint.name == "chat/completions" else path
            raise InvalidSettings(f"--param {name}: {where} has --param {other.format(value=value)} instead")
        if name == "n" and endpoint.talks | (endpoint.name == "completions") and value != 1:
            raise InvalidSettings("--param n: a row has one answer, and further ones would be paid for and lost")
        if name == "encoding_format":
            raise InvalidSettings("--param encoding_format: sqlbatch sets it itself; the vectors come as FLOAT[]")
        if name == "dimensions" and model == "text-embedding-ada-002":
            raise InvalidSettings(f"--param dimensions: {model} has vectors of 1536 only; leave it out")


def may_think(model: str) -> bool:
    """Return whether a model, judged by its name, thinks before it answers unless told not to."""
    return bool(_REASONING.match(model))


def _name(path: str) -> str:
    """Return the path of an endpoint without its version."""
    return re.sub(r"^/(v\d+/)?", "", path).rstrip("/")


def _length(text: str | None, model: str, params: Mapping[str, object]) -> int:
    """Return the length of a vector: from --returns, from the parameter `dimensions`, or by the model."""
    given = _given_length(text) if text and text.strip() else None
    asked = params.get("dimensions")
    if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise InvalidSettings(f"--param dimensions={asked}: it must be a whole number above 0")
    if text and text.strip() and given is None:
        raise InvalidReturns(
            "--returns: an embeddings endpoint gives one column, embedding FLOAT[n]: leave it out, or give the length "
            "of the vectors as --returns 'embedding FLOAT[1024]'"
        )
    if given is not None and asked is not None and given != asked:
        raise InvalidReturns(f"--returns says vectors of {given} numbers and --param dimensions {asked}: give one")
    length = given or asked or LENGTHS.get(model)
    if length is None:
        raise InvalidReturns(
            f"--model {model}: the length of its vectors is not known: give it with --returns 'embedding FLOAT[1024]', "
            "or request a length with --param dimensions=1024"
        )
    return length


def _given_length(text: str | None) -> int | None:
    found = re.fullmatch(r'\s*"?embedding"?\s+(?:FLOAT|REAL|FLOAT4)\s*\[\s*([1-9]\d{0,4})\s*\]\s*', text or "", re.I)
    return int(found[1]) if found else None


def reading_of(endpoint: str, returns: str, structured: Structured) -> tuple[str, str]:
    """Return SQL that checks an answer in another structured mode, and SQL over `j.content` for the part to keep.

    Only the JSON is kept, so that the returned columns can read it.
    """
    found = read_returns(endpoint, returns)
    if structured is Structured.JSON_SCHEMA or found.mode not in {ReturnsMode.COLUMNS, ReturnsMode.JSON}:
        return found.check_sql("content", "vector"), "j.content"
    return parse_returns(returns, structured).check_sql("content", "vector"), json_in_text("j.content")


def check_of(endpoint: str, returns: str) -> str:
    """Return SQL, over `content` and `vector`, that says what is wrong with an answer of these columns."""
    return read_returns(endpoint, returns).check_sql("content", "vector")
