"""SQL in, a language model's columns out: `sqlbatch.enrich("SELECT …", …).wait().table()`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.api import compare_asks, enrich, plan, preview
    from sqlbatch.errors import SqlbatchError
    from sqlbatch.job import Job, find, jobs

__all__ = ["Job", "SqlbatchError", "compare_asks", "enrich", "find", "jobs", "plan", "preview"]

_WHERE = {
    "Job": "job", "SqlbatchError": "errors", "compare_asks": "api", "enrich": "api", "find": "job", "jobs": "job",
    "plan": "api", "preview": "api",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a name when it is used, so that the command line starts quickly."""
    if name in _WHERE:
        return getattr(import_module(f"sqlbatch.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'sqlbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all public names, also those not imported yet, for completion."""
    return sorted({*globals(), *__all__})
