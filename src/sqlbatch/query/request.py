"""A request: the part that all rows share (the call), and SQL of each row's own part."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidPrompt
from sqlbatch.query import confidence
from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.returns import ReturnsMode, Structured

if TYPE_CHECKING:
    from sqlbatch.query.endpoints import Endpoint
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.returns import Returns

_ONE_OBJECT = "Answer with one JSON object and nothing else. It must match this JSON Schema:"
# Parameters that limit an answer's tokens, reasoning included; a call has one of them.
CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
# Parameters that do not change a complete answer, so a request with other values of them is not paid for again.
_NO_IDENTITY = frozenset({*CAPS, "service_tier", "store", "metadata", "user", "safety_identifier"})


# Writes only the text before a breakpoint to the prompt cache; a prefix of fewer tokens is never written.
EXPLICIT_CACHE, CACHE_FROM = {"mode": "explicit"}, 1024


def is_identity(param: str) -> bool:
    """Return whether a parameter is part of a request's identity."""
    return param not in _NO_IDENTITY and not param.startswith("prompt_cache_")


def is_flex(enrichment: Enrichment) -> bool:
    """Return whether requests are sent at the flex price."""
    return bool(enrichment.param_values.get("service_tier") == "flex")


@dataclass(frozen=True)
class Call:
    """The constant side of a model call: a request's body is `head || input || tail`, its identity a hash of these.

    The body is sent with `sent_tail`, which adds the parameters outside of the identity: `extras`, members of the JSON
    object, each after a comma. `cap` is the most tokens of an answer, None for no limit. `logprobs`: log probabilities
    are requested, by the extras or the tail. `marked` is the head with a breakpoint of the prompt cache after the
    system message, None without one.
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
    logprobs: bool = False

    @property
    def sent_head(self) -> str:
        """The start of the body as it is sent."""
        return self.head if self.marked is None else self.marked

    @property
    def writes_cache(self) -> bool:
        """Return whether input may be billed as written to the prompt cache."""
        return self.marked is not None or f'"prompt_cache_options":{_json(EXPLICIT_CACHE)}' not in self.extras

    @property
    def extra(self) -> int:
        """The bytes by which the body that is sent is longer."""
        return len(self.sent_head.encode()) - len(self.head.encode()) + len(self.extras.encode())

    @property
    def sent_tail(self) -> str:
        """The end of the body as it is sent."""
        return f"{self.tail[:-1]}{self.extras}}}" if self.extras else self.tail

    @property
    def call_id(self) -> uuid.UUID:
        """The hash of the call; it is hashed again with the input into a request's custom_id."""
        parts = (self.base_url, self.endpoint, self.head, self.tail, self.returns)
        return uuid.UUID(hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32])


def call_of(enrichment: Enrichment, returns: Returns) -> Call:
    """Return the constant side of the enrichment's requests; raise InvalidPrompt if a system message has no place."""
    endpoint = endpoint_of(enrichment.endpoint)
    given = enrichment.param_values
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
    sent = {name: value for name, value in given.items() if not is_identity(name)}
    if enrichment.logprobs:
        name, value = confidence.parameter(endpoint)
        sent |= {} if name in params else {name: value}
    extras = "".join(f",{_json(name)}:{_json(value)}" for name, value in sent.items())
    cap = output_cap(enrichment)
    marked = _marked(endpoint, head, tail) if given.get("prompt_cache_options") == EXPLICIT_CACHE else None
    asked = (enrichment.base_url, enrichment.endpoint, enrichment.model)
    return Call(*asked, head, tail, returns.text, extras, cap, marked, enrichment.logprobs)


def _marked(endpoint: Endpoint, head: str, tail: str) -> str | None:
    """Return the head with a cache breakpoint after its system message, if the shared text is long enough to cache."""
    if not endpoint.talks or head.endswith("[") or (len(head.encode()) + len(tail.encode())) // 4 < CACHE_FROM:
        return None
    message = json.loads(head[:-1] + "]}")[endpoint.field][0]
    kind = "input_text" if endpoint.name == "responses" else "text"
    part = {"type": kind, "text": message["content"], "prompt_cache_breakpoint": {"mode": "explicit"}}
    return head.replace(_json(message), _json(message | {"content": [part]}), 1)


def output_cap(enrichment: Enrichment) -> int | None:
    """Return the most tokens of an answer, all its choices together; None if there is no limit."""
    if bills_input_only(enrichment):
        return 0
    params = enrichment.param_values
    caps = [params[name] for name in CAPS if isinstance(params.get(name), int) and params[name] > 0]
    choices = params.get("n")
    return min(caps) * (choices if isinstance(choices, int) and choices > 1 else 1) if caps else None


def as_sent(enrichment: Enrichment, model: str, endpoint: str, cap: int | None) -> Enrichment:
    """Return an enrichment with the model, the endpoint and the token limit that a job sends one of its calls with."""
    params = [each for each in enrichment.params if each[0] not in {*CAPS, "n"}]
    if cap is not None and endpoint_of(endpoint).talks:
        params.append((CAPS[1] if endpoint.endswith("/responses") else CAPS[0], str(cap)))
    return replace(enrichment, model=model, endpoint=endpoint, params=tuple(sorted(params)))


def bills_input_only(enrichment: Enrichment) -> bool:
    """Return whether the endpoint bills only input."""
    return endpoint_of(enrichment.endpoint).name in {"embeddings", "moderations"}


def input_of(path: str, text: str, urls: str | None = None, detail: str | None = None) -> str:
    """Return SQL of a row's part of the body, from SQL of its text and of the list of its pictures' URLs.

    Without pictures it is one to_json of a struct, which handles NULL and is the same in Spark; with pictures, a text
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
    system, told = enrichment.instructions, ""
    chat = endpoint.name == "chat/completions"
    wanted: dict[str, object] = {}
    by_object = returns.structured is Structured.JSON_OBJECT or returns.mode is ReturnsMode.JSON
    if by_object and returns.structured is not Structured.PROMPT:
        wanted = {"type": "json_object"}
    if returns.mode is ReturnsMode.JSON:
        # The provider refuses JSON mode unless the messages contain the word.
        told = "" if "json" in (system or "").lower() else "Answer with one JSON object."
    elif returns.mode is ReturnsMode.COLUMNS and returns.structured is not Structured.JSON_SCHEMA:
        told = f"{_ONE_OBJECT}\n{_json(returns.json_schema())}"
    elif returns.mode is ReturnsMode.COLUMNS:
        schema = {"name": "row", "strict": returns.is_strict(), "schema": returns.json_schema()}
        wanted = {"type": "json_schema", **({"json_schema": schema} if chat else schema)}
    if told:
        system = f"{system}\n\n{told}" if system else told
    text: dict[str, Any] = {"format": wanted} if wanted else {}
    if not chat and "verbosity" in params:
        text["verbosity"] = params.pop("verbosity")
    tail = {"response_format": wanted} if chat and wanted else {"text": text} if text else {}
    tail |= params
    head = f'{{"model":{_json(enrichment.model)},{_json(endpoint.field)}:['
    if system is not None:
        head += _json({"role": "system", "content": system}) + ","
    rest = "".join(f",{_json(name)}:{_json(value)}" for name, value in tail.items())
    return head, f"]{rest}}}"


def _picture(endpoint: Endpoint, url: str, detail: str | None) -> str:
    """Return SQL of a message's picture part; the Responses API requires a detail."""
    if endpoint.name == "responses":
        return _object("type", "'input_image'", "image_url", url, "detail", quote_literal(detail or "auto"))
    if endpoint.name == "images/edits":
        return _object("image_url", url)
    told = f', "detail" := {quote_literal(detail)}' if detail else ""
    return _object("type", "'image_url'", "image_url", f'struct_pack("url" := {url}{told})')


def _object(*named: str) -> str:
    """Return SQL of a JSON object, from alternating names and SQL of values."""
    fields = ", ".join(f'"{name}" := {value}' for name, value in zip(named[::2], named[1::2], strict=True))
    return f"to_json(struct_pack({fields}))::VARCHAR"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
