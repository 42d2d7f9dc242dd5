"""SQL in, a language model's columns out: `sqlbatch.enrich("SELECT …", …).wait().table()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.errors import SqlbatchError
    from sqlbatch.job import Job, enrich, plan, preview

__all__ = ["Job", "SqlbatchError", "enrich", "plan", "preview"]


def __getattr__(name: str) -> object:
    """Import what is asked for, when it is, so that the command line starts quickly."""
    if name in {"Job", "enrich", "plan", "preview"}:
        from sqlbatch import job  # noqa: PLC0415

        return getattr(job, name)
    if name == "SqlbatchError":
        from sqlbatch.errors import SqlbatchError  # noqa: PLC0415

        return SqlbatchError
    raise AttributeError(f"module 'sqlbatch' has no attribute {name!r}")
