"""AI functions of other products, translated to sqlbatch's own, and the objects that they return."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from sqlbatch.functions.dialect_values import (
    Given,
    Shape,
    Struct,
    Unknown,
    columns,
    constant,
    from_schema,
    ours,
    shaped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_FEELINGS = ["positive", "negative", "neutral", "mixed", "unknown"]


# ---- Snowflake


def _filter(given: Given) -> Shape:
    given.model("endpoint", "model")
    given.forget("connection_id", "optimization_mode", "request_type")
    return ours("ai_filter", given.input("input", "predicate", "prompt"))


def _snowflake_classify(given: Given) -> Shape:
    source, labels = given.input("input"), _labels(constant(given.take("categories", "list_of_categories")))
    config = constant(given.take("config")) or {}
    multi = config.pop("output_mode", "single") == "multi"
    examples = [{"input": each["input"], "labels": each["labels"]} for each in config.pop("examples", None) or []]
    told = config.pop("task_description", None)
    if config:
        raise Unknown(f"sqlbatch has no equivalent of {next(iter(config))}")
    call = ours("ai_classify", source, labels, multi=multi or None, instructions=told, examples=examples or None)
    return {"labels": call if multi else [call]}


def _labels(given: Any) -> list[str] | dict[str, str | None]:
    """Return labels and their descriptions: from texts, objects (label, description) or pairs."""
    if not isinstance(given, list) or not given:
        raise Unknown("its categories must be a list of constants")
    if all(isinstance(each, str) for each in given):
        return given
    pairs = [
        (each, None) if isinstance(each, str)
        else (each["label"], each.get("description")) if isinstance(each, dict)
        else (each[0], each[1])
        for each in given
    ]  # fmt: skip
    return dict(pairs)


def _snowflake_complete(given: Given) -> Shape:
    given.model("model", positional=True)
    source = given.input("prompt", "predicate")
    params = constant(given.take("model_parameters", "options")) or None
    wanted = constant(given.take("response_format"))
    given.forget("show_details")
    return shaped(source, None if wanted is None else from_schema(wanted), params=_params(params))


def _params(params: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the parameters of a model call under our names."""
    names = {"max_tokens": "max_completion_tokens", "max_output_tokens": "max_completion_tokens"}
    kept = {names.get(name, name): value for name, value in (params or {}).items() if name != "guardrails"}
    return kept or None


def _snowflake_extract(given: Given) -> Shape:
    source = given.input("text", "input", "file")
    wanted = constant(given.take("responseformat", "response_format"))
    given.forget("scores")
    if isinstance(wanted, dict):
        fields = {name: str(about) for name, about in wanted.items()}
    elif isinstance(wanted, list) and all(isinstance(each, list) and len(each) == 2 for each in wanted):
        fields = {name: str(about) for name, about in wanted}
    elif isinstance(wanted, list) and all(isinstance(each, str) for each in wanted):
        fields = {each: f"{each}?".replace("??", "?") for each in wanted}
    else:
        raise Unknown("responseFormat is a list of questions, or of [name, question], or an object of them")
    # A single word could be parsed as a type.
    fields = {name: about if " " in about or "?" in about else f"{about}?" for name, about in fields.items()}
    return {"error": exp.null(), "response": Struct(ours("ai_extract", source, fields))}


def _snowflake_sentiment(given: Given) -> Shape:
    source = given.input("text", "input")
    about = constant(given.take("categories")) or []
    overall = {"name": exp.Literal.string("overall"), "sentiment": ours("ai_sentiment", source)}
    each = [
        {
            "name": exp.Literal.string(name),
            "sentiment": ours(
                "ai_classify", source.copy(), _FEELINGS,
                instructions=f"Judge the sentiment about {name} alone; unknown where it is not mentioned.",
            ),
        }
        for name in about
    ]  # fmt: skip
    return {"categories": [overall, *each]}


def _translate(given: Given) -> Shape:
    source = given.input("text", "input")
    first, second = constant(given.take("source_language")), constant(given.take("target_language"))
    return ours("ai_translate", source, first, second) if first else ours("ai_translate", source, second)


def _similarity(given: Given) -> Shape:
    first, second = given.input("content1", "input1"), given.input("content2", "input2")
    given.model("endpoint", "model")
    given.forget("connection_id", "config", "model_params")
    return exp.Anonymous(this="ai_similarity", expressions=[first, second])


def _plain(name: str) -> Callable[[Given], Shape]:
    """Return the translation of a function with an input, and constants in sqlbatch's order."""

    def read(given: Given) -> Shape:
        source = given.input("input", "content", "text", "expr")
        return ours(name, source, *map(constant, given.rest()))

    return read


def _embed(*, model_first: bool, result: bool = False) -> Callable[[Given], Shape]:
    def read(given: Given) -> Shape:
        given.model("model", "endpoint", positional=model_first)
        call = ours("ai_embed", given.input("content", "input", "text"))
        given.forget("connection_id", "task_type", "title", "model_params")
        return {"result": call, "status": exp.Literal.string("")} if result else call

    return read


def _number(given: Given) -> Shape:
    source = given.input("text")
    return ours("ai_complete", source, "Score the sentiment from -1 (negative) to 1 (positive).", returns="DOUBLE")


def _answer(given: Given) -> Shape:
    source, question = given.input("source_document"), constant(given.take("question"))
    return [{"answer": ours("ai_complete", source, question)}]


def _label(given: Given) -> Shape:
    shape = _snowflake_classify(given)
    return {"label": shape["labels"][0]} if isinstance(shape, dict) else shape


def _prompt(given: Given) -> Shape:
    return exp.Anonymous(this="prompt", expressions=[each.copy() for each in given.rest()])


# ---- BigQuery


def _bigquery_classify(given: Given) -> Shape:
    source, labels = given.input("input"), _labels(constant(given.take("categories")))
    multi = constant(given.by_name("output_mode")) == "multi"
    examples = constant(given.by_name("examples"))
    given.model("endpoint")
    given.forget("connection_id", "embeddings", "optimization_mode")
    pairs = [{"input": each[0], "label": each[1]} for each in examples] if examples else None
    return ours("ai_classify", source, labels, multi=multi or None, examples=pairs)


def _bigquery_score(given: Given) -> Shape:
    given.model("endpoint")
    given.forget("connection_id", "max_error_ratio")
    return ours("ai_complete", given.input("prompt"), "Answer with one number.", returns="DOUBLE")


def _bigquery_generate(kind: str | None) -> Callable[[Given], Shape]:
    def read(given: Given) -> Shape:
        source = given.input("prompt")
        given.model("endpoint")
        schema = constant(given.by_name("output_schema"))
        params = constant(given.by_name("model_params")) or {}
        given.forget("connection_id", "request_type")
        settings = params.get("generationConfig", params.get("generation_config", params))
        settings = {_snake(name): value for name, value in settings.items()}
        if schema:
            return shaped(source, columns(schema, "bigquery"), params=_params(settings))
        return {
            "result": ours("ai_complete", source, returns=kind, params=_params(settings)),
            "status": exp.Literal.string(""),
        }

    return read


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


# ---- Databricks


def _databricks_query(given: Given) -> Shape:
    given.model("endpoint", positional=True)
    source = given.input("request")
    returns = constant(given.take("returntype"))
    fails = constant(given.take("failonerror"))
    params = constant(given.take("modelparameters"))
    wanted = constant(given.take("responseformat"))
    wants = None
    if returns and returns.strip().upper() != "STRING":
        wants = columns(returns, "databricks")
    elif isinstance(wanted, str) and wanted.lstrip().startswith("{"):
        schema = json.loads(wanted)
        wants = from_schema(schema.get("json_schema", schema)) if schema.get("type") != "text" else None
    elif wanted:
        wants = _within_result(columns(wanted, "databricks"))
    if fails is False:
        call = ours("ai_complete", source, returns=wants, params=_params(params), on_error="capture")
        value, error = (
            exp.Dot(this=exp.Paren(this=call.copy()), expression=exp.to_identifier(name)) for name in ("value", "error")
        )
        inner = Struct(value) if wants is not None and " " in wants else value
        return {"result": inner, "response": inner, "errorMessage": error, "errorStatus": error.copy()}
    return shaped(source, wants, params=_params(params))


def _within_result(wants: str) -> str:
    """Return the fields of `STRUCT<result: STRUCT<…>>`; the outer struct only names the schema."""
    name, _, inner = wants.partition(" ")
    return inner.removeprefix("STRUCT(")[:-1] if inner.startswith("STRUCT(") and inner.endswith(")") and name else wants


def _databricks_classify(given: Given) -> Shape:
    source, labels = given.input("content"), constant(given.take("labels"))
    if isinstance(labels, str):
        labels = json.loads(labels)
    return ours("ai_classify", source, labels if isinstance(labels, dict) else _labels(labels))


def _databricks_extract(given: Given) -> Shape:
    source, fields = given.input("content"), constant(given.take("labels", "schema"))
    return Struct(ours("ai_extract", source, json.loads(fields) if isinstance(fields, str) else fields))


FUNCTIONS: dict[str, dict[str, Callable[[Given], Shape]]] = {
    "snowflake": {
        "ai_filter": _filter,
        "ai_classify": _snowflake_classify,
        "ai_complete": _snowflake_complete,
        "ai_extract": _snowflake_extract,
        "ai_sentiment": _snowflake_sentiment,
        "ai_similarity": _similarity,
        "ai_embed": _embed(model_first=True),
        "ai_translate": _translate,
        "ai_redact": _plain("ai_redact"),
        "ai_agg": _plain("ai_agg"),
        "ai_summarize_agg": _plain("ai_summarize_agg"),
        "prompt": _prompt,
        "cortex_complete": _snowflake_complete,
        "cortex_sentiment": _number,
        "cortex_summarize": _plain("ai_summarize"),
        "cortex_translate": _translate,
        "cortex_classify_text": _label,
        "cortex_extract_answer": _answer,
        "cortex_embed_text_768": _embed(model_first=True),
        "cortex_embed_text_1024": _embed(model_first=True),
    },
    "bigquery": {
        "ai_if": _filter,
        "ai_classify": _bigquery_classify,
        "ai_score": _bigquery_score,
        "ai_generate": _bigquery_generate(None),
        "ai_generate_bool": _bigquery_generate("BOOLEAN"),
        "ai_generate_int": _bigquery_generate("BIGINT"),
        "ai_generate_double": _bigquery_generate("DOUBLE"),
        "ai_embed": _embed(model_first=False, result=True),
        "ai_similarity": _similarity,
        "ai_agg": _plain("ai_agg"),
    },
    "databricks": {
        "ai_query": _databricks_query,
        "ai_gen": _plain("ai_complete"),
        "ai_classify": _databricks_classify,
        "ai_extract": _databricks_extract,
        "ai_analyze_sentiment": _plain("ai_sentiment"),
        "ai_fix_grammar": _plain("ai_fix_grammar"),
        "ai_mask": _plain("ai_redact"),
        "ai_similarity": _similarity,
        "ai_summarize": _plain("ai_summarize"),
        "ai_translate": _plain("ai_translate"),
    },
}
