"""The command line. A command's module is imported only when the command is used."""

from sqlbatch.cli.app import main

__all__ = ["main"]
