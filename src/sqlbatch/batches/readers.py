"""Where each endpoint's reply has what we read of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BODY = "$.response.body"
_NOWHERE = "$.response.body.sqlbatch_reads_nothing"


@dataclass(frozen=True)
class Reader:
    """JSON paths of a result line; the `_sql` are over `line` and the texts found there, x[3] (content) to x[5].

    A finish other than `stop` and the provider's names for it is `length`, `content_filter`, or a code of its own.
    """

    content: str
    refusal: str = _NOWHERE
    finish: str = _NOWHERE
    tokens_in: str = _NOWHERE
    tokens_cached: str = _NOWHERE
    tokens_out: str = _NOWHERE
    content_sql: str = "x[3]"
    refusal_sql: str = "x[4]"
    finish_sql: str = "x[5]"
    vector_sql: str = "NULL::FLOAT[]"


_CHAT = Reader(
    f"{_BODY}.choices[0].message.content",
    f"{_BODY}.choices[0].message.refusal",
    f"{_BODY}.choices[0].finish_reason",
    f"{_BODY}.usage.prompt_tokens",
    f"{_BODY}.usage.prompt_tokens_details.cached_tokens",
    f"{_BODY}.usage.completion_tokens",
)


def _parts(kind: str, key: str) -> str:
    """Return SQL of the texts of one kind in a response's messages, in their order, as one: no thoughts."""
    parts = f"json_extract(line, '{_BODY}.output[*].content[*]')"
    of_kind = f"list_filter({parts}, lambda part: part->>'$.type' = '{kind}')"
    texts = f"list_transform({of_kind}, lambda part: part->>'$.{key}')"
    return f"CASE WHEN ok AND len({of_kind}) > 0 THEN array_to_string({texts}, '') END"


_RESPONSES = Reader(
    f"{_BODY}.incomplete_details.reason",
    _NOWHERE,
    f"{_BODY}.status",
    f"{_BODY}.usage.input_tokens",
    f"{_BODY}.usage.input_tokens_details.cached_tokens",
    f"{_BODY}.usage.output_tokens",
    content_sql=_parts("output_text", "text"),
    refusal_sql=_parts("refusal", "refusal"),
    finish_sql="CASE WHEN x[5] = 'completed' THEN 'stop' WHEN x[3] = 'max_output_tokens' THEN 'length' "
    "WHEN x[3] = 'content_filter' THEN x[3] ELSE x[5] END",
)
_WHOLE = Reader(
    _BODY,
    tokens_in=f"{_BODY}.usage.input_tokens",
    tokens_cached=f"{_BODY}.usage.input_tokens_details.cached_tokens",
    tokens_out=f"{_BODY}.usage.output_tokens",
)
_READERS = {
    "chat/completions": _CHAT,
    "responses": _RESPONSES,
    "embeddings": Reader(
        f"{_BODY}.data[0].embedding", tokens_in=f"{_BODY}.usage.prompt_tokens", vector_sql="TRY_CAST(x[3] AS FLOAT[])"
    ),
    "moderations": Reader(f"{_BODY}.results[0]"),
    "completions": Reader(
        f"{_BODY}.choices[0].text",
        finish=f"{_BODY}.choices[0].finish_reason",
        tokens_in=f"{_BODY}.usage.prompt_tokens",
        tokens_cached=f"{_BODY}.usage.prompt_tokens_details.cached_tokens",
        tokens_out=f"{_BODY}.usage.completion_tokens",
    ),
}


def reader_of(endpoint: str) -> Reader:
    """Return how to read the replies of an endpoint; of one that is not listed, the whole body is the answer."""
    return _READERS.get(re.sub(r"^/(v\d+/)?", "", endpoint).rstrip("/"), _WHOLE)
