"""The endpoints that a batch can ask: what each takes, which parameters, and what it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sqlbatch.errors import InvalidReturns, InvalidSettings
from sqlbatch.query.returns import Returns, ReturnsMode, json_returns, parse_returns, vector_returns

if TYPE_CHECKING:
    from collections.abc import Mapping

# How long the vectors of OpenAI's embedding models are where `dimensions` does not say otherwise; `offline` is ours.
LENGTHS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "offline": 256,
}


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of the API, by its path without the version.

    `field` is the key of a body under which stands what varies; `talks` says that it takes a conversation, with a
    system message, and answers in the returned columns; `pictures` that it looks at pictures.
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
# Parameters under a name that this endpoint does not know, and what to write instead.
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
    """Return the path of an endpoint that is given as a path or by a short name; raise InvalidSettings for no such.

    A path with another version, or none, is left as it is: other providers have those.
    """
    name = _SHORT.get(text.strip().casefold(), text.strip())
    path = name if name.startswith("/") else f"/v1/{name.removeprefix('v1/')}"
    if _name(path) not in ENDPOINTS:
        near = get_close_matches(_name(path), ENDPOINTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(ENDPOINTS)}"
        raise InvalidSettings(f"--endpoint {text}: the Batch API has no such endpoint; {hint}")
    return path


def endpoint_of(path: str) -> Endpoint:
    """Return the endpoint of a path that `find_endpoint` gave."""
    return ENDPOINTS[_name(path)]


def returns_of(path: str, text: str | None, model: str, params: Mapping[str, object]) -> Returns:
    """Return what comes back from an endpoint, for what `--returns` says (None: nothing).

    Raises InvalidReturns for returned columns that it cannot give, and for vectors whose length nothing says.
    """
    endpoint = endpoint_of(path)
    if endpoint.talks:
        return parse_returns(text)
    if endpoint.name == "embeddings":
        return vector_returns(_length(text, model, params))
    returns = parse_returns(text)
    whole = endpoint.name != "completions"
    if returns.mode is not ReturnsMode.TEXT and not (whole and returns.mode is ReturnsMode.JSON):
        column = "response JSON, of which a query takes what it needs" if whole else "response VARCHAR"
        raise InvalidReturns(f"--returns does not go with {path}, which gives one column, {column}: leave it out")
    return json_returns() if whole else returns


def read_returns(path: str, text: str) -> Returns:
    """Return what comes back from an endpoint, from the canonical text that `returns_of` made."""
    if endpoint_of(path).name == "embeddings":
        return vector_returns(_given_length(text) or 0)
    return parse_returns(text or None)


def check_params(path: str, model: str, params: Mapping[str, object]) -> None:
    """Raise InvalidSettings for a parameter that the endpoint or the model refuses, with the name it has there."""
    endpoint = endpoint_of(path)
    for name, value in params.items():
        other = _OTHER_NAMES.get(endpoint.name, {}).get(name)
        if other is None and name == "max_tokens" and endpoint.talks and _REASONING.match(model):
            other = "max_completion_tokens={value} (it also bounds the thinking, so leave room)"
        if other is not None:
            where = model if name == "max_tokens" and endpoint.name == "chat/completions" else path
            raise InvalidSettings(f"--param {name}: {where} has --param {other.format(value=value)} instead")
        if name == "n" and endpoint.talks | (endpoint.name == "completions") and value != 1:
            raise InvalidSettings("--param n: a row has one answer, and further ones would be paid for and lost")
        if name == "encoding_format":
            raise InvalidSettings("--param encoding_format: sqlbatch sets it itself; the vectors come as FLOAT[]")
        if name == "dimensions" and model == "text-embedding-ada-002":
            raise InvalidSettings(f"--param dimensions: {model} has vectors of 1536 only; leave it out")


def _name(path: str) -> str:
    """Return the path of an endpoint without its version."""
    return re.sub(r"^/(v\d+/)?", "", path).rstrip("/")


def _length(text: str | None, model: str, params: Mapping[str, object]) -> int:
    """Return how many numbers a vector has: by --returns, by the parameter `dimensions`, or by the model."""
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
            f"--model {model}: how long its vectors are is not known: say it with --returns 'embedding FLOAT[1024]', "
            "or ask for a length with --param dimensions=1024"
        )
    return length


def _given_length(text: str | None) -> int | None:
    found = re.fullmatch(r'\s*"?embedding"?\s+(?:FLOAT|REAL|FLOAT4)\s*\[\s*([1-9]\d{0,4})\s*\]\s*', text or "", re.I)
    return int(found[1]) if found else None
