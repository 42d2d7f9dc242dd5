"""An enrichment as one frozen value, and the options in `.sql` files."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import InvalidOption, InvalidSettings, did_you_mean
from sqlbatch.settings import OPTIONS, check

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Enrichment:
    """An enrichment: query, prompt, returned columns, model and target. It decides what is asked and where it goes.

    `params` are the call's further parameters, by name, each as JSON text. `returns` is the canonical column list.
    `images` are the columns with pictures, and `folder` is where their relative paths start. For a query that calls AI
    functions, `policy` says how far calls wait for one another, and `structured` how answers are made to be JSON. With
    `incremental`, the rows update or extend the target, by the columns of `unique_key`. `where` is a condition on the
    rows of `query`; it is part of `query` too, unless the rows were passed as data. `confidence` adds a column that
    says how sure the model was, and `logprobs` requests the log probabilities for it. `dialect` is the SQL dialect that
    `query`, which is DuckDB's SQL, was translated from.
    """

    query: str
    returns: str
    prompt: str | None
    instructions: str | None
    inputs: tuple[str, ...]
    endpoint: str
    model: str
    params: tuple[tuple[str, str], ...]
    provider: str
    base_url: str
    limit: int | None
    images: tuple[str, ...] = ()
    image_detail: str | None = None
    folder: str | None = None
    policy: str | None = None
    structured: str | None = None
    incremental: bool = False
    unique_key: tuple[str, ...] = ()
    where: str | None = None
    confidence: bool = False
    logprobs: bool = False
    dialect: str | None = None

    @property
    def param_values(self) -> dict[str, Any]:
        """The call's further parameters as JSON values."""
        return {name: json.loads(value) for name, value in self.params}

    def to_json(self) -> str:
        """Return the enrichment as the JSON object in `jobs.enrichment`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Enrichment:
        """Return the enrichment of a JSON object from `to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
        }
        values["params"] = tuple((name, value) for name, value in values["params"])
        return cls(**values)


def parameters(values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return a call's parameters in one order, each as JSON text.

    Raise InvalidSettings for values that are not JSON.
    """
    return tuple((name, _as_json(name, value)) for name, value in sorted(values.items()))


def _as_json(name: str, value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
        text.encode()
    except (TypeError, ValueError):
        raise InvalidSettings(f"--param {name}: JSON cannot write {value}; put it in quotes") from None
    return text


def parse_param(text: str) -> tuple[str, object]:
    """Return one `--param k=v`: the value is JSON if it parses (numbers, true, objects), otherwise a text.

    Raises InvalidSettings if there is no `=`, or if sqlbatch itself sets the parameter.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise InvalidOption(f"--param {text}: write it as name=value, for example --param max_completion_tokens=200")
    if name in {"model", "messages", "input", "prompt", "stream", "response_format", "text", "instructions"}:
        raise InvalidSettings(f"--param {name}: sqlbatch sets {name} itself; use the option made for it")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def read_front_matter(text: str, name: str) -> dict[str, Any]:
    """Return the options in the first comment (`/* sqlbatch … */`, TOML) of a `.sql` file; {} if there is none.

    Raises InvalidSettings for broken TOML, an unknown option, or a value of the wrong type, naming file and line.
    """
    comment = re.match(r"\s*/\*\s*sqlbatch\b(?P<toml>.*?)\*/", text, re.DOTALL)
    if comment is None:
        if re.match(r"\s*/\*\s*sqlbatch\b", text):
            raise InvalidSettings(f"{name}: the comment that begins with /* sqlbatch has no end; close it with */")
        return {}
    try:
        options = tomllib.loads(comment["toml"])
    except tomllib.TOMLDecodeError as error:
        before = text[: comment.start("toml")].count("\n")
        where = re.sub(r"at line (\d+)", lambda line: f"at line {int(line[1]) + before}", str(error))
        raise InvalidSettings(f"{name}: the options in its first comment are not TOML: {where}") from error
    problem = check("sql", options)
    if problem is not None:
        option = problem.place[0]
        if problem.known:
            raise InvalidSettings(
                f"{name}: unknown option {option} in its first comment; {did_you_mean(option, problem.known)}"
            )
        raise InvalidSettings(f"{name}: option {option} {problem.what}")
    return {
        option: [value] if OPTIONS[option].kind is list and isinstance(value, str) else value
        for option, value in options.items()
    }
