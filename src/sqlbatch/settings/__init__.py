"""What holds of the options: the command line, then a `.sql` file's own, SQLBATCH_*, sqlbatch.toml, the defaults."""

from __future__ import annotations

from sqlbatch.settings.asking import Ask, ask
from sqlbatch.settings.lookup import configured, max_cost, max_enqueued_tokens, poll
from sqlbatch.settings.place import DEFAULT_DB, database
from sqlbatch.settings.source import Source, read_source, read_text_option

__all__ = [
    "DEFAULT_DB",
    "Ask",
    "Source",
    "ask",
    "configured",
    "database",
    "max_cost",
    "max_enqueued_tokens",
    "poll",
    "read_source",
    "read_text_option",
]
