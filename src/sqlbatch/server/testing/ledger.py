"""The ledger of a server with faults: every request that was executed, for tests to ask whether one ran twice."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """One JSON line for each executed request: batch (null for a direct call), custom_id, line, endpoint, real time.

    A line has left the process before the request's result is written, so that no execution goes unnoticed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(
        self, endpoint: str, batch_id: str | None = None, custom_id: str | None = None, line: int | None = None
    ) -> None:
        """Note one request."""
        entry = {"batch_id": batch_id, "custom_id": custom_id, "line": line, "endpoint": endpoint, "at": time.time()}
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    def entries(self, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Return the requests in their order, all or those of one batch; a line torn by a kill is left out."""
        found = []
        with self._path.open("rb") as handle:
            for raw in handle:
                if raw.endswith(b"}\n"):
                    entry = json.loads(raw)
                    if batch_id is None or entry["batch_id"] == batch_id:
                        found.append(entry)
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
