"""What the user sees: messages and progress on stderr, data on stdout, and the exit codes."""

from sqlbatch.display.config import show_config
from sqlbatch.display.console import (
    Exit,
    aloud,
    as_json,
    confirm,
    counted,
    err,
    error,
    out,
    plain,
    print_json,
    say,
    working,
)
from sqlbatch.display.failures import show_failures
from sqlbatch.display.job import job_json, prunable, show_handed, show_job, show_jobs, show_joined
from sqlbatch.display.money import cost, spent
from sqlbatch.display.next_step import next_step
from sqlbatch.display.preview import show_preview, show_trial, tell_preview
from sqlbatch.display.progress import follow, told
from sqlbatch.display.quote import show_quote
from sqlbatch.display.table import show_rows, show_table
from sqlbatch.display.verbosity import voice
from sqlbatch.display.words import batch_in_words, sends, status_in_words

__all__ = [
    "Exit",
    "aloud",
    "as_json",
    "batch_in_words",
    "confirm",
    "cost",
    "counted",
    "err",
    "error",
    "follow",
    "job_json",
    "next_step",
    "out",
    "plain",
    "print_json",
    "prunable",
    "say",
    "sends",
    "show_config",
    "show_failures",
    "show_handed",
    "show_job",
    "show_jobs",
    "show_joined",
    "show_preview",
    "show_quote",
    "show_rows",
    "show_table",
    "show_trial",
    "spent",
    "status_in_words",
    "tell_preview",
    "told",
    "voice",
    "working",
]  # fmt: skip
