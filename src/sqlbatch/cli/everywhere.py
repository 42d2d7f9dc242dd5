"""The options that hold for every command, before its name and after it."""

from __future__ import annotations

import inspect
import sys
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch import config
from sqlbatch.cli.help import Command, of_command
from sqlbatch.display import voice
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Callable

# What is said of each command in the list of all: a line of a narrow terminal.
BRIEFLY = {
    "enrich": "Quote, confirm, submit, wait, show the first rows.",
    "plan": "The quote alone: sends nothing, writes nothing.",
    "preview": "A few rows now, at full price; answers are kept.",
    "jobs": "One line a job, the newest first.",
    "show": "One job: batches, counts, cost, failures by reason.",
    "wait": "Steps until the job is done, with progress.",
    "sync": "One step of every open job, fit for cron.",
    "retry": "Ask again for what failed.",
    "cancel": "Give a job up; what was answered is kept.",
    "load": "The target from what is there; files fetched by hand.",
    "query": "Any SQL of yours on the database.",
    "prune": "Give up what ended jobs need no longer.",
    "config": "What holds, where it is set, which keys are set.",
    "serve": "The Batch API in front of any model.",
}
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the data asked for.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Each SQL statement and HTTP call, timed.")]
Debug = Annotated[bool, typer.Option("--debug", help="The traceback of an error.")]
_NAMES = {"quiet": Quiet, "verbose": Verbose, "debug": Debug}
# What was given before the command's name.
_before: dict[str, bool] = {}


def _help_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(of_command(context.command, all_of_it=True) + "\n")
        raise typer.Exit


HelpAll = Annotated[bool, typer.Option("--help-all", help="Help with every option.", is_eager=True, callback=_help_all)]


class App(typer.Typer):
    """An application whose commands all take --quiet, --verbose and --debug."""

    # Every command of ours returns its exit code.
    def command(  # type: ignore[override]
        self, name: str | None = None, **more: Any
    ) -> Callable[[Callable[..., int]], Callable[..., int]]:
        """Register a command under its function's name, as Typer does, with the options of every command."""

        def registered(function: Callable[..., int]) -> Callable[..., int]:
            more.setdefault("cls", Command)
            more.setdefault("short_help", BRIEFLY.get(name or function.__name__))
            super(App, self).command(name, **more)(_speaking(function))
            return function

        return registered


def speak(**given: bool) -> None:
    """Set how much is told: what was given here or before the command's name, or is configured.

    Raises InvalidSettings where it is asked to be quiet and to tell all.
    """
    wanted = {name: given.get(name) or _before.get(name) or bool(config.configured(name)) for name in _NAMES}
    if wanted["quiet"] and wanted["verbose"]:
        raise InvalidSettings("--quiet and --verbose: choose one")
    voice.set(**wanted)


def begin() -> None:
    """Begin a run: nothing was given yet, all is told as usual."""
    _before.clear()
    voice.set(quiet=False, verbose=False, debug=False)


def given_before(**given: bool) -> None:
    """Keep what was given before the command's name."""
    _before.update(given)
    speak()


def _speaking(function: Callable[..., int]) -> Callable[..., int]:
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function, eval_str=True).parameters.values()
    ]

    @wraps(function)
    def spoken(**given: Any) -> int:
        given.pop("help_all")
        speak(**{name: given.pop(name) for name in _NAMES})
        return function(**given)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False)
        for name, kind in (_NAMES | {"help_all": HelpAll}).items()
    ]
    spoken.__signature__ = inspect.Signature([*own, *more], return_annotation=int)  # type: ignore[attr-defined]
    spoken.__annotations__ = {each.name: each.annotation for each in (*own, *more)} | {"return": int}
    del spoken.__wrapped__
    return spoken
