"""The application: options of all commands, exit codes, one-line errors."""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
import sys
import threading
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch import config, display
from sqlbatch.cli import state
from sqlbatch.cli.help import Command, Group, of_command, overview, pasted
from sqlbatch.display import verbosity
from sqlbatch.errors import InvalidOption, InvalidSettings, SqlbatchError, nearest
from sqlbatch.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


# A line about each command, in the order of a first visit: ask, follow, read. It fits a narrow terminal.
BRIEFLY = {
    "enrich": "Ask a model about each row; write a table.",
    "plan": "Show what enrich would send and cost.",
    "preview": "Ask about a few rows now; the answers are kept.",
    "jobs": "List the jobs.",
    "show": "Show a job: batches, cost, failures by reason.",
    "wait": "Continue a job until it is done.",
    "sync": "Take one step of every open job (for cron).",
    "retry": "Ask again for the rows that failed.",
    "cancel": "Stop a job; answers received so far are kept.",
    "load": "Write partial results, or load result files.",
    "publish": "Bring a job's rows to their target in another database.",
    "query": "Run your own SQL on the database.",
    "compare": "Compare two tables, prompts or models on the same rows.",
    "view": "Look at jobs, tables and answers in the browser.",
    "costs": "Print what was spent, by month, job or model.",
    "prices": "List what models cost in batches.",
    "functions": "List the AI functions of SQL, or install them.",
    "prune": "Delete data that finished jobs no longer need.",
    "config": "Show the current settings and their sources.",
    "serve": "Run a Batch API server for any model.",
}
ORDER = tuple(BRIEFLY)
# The module of a command, if it has another name. A command's module is imported only when the command is used, because
# most need different imports.
_MODULES = {
    "plan": "enrich", "preview": "enrich", "jobs": "show", "sync": "wait", "retry": "jobs",
    "cancel": "jobs", "load": "jobs", "publish": "jobs", "costs": "money", "prices": "money", "functions": "admin",
    "prune": "admin", "config": "admin", "serve": "admin",
}  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=OPTIONS["quiet"].help)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help=OPTIONS["verbose"].help)]
Debug = Annotated[bool, typer.Option("--debug", help=OPTIONS["debug"].help)]
_NAMES = {"quiet": Quiet, "verbose": Verbose, "debug": Debug}
# Commands that begin a state where there is none yet; all others look for one.
_MAKING = frozenset({"enrich", "plan", "preview", "compare"})
# Options given before the command's name.
_before: dict[str, bool] = {}


def _help_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(of_command(context.command, all_of_it=True) + "\n")
        raise typer.Exit


HelpAll = Annotated[bool, typer.Option("--help-all", help="Help with every option.", is_eager=True, callback=_help_all)]


def speak(**given: bool) -> None:
    """Set the verbosity: as given here, or before the command's name, or as configured.

    Raises InvalidSettings for both --quiet and --verbose.
    """
    wanted = {name: given.get(name) or _before.get(name) or bool(config.configured(name)) for name in _NAMES}
    if wanted["quiet"] and wanted["verbose"]:
        raise InvalidSettings("--quiet and --verbose: choose one")
    verbosity.set(**wanted)


def command(function: Callable[..., int]) -> Callable[..., int]:
    """Register a function, which returns its exit code, as a command of its name, with the options of every command."""
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function, eval_str=True).parameters.values()
    ]
    # Every command that takes a database also takes a shared state.
    for place in [place for place, each in enumerate(own) if each.name == "db"]:
        own.insert(place + 1, own[place].replace(name="state", annotation=state.State))

    @wraps(function)
    def spoken(**given: Any) -> int:
        given.pop("help_all")
        speak(**{name: given.pop(name) for name in _NAMES})
        with state.held(given.pop("state", None), given, making=function.__name__ in _MAKING):
            return function(**given)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False)
        for name, kind in (_NAMES | {"help_all": HelpAll}).items()
    ]
    spoken.__signature__ = inspect.Signature([*own, *more], return_annotation=int)  # type: ignore[attr-defined]
    spoken.__annotations__ = {each.name: each.annotation for each in (*own, *more)} | {"return": int}
    del spoken.__wrapped__
    app.command(cls=Command, short_help=BRIEFLY[function.__name__])(spoken)
    return function


# Commands that a first run can try as they are.
TRY = (
    "sqlbatch enrich \"SELECT 'A shy baker finds a map in the flour.' AS story\" --instructions 'Sum it up.' "
    "--returns 'keywords VARCHAR[], summary VARCHAR' --provider local"
)


class _Ordered(Group):
    """The commands in the order of a first visit, each imported when it is used."""

    def briefly(self) -> list[tuple[str, str]]:
        return list(BRIEFLY.items())

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (as Typer calls it)
        return list(ORDER)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (likewise)
        if cmd_name not in self.commands:
            # The known commands suggest what an unknown word may have meant.
            self.commands.update(commands() if cmd_name not in ORDER else commands(cmd_name))
        return self.commands.get(cmd_name)


def commands(*names: str) -> dict[str, Any]:
    """Return the commands of these names (all, if none is given), after importing them."""
    for name in names or ORDER:
        import_module(f"sqlbatch.cli.{_MODULES.get(name, name)}")
    return dict(typer.main.get_group(app).commands)


class Interrupted(SqlbatchError):
    """An interrupt (Ctrl-C), with what continues without this computer and how to come back."""


# Options about what a job asks.
_OF_ENRICH = frozenset({
    "--model", "--prompt", "--instructions", "--input", "--returns", "--param", "--into", "--provider", "--base-url",
    "--endpoint", "--image", "--limit", "--json-schema",
})  # fmt: skip
# Typer's exit code for an interrupt, which it raises or returns.
_OF_AN_INTERRUPT = 130

app = typer.Typer(
    name="sqlbatch",
    cls=_Ordered,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="SQL in, a language model's columns out, by way of the OpenAI Batch API.",
)


@app.callback()
def options(
    context: typer.Context,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Handle the options of all commands; without a command, print an overview."""
    if show_version:
        from importlib.metadata import version  # noqa: PLC0415 (it takes a tenth of a second to import)

        sys.stdout.write(version("sqlbatch") + "\n")
        raise typer.Exit
    _before.update(quiet=quiet, verbose=verbose, debug=debug)
    speak()
    if context.invoked_subcommand is None:
        sys.stdout.write(overview(context.command))
        sys.stdout.flush()
        display.info("\nHelp for one of them: sqlbatch enrich --help")
        display.info(pasted(f"Try it without a key: {TRY}"))
        raise typer.Exit


@functools.cache
def _application() -> Any:
    """Return the Typer application.

    It is built once, because that takes longer than many commands.
    """
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 (one a way out)
    """Run the command line and return the exit code."""
    if threading.current_thread() is threading.main_thread():
        # A termination signal counts as an interrupt: the user is told what has started, and scratch files are deleted.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
    try:
        # No option is given yet.
        _before.clear()
        verbosity.set(quiet=False, verbose=False, debug=False)
        code = _application()(arguments, standalone_mode=False)
        return int(code or 0) if code != _OF_AN_INTERRUPT else _nothing_started()
    except (KeyboardInterrupt, typer.Abort):
        return _nothing_started()
    except Interrupted as problem:
        display.info(str(problem))
        return display.Exit.INTERRUPTED
    except SqlbatchError as problem:
        if display.verbosity.debug:
            raise
        display.error(str(problem))
        return display.Exit.USAGE if isinstance(problem, InvalidOption) else display.Exit.ERROR
    except SystemExit as problem:
        if problem.code == _OF_AN_INTERRUPT:
            return _nothing_started()
        # Typer exits if the reader of our output has gone; nobody misses the rest.
        if not isinstance(problem.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return display.Exit.DONE
    except Exception as problem:  # noqa: BLE001 (told in one line, or raised again with --debug)
        return _other(problem)


def _nothing_started() -> int:
    display.error("interrupted; nothing was started")
    return display.Exit.INTERRUPTED


def _interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (what a signal handler takes)
    raise KeyboardInterrupt


def _other(problem: Exception) -> int:
    """Report Typer's error about the command line (its exceptions are in a package of its own), or any other error."""
    if isinstance(problem, RuntimeError) and "Query interrupted" in str(problem):
        display.error("interrupted while DuckDB was working; nothing was changed")
        return display.Exit.INTERRUPTED
    usage = getattr(problem, "format_message", None)
    if usage is None and display.verbosity.debug:
        raise problem
    if usage is None:
        told = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        if isinstance(problem, OSError) and problem.filename:
            told = f"{problem.filename}: {problem.strerror}"
        display.error(f"{told} (the same command with --debug shows where)")
        return display.Exit.ERROR
    command = getattr(getattr(problem, "ctx", None), "info_name", None)
    known = f" {command}" if command in ORDER else ""
    display.error(f"{_usage(usage(), command or '')} (see sqlbatch{known} --help)")
    return display.Exit.USAGE


def _usage(message: str, command: str) -> str:
    """Return what is wrong with the command line, in our words: Typer's messages are about its parser."""
    if message.startswith("No such option: -- "):
        return "a query that begins with a comment looks like an option: write a lone -- before it"
    value = re.match(
        r"Invalid value for .*?(--[\w-]+)'.*: Input should be (?:a valid (integer|number)|.*than (.*))", message
    )
    if value:
        kind = "a whole number" if value[2] == "integer" else "a number"
        return f"{value[1]}: it must be {value[3].replace('or equal to ', '') + ' or more' if value[3] else kind}"
    option = re.match(r"No such option: (-[\w-]+)(?: .*?(--[\w-]+)\)?$)?", message)
    if not option:
        return message
    if option[1] in _OF_ENRICH and command in {"retry", "wait"}:
        return f"{command} asks as the job asked: for another {option[1]}, run enrich"
    near = nearest(option[1], re.findall(r"--[\w-]+", message.partition("(")[2]))
    return f"{command} has no option {option[1]}" + (f": did you mean {near}?" if near else "")
