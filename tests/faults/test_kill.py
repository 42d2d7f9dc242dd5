"""Killed again and again, or in each other's way, processes end a job as if nothing had been."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.batches.providers import Provider
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.batches.bench import KEY, Bench, numbered

from .child import Ended, run, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = 3
# So many processes of one job are killed in turn.
KILLS = 12


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a provider that goes on whoever is killed."""
    (tmp_path / "faults.toml").write_text("")
    config = ServerConfig(tmp_path / "provider", faults=tmp_path / "faults.toml")
    with EmbeddedServer(tmp_path / "provider", config=config) as running:
        yield running


def environment(speed: str = "2400") -> dict[str, str]:
    """Return the variables of a process: a key, and a clock that all processes share."""
    return {"OPENAI_API_KEY": KEY, "SQLBATCH_CLOCK_SPEED": speed, "SQLBATCH_CLOCK_ORIGIN": str(time.time())}


def enrich(bench: Bench, query: str, into: str, rows: int) -> list[str]:
    """Return the arguments of an `enrich` whose every answer repeats its row's text."""
    return [
        "enrich", query, "--input", "text", "--instructions", f"Repeat the text ({into}, {rows} rows).", "--model",
        "offline", "--base-url", bench.base_url, "--into", into, "--db", str(bench.path), "--yes", "--poll", "60",
    ]  # fmt: skip


@pytest.mark.long
def test_a_job_killed_again_and_again_ends_right(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill somewhere in each of a dozen processes in turn, then a process that is left alone."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rows = 40
    bench = Bench(
        server.base_url, tmp_path / "a.duckdb", Provider("openai", server.base_url, "OPENAI_API_KEY"), monkeypatch
    )
    variables = environment()
    path = str(bench.path)
    whole = run(enrich(bench, numbered(1), "first", 1), variables, tmp_path, keep_open=path)
    assert whole.code == 0, whole
    executed = len(bench.control.ledger())
    chance = random.Random(11)  # noqa: S311 (repeatable on purpose)
    bench.control.faults({"name": "line_error", "status": 503, "share": 0.3, "once": True})
    arguments, killed = enrich(bench, numbered(rows), "answers", rows), 0
    for _ in range(KILLS):
        # In the first third of what a run passes: each gets a little further, and there is something left for the next.
        point = chance.randint(1, len(whole.points) // 3)
        ended = run(arguments, variables, tmp_path, kill_at=point, keep_open=path)
        if ended.code != -9:
            break
        killed += 1
        if bench.sql("FROM sqlbatch.jobs WHERE target = 'answers'"):
            arguments = ["wait", "answers", "--db", str(bench.path), "--poll", "60"]
    else:
        ended = run(arguments, variables, tmp_path, keep_open=path)
    assert ended.code == 0, ended
    assert killed > KILLS // 2, "a run passes fewer points than it did"
    bench.check(rows, once=False)
    failed_once = bench.sql("SELECT count(*) FROM sqlbatch.results WHERE outcome = 'retryable'")[0][0]
    assert len(bench.control.ledger()) - executed == rows + failed_once


def test_two_processes_with_shared_requests_send_each_once(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bench = Bench(
        server.base_url, tmp_path / "a.duckdb", Provider("openai", server.base_url, "OPENAI_API_KEY"), monkeypatch
    )
    # At this speed a lease lasts for seconds, which a busy machine does not take between two steps.
    variables = environment("240")
    jobs = {"one": numbered(30), "two": numbered(30, first=10), "three": numbered(20, first=20)}
    ends: list[Callable[[], Ended]] = []
    for name, query in jobs.items():
        arguments = enrich(bench, query, name, 0)
        arguments[arguments.index("--instructions") + 1] = "Repeat the text."
        end = start(arguments, variables, tmp_path)
        ends.append(end)
    for end in ends:
        ended = end()
        assert ended.code == 0, ended.said
    for name, rows in (("one", 30), ("two", 30), ("three", 20)):
        bench.check(rows, name=name)
    assert len(bench.control.ledger()) == 40


@pytest.mark.long
def test_of_two_commands_with_one_state_one_asks_and_the_other_is_told_who_does(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, in two processes; again once the first is done, the other sends nothing that was sent."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bench = Bench(
        server.base_url, tmp_path / "a.duckdb", Provider("openai", server.base_url, "OPENAI_API_KEY"), monkeypatch
    )
    bench.control.faults({"name": "stuck_in_progress", "seconds": 3.0})
    arguments = enrich(bench, numbered(ROWS), "answers", ROWS)
    shared = tmp_path / "state"
    arguments = [each for each in arguments if each not in {"--db", str(bench.path)}] + ["--state", str(shared)]
    ends = [start(arguments, environment(), tmp_path) for _ in range(2)]
    ended = sorted((end() for end in ends), key=lambda one: one.code)
    assert [one.code for one in ended] == [0, 1], ended
    assert re.search("error: .* (is used by process|has just taken the state)", ended[1].said)
    assert "Traceback" not in ended[1].said
    again = run(arguments, environment(), tmp_path)
    assert again.code == 0, again
    assert len(bench.control.ledger()) == ROWS
    assert bench.control.executed_twice() == []


def test_a_database_that_another_process_holds_for_hours_is_a_pause_that_names_it(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook left open over lunch: more than an hour of the clock goes by, and the job ends right after it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bench = Bench(
        server.base_url, tmp_path / "a.duckdb", Provider("openai", server.base_url, "OPENAI_API_KEY"), monkeypatch
    )
    variables, limits = environment(), {"patience": 0.05}
    bench.control.faults({"name": "stuck_in_progress", "seconds": 0.6})
    begin = run([*enrich(bench, numbered(ROWS), "answers", ROWS), "--no-wait"], variables, tmp_path)
    assert begin.code == 0, begin
    with duckdb.connect(str(bench.path)):
        waiting = start(["wait", "answers", "--db", str(bench.path)], variables, tmp_path, limits=limits)
        told_by = time.monotonic() + 60
        while not any("locked by" in said.read_text() for said in tmp_path.glob("*.said")):
            assert time.monotonic() < told_by, "nobody says that it is locked"
            time.sleep(0.05)
        time.sleep(2)
        refused = run(enrich(bench, numbered(1), "other", 1), variables, tmp_path, limits=limits)
    ended = waiting()
    holder = f"is locked by process {os.getpid()}; close it there, or wait until it is done"
    assert refused.code == 1, "nothing has begun, so it is an error"
    assert holder in refused.said
    assert ended.code == 0, ended
    assert holder in ended.said
    assert ended.said.count("locked by") == 1, "told once, not at each try"
    bench.check(ROWS)


def test_an_interrupt_while_python_imports_is_quiet(tmp_path: Path) -> None:
    code = (
        "import builtins, os, signal; real = builtins.__import__\n"
        "def importing(name, *rest, **more):\n"
        "    if name == 'sqlbatch.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = importing\n"
        "from sqlbatch.__main__ import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "error: interrupted; nothing was started\n")
