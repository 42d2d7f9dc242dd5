"""The columns of a user's query."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueryColumn:
    """A column of the user's query: its name and DuckDB's name of its type."""

    name: str
    type: str
