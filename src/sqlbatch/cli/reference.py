"""The command reference, from the commands themselves: `python -m sqlbatch.cli.reference > docs/commands.md`."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer

import sqlbatch.cli.commands  # noqa: F401 (it puts the commands on the application)
from sqlbatch.cli.app import ORDER, app
from sqlbatch.cli.everywhere import BRIEFLY
from sqlbatch.cli.help import EVERYWHERE, default_of, told

_HEAD = """# Commands

Written by `python -m sqlbatch.cli.reference > docs/commands.md` from the help of the commands; a test compares them.

Every command also takes `--quiet` (`-q`: only errors and the data asked for), `--verbose` (`-v`: each SQL statement and
HTTP call, timed), `--debug` (the traceback of an error), `--help` (`-h`: what is used often), `--help-all`; the first
three may stand before the command's name too. JOB is a job's number or its target's name.

With `--json` stdout is exactly one JSON document, and all else (progress, messages, what `--verbose` tells) goes to
stderr. Where a command fails there is none, or a job's as it stands; the reason is the line `error: …` on stderr, and
the exit code is 1 (2 for a wrong use, 3 where rows failed, 4 for an interrupt). A job's JSON says in `says` where it is
and in `next` what to do next.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = [f"| [`{name}`](#{name}) | {BRIEFLY[name]} |" for name in ORDER if name in commands]
    parts = [_HEAD, "| command | |\n|---|---|\n" + "\n".join(rows) + "\n"]
    parts += [_section(name, commands[name]) for name in ORDER if name in commands]
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    text, example = told(command)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name not in EVERYWHERE]
    usage = " ".join(["sqlbatch", name, *(each.metavar for each in arguments), *(["[OPTIONS]"] if options else [])])
    lines = [f"## {name}\n", f"`{usage}`\n", text + "\n"]
    if example:
        lines.append("```sh\n" + example + "\n```\n")
    rows = [f"| `{_cell(each.metavar)}` | {_cell(each.help)} |" for each in arguments]
    rows += [f"| {_names(each)} | {_cell(each.help)}{default_of(each)} |" for each in options]
    return "\n".join([*lines, "| | |\n|---|---|\n" + "\n".join(rows) + "\n"]) if rows else "\n".join(lines)


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{_cell(option.metavar or option.name.upper())}`"


def _cell(text: str | None) -> str:
    return re.sub(r"\s+", " ", (text or "").replace("\\[", "[")).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
