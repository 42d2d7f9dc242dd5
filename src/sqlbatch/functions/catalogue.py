"""The AI functions: their arguments, what each asks of the model, and the type it returns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidEnrichment, did_you_mean
from sqlbatch.returns import parse_returns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlbatch.returns import Returns

# Arguments of every function, always passed by name.
COMMON = ("model", "on_error", "params")
ON_ERROR = ("null", "capture", "fail")


class BadArgument(Exception):
    """An argument is not valid; `name` is the argument, if the message is about one."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Question:
    """What one function asks of the model, apart from its input, the model and the parameters.

    `returns` is a column list as for `--returns` (empty: plain text); `shape` says how the columns become one value:
    `value` takes the only one, `struct` all of them.
    """

    instructions: str | None
    returns: str = ""
    shape: str = "value"


@dataclass(frozen=True)
class Ask:
    """One use of a function with its constant arguments: the question, and how an answer becomes a value.

    With `pieces`, its input is a list of pieces, and it asks about each (sqlbatch.functions.aggregates).
    """

    function: str
    question: Question
    model: str | None
    params: tuple[tuple[str, Any], ...]
    on_error: str
    embeds: bool = False
    signature: str = ""
    pieces: bool = False

    def value_sql(self, returns: Returns, content: str, vector: str, error: str) -> str:
        """Return SQL of the value, from SQL of an answer's text and vector (NULL: none) and of the error."""
        typed = returns.typed_sql(content, vector)
        if self.question.shape == "struct":
            value = f"struct_pack({', '.join(f'{quote_identifier(name)} := {sql}' for name, sql in typed)})"
            value = f"CASE WHEN {content} IS NOT NULL THEN {value} END"
        else:
            value = typed[0][1]
        value = f"CAST({value} AS {self.plain_type(returns)})"
        return f"struct_pack(value := {value}, error := {error})" if self.on_error == "capture" else value

    def value_type(self, returns: Returns) -> str:
        """Return the SQL type of the value."""
        plain = self.plain_type(returns)
        return f"STRUCT(value {plain}, error VARCHAR)" if self.on_error == "capture" else plain

    def plain_type(self, returns: Returns) -> str:
        """Return the SQL type of an answer, without the additions of `on_error`. An ENUM is returned as VARCHAR."""
        if self.question.shape == "struct":
            fields = ", ".join(f"{quote_identifier(column.name)} {column.sql_type}" for column in returns.columns)
            return f"STRUCT({fields})"
        kind = returns.columns[0].sql_type
        if self.question.returns and self.function != "ai_complete" and kind.startswith("ENUM"):
            return "VARCHAR[]" if kind.endswith("[]") else "VARCHAR"
        return kind


@dataclass(frozen=True)
class Function:
    """One function: its parameters in order after the input, and the question for their values.

    `least` is how many of them are required; `trailing` names the one that takes all further positional arguments.
    `spec` is SQL of the type of its macro, as from_json takes it.
    """

    name: str
    parameters: tuple[str, ...]
    least: int
    question: Callable[[Mapping[str, Any]], Question]
    returns: str
    summary: str
    trailing: str | None = None
    embeds: bool = False
    aggregates: bool = False
    spec: str = """'"VARCHAR"'"""

    @property
    def signature(self) -> str:
        """Return how the function is called."""
        shown = [*self.parameters[: self.least], *(f"{name} := NULL" for name in self.parameters[self.least :])]
        return f"{self.name}({', '.join(['input', *shown])})"


def bind(function: Function, positional: Sequence[Any], named: Mapping[str, Any]) -> Ask:
    """Return the question of a call, from the values of its constant arguments.

    Raise BadArgument if they do not fit.
    """
    if len(positional) > len(function.parameters):
        if function.trailing is None:
            raise BadArgument(f"{function.name} takes {len(function.parameters) + 1} arguments: {function.signature}")
        first = function.parameters.index(function.trailing)
        positional = [*positional[:first], list(positional[first:])]
    elif function.trailing and positional and isinstance(positional[0], str):
        positional = [list(positional)]
    values: dict[str, Any] = dict(zip(function.parameters, positional, strict=False))
    for name, value in named.items():
        known = name.casefold()
        if known not in function.parameters and known not in COMMON:
            hint = did_you_mean(known, [*function.parameters, *COMMON])
            raise BadArgument(f"{function.name} has no argument {name}; {hint}", name)
        if known in values:
            raise BadArgument(f"{function.name}: {name} is given twice", name)
        values[known] = value
    missing = [name for name in function.parameters[: function.least] if values.get(name) is None]
    if missing:
        raise BadArgument(f"{function.name} needs {missing[0]}: {function.signature}", missing[0])
    on_error = _text(values, "on_error") or "null"
    if on_error not in ON_ERROR:
        raise BadArgument(f"on_error is 'null', 'capture' or 'fail', not {on_error!r}", "on_error")
    params = values.get("params") or {}
    if not isinstance(params, dict):
        raise BadArgument("params is a struct such as {temperature: 0}", "params")
    try:
        question = function.question(values)
        parse_returns(question.returns or None)
    except InvalidEnrichment as error:
        raise BadArgument(f"{function.name}: {str(error).replace('--returns: ', '')}") from error
    if function.embeds and values.get("dimensions") is not None:
        params = {**params, "dimensions": values["dimensions"]}
    ordered = tuple(sorted(params.items()))
    if function.aggregates and on_error == "capture":
        raise BadArgument(f"{function.name} has no on_error 'capture': a group has many answers", "on_error")
    return Ask(function.name, question, _text(values, "model"), ordered, on_error, function.embeds,
               signature(function, values), function.aggregates)  # fmt: skip


def signature(function: Function, values: Mapping[str, Any]) -> str:
    """Return a function with its constant arguments as one text, the same as in its macro (functions.function)."""
    named: dict[str, Any] = {"function": function.name}
    named |= {name: values.get(name) for name in (*function.parameters, "model", "params")}
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))


def find(name: str) -> Function | None:
    """Return the function of a name, also of an alias from another product; None if there is none."""
    return FUNCTIONS.get(OTHER_NAMES.get(name.casefold(), name.casefold()))


def near(name: str) -> str:
    """Return a hint about an unknown function name that begins with ai_."""
    known = f"there are {', '.join(sorted(FUNCTIONS))}"
    return f"there is no function {name}; {did_you_mean(name.casefold(), [*FUNCTIONS, *OTHER_NAMES], 0.5, known)}"


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise BadArgument(f"{name} must be a text", name)
    return value


def _enum(labels: Sequence[str]) -> str:
    return f"ENUM({', '.join(map(quote_literal, labels))})"


def _filter(values: Mapping[str, Any]) -> Question:
    predicate = _text(values, "predicate")
    said = f"Is this true of the input? Answer true or false.\n{predicate}"
    if predicate is None:
        said = "Answer the question, or judge the statement, with true or false."
    return Question(said, "answer BOOLEAN NOT NULL")


def _labels(values: Mapping[str, Any]) -> dict[str, str | None]:
    given = values["labels"]
    if isinstance(given, dict):
        labels = {str(name): None if about is None else str(about) for name, about in given.items()}
    elif isinstance(given, list) and all(isinstance(each, str) for each in given):
        labels = dict.fromkeys(given)
    else:
        raise BadArgument("labels is a list of texts, or a struct {label: 'description'}", "labels")
    if not labels:
        raise BadArgument("labels is empty: name at least one", "labels")
    if isinstance(given, list) and len(labels) < len(given):
        raise BadArgument("labels has the same label twice", "labels")
    return labels


def _classify(values: Mapping[str, Any]) -> Question:
    labels = _labels(values)
    multi = bool(values.get("multi"))
    said = ["Choose all labels that fit the input." if multi else "Choose the one label that fits the input best."]
    said += [f"- {name}: {about}" for name, about in labels.items() if about]
    if instructions := _text(values, "instructions"):
        said.append(instructions)
    examples = values.get("examples") or []
    if not isinstance(examples, list | dict):
        raise BadArgument("examples is a list of structs {input: …, label: …}, or a struct {label: 'text'}", "examples")
    pairs = examples if isinstance(examples, list) else [{"label": k, "input": v} for k, v in examples.items()]
    said += [f"Example: {json.dumps(each, ensure_ascii=False)}" for each in pairs]
    kind = _enum(list(labels))
    return Question("\n".join(said), f"labels {kind}[] NOT NULL" if multi else f"label {kind} NOT NULL")


def _is_type(text: str) -> bool:
    try:
        parse_returns(f"x {text}")
    except InvalidEnrichment:
        return False
    return re.fullmatch(r"[A-Za-z].*", text) is not None and "?" not in text


def _extract(values: Mapping[str, Any]) -> Question:
    given = values["fields"]
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        columns = [f"{quote_identifier(name)} VARCHAR" for name in given]
    elif isinstance(given, dict) and given and all(isinstance(each, str) for each in given.values()):
        columns = [
            f"{quote_identifier(name)} {about}"
            if _is_type(about)
            else f"{quote_identifier(name)} VARCHAR COMMENT {quote_literal(about)}"
            for name, about in given.items()
        ]
    else:
        raise BadArgument("fields is a list of names, or a struct {name: 'TYPE'} or {name: 'a question'}", "fields")
    said = ["Extract the fields from the input. A field that the input does not give is null."]
    if instructions := _text(values, "instructions"):
        said.append(instructions)
    return Question("\n".join(said), ", ".join(columns), "struct")


def _complete(values: Mapping[str, Any]) -> Question:
    returns = (_text(values, "returns") or "").strip()
    instructions = _text(values, "instructions")
    if not returns:
        return Question(instructions)
    if returns.upper() == "JSON":
        return Question(instructions, "JSON")
    return (
        Question(instructions, f"answer {returns}") if _is_type(returns) else Question(instructions, returns, "struct")
    )


def _score(values: Mapping[str, Any]) -> Question:
    criterion = _text(values, "criterion")
    said = f"Score the input from 0 (not at all) to 1 (fully) by this criterion:\n{criterion}"
    return Question(said, "score DOUBLE NOT NULL CHECK (score BETWEEN 0 AND 1)")


def _sentiment(_: Mapping[str, Any]) -> Question:
    labels = _enum(["positive", "negative", "neutral", "mixed"])
    return Question("Name the sentiment of the input.", f"sentiment {labels} NOT NULL")


def _summarize(values: Mapping[str, Any]) -> Question:
    most = values.get("max_words")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise BadArgument("max_words is a whole number above 0", "max_words")
    return Question("Summarize the input" + (f" in at most {most} words." if most else ". Be brief."))


def _translate(values: Mapping[str, Any]) -> Question:
    first, second = _text(values, "to"), _text(values, "then")
    said = f"Translate the input from {first} to {second}." if second else f"Translate the input to {first}."
    return Question(f"{said} Return only the translation.")


def _redact(values: Mapping[str, Any]) -> Question:
    kinds = values.get("kinds")
    if kinds is not None and not (isinstance(kinds, list) and all(isinstance(each, str) for each in kinds)):
        raise BadArgument("kinds is a list of texts, such as ['name', 'email']", "kinds")
    what = ", ".join(kinds) if kinds else "every name, address, email address, phone number and other personal detail"
    return Question(f"Return the input unchanged, but replace {what} with [REDACTED].")


def _agg(values: Mapping[str, Any]) -> Question:
    told = "The input is a JSON list of texts: answer about all of them together."
    return Question(f"{_text(values, 'instructions')}\n{told}")


def _combined(values: Mapping[str, Any]) -> Question:
    told = "The input is a JSON list of answers to this, each about some of the texts: make one answer of them."
    return Question(f"{_text(values, 'instructions')}\n{told}")


_TEXT = "VARCHAR"
SUMMARIZE = "Summarize the texts together."
FUNCTIONS = {
    each.name: each
    for each in (
        Function("ai_filter", ("predicate",), 0, _filter, "BOOLEAN", "Whether a statement is true of the input.",
                 spec="""'"BOOLEAN"'"""),
        Function("ai_classify", ("labels", "multi", "instructions", "examples"), 1, _classify,
                 "VARCHAR, or VARCHAR[] with multi",
                 "The label that fits the input best, or all that fit.", trailing="labels",
                 spec="""CASE WHEN multi THEN '["VARCHAR"]' ELSE '"VARCHAR"' END"""),
        Function("ai_extract", ("fields", "instructions"), 1, _extract, "STRUCT", "Named fields that the input gives.",
                 spec="{schema}sqlbatch_fields(fields)"),
        Function("ai_complete", ("instructions", "returns"), 0, _complete, "VARCHAR, or what returns says",
                 "The model's answer to the input.", spec='{schema}sqlbatch_returned("returns")'),
        Function("ai_score", ("criterion",), 1, _score, "DOUBLE, 0 to 1", "How well the input meets a criterion.",
                 spec="""'"DOUBLE"'"""),
        Function("ai_sentiment", (), 0, _sentiment, _TEXT, "positive, negative, neutral or mixed."),
        Function("ai_summarize", ("max_words",), 0, _summarize, _TEXT, "A summary of the input."),
        Function("ai_translate", ("to", "then"), 1, _translate, _TEXT, "The input in another language."),
        Function("ai_redact", ("kinds",), 0, _redact, _TEXT, "The input without personal details."),
        Function("ai_fix_grammar", (), 0,
                 lambda _: Question("Correct the grammar and spelling of the input. Return only "
                 "the corrected text."), _TEXT, "The input in correct grammar."),
        Function("ai_embed", ("dimensions",), 0, lambda _: Question(None), "FLOAT[n]",
                 "The vector of the input.", embeds=True),
        Function("ai_agg", ("instructions",), 1, _agg, _TEXT, "An answer about all texts of a group.", aggregates=True),
        Function("ai_summarize_agg", (), 0, lambda _: _agg({"instructions": SUMMARIZE}), _TEXT,
                 "A summary of all texts of a group.", aggregates=True),
    )
}  # fmt: skip
# Combines the answers about the pieces of a group; internal.
COMBINED = Function("ai_agg_combined", ("instructions",), 1, _combined, _TEXT, "", aggregates=True)
# Aliases of the functions, as other products call them. AI.IF is read as ai_if.
OTHER_NAMES = {
    "ai_if": "ai_filter",
    "ai_generate": "ai_complete",
    "ai_gen": "ai_complete",
    "ai_query": "ai_complete",
    "ai_analyze_sentiment": "ai_sentiment",
    "ai_mask": "ai_redact",
    "prompt": "ai_complete",
}
