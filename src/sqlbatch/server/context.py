"""What every route needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.server.clock import Clock
    from sqlbatch.server.config import ServerConfig
    from sqlbatch.server.folder import Folder
    from sqlbatch.server.runner import Runner
    from sqlbatch.server.state import State


@dataclass
class Context:
    """One server's parts, as its routes use them (all on the event loop's thread)."""

    instance: str
    config: ServerConfig
    folder: Folder
    clock: Clock
    state: State
    runner: Runner
