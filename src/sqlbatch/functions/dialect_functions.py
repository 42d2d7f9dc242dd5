"""The AI functions of other products: what each is in terms of sqlbatch's own, and the objects that they return."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqlbatch.errors import InvalidEnrichment
from sqlbatch.returns import returns_from_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FEELINGS = ["positive", "negative", "neutral", "mixed", "unknown"]


class Unknown(Exception):
    """An argument is one that sqlbatch has nothing for."""


@dataclass(frozen=True)
class Struct:
    """An answer that is a STRUCT in DuckDB, too."""

    value: exp.Expr


# A value, or an object or list of which a query takes parts by a path.
Shape = exp.Expr | Struct | dict[str, Any] | list[Any]


@dataclass
class Given:
    """The arguments of a call; what is taken is taken once, and what is left at the end is not understood.

    `models` collects the models that calls name.
    """

    function: str
    arguments: Sequence[exp.Expr]
    models: list[str]
    positional: list[exp.Expr] = field(init=False)
    named: dict[str, exp.Expr] = field(init=False)

    def __post_init__(self) -> None:
        self.positional = [each for each in self.arguments if not isinstance(each, exp.Kwarg)]
        self.named = {
            each.this.name.casefold(): each.expression for each in self.arguments if isinstance(each, exp.Kwarg)
        }

    def take(self, *names: str) -> exp.Expr | None:
        """Return the argument of one of these names, else the next by position; None where there is none."""
        for name in names:
            if name in self.named:
                return self.named.pop(name)
        return self.positional.pop(0) if self.positional else None

    def by_name(self, *names: str) -> exp.Expr | None:
        """Return the argument of one of these names; None where there is none."""
        return next((self.named.pop(name) for name in names if name in self.named), None)

    def input(self, *names: str) -> exp.Expr:
        """Return what the model is asked about: a tuple's parts are one text."""
        found = self.take(*names)
        if found is None:
            raise Unknown("it needs an input")
        return _joined(found)

    def model(self, *names: str, positional: bool = False) -> None:
        """Take the model that the call names."""
        found = self.take(*names) if positional else self.by_name(*names)
        if found is not None:
            self.models.append(found.name if isinstance(found, exp.Literal) else found.sql())

    def forget(self, *names: str) -> None:
        """Leave out arguments that say where or how the other product works."""
        for name in names:
            self.named.pop(name, None)

    def done(self) -> None:
        """Raise Unknown where arguments are left."""
        if self.positional or self.named:
            left = next(iter(self.named), None) or self.positional[0].sql()
            raise Unknown(f"sqlbatch has nothing for its argument {left}: leave it out, or write the call for DuckDB")


def constant(node: exp.Expr | None) -> Any:  # noqa: PLR0911 (one for each kind of literal)
    """Return the value of a literal, a list or an object of them; raise Unknown for anything else."""
    match node:
        case None | exp.Null():
            return None
        case exp.Boolean():
            return bool(node.this)
        case exp.Literal():
            return node.name if node.is_string else json.loads(node.name)
        case exp.Neg():
            return -constant(node.this)
        case exp.Array() | exp.Tuple():
            return [constant(each) for each in node.expressions]
        case exp.Struct():
            return {each.this.name: constant(each.expression) for each in node.expressions}
        case exp.Map() | exp.VarMap():
            keys, values = constant(node.args["keys"]), constant(node.args["values"])
            return dict(zip(keys, values, strict=True))
        case exp.ParseJSON():
            return json.loads(constant(node.this))
        case exp.JSON():
            return json.loads(constant(node.this))
        case _:
            raise Unknown(f"{node.sql()} must be constant, for all rows of a batch share it")


def written(value: Any) -> exp.Expr:
    """Return a value as an expression."""
    if isinstance(value, dict):
        pairs = [exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=written(each))
                 for name, each in value.items()]  # fmt: skip
        return exp.Struct(expressions=pairs)
    if isinstance(value, list):
        return exp.Array(expressions=[written(each) for each in value])
    literal: exp.Expr = exp.convert(value)
    return literal


def ours(name: str, source: exp.Expr, *more: Any, **named: Any) -> exp.Expr:
    """Return a call of a function of sqlbatch; what is None is left out."""
    arguments = [source, *(written(each) for each in more)]
    arguments += [
        exp.Kwarg(this=exp.var(key), expression=written(value)) for key, value in named.items() if value is not None
    ]
    return exp.Anonymous(this=name, expressions=arguments)


def _joined(node: exp.Expr) -> exp.Expr:
    """Return the parts of a prompt as one text."""
    node = node.unnest()
    if not isinstance(node, exp.Tuple | exp.Struct):
        return node.copy()
    parts = [each.expression if isinstance(each, exp.PropertyEQ) else each for each in node.expressions]
    whole: exp.Expr = parts[0].copy()
    for part in parts[1:]:
        whole = exp.DPipe(this=whole, expression=exp.Paren(this=part.copy()))
    return whole


def _columns(text: str, dialect: str) -> str:
    """Return a column list of another dialect as one of `returns`: `a STRING, b INT64` or `STRUCT<a: STRING>`."""
    inner = text.strip()
    if not inner.upper().startswith(("STRUCT<", "STRUCT (", "STRUCT(")) and ("," in inner or " " in inner):
        inner = f"STRUCT<{inner}>"
    try:
        kind = exp.DataType.build(inner, dialect=dialect)
    except (SqlglotError, ValueError) as error:
        raise Unknown(f"the type {text} cannot be read") from error
    return _type(kind, top=True)


def _type(kind: exp.DataType, *, top: bool = False) -> str:
    if kind.is_type("struct"):
        fields = ", ".join(
            f"{exp.to_identifier(each.this.name, quoted=True).sql('duckdb')} {_type(each.args['kind'])}"
            for each in kind.expressions
        )
        return fields if top else f"STRUCT({fields})"
    if kind.is_type("array"):
        return f"{_type(kind.expressions[0])}[]"
    if kind.this in exp.DataType.TEXT_TYPES:
        return "VARCHAR"
    return kind.sql("duckdb")


def _from_schema(schema: Mapping[str, Any]) -> str:
    inner = schema.get("schema", schema)
    inner = inner.get("schema", inner)
    try:
        return returns_from_schema(dict(inner)).text
    except InvalidEnrichment as error:
        raise Unknown(str(error).removeprefix("--json-schema: ")) from error


def _shaped(source: exp.Expr, returns: str | None, **named: Any) -> Shape:
    """Return ai_complete with its type: a STRUCT where there are several columns."""
    call = ours("ai_complete", source, returns=returns, **named)
    return Struct(call) if returns is not None and " " in returns.strip().strip('"') else call


# ---- Snowflake


def _filter(given: Given) -> Shape:
    call = ours("ai_filter", given.input("input", "predicate", "prompt"))
    given.model("endpoint", "model")
    given.forget("connection_id", "optimization_mode", "request_type")
    given.done()
    return call


def _snowflake_classify(given: Given) -> Shape:
    source, labels = given.input("input"), _labels(constant(given.take("categories", "list_of_categories")))
    config = constant(given.take("config")) or {}
    multi = config.pop("output_mode", "single") == "multi"
    examples = [{"input": each["input"], "labels": each["labels"]} for each in config.pop("examples", None) or []]
    told = config.pop("task_description", None)
    if config:
        raise Unknown(f"sqlbatch has nothing for {next(iter(config))}")
    given.done()
    call = ours("ai_classify", source, labels, multi=multi or None, instructions=told, examples=examples or None)
    return {"labels": call if multi else [call]}


def _labels(given: Any) -> list[str] | dict[str, str | None]:
    """Return labels, with what is said of them: from texts, objects (label, description) or pairs."""
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
    given.done()
    return _shaped(source, None if wanted is None else _from_schema(wanted), params=_params(params))


def _params(params: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return parameters of a model call by the names that they have here."""
    names = {"max_tokens": "max_completion_tokens", "max_output_tokens": "max_completion_tokens"}
    kept = {names.get(name, name): value for name, value in (params or {}).items() if name != "guardrails"}
    return kept or None


def _snowflake_extract(given: Given) -> Shape:
    source = given.input("text", "input", "file")
    wanted = constant(given.take("responseformat", "response_format"))
    given.forget("scores")
    given.done()
    if isinstance(wanted, dict):
        fields = {name: str(about) for name, about in wanted.items()}
    elif isinstance(wanted, list) and all(isinstance(each, list) and len(each) == 2 for each in wanted):
        fields = {name: str(about) for name, about in wanted}
    elif isinstance(wanted, list) and all(isinstance(each, str) for each in wanted):
        fields = {each: f"{each}?".replace("??", "?") for each in wanted}
    else:
        raise Unknown("responseFormat is a list of questions, or of [name, question], or an object of them")
    # A word alone could be read as a type.
    fields = {name: about if " " in about or "?" in about else f"{about}?" for name, about in fields.items()}
    return {"error": exp.null(), "response": Struct(ours("ai_extract", source, fields))}


def _snowflake_sentiment(given: Given) -> Shape:
    source = given.input("text", "input")
    about = constant(given.take("categories")) or []
    given.done()
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
    given.done()
    return ours("ai_translate", source, first, second) if first else ours("ai_translate", source, second)


def _similarity(given: Given) -> Shape:
    first, second = given.input("content1", "input1"), given.input("content2", "input2")
    given.model("endpoint", "model")
    given.forget("connection_id", "config", "model_params")
    given.done()
    return exp.Anonymous(this="ai_similarity", expressions=[first, second])


def _plain(name: str) -> Callable[[Given], Shape]:
    """Return the reading of a function that has an input, and constants in the order that sqlbatch has."""

    def read(given: Given) -> Shape:
        source = given.input("input", "content", "text", "expr")
        more = [constant(each) for each in given.positional]
        given.positional = []
        given.done()
        return ours(name, source, *more)

    return read


def _embed(*, model_first: bool, result: bool = False) -> Callable[[Given], Shape]:
    def read(given: Given) -> Shape:
        given.model("model", "endpoint", positional=model_first)
        source = given.input("content", "input", "text")
        given.forget("connection_id", "task_type", "title", "model_params")
        given.done()
        call = ours("ai_embed", source)
        return {"result": call, "status": exp.Literal.string("")} if result else call

    return read


def _number(given: Given) -> Shape:
    source = given.input("text")
    given.done()
    return ours("ai_complete", source, "Score the sentiment from -1 (negative) to 1 (positive).", returns="DOUBLE")


def _answer(given: Given) -> Shape:
    source, question = given.input("source_document"), constant(given.take("question"))
    given.done()
    return [{"answer": ours("ai_complete", source, question)}]


def _label(given: Given) -> Shape:
    shape = _snowflake_classify(given)
    return {"label": shape["labels"][0]} if isinstance(shape, dict) else shape


def _prompt(given: Given) -> Shape:
    return exp.Anonymous(this="prompt", expressions=[each.copy() for each in given.arguments])


# ---- BigQuery


def _bigquery_classify(given: Given) -> Shape:
    source, labels = given.input("input"), _labels(constant(given.take("categories")))
    multi = constant(given.by_name("output_mode")) == "multi"
    examples = constant(given.by_name("examples"))
    given.model("endpoint")
    given.forget("connection_id", "embeddings", "optimization_mode")
    given.done()
    pairs = [{"input": each[0], "label": each[1]} for each in examples] if examples else None
    return ours("ai_classify", source, labels, multi=multi or None, examples=pairs)


def _bigquery_score(given: Given) -> Shape:
    source = given.input("prompt")
    given.model("endpoint")
    given.forget("connection_id", "max_error_ratio")
    given.done()
    return ours("ai_complete", source, "Answer with one number.", returns="DOUBLE")


def _bigquery_generate(kind: str | None) -> Callable[[Given], Shape]:
    def read(given: Given) -> Shape:
        source = given.input("prompt")
        given.model("endpoint")
        schema = constant(given.by_name("output_schema"))
        params = constant(given.by_name("model_params")) or {}
        given.forget("connection_id", "request_type")
        given.done()
        settings = params.get("generationConfig", params.get("generation_config", params))
        settings = {_snake(name): value for name, value in settings.items()}
        if schema:
            return _shaped(source, _columns(schema, "bigquery"), params=_params(settings))
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
    given.done()
    columns = None
    if returns and returns.strip().upper() != "STRING":
        columns = _columns(returns, "databricks")
    elif isinstance(wanted, str) and wanted.lstrip().startswith("{"):
        schema = json.loads(wanted)
        columns = _from_schema(schema.get("json_schema", schema)) if schema.get("type") != "text" else None
    elif wanted:
        columns = _within_result(_columns(wanted, "databricks"))
    if fails is False:
        call = ours("ai_complete", source, returns=columns, params=_params(params), on_error="capture")
        value, error = (
            exp.Dot(this=exp.Paren(this=call.copy()), expression=exp.to_identifier(name)) for name in ("value", "error")
        )
        inner = Struct(value) if columns is not None and " " in columns else value
        return {"result": inner, "response": inner, "errorMessage": error, "errorStatus": error.copy()}
    return _shaped(source, columns, params=_params(params))


def _within_result(columns: str) -> str:
    """Return the fields of `STRUCT<result: STRUCT<…>>`: the outer one only names the schema."""
    name, _, inner = columns.partition(" ")
    return (
        inner.removeprefix("STRUCT(")[:-1] if inner.startswith("STRUCT(") and inner.endswith(")") and name else columns
    )


def _databricks_classify(given: Given) -> Shape:
    source, labels = given.input("content"), constant(given.take("labels"))
    given.done()
    if isinstance(labels, str):
        labels = json.loads(labels)
    return ours("ai_classify", source, labels if isinstance(labels, dict) else _labels(labels))


def _databricks_extract(given: Given) -> Shape:
    source, fields = given.input("content"), constant(given.take("labels", "schema"))
    given.done()
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
