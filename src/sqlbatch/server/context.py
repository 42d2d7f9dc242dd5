"""What every route needs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.server.clock import Clock
    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.folder import Folder
    from sqlbatch.server.passthrough import Passthrough
    from sqlbatch.server.runner import Runner
    from sqlbatch.server.state import State
    from sqlbatch.server.testing.faults import Faults
    from sqlbatch.server.testing.ledger import Ledger
    from sqlbatch.server.testing.replies import Seen


@dataclass
class Context:
    """One server's parts, as its routes use them (all on the event loop's thread)."""

    instance: str
    config: ServerConfig
    folder: Folder
    clock: Clock
    state: State
    runner: Runner
    upstream: Passthrough | None = None
    faults: Faults | None = None
    ledger: Ledger | None = None
    seen: deque[Seen] = field(default_factory=deque)
