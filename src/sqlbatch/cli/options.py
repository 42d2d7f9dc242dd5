"""The options that several commands share, each with its help; the options of an enrichment are defined once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from sqlbatch.cli import complete
from sqlbatch.cli.help import RARELY

if TYPE_CHECKING:
    from collections.abc import Callable


def option(name: str, metavar: str, text: str, *, rare: bool = False, default: str = "", **more: Any) -> Any:
    """Return an option with a value; `rare` ones are only in --help-all; `default` is shown in the help."""
    text += f"  \\[default: {default}]" if default else ""
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=RARELY if rare else None, **more)


def flag(name: str, text: str, *short: str, rare: bool = False) -> Any:
    """Return an option without a value."""
    return typer.Option(name, *short, help=text, rich_help_panel=RARELY if rare else None)


JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]",
        help="A job's number or its target's name; the newest job if left out.",
        show_default=False,
        autocompletion=complete.jobs,
    ),
]
Db = Annotated[str | None, option("--db", "FILE", "The DuckDB file.", rare=True, default="enriched.duckdb")]
Attach = Annotated[
    list[str] | None,
    option("--attach", "PATH[ AS NAME]", "Another database: to read, or for the target; repeatable.", rare=True),
]
Threads = Annotated[int | None, option("--threads", "N", "Threads DuckDB uses.", rare=True, default="one per core")]
MemoryLimit = Annotated[
    str | None, option("--memory-limit", "SIZE", "Memory DuckDB may use.", rare=True, default="800MB")
]
MaxEnqueuedTokens = Annotated[
    int | None,
    option(
        "--max-enqueued-tokens", "N", "Tokens of one model that may be queued at the provider.",
        rare=True, default="the provider's limit",
    ),
]  # fmt: skip
MaxCost = Annotated[float | None, option("--max-cost", "USD", "The most the job may cost, retries included.")]
Yes = Annotated[bool, flag("--yes", "Do not ask before money is spent.", "-y")]
NoWait = Annotated[bool, flag("--no-wait", "Submit and return; sync or wait continues later.")]
Poll = Annotated[
    float | None,
    option(
        "--poll", "SECONDS", "Time between status checks.", rare=True, default="short, growing to 60 s", min=0.05
    ),
]  # fmt: skip
Json = Annotated[bool, flag("--json", "Print JSON, for a script.", rare=True)]


EngineAddress = Annotated[
    str | None, option("--engine", "URL", "Spark, where the target is there (sc://…).", rare=True)
]


@dataclass(frozen=True)
class Asking:
    """The query, and the options of an enrichment: the same for enrich, plan and preview."""

    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY|FILE|-", help="One SELECT, a .sql file, or - for standard input.", show_default=False
        ),
    ]
    into: Annotated[str | None, option("--into", "TABLE", "The target table.", default="the file's name")] = None
    input: Annotated[
        list[str] | None, option("--input", "COLUMN", "Column to send; repeatable.", default="all columns")
    ] = None
    prompt: Annotated[
        str | None, option("--prompt", "TEXT", "A template with {{ column }}, not --input; or @file.")
    ] = None
    instructions: Annotated[
        str | None, option("--instructions", "TEXT", "What the model should do (the system message); or @file.")
    ] = None
    returns: Annotated[
        str | None, option("--returns", "COLUMNS", "'genres VARCHAR[], year INTEGER' or JSON.", default="text")
    ] = None
    json_schema: Annotated[
        str | None, option("--json-schema", "FILE", "A JSON Schema, instead of --returns.", rare=True)
    ] = None
    structured: Annotated[
        str | None,
        option(
            "--structured", "HOW", "For models without JSON schemas: json_object or prompt.",
            rare=True, default="json_schema",
        ),
    ] = None  # fmt: skip
    image: Annotated[
        list[str] | None,
        option("--image", "COLUMN", "A column of pictures (paths, URLs, BLOBs); repeatable.", rare=True),
    ] = None
    image_detail: Annotated[
        str | None, option("--image-detail", "DETAIL", "Resolution of pictures: auto, low, high.", rare=True)
    ] = None
    model: Annotated[
        str | None, option("--model", "NAME", "The model, for example gpt-6-luna.", autocompletion=complete.models)
    ] = None
    param: Annotated[
        list[str] | None, option("--param", "K=V", "A parameter of the model call; repeatable.", rare=True)
    ] = None
    endpoint: Annotated[
        str | None,
        option(
            "--endpoint", "NAME", "responses, embeddings, moderations, …",
            rare=True, default="chat/completions", autocompletion=complete.endpoints,
        ),
    ] = None  # fmt: skip
    provider: Annotated[
        str | None,
        option(
            "--provider", "NAME", "local (no key, no cost), azure, …",
            default="openai", autocompletion=complete.providers,
        ),
    ] = None  # fmt: skip
    base_url: Annotated[str | None, option("--base-url", "URL", "Another server with the same API.", rare=True)] = None
    db: Db = None
    attach: Attach = None
    threads: Threads = None
    memory_limit: MemoryLimit = None
    limit: Annotated[int | None, option("--limit", "N", "Only the query's first N rows.")] = None
    max_attempts: Annotated[
        int | None, option("--max-attempts", "N", "Times a request is sent, at most.", rare=True, default="3")
    ] = None
    fresh: Annotated[bool, flag("--fresh", "Ask again, and pay again, for what was answered before.")] = False
    replace: Annotated[
        bool, flag("--replace", "Replace a table that sqlbatch did not make, or shrink the target.", rare=True)
    ] = False
    engine: Annotated[
        str | None,
        option("--engine", "URL", "Spark Connect, sc://host:port, runs the query and writes --into.", rare=True),
    ] = None
    shared: Annotated[
        str | None, option("--shared", "FOLDER", "With --engine: a folder that Spark and sqlbatch see.", rare=True)
    ] = None
    incremental: Annotated[
        bool, flag("--incremental", "Update or add these rows in the target, by --unique-key; others stay.", rare=True)
    ] = False
    unique_key: Annotated[
        list[str] | None,
        option("--unique-key", "COLUMN[,…]", "With --incremental: columns that name a row; repeatable.", rare=True),
    ] = None
    where: Annotated[
        str | None, option("--where", "CONDITION", "Only the query's rows that fulfil a condition.", rare=True)
    ] = None
    confidence: Annotated[
        bool, flag("--confidence", "Also return how sure the model was of each value (log probabilities).", rare=True)
    ] = False
    lean: Annotated[bool, flag("--lean", "AI functions: ask least, one filter after the other.", rare=True)] = False
    fuse: Annotated[bool, flag("--fuse", "AI functions: ask in the fewest rounds of batches.", rare=True)] = False
    dialect: Annotated[
        str | None,
        option("--dialect", "NAME", "The query's SQL: snowflake, bigquery or databricks.", rare=True, default="duckdb"),
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the options by their names, for `options.enrich_options`; None: not given."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def asking(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of Asking before a command's own, and pass them to it as its first argument."""
    names = [each.name for each in fields(Asking)]
    hints = get_type_hints(Asking, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def gathered(**given: Any) -> int:
        asked = Asking(**{name: given.pop(name) for name in names})
        return command(asked, **given)

    shared = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name],
            default=inspect.Parameter.empty if each.name == "query" else each.default,
        )
        for each in fields(Asking)
    ]  # fmt: skip
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    gathered.__signature__ = inspect.Signature([*shared, *own], return_annotation=int)  # type: ignore[attr-defined]
    gathered.__annotations__ = {each.name: each.annotation for each in (*shared, *own)} | {"return": int}
    del gathered.__wrapped__
    return gathered
