"""Read `sqlbatch.toml` and the variables SQLBATCH_*: where they are found, what they may set, which value wins.

A project's file is found by walking up from the working directory; the user's own is `~/.config/sqlbatch.toml`. The
nearer one wins, option by option. A project's file is `shared`: anybody may have written it, so it may not send a key
to a host without naming that key itself (`sqlbatch.batches.providers`).
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlbatch.errors import InvalidOption, InvalidSettings, did_you_mean
from sqlbatch.settings import OPTIONS, TABLES, Problem, check, from_text

FILE = "sqlbatch.toml"


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file that was read and checked. `shared`: it is a project's, which anybody may have written."""

    path: Path
    shared: bool
    values: dict[str, Any]
    text: str = field(repr=False)

    def where(self, table: tuple[str, ...], key: str | None = None) -> str:
        """Return the file's name and, if it can be found, the line of a key or of a table's heading."""
        line = _line_of(self.text, table, key)
        return f"{shown(self.path)}{f', line {line}' if line else ''}"


@dataclass(frozen=True)
class Setting:
    """A value, and in words where it comes from; `folder` is that of the file."""

    value: Any
    origin: str
    folder: Path | None = None


@dataclass(frozen=True)
class Entry:
    """One `[table.NAME]` of one file."""

    name: str
    values: dict[str, Any]
    shared: bool
    where: str


def lookup(name: str) -> Setting | None:
    """Return the value of an option in the environment or a file, and its place; None if neither sets it.

    Raises InvalidSettings for a wrong value, or for a file that is wrong anywhere.
    """
    option, variable = OPTIONS[name], f"SQLBATCH_{name.upper()}"
    found = files()
    text = os.environ.get(variable)
    if text:
        try:
            return Setting(from_text(option.kind, text), variable)
        except ValueError as error:
            raise InvalidSettings(f"{variable}={text}: it {error}") from None
    for file in found:
        if name in file.values:
            value = file.values[name]
            if option.kind is list and isinstance(value, str):
                value = [value]
            if option.is_path and file.path.parent != Path.cwd():
                # A path in a file is relative to that file.
                value = str(file.path.parent / value)
            return Setting(value, file.where((), name), file.path.parent)
    return None


def entries(table: str) -> list[Entry]:
    """Return the entries of a table of tables in all files.

    The user's own file comes first, so that a project's file overrides it.
    """
    return [
        Entry(name, values, file.shared, file.where((table, name)))
        for file in reversed(files())
        for name, values in file.values.get(table, {}).items()
    ]


def files() -> list[ConfigFile]:
    """Return the project's file and the user's own, those that exist."""
    found = []
    own = own_file()
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / FILE
        if path.exists() and path != own:
            found.append(_read(path, shared=True))
            break
    if own.exists():
        found.append(_read(own, shared=False))
    return found


def own_file() -> Path:
    """Return the path of the user's own file, which need not exist."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / FILE


def shown(path: Path) -> str:
    """Return a path in its shortest form: relative to the working directory, to home (`~/`), or whole."""
    for start, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(start):
            return prefix + str(path.relative_to(start))
    return str(path)


def _read(path: Path, *, shared: bool) -> ConfigFile:
    try:
        stat = path.stat()
        return _parsed(path, stat.st_mtime_ns, stat.st_size, shared)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidSettings(f"{shown(path)} cannot be read: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{shown(path)} is not TOML: {error}") from None


@functools.lru_cache(maxsize=16)
def _parsed(path: Path, changed: int, size: int, shared: bool) -> ConfigFile:  # noqa: ARG001 (a cache's key)
    text = path.read_text(encoding="utf-8-sig")
    file = ConfigFile(path, shared, tomllib.loads(text), text)
    for name in file.values:
        if name in OPTIONS and OPTIONS[name].variable:
            raise InvalidSettings(
                f"{file.where((), name)}: {name} belongs under [providers.NAME]"
                + (", next to key_variable, which names the variable that holds its key" * (name == "base_url"))
            )
    problem = check("toml", file.values)
    if problem is not None:
        raise InvalidSettings(_message(file, problem))
    return file


def _message(file: ConfigFile, problem: Problem) -> str:
    *table, key = problem.place
    where, first = file.where(tuple(table), key), problem.place[0]
    if first in TABLES and len(problem.place) < 3:
        return f"{file.where((first,))}: write each of its {first} as a table, [{first}.NAME]"
    if problem.known:
        named = f"key {key} in [{'.'.join(table)}]" if table else f"option {key}"
        return f"{where}: unknown {named}; {did_you_mean(key, problem.known)}"
    if not table and isinstance(file.values[key], dict):
        return f"{file.where((key,))}: {key} is not a table; {did_you_mean(f'{key}s', TABLES)}"
    return f"{where}: {key} {problem.what}"


def _line_of(text: str, table: tuple[str, ...], key: str | None) -> int | None:
    """Return the line of a key, or of a table's heading, if the file writes it in the usual form."""
    here: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            here = _heading(line)
            if key is None and here[: len(table)] == table:
                return number
        elif key is not None and here == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return None


def _heading(line: str) -> tuple[str, ...]:
    try:
        inner: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ("?",)
    names = []
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        names.append(name)
    return tuple(names)


def configured(name: str, given: Any = None) -> Any:
    """Return the value given for an option, or else that of SQLBATCH_* or sqlbatch.toml; None if none sets it.

    The option is one of `OPTIONS`. Raises InvalidSettings for a wrong value.
    """
    if given is not None:
        return given
    held = lookup(name)
    return held.value if held is not None else None


def named(name: str, given: Any = None) -> str:
    """Return the name of an option's value for a message: the option if it was given, else the place that sets it."""
    held = lookup(name) if given is None else None
    if held is None:
        return f"--{name.replace('_', '-')}"
    return held.origin if held.origin.startswith("SQLBATCH_") else f"{held.origin}: {name}"


def max_cost(given: float | None) -> float | None:
    """Return the most a job may cost, in dollars; None for no limit."""
    dollars = configured("max_cost", given)
    if dollars is not None and not 0 < dollars < float("inf"):
        raise InvalidOption(f"{named('max_cost', given)} {dollars:g}: it must be a number of dollars above 0")
    return float(dollars) if dollars is not None else None


def month_budget() -> Setting | None:
    """Return the dollars that a database may spend in a calendar month (`[budget] month`); None for no budget.

    If both files set it, the smaller sum wins: a project's file, which anybody may have written, cannot raise it.
    """
    said = [
        Setting(float(file.values["budget"]["month"]), file.where(("budget",), "month"))
        for file in files()
        if "month" in file.values.get("budget", {})
    ]
    return min(said, key=lambda setting: setting.value, default=None)


def max_enqueued_tokens(given: int | None) -> int | None:
    """Return the limit of a model's tokens queued at the provider; None for the provider's own limit.

    SQLBATCH_MAX_ENQUEUED_TOKENS has already replaced the provider's own limit (`sqlbatch.batches.providers`).
    """
    if given is not None and given < 1:
        raise InvalidOption(f"--max-enqueued-tokens {given}: it must be 1 or more")
    return given


def poll(given: float | None) -> float | None:
    """Return the seconds between two status checks; None if nothing sets them."""
    seconds = configured("poll", given)
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidOption(f"{named('poll', given)} {seconds:g}: it must be a number of seconds above 0")
    return float(seconds) if seconds is not None else None
