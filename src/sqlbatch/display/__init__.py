"""Everything the user sees: messages and progress on stderr, data on stdout, and the exit codes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.display.comparison import show_comparison
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
    from sqlbatch.display.job import (
        job_json,
        prunable,
        show_failures,
        show_imported,
        show_job,
        show_jobs,
        show_joined,
        top_reason,
    )
    from sqlbatch.display.progress import follow, message
    from sqlbatch.display.quote import (
        cost,
        print_quote,
        show_preview,
        show_preview_quote,
        show_quote,
        show_remainder,
        spent,
        tell_preview,
    )
    from sqlbatch.display.status import batch_in_words, next_step, sends, status_in_words
    from sqlbatch.display.tables import show_rows, show_sample, show_table

__all__ = [
    "Exit",
    "always_print",
    "as_json",
    "batch_in_words",
    "confirm",
    "cost",
    "counted",
    "error",
    "follow",
    "info",
    "job_json",
    "message",
    "next_step",
    "out",
    "plain",
    "print_json",
    "print_quote",
    "prunable",
    "sends",
    "show_comparison",
    "show_failures",
    "show_imported",
    "show_job",
    "show_jobs",
    "show_joined",
    "show_preview",
    "show_preview_quote",
    "show_quote",
    "show_remainder",
    "show_rows",
    "show_sample",
    "show_table",
    "sized",
    "spent",
    "status_in_words",
    "tell_preview",
    "top_reason",
    "verbosity",
    "working",
]  # fmt: skip

_WHERE = {
    "comparison": "show_comparison",
    "console": "Exit always_print as_json confirm counted error info out plain print_json sized verbosity working",
    "job": "job_json prunable show_failures show_imported show_job show_jobs show_joined top_reason",
    "progress": "follow message",
    "quote": "cost print_quote show_preview show_quote show_remainder show_preview_quote spent tell_preview",
    "status": "batch_in_words next_step sends status_in_words",
    "tables": "show_rows show_sample show_table",
}


def __getattr__(name: str) -> object:
    """Import a name when it is used, because each command shows only one thing or another."""
    for module, names in _WHERE.items():
        if name in names.split():
            return getattr(import_module(f"sqlbatch.display.{module}"), name)
    raise AttributeError(f"module 'sqlbatch.display' has no attribute {name!r}")
