"""Servers and clients of the official SDK for the tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx2
import openai
import pytest

from sqlbatch.server import EmbeddedServer, ServerConfig

from .upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SERVE = """
import json, sys
from pathlib import Path
from sqlbatch.server import ServerConfig, serve
options = json.loads(sys.argv[1])
for name in ("folder", "faults"):
    if options.get(name):
        options[name] = Path(options[name])
options["upstreams"] = tuple(options.get("upstreams", ()))
serve(ServerConfig(**options))
"""


class Process:
    """A server in a process of its own, to be killed."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps({"folder": str(folder), **options})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.base_url = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it with a signal; return its exit code and what it wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


class Control:
    """The control endpoint of a server with faults."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url.removesuffix("/v1") + "/control"
        self._http = httpx2.Client(verify=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def faults(self, *rules: dict[str, Any]) -> None:
        """Act out these failures and no others."""
        self._http.put(f"{self._url}/faults", json={"fault": list(rules)}).raise_for_status()

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._http.post(f"{self._url}/clock", json={"advance": seconds}).raise_for_status()

    def ledger(self, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Return the executed requests."""
        params = {"batch_id": batch_id} if batch_id else {}
        found: list[dict[str, Any]] = self._http.get(f"{self._url}/ledger", params=params).json()["data"]
        return found

    def requests(self, method: str, path: str) -> list[dict[str, Any]]:
        """Return the HTTP requests that the server has seen at one place."""
        found = self._http.get(f"{self._url}/requests").json()["data"]
        return [one for one in found if one["method"] == method and one["path"] == path]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "SQLBATCH_")):
            monkeypatch.delenv(name)


@pytest.fixture
def connect() -> Iterator[Callable[..., openai.OpenAI]]:
    """Make clients that are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(base_url: str, **options: Any) -> openai.OpenAI:
            # Reading the system's certificates, which plain HTTP does not need, takes longer than most tests.
            http_client = httpx2.Client(verify=False, timeout=30, follow_redirects=True)
            options = {"api_key": "unused", "max_retries": 0, "timeout": 30, "http_client": http_client, **options}
            return stack.enter_context(openai.OpenAI(base_url=base_url, **options))

        yield make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Start a server with the offline model."""
    with EmbeddedServer(tmp_path / "data") as running:
        yield running


@pytest.fixture
def client(server: EmbeddedServer, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """Make a client of the server."""
    return connect(server.base_url)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Start one server for all tests that need no fresh one."""
    with EmbeddedServer(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


@pytest.fixture
def shared_client(shared_server: EmbeddedServer, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """Make a client of the server that tests share."""
    return connect(shared_server.base_url)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Start a server that can be told to fail; it does not until it is told."""
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    config = ServerConfig(tmp_path / "data", faults=faults, models=("gpt-6-luna",))
    with EmbeddedServer(tmp_path / "data", config=config) as running:
        yield running


@pytest.fixture
def control(faulty: EmbeddedServer) -> Iterator[Control]:
    """Reach the control endpoint of the server that can be told to fail."""
    with contextlib.closing(Control(faulty.base_url)) as found:
        yield found


@pytest.fixture
def faulty_client(faulty: EmbeddedServer, connect: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """Make a client of the server that can be told to fail."""
    return connect(faulty.base_url)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Start an OpenAI-compatible server that answers as it is told."""
    with FakeUpstream() as running:
        yield running
