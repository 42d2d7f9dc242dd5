"""A request: the endpoints a batch can ask, the part all rows share (the call), and SQL of each row's own part."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.batch_limits import OFFLINE, OFFLINE_DIMENSIONS
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidPrompt, InvalidReturns, InvalidSettings, did_you_mean, nearest
from sqlbatch.returns import Returns, ReturnsMode, Structured, json_returns, parse_returns, vector_returns
from sqlbatch.returns.convert import json_in_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlbatch.query.enrichment import Enrichment

# How long the vectors of OpenAI's embedding models are where `dimensions` does not say otherwise; `offline` is ours.
LENGTHS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    OFFLINE: OFFLINE_DIMENSIONS,
}


_ONE_OBJECT = "Answer with one JSON object and nothing else. It must match this JSON Schema:"


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
        hint = did_you_mean(_name(path), ENDPOINTS, 0.5)
        raise InvalidSettings(f"--endpoint {text}: the Batch API has no such endpoint; {hint}")
    return path


def endpoint_of(path: str) -> Endpoint:
    """Return the endpoint of a path that `find_endpoint` gave."""
    return ENDPOINTS[_name(path)]


def returns_of(
    path: str,
    text: str | None,
    model: str,
    params: Mapping[str, object],
    structured: Structured = Structured.JSON_SCHEMA,
) -> Returns:
    """Return what comes back from an endpoint, for what `--returns` (None: nothing) and `--structured` say.

    Raises InvalidReturns for returned columns that it cannot give, and for vectors whose length nothing says.
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
        raise InvalidReturns(f"--returns does not go with {path}, which gives one column, {column}: leave it out")
    return json_returns() if whole else returns


def read_returns(path: str, text: str) -> Returns:
    """Return what comes back from an endpoint, from the canonical text that `returns_of` made."""
    if endpoint_of(path).name == "embeddings":
        return vector_returns(_given_length(text) or 0)
    return parse_returns(text or None)


# Parameters of the endpoints, to find typos by: a provider may have others.
_PARAMS = (
    "background", "dimensions", "encoding_format", "enable_thinking", "frequency_penalty", "include", "logit_bias",
    "logprobs", "max_completion_tokens", "max_output_tokens", "max_tokens", "max_tool_calls", "metadata", "min_p",
    "modalities", "n", "parallel_tool_calls", "presence_penalty", "prompt_cache_key", "reasoning", "reasoning_effort",
    "repetition_penalty", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store",
    "temperature", "text", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "truncation", "user", "verbosity",
)  # fmt: skip


def check_params(path: str, model: str, params: Mapping[str, object]) -> None:
    """Raise InvalidSettings for a parameter that the endpoint or the model refuses, with the name it has there."""
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


# Parameters that cap an answer's tokens, reasoning included; a call has one of them.
CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
# Parameters that change nothing of an answer that was finished, so that one with other values is not paid for again.
_NO_IDENTITY = frozenset({*CAPS, "service_tier", "store", "metadata", "user", "safety_identifier"})


# Writes to the prompt cache only what a breakpoint is set behind; a prefix of fewer tokens is never written.
EXPLICIT_CACHE, CACHE_FROM = {"mode": "explicit"}, 1024


def is_identity(param: str) -> bool:
    """Return whether a parameter is part of what makes a request another one."""
    return param not in _NO_IDENTITY and not param.startswith("prompt_cache_")


@dataclass(frozen=True)
class Call:
    """The constant side of a model call: a request's body is `head || input || tail`, its identity a hash of these.

    What is sent ends with `sent_tail`, which adds the parameters that are no part of the identity: `extras`, members
    of the JSON object, each behind a comma. `cap` is the most tokens that an answer may have, None for no limit.
    `marked` is the head with a breakpoint of the prompt cache after the system message, None without one.
    """

    base_url: str
    endpoint: str
    model: str
    head: str
    tail: str
    returns: str
    extras: str = ""
    cap: int | None = None
    marked: str | None = None

    @property
    def sent_head(self) -> str:
        """Return the beginning of the body as it is sent."""
        return self.head if self.marked is None else self.marked

    @property
    def writes_cache(self) -> bool:
        """Return whether input may be billed as written to the prompt cache."""
        return self.marked is not None or f'"prompt_cache_options":{_json(EXPLICIT_CACHE)}' not in self.extras

    @property
    def extra(self) -> int:
        """Return how many bytes longer a body is as it is sent."""
        return len(self.sent_head.encode()) - len(self.head.encode()) + len(self.extras.encode())

    @property
    def sent_tail(self) -> str:
        """Return the end of the body as it is sent."""
        return f"{self.tail[:-1]}{self.extras}}}" if self.extras else self.tail

    @property
    def call_id(self) -> uuid.UUID:
        """Return the hash of all of it; it is hashed again with the input into a request's custom_id."""
        parts = (self.base_url, self.endpoint, self.head, self.tail, self.returns)
        return uuid.UUID(hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32])


def call_of(enrichment: Enrichment, returns: Returns) -> Call:
    """Return the constant side of the enrichment's requests; raise InvalidPrompt for a system message without place."""
    endpoint = endpoint_of(enrichment.endpoint)
    given = {name: json.loads(value) for name, value in enrichment.params}
    params = {name: value for name, value in given.items() if is_identity(name)}
    if endpoint.talks:
        head, tail = _conversation(endpoint, enrichment, returns, params)
    else:
        if enrichment.instructions is not None:
            raise InvalidPrompt(
                f"--instructions: {enrichment.endpoint} takes no system message; put it into --prompt, or leave it out"
            )
        if endpoint.name == "embeddings":
            params["encoding_format"] = "float"
        head = _json({"model": enrichment.model, **params})[:-1] + ","
        tail = "}"
    extras = "".join(f",{_json(name)}:{_json(value)}" for name, value in given.items() if not is_identity(name))
    cap = output_cap(enrichment)
    marked = _marked(endpoint, head, tail) if given.get("prompt_cache_options") == EXPLICIT_CACHE else None
    return Call(
        enrichment.base_url, enrichment.endpoint, enrichment.model, head, tail, returns.text, extras, cap, marked
    )


def _marked(endpoint: Endpoint, head: str, tail: str) -> str | None:
    """Return the head with a cache breakpoint after its system message, where what all rows share is long enough."""
    if not endpoint.talks or head.endswith("[") or (len(head.encode()) + len(tail.encode())) // 4 < CACHE_FROM:
        return None
    message = json.loads(head[:-1] + "]}")[endpoint.field][0]
    kind = "input_text" if endpoint.name == "responses" else "text"
    part = {"type": kind, "text": message["content"], "prompt_cache_breakpoint": {"mode": "explicit"}}
    return head.replace(_json(message), _json(message | {"content": [part]}), 1)


def output_cap(enrichment: Enrichment) -> int | None:
    """Return the most tokens that one answer may have, of all its choices together; None where nothing says so."""
    if bills_input_only(enrichment):
        return 0
    params = {name: json.loads(value) for name, value in enrichment.params}
    caps = [params[name] for name in CAPS if isinstance(params.get(name), int) and params[name] > 0]
    choices = params.get("n")
    return min(caps) * (choices if isinstance(choices, int) and choices > 1 else 1) if caps else None


def bills_input_only(enrichment: Enrichment) -> bool:
    """Return whether the endpoint bills input only."""
    return endpoint_of(enrichment.endpoint).name in {"embeddings", "moderations"}


def input_of(path: str, text: str, urls: str | None = None, detail: str | None = None) -> str:
    """Return SQL of a row's own part of the body, from SQL of its text and of the list of its pictures' URLs.

    Without pictures it is one to_json of a struct, which is safe with NULL and the same in Spark; with pictures a text
    that is NULL is left out.
    """
    endpoint = endpoint_of(path)
    if urls is None:
        fields = f"role := 'user', content := {text}" if endpoint.talks else f'"{endpoint.field}" := {text}'
        whole = f"to_json(struct_pack({fields}))::VARCHAR"
        return whole if endpoint.talks else f"({whole})[2:-2]"
    kind = "input_text" if endpoint.name == "responses" else "text"
    said = f"""CASE WHEN {text} IS NOT NULL THEN {_object("type", quote_literal(kind), "text", text)} END"""
    shown = f"list_transform({urls}, lambda sqlbatch_url: {_picture(endpoint, 'sqlbatch_url', detail)})"
    pictures = f"array_to_string({shown}, ',')"
    if endpoint.name == "images/edits":
        return f"""concat('"images":[', {pictures}, '],', ({_object("prompt", text)})[2:-2])"""
    content = f"concat_ws(',', {said}, {pictures})"
    if endpoint.talks:
        return f"""concat('{{"role":"user","content":[', {content}, ']}}')"""
    return f"""concat('"{endpoint.field}":[', {content}, ']')"""


def _conversation(
    endpoint: Endpoint, enrichment: Enrichment, returns: Returns, params: dict[str, Any]
) -> tuple[str, str]:
    system = enrichment.instructions
    tail: dict[str, Any] = {}
    wanted: dict[str, object] | None = None
    if returns.structured is Structured.JSON_OBJECT or returns.mode is ReturnsMode.JSON:
        wanted = {"type": "json_object"}
    if returns.structured is Structured.PROMPT:
        wanted = None
    if returns.mode is ReturnsMode.JSON:
        # The provider refuses JSON mode where no message has the word.
        if "json" not in (system or "").lower():
            system = f"{system}\n\nAnswer with one JSON object." if system else "Answer with one JSON object."
    elif returns.mode is ReturnsMode.COLUMNS and returns.structured is not Structured.JSON_SCHEMA:
        told = f"{_ONE_OBJECT}\n{_json(returns.json_schema())}"
        system = f"{system}\n\n{told}" if system else told
    elif returns.mode is ReturnsMode.COLUMNS:
        schema = {"name": "row", "strict": returns.is_strict(), "schema": returns.json_schema()}
        nested = endpoint.name == "chat/completions"
        wanted = {"type": "json_schema", **({"json_schema": schema} if nested else schema)}
    if endpoint.name == "chat/completions":
        tail |= {"response_format": wanted} if wanted else {}
    else:
        verbosity = {"verbosity": params.pop("verbosity")} if "verbosity" in params else {}
        text = {**({"format": wanted} if wanted else {}), **verbosity}
        tail |= {"text": text} if text else {}
    tail |= params
    head = f'{{"model":{_json(enrichment.model)},{_json(endpoint.field)}:['
    if system is not None:
        head += _json({"role": "system", "content": system}) + ","
    rest = "".join(f",{_json(name)}:{_json(value)}" for name, value in tail.items())
    return head, f"]{rest}}}"


def _picture(endpoint: Endpoint, url: str, detail: str | None) -> str:
    """Return SQL of the part of a message that is a picture; the Responses API wants to be told a detail."""
    if endpoint.name == "responses":
        return _object("type", "'input_image'", "image_url", url, "detail", quote_literal(detail or "auto"))
    if endpoint.name == "images/edits":
        return _object("image_url", url)
    told = f', "detail" := {quote_literal(detail)}' if detail else ""
    return _object("type", "'image_url'", "image_url", f'struct_pack("url" := {url}{told})')


def _object(*named: str) -> str:
    """Return SQL of a JSON object, from names and SQL of values in turns."""
    fields = ", ".join(f'"{name}" := {value}' for name, value in zip(named[::2], named[1::2], strict=True))
    return f"to_json(struct_pack({fields}))::VARCHAR"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def reading_of(endpoint: str, returns: str, structured: Structured) -> tuple[str, str]:
    """Return SQL that says what is wrong with an answer, read in another way, and SQL over `j.content` of what to keep.

    What is kept is the JSON alone, so that the columns that were asked for can read it.
    """
    found = read_returns(endpoint, returns)
    if structured is Structured.JSON_SCHEMA or found.mode not in {ReturnsMode.COLUMNS, ReturnsMode.JSON}:
        return found.check_sql("content", "vector"), "j.content"
    return parse_returns(returns, structured).check_sql("content", "vector"), json_in_text("j.content")


def check_of(endpoint: str, returns: str) -> str:
    """Return the SQL, over `content` and `vector`, that says what is wrong with an answer of these columns."""
    return read_returns(endpoint, returns).check_sql("content", "vector")
