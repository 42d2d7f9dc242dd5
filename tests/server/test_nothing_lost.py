"""Nothing is lost: kills, restarts, folders that are shared."""

from __future__ import annotations

import collections
import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

from sqlbatch.errors import ServerError
from sqlbatch.server import EmbeddedServer, ServerConfig, serve

from .conftest import Control, Process
from .helpers import answers, chat_lines, create, eventually, raw, results, wait
from .upstream import Answer, FakeUpstream, completion, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import openai


def written(folder: Path) -> int:
    """Return how many bytes the files in a server's folder have."""
    return sum(path.stat().st_size for path in (folder / "files").iterdir())


def advanced(folder: Path, client: openai.OpenAI, batch_id: str) -> None:
    """Wait until a batch has written some more lines, or all of them."""
    size = written(folder)
    eventually(lambda: written(folder) > size + 20_000 or client.batches.retrieve(batch_id).status == "completed")


def test_a_batch_goes_on_after_kill_minus_nine(tmp_path: Path, connect: Callable[..., openai.OpenAI]) -> None:
    folder, faults = tmp_path / "data", tmp_path / "faults.toml"
    faults.write_text("")
    count = 4_000
    with Process(folder, faults=str(faults)) as process:
        batch = create(connect(process.base_url), chat_lines(count))
        size = written(folder)
        eventually(lambda: written(folder) > size + 20_000)
        process.kill()
    kills = 1
    for _ in range(3):
        with Process(folder, faults=str(faults)) as process:
            advanced(folder, connect(process.base_url), batch.id)
            process.kill()
            kills += 1
    with Process(folder, faults=str(faults)) as process:
        client = connect(process.base_url)
        ended = wait(client, batch)
        assert ended.status == "completed"
        assert ended.request_counts
        assert ended.request_counts.completed == count
        lines = results(client, ended.output_file_id)
        assert sorted(line["custom_id"] for line in lines) == sorted(f"r{number}" for number in range(count))
        assert ended.usage
        assert ended.usage.output_tokens == sum(
            line["response"]["body"]["usage"]["completion_tokens"] for line in lines
        )
        with contextlib.closing(Control(process.base_url)) as control:
            runs = collections.Counter(entry["custom_id"] for entry in control.ledger(batch.id))
        assert len(runs) == count
        assert sum(runs.values()) <= count + kills, "only the line at hand may run again"


def test_answered_requests_of_an_upstream_are_not_sent_again(
    tmp_path: Path, connect: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    upstream.script = lambda _u, _p, body, _a: Answer(200, completion(said(body)), delay=0.005)
    folder = tmp_path / "data"
    options = {"upstreams": [upstream.base_url], "concurrency": 4}
    with Process(folder, **options) as process:
        batch = create(connect(process.base_url), chat_lines(300, model="llama"))
        eventually(lambda: sum(upstream.attempts.values()) > 100)
        process.kill()
    with Process(folder, **options) as process:
        client = connect(process.base_url)
        assert len(answers(client, wait(client, batch))) == 300
    assert sum(upstream.attempts.values()) <= 300 + 4, "only what was in flight may be asked again"


def test_a_torn_last_line_is_written_again(tmp_path: Path, connect: Callable[..., openai.OpenAI]) -> None:
    folder, faults = tmp_path / "data", tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nname = "stuck_finalizing"\n')
    with Process(folder, faults=str(faults)) as process:
        client = connect(process.base_url)
        batch = wait(client, create(client, chat_lines(10)), {"finalizing"})
        process.kill()
    faults.write_text("")
    (output,) = [
        path for path in (folder / "files").iterdir() if path.stat().st_size and batch.input_file_id != path.name
    ]
    output.write_bytes(output.read_bytes()[:-20])
    with Process(folder, faults=str(faults)) as process:
        client = connect(process.base_url)
        ended = wait(client, batch)
        assert raw(client, ended.output_file_id).endswith(b"}\n")
        assert len(results(client, ended.output_file_id)) == 10


def test_cancelling_goes_on_after_a_kill(tmp_path: Path, connect: Callable[..., openai.OpenAI]) -> None:
    folder, faults = tmp_path / "data", tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nname = "stuck_in_progress"\n[[fault]]\nname = "stuck_cancelling"\n')
    with Process(folder, faults=str(faults)) as process:
        client = connect(process.base_url)
        batch = wait(client, create(client, chat_lines(10)), {"in_progress"})
        client.batches.cancel(batch.id)
        process.kill()
    with Process(folder) as process:
        client = connect(process.base_url)
        ended = wait(client, batch)
        assert ended.status == "cancelled"
        assert len(results(client, ended.error_file_id)) == 10


def test_what_a_kill_left_half_uploaded_is_tidied_away(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with EmbeddedServer(folder):
        pass
    for place in ("uploads", "files", "inputs"):
        (folder / place / "left").write_text("half")
    with EmbeddedServer(folder):
        assert not list(folder.rglob("left"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_to_and_the_batch_goes_on(
    tmp_path: Path, connect: Callable[..., openai.OpenAI], number: int
) -> None:
    folder = tmp_path / "data"
    with Process(folder) as process:
        batch = create(connect(process.base_url), chat_lines(3_000))
        assert process.end(number) == (0, "")
    with EmbeddedServer(folder) as server:
        client = connect(server.base_url)
        assert len(answers(client, wait(client, batch))) == 3_000


def test_a_process_that_ends_without_stopping_it_ends_quietly(
    tmp_path: Path, connect: Callable[..., openai.OpenAI]
) -> None:
    folder = tmp_path / "data"
    code = (
        "import sys, time; from pathlib import Path; from sqlbatch.server import EmbeddedServer; "
        "print(EmbeddedServer(Path(sys.argv[1])).start().base_url, flush=True); sys.stdin.readline()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    batch = create(client := connect(process.stdout.readline().strip()), chat_lines(5_000))
    wait(client, batch, {"in_progress"})
    _, errors = process.communicate("go\n", timeout=20)
    assert (process.returncode, errors) == (0, "")
    with EmbeddedServer(folder) as server:
        client = connect(server.base_url)
        assert len(answers(client, wait(client, batch))) == 5_000


def test_a_file_system_without_links_is_no_hindrance(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    assert len(answers(client, wait(client, create(client, chat_lines(3))))) == 3


def test_two_servers_on_one_folder_are_one_too_many(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Process(folder) as first, Process(folder) as second:
        code, errors = second.end()
        assert code == 1
        assert first.base_url in errors
        assert str(first.process.pid) in errors
        with pytest.raises(ServerError, match=first.base_url):
            serve(ServerConfig(folder))


def test_an_embedded_server_joins_whoever_holds_the_folder(
    tmp_path: Path, connect: Callable[..., openai.OpenAI]
) -> None:
    folder = tmp_path / "data"
    with Process(folder) as process, EmbeddedServer(folder) as joined:
        assert joined.joined
        assert joined.base_url == process.base_url
        batch = create(connect(joined.base_url), chat_lines(5))
        joined.stop()
        client = connect(process.base_url)
        assert len(answers(client, wait(client, batch))) == 5


def test_when_the_holder_dies_the_next_start_takes_over(tmp_path: Path, connect: Callable[..., openai.OpenAI]) -> None:
    folder = tmp_path / "data"
    with Process(folder) as process, EmbeddedServer(folder) as server:
        batch = create(connect(server.base_url), chat_lines(2_000))
        process.kill()
        server.start()
        assert not server.joined
        client = connect(server.base_url)
        assert len(answers(client, wait(client, batch))) == 2_000


def test_two_embedded_servers_of_one_process_share(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first, second = EmbeddedServer(folder).start(), EmbeddedServer(folder).start()
    assert (first.joined, second.joined) == (False, True)
    assert first.base_url == second.base_url
    first.stop()
    second.start()
    assert not second.joined
    second.stop()
    second.stop()
    with EmbeddedServer(folder) as again:
        assert httpx2.get(f"{again.base_url}/files").status_code == 200


def test_start_may_be_called_again(server: EmbeddedServer) -> None:
    url = server.base_url
    assert server.start() is server
    assert server.base_url == url


def test_an_address_left_behind_by_a_dead_holder_misleads_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "server.json").write_text(json.dumps({"base_url": "http://127.0.0.1:9/v1", "pid": 1}))
    with EmbeddedServer(folder) as server:
        assert not server.joined


def test_the_clock_never_runs_backwards_across_a_restart(tmp_path: Path) -> None:
    folder, faults = tmp_path / "data", tmp_path / "faults.toml"
    faults.write_text("")
    with EmbeddedServer(folder, config=ServerConfig(folder, faults=faults, clock_speed=1440)) as server:
        with contextlib.closing(Control(server.base_url)) as control:
            control.advance(1e6)
        url = server.base_url.removesuffix("/v1") + "/control/clock"
        before = httpx2.get(url).json()["now"]
    with EmbeddedServer(folder, config=ServerConfig(folder, faults=faults)) as server:
        url = server.base_url.removesuffix("/v1") + "/control/clock"
        assert httpx2.get(url).json()["now"] >= before


def test_the_package_is_imported_without_the_server(tmp_path: Path) -> None:
    code = "import sys, sqlbatch.server; print('uvicorn' in sys.modules, 'starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False"]
