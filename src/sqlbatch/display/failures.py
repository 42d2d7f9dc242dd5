"""Failed requests as a person reads them: why, and for which rows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlbatch import layout
from sqlbatch.display.console import harmless, out, say
from sqlbatch.display.table import show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.inspection import Failure

# Characters of a line as it came that are shown; --json has all of it.
_LINE = 300


def show_failures(job: JobRow, failures: Sequence[Failure]) -> None:
    """Print failed requests, one below the other; in a pipe one line each."""
    if sys.stdout.isatty():
        console = out()
        for failure in failures:
            fields = {"message": failure.message or "", "rows": _rows(failure), "custom_id": failure.custom_id}
            fields |= {"line": _shortened(failure.raw)} if failure.raw else {}
            values = [harmless(value) for value in fields.values()]
            for line in layout.records(list(fields), [values], console.width, [harmless(failure.code)]):
                sys.stdout.write(line + "\n")
            sys.stdout.write("\n")
        sys.stdout.flush()
    elif failures:
        columns = ("custom_id", "code", "rows", "message", "line")
        rows = [[f.custom_id, f.code, _rows(f), f.message or "", _shortened(f.raw or "")] for f in failures]
        show_table(columns, rows)
    more = job.failed - len(failures)
    if more > 0:
        say(f"{more:,} more: --limit {job.failed} shows all")
    if failures:
        say(f"sqlbatch show {job.job_id} --request CUSTOM_ID prints a request and what came back in full")
    else:
        say(f"no request of job {job.job_id} has failed")


def _rows(failure: Failure) -> str:
    if failure.rows is None or failure.asked_by is None:
        return "no longer kept"
    more = failure.asked_by - len(failure.rows)
    return ", ".join(map(str, failure.rows)) + (f" and {more:,} more" if more else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
