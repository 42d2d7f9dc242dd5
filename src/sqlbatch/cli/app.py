"""The application that the commands hang on, and its way out: exit codes and one-line errors."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import click
import typer

from sqlbatch import display
from sqlbatch.errors import SqlbatchError

app = typer.Typer(
    name="sqlbatch",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="SQL in, a language model's columns out: rows become requests of the OpenAI Batch API, answers a DuckDB table.",
)


class Interrupted(SqlbatchError):
    """Ctrl-C, with what goes on without this computer and how to come back."""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options of all commands."""
    if show_version:
        sys.stdout.write(version("sqlbatch") + "\n")
        raise typer.Exit
    if debug:
        os.environ["SQLBATCH_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except click.exceptions.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        display.error("interrupted; nothing was begun")
        return display.Exit.INTERRUPTED
    except Interrupted as problem:
        display.say(str(problem))
        return display.Exit.INTERRUPTED
    except SqlbatchError as problem:
        if os.environ.get("SQLBATCH_DEBUG"):
            raise
        display.error(str(problem))
        return display.Exit.ERROR
    except BrokenPipeError:
        # The reader of our output has gone; what it did not read is nobody's loss.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return display.Exit.DONE
    return int(code or 0)
