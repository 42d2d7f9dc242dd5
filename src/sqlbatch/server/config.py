"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


@dataclass(frozen=True)
class ServerConfig:
    """The options of one server.

    `folder` keeps its state and files. `port` 0 takes a free one. `upstreams` are base URLs of OpenAI-compatible
    servers (`http://127.0.0.1:11434/v1`), replicas of each other; without any, the model is the built-in `offline`.
    `upstream_key_env` and `api_key_env` name environment variables: the key sent upstream, and the key asked of
    clients. `concurrency` is the largest number of requests in flight per upstream, `upstream_timeout` the seconds
    one may take. `window` is the completion window in seconds of the server's clock, which runs `clock_speed` times
    as fast as a real one. `models` are further names the offline model answers to. `faults` is a file of failures to
    act out (docs/server.md).
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    upstreams: tuple[str, ...] = ()
    upstream_key_env: str | None = None
    upstream_timeout: float = 600.0
    concurrency: int = 16
    api_key_env: str | None = None
    faults: Path | None = None
    clock_speed: float = 1.0
    window: float = DAY
    models: tuple[str, ...] = ()
