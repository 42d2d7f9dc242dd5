"""All options and settings, each defined once: type, help, default, and where it may be set.

The command line is built from these (`cli.options`), and Python's keyword arguments have their names
(`api.AskOptions`). `check` compares the first comment of a `.sql` file, and `sqlbatch.toml`, with their types. Pydantic
does that; it takes long to import, so it is imported only if there is something to check.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel


@dataclass(frozen=True)
class Option:
    """An option: the type of its value, the name of its value in help (a `bool` has none), its help and its default.

    A `list` is of texts. `rare` options are only in `--help-all`. Besides the command line and Python, an option may be
    set in the first comment of a `.sql` file (`sql`), in a variable SQLBATCH_* (`variable`), or in such a variable and
    in `sqlbatch.toml` (`toml`). A path (`is_path`) in a file is relative to that file.
    """

    kind: type
    metavar: str
    help: str
    default: str = ""
    rare: bool = False
    sql: bool = False
    variable: bool = False
    toml: bool = False
    is_path: bool = False

    @property
    def configurable(self) -> bool:
        """Whether `config.lookup` may find a value for it."""
        return self.variable or self.toml


# The options of enrich, plan and preview.
ASK: dict[str, Option] = {
    "into": Option(str, "TABLE", "The target table.", "the file's name", sql=True),
    "input": Option(list, "COLUMN", "Column to send; repeatable.", "all columns", sql=True),
    "prompt": Option(str, "TEXT", "A template with {{ column }}, not --input; or @file.", sql=True),
    "instructions": Option(str, "TEXT", "What the model should do (the system message); or @file.", sql=True),
    "returns": Option(str, "COLUMNS", "'genres VARCHAR[], year INTEGER' or JSON.", "text", sql=True),
    "json_schema": Option(str, "FILE", "A JSON Schema, instead of --returns.", rare=True, sql=True),
    "structured": Option(
        str, "HOW", "For models without JSON schemas: json_object or prompt.", "json_schema",
        rare=True, sql=True, toml=True,
    ),
    "image": Option(list, "COLUMN", "A column of pictures (paths, URLs, BLOBs); repeatable.", rare=True, sql=True),
    "image_detail": Option(str, "DETAIL", "Resolution of pictures: auto, low, high.", rare=True, sql=True),
    "model": Option(str, "NAME", "The model, for example gpt-6-luna.", sql=True, toml=True),
    "param": Option(list, "K=V", "A parameter of the model call; repeatable.", rare=True),
    "endpoint": Option(
        str, "NAME", "responses, embeddings, moderations, …", "chat/completions", rare=True, sql=True, toml=True
    ),
    "provider": Option(str, "NAME", "local (no key, no cost), azure, …", "openai", sql=True, toml=True),
    "base_url": Option(str, "URL", "Another server with the same API.", "the provider's", rare=True, variable=True),
    "db": Option(str, "FILE", "The DuckDB file.", "enriched.duckdb", rare=True, toml=True, is_path=True),
    "attach": Option(
        list, "PATH[ AS NAME]", "Another database: to read, or for the target; repeatable.",
        rare=True, sql=True, toml=True,
    ),
    "threads": Option(int, "N", "Threads DuckDB uses.", "one per core", rare=True, toml=True),
    "memory_limit": Option(str, "SIZE", "Memory DuckDB may use.", "800MB", rare=True, toml=True),
    "limit": Option(int, "N", "Only the query's first N rows.", sql=True),
    "max_attempts": Option(
        int, "N", "Times a request is sent, at most.", "3", rare=True, sql=True, toml=True
    ),
    "fresh": Option(bool, "", "Ask again, and pay again, for what was answered before."),
    "replace": Option(bool, "", "Replace a table that sqlbatch did not make, or shrink the target.", rare=True),
    "engine": Option(str, "URL", "Spark Connect, sc://host:port, runs the query and writes --into.", rare=True),
    "shared": Option(str, "FOLDER", "With --engine: a folder that Spark and sqlbatch see.", rare=True),
    "incremental": Option(
        bool, "", "Update or add these rows in the target, by --unique-key; others stay.", rare=True, sql=True
    ),
    "unique_key": Option(
        list, "COLUMN[,…]", "With --incremental: columns that name a row; repeatable.", rare=True, sql=True
    ),
    "where": Option(str, "CONDITION", "Only the query's rows that fulfil a condition.", rare=True, sql=True),
    "confidence": Option(
        bool, "", "Also return how sure the model was of each value (log probabilities).", rare=True, sql=True
    ),
    "lean": Option(bool, "", "AI functions: ask least, one filter after the other.", rare=True),
    "fuse": Option(bool, "", "AI functions: ask in the fewest rounds of batches.", rare=True),
    "dialect": Option(
        str, "NAME", "The query's SQL: snowflake, bigquery or databricks.", "duckdb", rare=True, sql=True
    ),
}  # fmt: skip

# Options about how a command runs and what it prints.
RUN: dict[str, Option] = {
    "max_cost": Option(
        float, "USD", "The most the job may cost, retries included.", toml=True
    ),
    "max_enqueued_tokens": Option(
        int, "N", "Tokens of one model that may be queued at the provider.", "the provider's limit",
        rare=True, variable=True,
    ),
    "poll": Option(
        float, "SECONDS", "Time between status checks.", "short, growing to 60 s", rare=True, toml=True
    ),
    "yes": Option(bool, "", "Do not ask before money is spent."),
    "no_wait": Option(bool, "", "Submit and return; sync or wait continues later."),
    "json": Option(bool, "", "Print JSON, for a script.", rare=True),
    "quiet": Option(bool, "", "Print only errors and data.", toml=True),
    "verbose": Option(bool, "", "Print each SQL statement and HTTP call with its time.", toml=True),
    "debug": Option(bool, "", "Print the traceback of an error.", toml=True),
}  # fmt: skip
# The command line chooses a policy by --lean and --fuse.
OPTIONS = ASK | RUN | {"policy": Option(str, "NAME", "AI functions: balanced, lean or fuse.", "balanced", sql=True)}

# Keys of tables in sqlbatch.toml. Numbers must be above 0; a price may also be 0.
_PROVIDER: dict[str, type] = {
    "base_url": str,
    "key_variable": str,
    "structured": str,
    "cache_options": bool,
    "logprobs": bool,
    "purpose": str,
    "endpoint_prefix": str,
    "line_prefix": str,
    "completion_window": str,
    "upload_path": str,
    "upload_fields": dict,
    "create_query": dict,
    "create_fields": dict,
    "headers": dict,
    "max_requests": int,
    "max_bytes": int,
    "max_enqueued_tokens": int,
    "batches_per_hour": int,
    "batch_factor": float,
    "slowest_poll": float,
    "paid": bool,
}
_PRICES = ("input", "cached", "cache_write", "output", "batch_factor")
_TABLE_KEYS = {"providers": tuple(_PROVIDER), "prices": _PRICES, "budget": ("month",)}
# The tables `[providers.NAME]` and `[prices.NAME]`, of which there may be many.
TABLES = ("providers", "prices")

# What pydantic's errors are called in messages.
_WORDS = {
    "string_type": "must be a text",
    "list_type": "must be a text, or a list of texts",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": 'must be a table, such as { name = "value" }',
    "model_type": "must be a table, such as [budget]",
    "greater_than_equal": "must be 0 or more",
}


@dataclass(frozen=True)
class Problem:
    """A wrong value: its place as keys, from the outermost; what is wrong; the known names if its own is unknown."""

    place: tuple[str, ...]
    what: str
    known: tuple[str, ...] = ()


def check(file: Literal["toml", "sql"], values: Mapping[str, Any]) -> Problem | None:
    """Compare the values of sqlbatch.toml, or of the first comment of a `.sql` file, with their types."""
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        _models()[file].model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # The type within a list follows the list's own name.
        place = tuple(itertools.takewhile(lambda part: not part.startswith("list["), map(str, first["loc"])))
        kind = first["type"] if len(place) == len(first["loc"]) else "list_type"
        if kind == "extra_forbidden":
            names = _TABLE_KEYS[place[0]] if len(place) > 1 else tuple(_models()[file].model_fields)
            return Problem(place, "unknown", tuple(sorted(names)))
        return Problem(place, _WORDS.get(kind, f"{first['input']}: it must be a number above 0"))
    return None


def from_text(kind: type, text: str) -> Any:
    """Return the value that a variable's text stands for; raise ValueError, which says what it must be."""
    if kind in {str, list}:
        return [text] if kind is list else text
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise ValueError(_WORDS[f"{kind.__name__}_type"]) from None


@functools.cache
def _models() -> dict[str, type[BaseModel]]:
    """Return the shape of each file; the types are strict, so that a text is no number."""
    from pydantic import ConfigDict, Field, create_model  # noqa: PLC0415

    types: dict[Any, Any] = {kind: Annotated[kind, Field(gt=0, allow_inf_nan=False)] for kind in (int, float)}
    types |= {list: list[str] | str}
    price = Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def model(name: str, fields: Mapping[str, Any]) -> Any:
        shape: dict[str, Any] = {key: (types.get(kind, kind), None) for key, kind in fields.items()}
        return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **shape)

    mapping: Any = dict
    tables = {
        "providers": mapping[str, model("providers", _PROVIDER)],
        "prices": mapping[str, model("prices", dict.fromkeys(_PRICES, price))],
        "budget": model("budget", {"month": float}),
    }
    return {
        "toml": model("toml", {name: option.kind for name, option in OPTIONS.items() if option.toml} | tables),
        # What is asked, not where and how it runs; its parameters are a table.
        "sql": model("sql", {n: each.kind for n, each in OPTIONS.items() if each.sql} | {"param": dict}),
    }
