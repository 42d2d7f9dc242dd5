"""The command line. The module of a command is imported when the command is named."""

from sqlbatch.cli.app import main

__all__ = ["main"]
