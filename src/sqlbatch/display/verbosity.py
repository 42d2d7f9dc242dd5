"""How much is told: as usual, only errors, or every statement and call as well."""

from __future__ import annotations

from sqlbatch import trace
from sqlbatch.display.console import err, plain


class Voice:
    """What holds for one run of a command; `debug` shows the traceback of an error."""

    debug = False

    def set(self, *, quiet: bool, verbose: bool, debug: bool) -> None:
        """Say how much is told from now on; --quiet leaves errors and data, --verbose tells what is done."""
        err.quiet = quiet
        self.debug = debug
        trace.listen(_told if verbose else None)


voice = Voice()


def _told(kind: str, what: str, seconds: float) -> None:
    err.print(f"[dim]{kind:<4} {seconds * 1000:8,.1f} ms  {plain(what)}[/]")
