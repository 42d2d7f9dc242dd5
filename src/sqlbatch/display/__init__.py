"""Everything the user sees: messages and progress on stderr, data on stdout, and the exit codes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sqlbatch.display.console import (
    Exit,
    always_print,
    as_json,
    confirm,
    counted,
    error,
    info,
    out,
    plain,
    print_json,
    sized,
    verbosity,
    working,
)

if TYPE_CHECKING:
    from sqlbatch.display import comparison, job, notebook, progress, quote, status, tables

__all__ = [
    "Exit", "always_print", "as_json", "comparison", "confirm", "counted", "error", "info", "job", "notebook", "out",
    "plain", "print_json", "progress", "quote", "sized", "status", "tables", "verbosity", "working",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a module when it is used, because each command shows only one thing or another."""
    if name in __all__:
        return import_module(f"sqlbatch.display.{name}")
    raise AttributeError(f"module 'sqlbatch.display' has no attribute {name!r}")
