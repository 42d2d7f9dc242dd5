"""The server is open to nobody who should not come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from sqlbatch.errors import ServerError
from sqlbatch.server import EmbeddedServer, ServerConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_it_listens_on_loopback_by_default(server: EmbeddedServer) -> None:
    assert server.base_url.startswith("http://127.0.0.1:")


def test_beyond_loopback_it_asks_for_a_key_of_its_own(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "data", host="0.0.0.0")  # noqa: S104 - refused
    with pytest.raises(ServerError, match="--api-key-env"):
        EmbeddedServer(tmp_path / "data", config=config).start()


def test_the_variable_of_the_key_must_hold_one(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "data", api_key_env="NO_SUCH_KEY")
    with pytest.raises(ServerError, match="NO_SUCH_KEY"):
        EmbeddedServer(tmp_path / "data", config=config).start()


def test_with_a_key_nobody_comes_in_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., openai.OpenAI]
) -> None:
    monkeypatch.setenv("SERVER_KEY", "let-me-in")
    config = ServerConfig(tmp_path / "data", api_key_env="SERVER_KEY")
    with EmbeddedServer(tmp_path / "data", config=config) as server:
        assert list(connect(server.base_url, api_key="let-me-in").files.list()) == []
        for wrong in ("let-me-out", "let-me-in2"):
            with pytest.raises(openai.AuthenticationError) as refused:
                connect(server.base_url, api_key=wrong).files.list()
            assert refused.value.code == "invalid_api_key"
            assert refused.value.request_id
        assert httpx2.get(f"{server.base_url}/files").status_code == 401
        with EmbeddedServer(tmp_path / "data", config=config) as joined:
            assert joined.joined
            assert joined.base_url == server.base_url


def test_a_web_page_cannot_reach_it_by_a_name_of_its_own(server: EmbeddedServer) -> None:
    refused = httpx2.get(f"{server.base_url}/files", headers={"host": "evil.example:80"})
    assert refused.status_code == 403
    assert refused.json()["error"]["message"]
    for name in ("localhost:1", "127.0.0.1", "[::1]:5"):
        assert httpx2.get(f"{server.base_url}/files", headers={"host": name}).status_code == 200


def test_the_control_endpoint_exists_only_with_faults(server: EmbeddedServer) -> None:
    root = server.base_url.removesuffix("/v1")
    for path in ("faults", "ledger", "requests", "clock"):
        assert httpx2.get(f"{root}/control/{path}").status_code == 404


@pytest.mark.parametrize(
    "options",
    [
        {"upstreams": ("127.0.0.1:11434",)},
        {"upstream_key_env": "NO_SUCH_KEY"},
        {"clock_speed": 0},
        {"concurrency": 0},
        {"window": -1},
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ServerError):
        EmbeddedServer(tmp_path / "data", config=ServerConfig(tmp_path / "data", **options)).start()


def test_a_taken_port_is_said_to_be_taken(tmp_path: Path, server: EmbeddedServer) -> None:
    port = int(server.base_url.split(":")[2].removesuffix("/v1"))
    with pytest.raises(ServerError, match=f"{port}.*--port"):
        EmbeddedServer(tmp_path / "other", config=ServerConfig(tmp_path / "other", port=port)).start()
