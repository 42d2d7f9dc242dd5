"""Runs a batch's lines on the offline model, in slices, so that the batches of one server share its time."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from sqlbatch.server.offline.model import answer
from sqlbatch.server.results import Reply, failed_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.server.lines import Line

_SLICE = 0.02  # seconds of work between two moments at which other batches and checkpoints get their turn


class OfflineBackend:
    """The offline model as a backend."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line in the order of the file, until there is none left or `interrupted` is set."""
        encode = json.JSONEncoder(separators=(",", ":")).encode
        pause = time.monotonic() + _SLICE
        for line in lines:
            try:
                status, body = answer(endpoint, line.body)
                reply = Reply(status, body, encode(body))
            except Exception as error:  # noqa: BLE001 - one odd line must not hang its batch
                reply = failed_line(line, error)
            deliver(line, reply)
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + _SLICE
            if interrupted.is_set():
                return
