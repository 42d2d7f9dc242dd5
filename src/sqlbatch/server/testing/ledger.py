"""The ledger of a server with faults: every executed request, so that tests can check that none ran twice."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """A file with one JSON line for each executed request.

    The batch id of a direct call is null. The line is written before the result of the request, so that the ledger
    never misses an execution.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(
        self, endpoint: str, batch_id: str | None = None, custom_id: str | None = None, line: int | None = None
    ) -> None:
        """Add one request."""
        entry = {"batch_id": batch_id, "custom_id": custom_id, "line": line, "endpoint": endpoint, "at": time.time()}
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    def entries(self, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Return the requests of one batch, or all requests, in their order. An incomplete last line is left out."""
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
