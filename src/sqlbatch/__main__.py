"""`sqlbatch` and `python -m sqlbatch`."""

from __future__ import annotations

import sys

from sqlbatch.cli import again, enrich, operate, query, serve  # noqa: F401 (each puts its commands on the application)
from sqlbatch.cli.app import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
