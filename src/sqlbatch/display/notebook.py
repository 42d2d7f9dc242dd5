"""Show a job's events in a notebook cell, as one piece of HTML that is replaced; pass on the kernel's interrupts."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from sqlbatch import layout
from sqlbatch.batches.events import Activity, Transferring, Waiting
from sqlbatch.batches.events import Progress as BatchProgress
from sqlbatch.display.job import FAILED, failed_rows, job_facts
from sqlbatch.display.progress import message, statuses
from sqlbatch.display.quote import quote_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType

    from sqlbatch.batches.events import Event
    from sqlbatch.db.jobs import Billed, JobRow
    from sqlbatch.query.quote import Quote

# The least seconds between two updates of the same progress: each is a message to the browser.
_EVERY = 0.25
# Lines of past events below the bar.
_LINES = 8


def cell() -> Callable[[str], None] | None:
    """Return a function that shows HTML in the running notebook cell, replacing its last HTML; None outside a notebook.

    IPython is looked up and never imported: only a kernel has it loaded already.
    """
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display  # type: ignore[import-not-found]  # noqa: PLC0415

    shown = display(HTML(""), display_id=True)
    return lambda text: shown.update(HTML(text))


def follow(events: Iterable[Event], title: str, show: Callable[[str], None], *, back: str) -> None:
    """Consume a job's events and show them; `back` says how to continue after an interrupt."""
    picture = _Picture(title)
    show(picture.html())
    at = time.monotonic()
    try:
        for event in events:
            if picture.take(event) or time.monotonic() - at > _EVERY:
                show(picture.html())
                at = time.monotonic()
    except KeyboardInterrupt:
        picture.end(f"interrupted; {back}")
        raise
    except BaseException as error:
        picture.end(f"{error}")
        raise
    else:
        picture.end(None)
    finally:
        show(picture.html())


def job_html(job: JobRow, failures: Sequence[tuple[str, int, str | None]], billed: Billed, database: str) -> str:
    """Return a job as HTML: its status, its counts, its cost, its failures by reason."""
    named = job_facts(job, billed) | {"database": database}
    failed = layout.html_table(FAILED, failed_rows(failures)) if failures else ""
    return layout.html_facts(f"job {named.pop('job')}", named) + failed


def quote_html(quote: Quote) -> str:
    """Return a quote as HTML."""
    return layout.html_facts("what would be sent", quote_facts(quote), quote.notes)


def quote_text(quote: Quote) -> str:
    """Return a quote as text, with its names in one column."""
    named = quote_facts(quote)
    width = max(len(name) for name in named)
    lines = [f"{name:<{width}}  {value}" for name, value in named.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in quote.notes)])


class _Picture:
    """The content of the cell: the status of the batches, a bar, and the last events."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._now = "begins"
        self._bar: tuple[int, int | None] | None = (0, None)
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._held = ""

    def take(self, event: Event) -> bool:
        """Add an event; return whether the cell should be updated at once."""
        if isinstance(event, Transferring):
            self._now, self._bar = event.doing, (event.done, event.total)
            return False
        if isinstance(event, BatchProgress):
            if event.batches:
                done = event.completed + event.failed
                self._now = f"{statuses(event)}: {done:,} of {event.total:,} requests"
                self._bar = (done, event.total or None)
            return False
        if isinstance(event, Activity):
            self._now, self._bar = event.doing, (0, None)
            return True
        line = message(event)
        if line is None or (isinstance(event, Waiting) and event.reason == self._held):
            return False
        self._held = event.reason if isinstance(event, Waiting) else ""
        self._lines.append(line)
        return True

    def end(self, why: str | None) -> None:
        """Remove the bar, because nothing is running any more."""
        self._bar = None
        self._now = f"ended after {time.monotonic() - self._began:,.1f} s" if why is None else why

    def html(self) -> str:
        """Return the content as HTML."""
        spent = "" if self._bar is None else f" · {time.monotonic() - self._began:,.0f} s"
        bar = layout.html_bar(*self._bar) if self._bar is not None else ""
        lines = "".join(f'<div style="opacity:.6">{layout.html_text(line)}</div>' for line in self._lines)
        return f"<div><b>{layout.html_text(self._title)}</b> {layout.html_text(self._now + spent)}</div>{bar}{lines}"


def interruptible(events: Iterable[Event]) -> Iterator[Event]:
    """Pass events on, and raise a KeyboardInterrupt that was lost.

    In a kernel, DuckDB looks for widgets at every connect, and drops an interrupt that comes while it does (measured:
    one in four).
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield from events
        return
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        for event in events:
            if seen:
                raise KeyboardInterrupt
            yield event
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt
