"""The paths that the server answers, as an OpenAPI description: OpenAI's API as the contract records it."""

from __future__ import annotations

from typing import Any

from . import schemas

TEXT = {"type": "string"}
EXPIRY = {
    "type": "object",
    "properties": {
        "anchor": {"const": "created_at"},
        "seconds": {"type": "integer", "minimum": 3600, "maximum": 2592000},
    },
    "required": ["anchor", "seconds"],
}
PURPOSES = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PART = {
    "anyOf": [
        schemas.strict({"type": {"const": "text"}, "text": TEXT}),
        schemas.strict({"type": {"const": "image_url"}, "image_url": schemas.strict({"url": TEXT})}),
    ]
}
MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "user", "assistant"]},
        "content": {"anyOf": [TEXT, {"type": "array", "items": PART}]},
    },
    "required": ["role", "content"],
}
MODEL = {"enum": ["offline", "another"]}
SCHEMA = {"name": TEXT, "schema": {"type": "object"}, "strict": {"type": "boolean"}}
FORMAT = {"type": {"enum": ["text", "json_object", "json_schema"]}}
COUNT = {"type": "integer", "minimum": 1, "maximum": 1000}


def wanted(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return an object that may have more fields than these."""
    return {"type": "object", "properties": properties, "required": list(required)}


def operation(reply: Any, body: Any = None, kind: str = "application/json", query: Any = None) -> dict[str, Any]:
    """Return one operation: what it takes and what it replies, errors in OpenAI's envelope."""
    content = {} if reply is None else {"content": {"application/json": {"schema": reply}}}
    if reply is None:
        content = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    found: dict[str, Any] = {
        "parameters": [{"in": "query", "name": name, "schema": one} for name, one in (query or {}).items()],
        "responses": {
            "200": {"description": "done", **content},
            "4XX": {"description": "refused", "content": {"application/json": {"schema": schemas.ERROR}}},
        },
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {kind: {"schema": body}}}
    return found


def by_id(name: str, **operations: Any) -> dict[str, Any]:
    """Return the operations of a path with an id."""
    return {"parameters": [{"in": "path", "name": name, "required": True, "schema": TEXT}], **operations}


UPLOAD = wanted({"file": {"type": "string", "format": "binary"}, "purpose": {"enum": PURPOSES}}, "file", "purpose")
CREATE = wanted(
    {
        "input_file_id": TEXT,
        "endpoint": {"enum": ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"]},
        "completion_window": {"const": "24h"},
        "metadata": {"anyOf": [{"type": "null"}, {"type": "object", "additionalProperties": TEXT, "maxProperties": 3}]},
        "output_expires_after": EXPIRY,
    },
    *("input_file_id", "endpoint", "completion_window"),
)
CHAT = wanted(
    {
        "model": MODEL,
        "messages": {"type": "array", "items": MESSAGE, "minItems": 1},
        "response_format": {
            "type": "object",
            "properties": {**FORMAT, "json_schema": wanted(SCHEMA, "name", "schema")},
        },
        "max_completion_tokens": COUNT,
        "n": {"type": "integer", "minimum": 1, "maximum": 3},
    },
    *("model", "messages"),
)
RESPONSES = wanted(
    {
        "model": MODEL,
        "input": {"anyOf": [TEXT, {"type": "array", "items": MESSAGE}]},
        "instructions": TEXT,
        "text": wanted({"format": wanted({**FORMAT, **SCHEMA})}),
        "max_output_tokens": COUNT,
        "metadata": {"type": "object", "additionalProperties": TEXT},
    },
    *("model", "input"),
)
EMBEDDINGS = wanted(
    {
        "model": MODEL,
        "input": {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "array", "items": {"type": "integer"}}]},
        "dimensions": COUNT,
        "encoding_format": {"enum": ["float", "base64"]},
    },
    *("model", "input"),
)
PAGE = {"limit": COUNT, "after": TEXT}

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Files and Batches", "version": "1"},
    "paths": {
        "/files": {
            "post": operation(schemas.FILE, UPLOAD, "multipart/form-data"),
            "get": operation(
                schemas.page(schemas.FILE), query={**PAGE, "order": {"enum": ["asc", "desc"]}, "purpose": TEXT}
            ),
        },
        "/files/{file_id}": by_id("file_id", get=operation(schemas.FILE), delete=operation(schemas.DELETED_FILE)),
        "/files/{file_id}/content": by_id("file_id", get=operation(None)),
        "/batches": {
            "post": operation(schemas.BATCH, CREATE),
            "get": operation(schemas.page(schemas.BATCH), query=PAGE),
        },
        "/batches/{batch_id}": by_id("batch_id", get=operation(schemas.BATCH)),
        "/batches/{batch_id}/cancel": by_id("batch_id", post=operation(schemas.BATCH)),
        "/models": {"get": operation(schemas.MODELS)},
        "/models/{model}": by_id("model", get=operation(schemas.MODEL)),
        "/chat/completions": {"post": operation(schemas.CHAT, CHAT)},
        "/responses": {"post": operation(schemas.RESPONSE, RESPONSES)},
        "/embeddings": {"post": operation(schemas.EMBEDDINGS, EMBEDDINGS)},
    },
}
