"""The macros that replace calls in planned SQL: the request of a call, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_literal, statement
from sqlbatch.functions.aggregates import PIECES, answered, asked_of_each
from sqlbatch.functions.conditions import ASK
from sqlbatch.functions.inputs import VALUE, WHY
from sqlbatch.functions.syntax import columns_in
from sqlbatch.query.endpoints import returns_of
from sqlbatch.query.enrichment import parameters
from sqlbatch.query.request import call_of, input_of
from sqlbatch.returns import parse_returns

if TYPE_CHECKING:
    from uuid import UUID

    from sqlbatch.functions.catalogue import Ask
    from sqlbatch.functions.find import Call
    from sqlbatch.query import request
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.returns import Returns

EMBEDDINGS = "/v1/embeddings"
# In an explained plan, marks a call on whose answers the plan depends.
PROBE = "sqlbatch_probe_"
# The text that is sent for a value.
TEXT = ";\n".join(
    statement(block, "", temporary="TEMP", schema="") for block in ("functions.text", "plan_pictures.name")
)


def macro(name: str, number: int, sql: str) -> str:
    """Return the macro of a call's VALUE, ASK or WHY, from SQL over the call's argument `sqlbatch_x`."""
    return f"CREATE OR REPLACE TEMP MACRO {name}{number}(sqlbatch_x) AS {sql}"


@dataclass(frozen=True)
class Lookup:
    """One call in terms of the Batch API: the constant side of its requests, and how an answer becomes a value."""

    number: int
    ask: Ask
    call: request.Call
    returns: Returns
    constant: bool
    params: tuple[tuple[str, str], ...] = ()
    pictures: bool = False
    detail: str | None = None

    @property
    def value_type(self) -> str:
        """Return the SQL type of the call."""
        return PIECES if self.ask.pieces else self.ask.value_type(self.returns)

    @property
    def answers(self) -> str:
        """Return the name of the temporary table with its answers; equal calls share one."""
        kind = f"{self.call.call_id.hex}_{self.ask.function}_{self.ask.on_error}"
        return f"sqlbatch_answers_{kind}"

    def probe_macros(self) -> str:
        """Return macros by which an explained plan shows whether it depends on the call's answers."""
        mark = quote_literal(f"{PROBE}{self.number}:")
        salt = ", random()" if self.constant else ""
        # A list of pieces gets a name once, or each level of an aggregate would double the query.
        shown = "to_json(sqlbatch_x)::VARCHAR" if self.ask.pieces else "sqlbatch_text(sqlbatch_x)"
        asked = f"[{shown}]" if self.ask.pieces else shown
        value = f"TRY_CAST(concat({mark}, {shown}{salt}) AS {self.value_type})"
        return ";\n".join(macro(name, self.number, sql) for name, sql in ((VALUE, value), (ASK, asked), (WHY, shown)))

    def symbolic_macro(self, passes: str = "true") -> str:
        """Return a macro for upper limits: every filter passes (or none does), and a text stands for itself."""
        kind = self.value_type
        if self.ask.pieces:
            return macro(VALUE, self.number, "sqlbatch_x")
        value = passes if kind == "BOOLEAN" else "sqlbatch_text(sqlbatch_x)" if kind == "VARCHAR" else "NULL"
        return macro(VALUE, self.number, f"CASE WHEN sqlbatch_x IS NOT NULL THEN CAST({value} AS {kind}) END")

    @property
    def ask_sql(self) -> str:
        """Return SQL of the varying part of a request's body, from the call's input sqlbatch_x."""
        if self.pictures:
            text, urls = "struct_extract(sqlbatch_x, 't')", "struct_extract(sqlbatch_x, 'p')"
            return f"CASE WHEN sqlbatch_x IS NOT NULL THEN {input_of(self.call.endpoint, text, urls, self.detail)} END"
        shown = input_of(self.call.endpoint, "sqlbatch_text(sqlbatch_x)")
        empty = " AND sqlbatch_text(sqlbatch_x) <> ''" if self.ask.embeds else ""
        return f"CASE WHEN sqlbatch_x IS NOT NULL{empty} THEN {shown} END"

    def ask_macro(self) -> str:
        """Return the macro of the varying part of a request's body."""
        return macro(ASK, self.number, asked_sql(self.ask_sql, pieces=self.ask.pieces))

    def value_sql(self, content: str, vector: str, error: str) -> str:
        """Return SQL of a value from an answer's text and vector, and the error."""
        return self.ask.value_sql(self.returns, content, vector, error)


def asked_sql(ask: str, *, pieces: bool) -> str:
    """Return SQL of the inputs in a call's argument `sqlbatch_x`: one input, or a list of those of its pieces."""
    return asked_of_each(ask) if pieces else ask


def answer_sql(answers: str, call_id: UUID, ask: str, *, pieces: bool) -> str:
    """Return SQL of a call's value for its argument `sqlbatch_x`, looked up in a table of answers."""
    if pieces:
        return answered(answers, custom_id(call_id, ask.replace("sqlbatch_x", "sqlbatch_e.t")))
    return f"(SELECT sqlbatch_value FROM {answers} WHERE sqlbatch_key = {custom_id(call_id, ask)})"


def custom_id(call_id: UUID, shown: str) -> str:
    """Return SQL of a request's id, from its call and SQL of its input: the rule for all requests."""
    return f"left(sha256(concat_ws(chr(31), {quote_literal(str(call_id))}, {shown})), 32)::UUID"


def lookup(call: Call, enrichment: Enrichment) -> Lookup:
    """Return a call in terms of the Batch API; model, parameters and address default to the enrichment's.

    Raises InvalidEnrichment for a model or parameters that do not go with it.
    """
    ask = call.ask
    own = dict(ask.params)
    # A model named in the query is not used for the free local provider.
    model = enrichment.model if enrichment.provider == "local" else ask.model or enrichment.model
    if ask.embeds:
        returns = returns_of(EMBEDDINGS, None, model, own)
        asked = replace(enrichment, endpoint=EMBEDDINGS, instructions=None, model=model, params=parameters(own))
    else:
        returns = parse_returns(ask.question.returns or None, enrichment.structured)
        merged = {**dict(enrichment.params), **dict(parameters(own))}
        asked = replace(enrichment, instructions=ask.question.instructions, model=model,
                        params=tuple(sorted(merged.items())))  # fmt: skip
    asked = replace(asked, returns=returns.text, prompt=None, inputs=(), images=())
    source = call.node["arguments"][0]["expression"]
    return Lookup(call.number, ask, call_of(asked, returns), returns, not any(columns_in(source)), asked.params,
                  call.pictures, enrichment.image_detail)  # fmt: skip
