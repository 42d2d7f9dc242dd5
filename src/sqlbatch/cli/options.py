"""The options that several commands share, each with its help."""

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


QueryArgument = Annotated[
    str,
    typer.Argument(
        metavar="QUERY|FILE|-", help="One SELECT, a .sql file, or - for standard input.", show_default=False
    ),
]
JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]",
        help="A job's number or its target's name; by default the newest.",
        show_default=False,
        autocompletion=complete.jobs,
    ),
]
Db = Annotated[
    str | None,
    typer.Option("--db", metavar="FILE", help="The DuckDB file.  \\[default: enriched.duckdb]", rich_help_panel=RARELY),
]
Attach = Annotated[
    list[str] | None,
    typer.Option(
        "--attach",
        metavar="PATH[ AS NAME]",
        help="Another database the query may read; repeatable.",
        rich_help_panel=RARELY,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Threads that DuckDB works with.  \\[default: one a core]",
        rich_help_panel=RARELY,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        help="Memory that DuckDB may take.  \\[default: 800MB]",
        rich_help_panel=RARELY,
    ),
]
MaxEnqueuedTokens = Annotated[
    int | None,
    typer.Option(
        "--max-enqueued-tokens",
        metavar="N",
        help="Most tokens that wait at the provider, of a model.  \\[default: the provider's limit]",
        rich_help_panel=RARELY,
    ),
]
Into = Annotated[
    str | None,
    typer.Option("--into", metavar="TABLE", help="The target table.  \\[default: the file's name]"),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="COLUMN",
        help="What the model sees; repeatable.  \\[default: all columns]",
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEXT",
        help="A template with {{ column }}, not --input; or @file.",
    ),
]
Instructions = Annotated[
    str | None,
    typer.Option(
        "--instructions",
        metavar="TEXT",
        help="What the model shall do (the system message); or @file.",
    ),
]
Returns = Annotated[
    str | None,
    typer.Option(
        "--returns",
        metavar="COLUMNS",
        help="'genres VARCHAR[], year INTEGER' or JSON.  \\[default: text]",
    ),
]
JsonSchema = Annotated[
    str | None,
    typer.Option(
        "--json-schema", metavar="FILE", help="A JSON Schema, in the place of --returns.", rich_help_panel=RARELY
    ),
]
Structured = Annotated[
    str | None,
    typer.Option(
        "--structured",
        metavar="HOW",
        help="For models without JSON schemas: json_object or prompt.  \\[default: json_schema]",
        rich_help_panel=RARELY,
    ),
]
Image = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="COLUMN",
        help="A column of pictures (paths, URLs, BLOBs); repeatable.",
        rich_help_panel=RARELY,
    ),
]
ImageDetail = Annotated[
    str | None,
    typer.Option(
        "--image-detail",
        metavar="DETAIL",
        help="How closely pictures are looked at: auto, low, high.",
        rich_help_panel=RARELY,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The model, for example gpt-6-luna.",
        autocompletion=complete.models,
    ),
]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="K=V", help="A parameter of the model call; repeatable.", rich_help_panel=RARELY),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        help="responses, embeddings, moderations, …  \\[default: chat/completions]",
        autocompletion=complete.endpoints,
        rich_help_panel=RARELY,
    ),
]
ProviderName = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="local (no key, no cost), azure, …  \\[default: openai]",
        autocompletion=complete.providers,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Another server of the same API.", rich_help_panel=RARELY),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the query's first N rows.")]
MaxAttempts = Annotated[
    int | None,
    typer.Option(
        "--max-attempts",
        metavar="N",
        help="How often a request is sent, at most.  \\[default: 3]",
        rich_help_panel=RARELY,
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask again what was answered before.")]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Replace a table that sqlbatch did not make, or shrink the target.", rich_help_panel=RARELY
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", metavar="USD", help="Dollars that the job may cost at most, with retries."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Submit and return; sync or wait goes on later.")]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll",
        metavar="SECONDS",
        min=0.05,
        help="The pause between looks.  \\[default: short, growing to 60]",
        rich_help_panel=RARELY,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.", rich_help_panel=RARELY)]


@dataclass(frozen=True)
class Asking:
    """What the commands that ask have in common: the query, and the options that say what is asked of it."""

    query: QueryArgument
    into: Into = None
    input: Input = None
    prompt: Prompt = None
    instructions: Instructions = None
    returns: Returns = None
    json_schema: JsonSchema = None
    structured: Structured = None
    image: Image = None
    image_detail: ImageDetail = None
    model: Model = None
    param: Param = None
    endpoint: Endpoint = None
    provider: ProviderName = None
    base_url: BaseUrl = None
    db: Db = None
    attach: Attach = None
    threads: Threads = None
    memory_limit: MemoryLimit = None
    limit: Limit = None
    max_attempts: MaxAttempts = None
    fresh: Fresh = False
    replace: Replace = False

    def given(self) -> dict[str, Any]:
        """Return the options by their names, as `options.enrich_options` takes them; None is what was not given."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def asking(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of Asking before its own, and hand them to it as its first argument."""
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
