"""The application with all its commands: importing each puts it there."""

from sqlbatch.cli import again, config, enrich, operate, preview, prune, query, serve, show  # noqa: F401
from sqlbatch.cli.app import main

__all__ = ["main"]
