"""The application that the commands hang on, and its way out: exit codes and one-line errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch import display
from sqlbatch.cli.everywhere import App, Debug, Quiet, Verbose, begin, given_before
from sqlbatch.cli.help import Group, overview, pasted
from sqlbatch.errors import InvalidOption, SqlbatchError

if TYPE_CHECKING:
    from types import FrameType

# The order of a first visit: ask, follow, read.
ORDER = (
    "enrich", "plan", "preview", "jobs", "show", "wait", "sync", "retry", "cancel", "load", "query", "prune", "config",
    "serve",
)  # fmt: skip


# What a first run may try as it stands.
TRY = (
    "sqlbatch enrich \"SELECT 'A shy baker finds a map in the flour.' AS story\" --instructions 'Sum it up.' "
    "--returns 'keywords VARCHAR[], summary VARCHAR' --provider local"
)


class _Ordered(Group):
    """Commands in the order in which they are met."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


class Interrupted(SqlbatchError):
    """Ctrl-C, with what goes on without this computer and how to come back."""


# Typer's exit code for an interrupt, which it raises or returns.
_OF_AN_INTERRUPT = 130

app = App(
    name="sqlbatch",
    cls=_Ordered,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="SQL in, a language model's columns out: rows become requests of the OpenAI Batch API, answers a typed table.",
)


@app.callback()
def options(
    context: typer.Context,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Take the options of all commands; without a command, say what there is and what to try."""
    if show_version:
        sys.stdout.write(version("sqlbatch") + "\n")
        raise typer.Exit
    given_before(quiet=quiet, verbose=verbose, debug=debug)
    if context.invoked_subcommand is None:
        sys.stdout.write(overview(context.command, context))
        sys.stdout.flush()
        display.say("\nHelp for one of them: sqlbatch enrich --help")
        display.say(pasted(f"Try it without a key: {TRY}"))
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:  # noqa: PLR0911 (one a way out)
    """Run the command line and return the exit code."""
    if threading.current_thread() is threading.main_thread():
        # To be ended from outside is to be interrupted: what is begun is told, and scratch files are deleted.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
    try:
        begin()
        code = app(arguments, standalone_mode=False)
    except KeyboardInterrupt:
        display.error("interrupted; nothing was begun")
        return display.Exit.INTERRUPTED
    except Interrupted as problem:
        display.say(str(problem))
        return display.Exit.INTERRUPTED
    except SqlbatchError as problem:
        if display.voice.debug:
            raise
        display.error(str(problem))
        return display.Exit.USAGE if isinstance(problem, InvalidOption) else display.Exit.ERROR
    except SystemExit as problem:
        if problem.code == _OF_AN_INTERRUPT:
            display.error("interrupted; nothing was begun")
            return display.Exit.INTERRUPTED
        # Typer exits where the reader of our output has gone; what it did not read is nobody's loss.
        if not isinstance(problem.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return display.Exit.DONE
    except Exception as problem:  # noqa: BLE001 (told in one line, or raised again with --debug)
        return _other(problem)
    if code == _OF_AN_INTERRUPT:
        display.error("interrupted; nothing was begun")
        return display.Exit.INTERRUPTED
    return int(code or 0)


def _interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (what a signal handler takes)
    raise KeyboardInterrupt


def _other(problem: Exception) -> int:
    """Tell what Typer says of the command's words (its exceptions are a package of its own), or what else is wrong."""
    if type(problem).__name__ == "Abort":
        display.error("interrupted; nothing was begun")
        return display.Exit.INTERRUPTED
    if isinstance(problem, RuntimeError) and "Query interrupted" in str(problem):
        display.error("interrupted while DuckDB was at work; nothing of it is kept")
        return display.Exit.INTERRUPTED
    usage = getattr(problem, "format_message", None)
    if usage is None and display.voice.debug:
        raise problem
    if usage is None:
        told = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        if isinstance(problem, OSError) and problem.filename:
            told = f"{problem.filename}: {problem.strerror}"
        display.error(f"{told} (the same command with --debug shows where)")
        return display.Exit.ERROR
    message = usage()
    if message.startswith("No such option: -- "):
        message = "A query that begins with a comment looks like an option: write a lone -- before it."
    display.error(f"{message} (sqlbatch --help, or sqlbatch COMMAND --help)")
    return display.Exit.USAGE
