"""Help that fits a screen, and the command reference: `python -m sqlbatch.cli.help > docs/commands.md`."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType


# The help panel of rarely used options, which only --help-all lists if a command has more options than fit a screen.
RARELY = "More"
EVERYWHERE = frozenset({"quiet", "verbose", "debug", "help", "help_all"})
_ROOM = 10
# The width of a new terminal; wider lines are harder to read.
_WIDTH = 80
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


class Command(TyperCommand):
    """A command whose help is short."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (as Typer calls it)
        """Write the help of the options that are often used."""
        formatter.write(of_command(self))


class Group(TyperGroup):
    """The application, whose help lists its commands in the order of a first visit."""

    def briefly(self) -> list[tuple[str, str]]:
        """Return the commands, and a line about each."""
        raise NotImplementedError

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (as Typer calls it)
        """Write the commands, and the options of all commands."""
        options = [
            ("-q, --quiet", "Print only errors and data. Also: -v, --debug."),
            ("--version", "Print the version."),
            ("--install-completion", "Tab completes commands, options, jobs and tables."),
        ]
        usage = [Text("Usage: ") + Text("sqlbatch COMMAND [OPTIONS]", style="bold") + "  (COMMAND --help lists them)\n"]
        formatter.write(_text([*usage, *_overview(self), Text(), _rows(options)]))


def overview(group: Any) -> str:
    """Return what sqlbatch is and its commands, one line each."""
    return _text(_overview(group)) + "\n"


def _overview(group: Any) -> list[RenderableType]:
    return [Text(group.help) + "\n", _rows(group.briefly())]


def of_command(command: Any, *, all_of_it: bool = False) -> str:
    """Return a command's help: usage, description, an example, its options; rarely used ones only with all."""
    text, example = describe(command)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name not in EVERYWHERE]
    usage = " ".join([f"sqlbatch {command.name}", *(each.metavar for each in arguments), "[OPTIONS]"])
    often = [each for each in options if each.rich_help_panel != RARELY]
    short = not all_of_it and len(options) > _ROOM
    more = f"sqlbatch {command.name} --help-all lists {len(options) - len(often)} more options."
    return _text(
        [
            Text("Usage: ") + Text(usage, style="bold") + "\n",
            Text("\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))) + "\n",
            Text(pasted(f"Example: {example}")) + "\n",
            _rows([_row(each) for each in [*arguments, *(often if short else options)]]),
            Text("\n" + (more if short else "Every command takes -q (--quiet), -v (--verbose) and --debug too.")),
        ]
    )


def describe(command: Any) -> tuple[str, str]:
    """Return a command's description from its docstring, and its example as one line."""
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    return text.strip(), " ".join(example.split())


def pasted(example: str) -> str:
    """Return an example with its heading, in lines of a terminal, joined as a shell takes them."""
    # An option and its value stay on one line.
    first, *words = re.findall(rf"--[\w-]+\s+(?!-){_WORD.pattern}|{_WORD.pattern}", example)
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > _WIDTH:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)


def default_of(option: Any) -> str:
    """Return the end of a help text with the option's default, unless the text itself has it."""
    told_already = "[default:" in (option.help or "")
    shown = option.default not in (None, False, [], ()) and not (
        option.is_flag or callable(option.default) or told_already
    )
    return f" [default: {getattr(option.default, 'value', option.default)}]" if shown else ""


def _row(parameter: Any) -> tuple[str, str]:
    """Return a parameter's names and its help text."""
    text = " ".join((parameter.help or "").replace("\\[", "[").split())
    if parameter.param_type_name == "argument":
        return parameter.metavar, text
    names = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
    return names if parameter.is_flag else f"{names} {parameter.metavar}", text + default_of(parameter)


def _rows(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name, text in rows:
        table.add_row(Text(f"  {name}"), Text.assemble(*_dimmed(text)))
    return table


def _dimmed(text: str) -> Iterator[tuple[str, str]]:
    """Return a help text in parts, with its default dimmed."""
    said, mark, default = text.partition("[default:")
    yield said, ""
    yield mark + default, "dim"


def _text(parts: Iterable[RenderableType]) -> str:
    """Return a text for stdout, as wide as the terminal, but no wider than is easy to read."""
    console = Console(file=sys.stdout, highlight=False, emoji=False)
    console.width = min(console.width, 100) if console.is_terminal else _WIDTH
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return re.sub(" +$", "", captured.get(), flags=re.MULTILINE).rstrip("\n")


_HEAD = """# Commands

Written by `python -m sqlbatch.cli.help > docs/commands.md` from the help of the commands; a test compares them.

Every command also takes `--quiet` (`-q`: print only errors and data), `--verbose` (`-v`: print each SQL statement and
HTTP call with its time), `--debug` (print the traceback of an error), `--help` (`-h`: the common options) and
`--help-all`. The first three may also stand before the command. JOB is a job's number or its target's name.

With `--json`, stdout is exactly one JSON document; progress and messages go to stderr. If a command fails, it prints no
document, or the job as it is; the reason is the line `error: …` on stderr. Exit codes: 0 done, 1 error, 2 wrong usage,
3 some rows failed, 4 interrupted. A job's JSON has its state in words in `says` and the next command in `next`.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    from sqlbatch.cli import app  # noqa: PLC0415 (the commands themselves take their help from here)

    commands = app.commands()
    rows = [f"| [`{name}`](#{name}) | {app.BRIEFLY[name]} |" for name in app.ORDER]
    parts = [_HEAD, "| command | |\n|---|---|\n" + "\n".join(rows) + "\n"]
    parts += [_section(name, commands[name]) for name in app.ORDER]
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    text, example = describe(command)
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
