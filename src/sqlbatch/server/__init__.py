"""The Batch API server: OpenAI's Files and Batches API over HTTP, in front of the offline model or any upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.server.config import ServerConfig

if TYPE_CHECKING:
    from sqlbatch.server.lifecycle import EmbeddedServer, serve

__all__ = ["EmbeddedServer", "ServerConfig", "serve"]


def __getattr__(name: str) -> object:
    """Import the server when it is first used, so that `import sqlbatch.server` is cheap."""
    if name in {"EmbeddedServer", "serve"}:
        from sqlbatch.server import lifecycle  # noqa: PLC0415 - the point of this function

        return getattr(lifecycle, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
