"""The command line. To import the modules of the commands is to register them."""

from sqlbatch.cli import admin, enrich, jobs, money, query, show, view
from sqlbatch.cli.app import main

__all__ = ["admin", "enrich", "jobs", "main", "money", "query", "show", "view"]
