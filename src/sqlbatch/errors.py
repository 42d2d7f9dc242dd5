"""What can go wrong, as one tree.

SqlbatchError                   anything sqlbatch says no to; exit code 1
├── InvalidEnrichment           the ask itself is wrong; nothing was sent, nothing changed
│   ├── InvalidQuery            the SQL is not one SELECT that DuckDB accepts
│   ├── InvalidPrompt           nothing, or something unknown, says what the model shall see
│   ├── InvalidReturns          the returned columns cannot be asked for
│   ├── InvalidTarget           the target's name, or the table that has it, is in the way
│   └── InvalidSettings         an option, a configuration file or a key is missing or wrong
│       └── InvalidOption       an option has a value that it cannot have; exit code 2
├── DatabaseError               the database file cannot be used
│   ├── DatabaseLocked          another process holds it; passes by itself
│   └── DatabaseConflict        another connection changed the same rows first; passes by itself
├── ProviderError               the provider did not do what was asked
│   ├── ProviderUnreachable     no answer, a lost one, or one of 408, 409, 425, 429, 5xx; passes by itself
│   └── ProviderRefused         a certain no: any other 4xx
├── EngineError                 another engine (Spark) did not do what was asked
├── JobError                    the job cannot go on as asked
│   └── NotPublished            a job's rows are built here and could not be brought to their target elsewhere
├── ServerError                 the Batch API server cannot start
└── ViewError                   the page of `sqlbatch view` cannot be served
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SqlbatchError(Exception):
    """Base of all errors of sqlbatch: one line that says what is wrong, where, and what to do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class InvalidEnrichment(SqlbatchError):
    """The enrichment cannot be asked for."""


class InvalidQuery(InvalidEnrichment):
    """The query is not one SELECT that DuckDB accepts."""


class InvalidPrompt(InvalidEnrichment):
    """Nothing says what the model shall see of a row."""


class InvalidReturns(InvalidEnrichment):
    """The returned columns cannot be asked for."""


class InvalidTarget(InvalidEnrichment):
    """The target cannot be written."""


class InvalidSettings(InvalidEnrichment):
    """An option, a configuration file or a key is missing or wrong."""


class InvalidOption(InvalidSettings):
    """An option has a value that it cannot have."""


class DatabaseError(SqlbatchError):
    """The database cannot be used."""


class DatabaseLocked(DatabaseError):
    """Another process holds the database file.

    `pid` is that process where DuckDB names it.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class DatabaseConflict(DatabaseError):
    """Another connection changed the same rows first."""


class ProviderError(SqlbatchError):
    """The provider did not do what was asked.

    `status` is the HTTP status where there was a reply, `code` the provider's own code for the reason, and
    `retry_after` the seconds that it asked to wait.
    """

    def __init__(
        self, message: str, status: int | None = None, code: str | None = None, *, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class ProviderUnreachable(ProviderError):
    """The provider gave no answer, or none that settles anything; asking again later may."""


class ProviderRefused(ProviderError):
    """The provider said no, and certainly did nothing."""


class EngineError(SqlbatchError):
    """Another engine did not do what was asked."""


class JobError(SqlbatchError):
    """The job cannot go on as asked."""


class NotPublished(JobError):
    """A job's rows are built here, and could not be brought to their target in another database."""


class ServerError(SqlbatchError):
    """The Batch API server cannot start."""


class ViewError(SqlbatchError):
    """The page cannot be served."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most like an unknown one, None if none is alike; a higher cutoff is stricter."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6, otherwise: str | None = None) -> str:
    """Return the end of a message about an unknown name.

    The nearest known name, else `otherwise`, else all known names.
    """
    known = list(known)
    near = nearest(name, known, cutoff)
    return f"did you mean {near}?" if near else otherwise or f"known are: {', '.join(known)}"
