"""Estimate tokens from bytes, corrected by what earlier results of the same call, or of the model, were billed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.query.endpoints import endpoint_of
from sqlbatch.query.request import bills_input_only

if TYPE_CHECKING:
    from sqlbatch.db.session import Session
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.request import Call


# The number of results of a call that show how its tokens grow with its bytes, and of a model that show how its tokens
# differ from the estimate.
ENOUGH_FOR_A_LINE, ENOUGH_OF_A_MODEL = 30, 10
# How far a request may exceed its estimate, depending on what the estimate is based on: bytes alone (numbers and rare
# scripts take 2 bytes a token), results of other calls, a few results of this call, some results of this call.
MARGIN_OF_BYTES, MARGIN_OF_MODEL, MARGIN_OF_FEW, MARGIN_OF_CALL = 2.0, 1.5, 1.3, 1.1
# Tokens of an answer if nothing is known: likely, and for a model that thinks before it answers.
LIKELY_OUTPUT, LONG_OUTPUT = 300, 2_000


@dataclass(frozen=True)
class Estimate:
    """The input tokens expected for a byte-based estimate: `intercept + slope * tokens`, at most `margin` times that.

    `source` says what it is based on (bytes, model, call), `known` on how many results. `output` is the average number
    of tokens of an answer (None: unknown), for inputs of `input` estimated tokens; each further input token adds
    `output_slope`.
    """

    source: str = "bytes"
    known: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    margin: float = MARGIN_OF_BYTES
    output: float | None = None
    output_slope: float = 0.0
    input: float = 0.0

    def output_of(self, tokens: float) -> float:
        """Return the likely tokens of an answer to an input of so many estimated tokens; a guess if none is known."""
        if self.output is None:
            return LIKELY_OUTPUT
        return max(0.0, self.output + self.output_slope * (tokens - self.input))


def calibrate(session: Session, enrichment: Enrichment, call_id: str) -> Estimate:
    """Return the estimate based on earlier results in this database."""
    output = 0.0 if bills_input_only(enrichment) else None
    if not session.has_schema():
        return Estimate(output=output)
    asked = {"base_url": enrichment.base_url, "model": enrichment.model, "call_id": call_id}
    found = {row[0]: row[1:] for row in session.run("quote.measured", asked)}
    if True in found:
        known, ratio, slope, intercept, mean, tokens, rise, worst = found[True]
        answers = (mean, rise if known >= ENOUGH_OF_A_MODEL else 0.0, tokens)
        margin = max(worst, 1.0) * (MARGIN_OF_CALL if known >= ENOUGH_OF_A_MODEL else MARGIN_OF_FEW)
        # A line that falls, or hardly rises, only shows that all inputs had about the same length.
        if known >= ENOUGH_FOR_A_LINE and slope is not None and ratio / 3 < slope < ratio * 3:
            return Estimate("call", known, slope, intercept, margin, *answers)
        return Estimate("call", known, ratio, 0.0, margin, *answers)
    if False in found and found[False][0] >= ENOUGH_OF_A_MODEL:
        known, ratio, _, _, mean, _, _, worst = found[False]
        return Estimate(
            "model", known, ratio, 0.0, max(worst, 1.0) * MARGIN_OF_MODEL, mean if output is None else output
        )
    return Estimate(output=output)


# Bytes of UTF-8 per token, for prose as for compact JSON: OpenAI's own rule of thumb for English. Other alphabets have
# more bytes a character and about as many a token.
BYTES_PER_TOKEN = 4
# Tokens around a message (its begin, role and end), and before the answer (OpenAI's cookbook on counting tokens).
MESSAGE_TOKENS, ANSWER_TOKENS = 4, 3
# Text around the schema of an answer in the prompt.
SCHEMA_TOKENS = 8
# Text around a row's input, at the endpoints where it is a message.
_MESSAGE = '{"role":"user","content":""}'


def byte_correction(call: Call, constant: int) -> int:
    """Return the bytes to add to a request line so that, divided by BYTES_PER_TOKEN, they are the billed tokens.

    `constant` are the bytes of the line around the row's part. The names and braces of our JSON are not billed; the
    instructions, the schema of the answer and the turns of the conversation are.
    """
    endpoint = endpoint_of(call.endpoint)
    if not endpoint.talks:
        return -constant - len(f'"{endpoint.field}":""')
    body = json.loads(call.head + _MESSAGE + call.tail)
    tokens = ANSWER_TOKENS + sum(MESSAGE_TOKENS + _tokens(message["content"]) for message in body[endpoint.field])
    wanted = body.get("response_format", {}).get("json_schema") or body.get("text", {}).get("format", {})
    schema = wanted.get("schema")
    if schema is not None:
        tokens += SCHEMA_TOKENS + _tokens(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
    return BYTES_PER_TOKEN * tokens - constant - len(_MESSAGE)


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
