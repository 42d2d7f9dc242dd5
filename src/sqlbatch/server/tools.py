"""What all batches of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from sqlbatch.server.clock import Clock
    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.folder import Folder
    from sqlbatch.server.lines import Line
    from sqlbatch.server.results import Reply
    from sqlbatch.server.state import State
    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.testing.ledger import Ledger

OFFLINE = "offline"


class Backend(Protocol):
    """What runs the lines of a batch."""

    async def run(
        self, endpoint: str, lines: Iterator[Line], deliver: Callable[[Line, Reply], None], interrupted: asyncio.Event
    ) -> None:
        """Answer every line, in any order, until there is none left or `interrupted` is set."""


@dataclass(frozen=True)
class Tools:
    """The parts of a server that batches are worked on with; `state` is the batches' thread's own connection."""

    config: ServerConfig
    folder: Folder
    clock: Clock
    state: State
    offline: Backend
    upstreams: Backend | None
    turn: asyncio.Semaphore
    faults: Faults | None = None
    ledger: Ledger | None = None

    def backend(self, model: str | None) -> Backend:
        """Return what answers for a model."""
        if self.upstreams is None or model == OFFLINE or model in self.config.models:
            return self.offline
        return self.upstreams

    def knows_model(self, model: str) -> bool:
        """Whether there is anything that answers for a model; which names an upstream has is for it to say."""
        return self.upstreams is not None or model == OFFLINE or model in self.config.models
