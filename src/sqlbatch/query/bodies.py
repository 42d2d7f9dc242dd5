"""The body of a request: what stays the same for all rows, the call, and how a row's own part is written."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import InvalidPrompt
from sqlbatch.query.endpoints import Endpoint, endpoint_of
from sqlbatch.query.returns import Returns, ReturnsMode

if TYPE_CHECKING:
    from sqlbatch.query.enrichment import Enrichment


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


def call_of(enrichment: Enrichment, returns: Returns) -> Call:
    """Return the constant side of the enrichment's requests; raise InvalidPrompt for a system message without place."""
    endpoint = endpoint_of(enrichment.endpoint)
    params = {name: json.loads(value) for name, value in enrichment.params}
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
    return Call(enrichment.base_url, enrichment.endpoint, enrichment.model, head, tail, returns.text)


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
    if returns.mode is ReturnsMode.JSON:
        wanted = {"type": "json_object"}
        # The provider refuses JSON mode where no message has the word.
        if "json" not in (system or "").lower():
            system = f"{system}\n\nAnswer with one JSON object." if system else "Answer with one JSON object."
    elif returns.mode is ReturnsMode.COLUMNS:
        schema = {"name": "row", "strict": True, "schema": returns.json_schema()}
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
