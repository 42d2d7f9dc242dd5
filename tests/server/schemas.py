"""OpenAI's published schemas of the objects a Batch API server replies with, written down from the contract."""

from __future__ import annotations

from typing import Any

COUNT = {"type": "integer", "minimum": 0}
TIME = {"type": "integer", "minimum": 1_000_000_000}
MAYBE_TIME = {"anyOf": [TIME, {"type": "null"}]}
MAYBE_TEXT = {"type": ["string", "null"]}


def strict(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an object with exactly these properties."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def one(value: object) -> dict[str, Any]:
    """Return the schema of one value."""
    return {"const": value}


def page(item: dict[str, Any]) -> dict[str, Any]:
    """Return a page of a listing."""
    return strict(
        {
            "object": one("list"),
            "data": {"type": "array", "items": item},
            "first_id": MAYBE_TEXT,
            "last_id": MAYBE_TEXT,
            "has_more": {"type": "boolean"},
        }
    )


FILE = strict(
    {
        "id": {"type": "string", "pattern": "^file-[A-Za-z0-9]+$"},
        "object": one("file"),
        "bytes": COUNT,
        "created_at": TIME,
        "expires_at": MAYBE_TIME,
        "filename": {"type": "string"},
        "purpose": {
            "enum": [
                *("assistants", "assistants_output", "batch", "batch_output", "fine-tune", "fine-tune-results"),
                *("vision", "user_data", "evals"),
            ]
        },
        "status": {"enum": ["uploaded", "processed", "error"]},
        "status_details": MAYBE_TEXT,
    }
)
DELETED_FILE = strict({"id": {"type": "string"}, "object": one("file"), "deleted": one(True)})

BATCH_ERROR = strict(
    {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "line": {"type": ["integer", "null"], "minimum": 1},
        "param": MAYBE_TEXT,
    }
)
BATCH_USAGE = strict(
    {
        "input_tokens": COUNT,
        "input_tokens_details": strict({"cached_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": strict({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
BATCH = strict(
    {
        "id": {"type": "string", "pattern": "^batch_[A-Za-z0-9]+$"},
        "object": one("batch"),
        "endpoint": {"type": "string", "pattern": "^/v1/"},
        "model": MAYBE_TEXT,
        "errors": {
            "anyOf": [
                {"type": "null"},
                strict({"object": one("list"), "data": {"type": "array", "items": BATCH_ERROR, "minItems": 1}}),
            ]
        },
        "input_file_id": {"type": "string"},
        "completion_window": one("24h"),
        "status": {
            "enum": [
                *("validating", "failed", "in_progress", "finalizing", "completed", "expired"),
                *("cancelling", "cancelled"),
            ]
        },
        "output_file_id": MAYBE_TEXT,
        "error_file_id": MAYBE_TEXT,
        "created_at": TIME,
        "in_progress_at": MAYBE_TIME,
        "expires_at": MAYBE_TIME,
        "finalizing_at": MAYBE_TIME,
        "completed_at": MAYBE_TIME,
        "failed_at": MAYBE_TIME,
        "expired_at": MAYBE_TIME,
        "cancelling_at": MAYBE_TIME,
        "cancelled_at": MAYBE_TIME,
        "request_counts": strict({"total": COUNT, "completed": COUNT, "failed": COUNT}),
        "usage": BATCH_USAGE,
        "metadata": {
            "anyOf": [
                {"type": "null"},
                {
                    "type": "object",
                    "maxProperties": 16,
                    "propertyNames": {"maxLength": 64},
                    "additionalProperties": {"type": "string", "maxLength": 512},
                },
            ]
        },
    }
)

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": strict(
            {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string"},
                "param": MAYBE_TEXT,
                "code": MAYBE_TEXT,
            }
        )
    },
}

CHAT = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string", "pattern": "^chatcmpl-"},
        "object": one("chat.completion"),
        "created": TIME,
        "model": {"type": "string"},
        "system_fingerprint": one("offline"),
        "choices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["index", "message", "logprobs", "finish_reason"],
                "properties": {
                    "index": COUNT,
                    "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter", "function_call"]},
                    "message": {
                        "type": "object",
                        "required": ["role", "content", "refusal"],
                        "properties": {"role": one("assistant"), "content": MAYBE_TEXT, "refusal": MAYBE_TEXT},
                    },
                },
            },
        },
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
            "properties": {
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_tokens": COUNT,
                "prompt_tokens_details": strict(
                    {"cached_tokens": COUNT, "cache_write_tokens": COUNT, "audio_tokens": COUNT}
                ),
            },
        },
    },
}

CACHED_AND_WRITTEN = strict(
    {
        "cached_tokens": COUNT,
        "cache_write_tokens": COUNT,
        "cache_write_tokens_details": strict({"ttl_30m_tokens": COUNT, "ttl_12h_tokens": COUNT}),
    }
)
RESPONSE = {
    "type": "object",
    "required": [
        *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "model", "output"),
        *("tools", "tool_choice", "temperature", "top_p", "metadata", "parallel_tool_calls", "usage", "text"),
    ],
    "properties": {
        "id": {"type": "string", "pattern": "^resp_"},
        "object": one("response"),
        "created_at": TIME,
        "status": {"enum": ["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]},
        "metadata": {"type": "object", "required": ["answered_by"]},
        "output": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "role", "content", "status"],
                "properties": {
                    "type": one("message"),
                    "role": one("assistant"),
                    "status": {"enum": ["in_progress", "completed", "incomplete"]},
                    "content": {
                        "type": "array",
                        "items": strict(
                            {
                                "type": one("output_text"),
                                "text": {"type": "string"},
                                "annotations": {"type": "array"},
                                "logprobs": {"type": "array"},
                            }
                        ),
                    },
                },
            },
        },
        "usage": {
            **BATCH_USAGE,
            "properties": {**BATCH_USAGE["properties"], "input_tokens_details": CACHED_AND_WRITTEN},
        },
    },
}

EMBEDDINGS = strict(
    {
        "object": one("list"),
        "data": {
            "type": "array",
            "items": strict(
                {
                    "object": one("embedding"),
                    "index": COUNT,
                    "embedding": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]},
                }
            ),
        },
        "model": {"type": "string"},
        "usage": strict({"prompt_tokens": COUNT, "total_tokens": COUNT}),
    }
)

MODEL = strict({"id": {"type": "string"}, "object": one("model"), "created": TIME, "owned_by": {"type": "string"}})
MODELS = strict({"object": one("list"), "data": {"type": "array", "items": MODEL}})


def result(body: dict[str, Any]) -> dict[str, Any]:
    """Return a line of an output or error file whose answers have a schema."""
    return strict(
        {
            "id": {"type": "string", "pattern": "^batch_req_[A-Za-z0-9]+$"},
            "custom_id": {"type": "string"},
            "response": {
                "anyOf": [
                    {"type": "null"},
                    strict({"status_code": {"type": "integer"}, "request_id": {"type": "string"}, "body": body}),
                ]
            },
            "error": {
                "anyOf": [
                    {"type": "null"},
                    strict({"code": {"type": "string"}, "message": {"type": "string"}}),
                ]
            },
        }
    )
