"""`sqlbatch` and `python -m sqlbatch`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # The first tenths of a second are imports, which an interrupt would end with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _too_early)
    from sqlbatch.cli import main as run  # noqa: PLC0415

    if signal.getsignal(signal.SIGINT) is _too_early:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run()
    except KeyboardInterrupt:
        # A second interrupt, while the first one or an error is being reported.
        code = 4
    sys.exit(code)


def _too_early(number: int, frame: object) -> None:  # noqa: ARG001 (what a signal handler takes)
    os.write(2, b"error: interrupted; nothing was started\n")
    os._exit(4)


if __name__ == "__main__":
    main()
