"""`sqlbatch` and `python -m sqlbatch`."""

from __future__ import annotations

import sys

# Each puts its commands on the application.
from sqlbatch.cli import again, config, enrich, operate, preview, prune, query, serve, show  # noqa: F401
from sqlbatch.cli.app import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
