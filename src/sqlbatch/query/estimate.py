"""How many tokens a request is likely to be billed, from its bytes: before any result tells better."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlbatch.query.endpoints import endpoint_of

if TYPE_CHECKING:
    from sqlbatch.query.bodies import Call

# Bytes of UTF-8 a token, of prose as of compact JSON: OpenAI's own rule of thumb for English; what is written in other
# alphabets has more bytes a character and about as many a token.
BYTES_PER_TOKEN = 4
# Tokens around a message (its begin, role and end), and before the answer (OpenAI's cookbook on counting tokens).
MESSAGE_TOKENS, ANSWER_TOKENS = 4, 3
# What stands around the schema of an answer in the prompt.
SCHEMA_TOKENS = 8
# What a row's text is wrapped in, in the endpoints where it is a message.
_MESSAGE = '{"role":"user","content":""}'


def bytes_of_no_account(call: Call, constant: int) -> int:
    """Return what to add to the bytes of a call's request line so that, divided by BYTES_PER_TOKEN, they are tokens.

    `constant` are the bytes of the line around the row's part. Nobody bills the names and braces of our JSON, but the
    instructions, the schema of the answer and the turns of the conversation.
    """
    return BYTES_PER_TOKEN * _constant_tokens(call) - constant - len(_wrapping(call))


def _wrapping(call: Call) -> str:
    """Return a row's own part of the body, without its text."""
    endpoint = endpoint_of(call.endpoint)
    return _MESSAGE if endpoint.talks else f'"{endpoint.field}":""'


def _constant_tokens(call: Call) -> int:
    """Return the tokens of what every request of a call has in common."""
    endpoint = endpoint_of(call.endpoint)
    if not endpoint.talks:
        return 0
    body = json.loads(call.head + _wrapping(call) + call.tail)
    tokens = ANSWER_TOKENS
    for message in body[endpoint.field]:
        tokens += MESSAGE_TOKENS + _tokens(message["content"])
    wanted = body.get("response_format", {}).get("json_schema") or body.get("text", {}).get("format", {})
    schema = wanted.get("schema")
    if schema is not None:
        tokens += SCHEMA_TOKENS + _tokens(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
    return tokens


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
