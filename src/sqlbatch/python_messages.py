"""Messages for Python: errors name the arguments of functions (`input=`) instead of options (`--input`)."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sqlbatch.errors import SqlbatchError

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
# A command in a message (left alone), and an option in a message (turned into an argument).
_COMMAND = re.compile(r"(sqlbatch [a-z]+(?: (?:\d+|'[^']*'|--?[a-z][a-z-]*))*)")
_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)(?: (?=[\d'\"]|[a-z]+-|[A-Z]+\b|[^\s:]+:))?(?=(:)?)")


def speaking_python(call: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Make the errors of a function name its arguments (`input=`) instead of the command's options (`--input`)."""

    @functools.wraps(call)
    def called(*given: Given.args, **named: Given.kwargs) -> Returned:
        try:
            return call(*given, **named)
        except SqlbatchError as error:
            error.args = tuple(in_python(each) if isinstance(each, str) else each for each in error.args)
            raise

    return called


def in_python(message: str) -> str:
    """Return a message with the command's options written as Python arguments; whole commands are left as they are."""
    parts = _COMMAND.split(message)
    for number in range(0, len(parts), 2):
        part = re.sub(r"--param (\w+)", r'params["\1"]', parts[number])
        part = re.sub(r"--(fresh|replace|yes)\b", r"\1=True", part)
        parts[number] = _OPTION.sub(lambda found: found[1].replace("-", "_") + "=" * (found[2] != ":"), part)
    return "".join(parts)
