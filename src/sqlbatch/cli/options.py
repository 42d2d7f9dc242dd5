"""The options of the commands as Typer's parameters, made from their definitions in `settings`."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch.cli import complete
from sqlbatch.cli.help import RARELY
from sqlbatch.settings import ASK, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

# The query and the options of an enrichment by name, as given on the command line; None: not given.
Given = dict[str, Any]
_COMPLETED = {"model": complete.models, "endpoint": complete.endpoints, "provider": complete.providers}


def option(name: str, metavar: str, text: str, *, rare: bool = False, default: str = "", **more: Any) -> Any:
    """Return an option with a value; `rare` ones are only in --help-all; `default` is shown in the help."""
    text += f"  \\[default: {default}]" if default else ""
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=RARELY if rare else None, **more)


def argument(metavar: str, text: str, **more: Any) -> Any:
    """Return an argument, which a command takes by its place."""
    return typer.Argument(metavar=metavar, help=text, show_default=False, **more)


def flag(name: str, text: str, *short: str, rare: bool = False) -> Any:
    """Return an option without a value."""
    return typer.Option(name, *short, help=text, rich_help_panel=RARELY if rare else None)


def defined(name: str, *short: str, **more: Any) -> Any:
    """Return an option that `settings` defines."""
    each, spelled = OPTIONS[name], "--" + name.replace("_", "-")
    if each.kind is bool:
        return flag(spelled, each.help, *short, rare=each.rare)
    return option(spelled, each.metavar, each.help, rare=each.rare, default=each.default, **more)


JobArgument = Annotated[
    str | None,
    argument("[JOB]", "A job's number or its target's name; the newest job if left out.", autocompletion=complete.jobs),
]
Db = Annotated[str | None, defined("db")]
Attach = Annotated[list[str] | None, defined("attach")]
Threads = Annotated[int | None, defined("threads")]
MemoryLimit = Annotated[str | None, defined("memory_limit")]
MaxEnqueuedTokens = Annotated[int | None, defined("max_enqueued_tokens")]
MaxCost = Annotated[float | None, defined("max_cost")]
Yes = Annotated[bool, defined("yes", "-y")]
NoWait = Annotated[bool, defined("no_wait")]
Poll = Annotated[float | None, defined("poll", min=0.05)]
Json = Annotated[bool, defined("json")]
EngineAddress = Annotated[
    str | None, option("--engine", "URL", "Spark, where the target is there (sc://…).", rare=True)
]


def of_enrichment(command: Callable[..., int]) -> Callable[..., int]:
    """Add the query and the options of an enrichment before a command's own; it gets them as its first argument."""
    query = Annotated[str, argument("QUERY|FILE|-", "One SELECT, a .sql file, or - for standard input.")]
    shared = [inspect.Parameter("query", inspect.Parameter.KEYWORD_ONLY, annotation=query)]
    for name, each in ASK.items():
        kind: Any = bool if each.kind is bool else (list[str] if each.kind is list else each.kind) | None
        more = {"autocompletion": _COMPLETED[name]} if name in _COMPLETED else {}
        parameter = Annotated[kind, defined(name, **more)]
        default = False if each.kind is bool else None
        shared.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=parameter, default=default))
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    every = [*shared, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own)]

    @wraps(command)
    def gathered(**given: Any) -> int:
        return command({each.name: given.pop(each.name) for each in shared}, **given)

    gathered.__signature__ = inspect.Signature(every, return_annotation=int)  # type: ignore[attr-defined]
    gathered.__annotations__ = {each.name: each.annotation for each in every} | {"return": int}
    del gathered.__wrapped__
    return gathered
