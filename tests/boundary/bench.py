"""Changes of replies, acted out many at a time: a batch for each, in one job, and what must hold for each of them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import httpx2

from sqlbatch import clock
from sqlbatch.batches import submit
from sqlbatch.batches.providers import KNOWN
from sqlbatch.cli import main
from tests.batches.bench import KEY, LEASE, Bench, empty, hurry

from .provider import BASE_URL, Hung, MemoryProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest

    from .changes import Change

# An hour of the client's clock passes in 36 milliseconds.
SPEED = "100000"
# Pauses after which a command that does not end is a mistake; commands after which a job that does not end is one.
PAUSES, COMMANDS = 60, 6
# How often a reply about one batch is changed, and is then as it should be; what is in a result file stays as it is.
TIMES = 3
# Replies that get lost so that a job comes to ask for what is changed.
_LOST = {
    "list": {"create": "after"},
    "list, entry": {"create": "after"},
    "file": {"create": "before"},
    "delete": {"create": "before"},
    "list of files": {"upload": "after"},
    "list of files, entry": {"upload": "after"},
}


class Scene:
    """A provider in memory, and a clock on which a day passes in a second."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._numbers = itertools.count(1)
        self._pauses = 0
        self._provider = MemoryProvider()
        hurry(monkeypatch)
        for name, value in {"OPENAI_API_KEY": KEY, "SQLBATCH_CLOCK_SPEED": SPEED}.items():
            monkeypatch.setenv(name, value)
        for lease in ("UPLOAD_LEASE", "CREATE_LEASE"):
            monkeypatch.setattr(submit, lease, LEASE * float(SPEED))
        monkeypatch.setattr(clock, "sleep", self._paused)
        monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", lambda _, request: self._provider.handle(request))
        one = replace(KNOWN["openai"], first_poll=KNOWN["openai"].slowest_poll, max_requests=1)
        monkeypatch.setitem(KNOWN, "openai", one)

    def _paused(self, seconds: float) -> None:
        self._pauses += 1
        if self._pauses > PAUSES:
            raise Hung("it only waits")
        time.sleep(min(seconds / float(SPEED), 0.01))

    def play(self, changes: Sequence[Change]) -> dict[str, str]:
        """Act changes of one place out, each on a batch of one job; return what is wrong, by the change's name."""
        place, endpoint = changes[0].place, changes[0].endpoint
        folder = self._folder / f"{next(self._numbers)}"
        folder.mkdir()
        self._provider = MemoryProvider(lose=_LOST.get(place, {}), held=True, patience=40 + 16 * len(changes))
        provider = replace(KNOWN["openai"], base_url=BASE_URL)
        bench = Bench(BASE_URL, folder / "a.duckdb", provider, self._monkeypatch)
        bench.path.write_bytes(empty())
        options: dict[str, Any] = {"endpoint": endpoint}
        if endpoint.endswith("embeddings"):
            options |= {"instructions": None, "returns": "embedding FLOAT[4]"}
        with duckdb.connect(str(bench.path)) as con:
            con.execute("SET threads = 1")
            job_id = bench.begin(f"SELECT n, 'row ' || n AS text FROM range({len(changes)}) r(n)", **options)
            while place in {"retrieve", "cancel"} and bench.of_state("open") < len(changes):
                bench.sync(job_id)
            self._provider.held = place == "cancel"
            self._provider.change = _changer(changes)
            said, problem = self._commands("cancel" if place == "cancel" else "wait", str(bench.path))
            wrong = dict(_problems(con, changes, self._provider))
        if problem:
            wrong[f"all of {changes[0].name} to {changes[-1].name}"] = f"{problem}: {said[-1500:]}"
        return wrong

    def _commands(self, command: str, path: str) -> tuple[str, str | None]:
        """Run a command until the job ends; return what was said and what went wrong."""
        said = ""
        for _ in range(COMMANDS):
            self._pauses = 0
            out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = main([command, "1", "--db", path, "--poll", "60"])
                except Hung as hung:
                    return said + err.getvalue(), f"{command} hangs: {hung}"
            said += err.getvalue()
            if "--debug shows where" in said or "Traceback" in said:
                return said, "an error of our own"
            if code not in {0, 1, 3}:
                return said, f"exit code {code}"
            if code in {0, 3}:
                return said, None
        return said, None


def _changer(changes: Sequence[Change]) -> Any:
    left = Counter(dict.fromkeys(range(len(changes)), TIMES))

    def changed(place: str, number: int | None, body: bytes) -> bytes:
        for_all = changes[0].place in {"list", "list of files"}
        index = 0 if for_all else number
        if index is None or index >= len(changes):
            return body
        change = changes[index]
        there = {"line": {"content"}}.get(change.place, {change.place})
        if change.place == "retrieve" and change.field is not None:
            there = {"retrieve", "list, entry"}
        if place not in there or (place not in {"content"} and not left[index]):
            return body
        if change.place == "retrieve" and json.loads(body)["status"] != "completed":
            return body
        left[index] -= 1
        return change(body)

    return changed


def _problems(
    con: duckdb.DuckDBPyConnection, changes: Sequence[Change], provider: MemoryProvider
) -> Iterator[tuple[str, str]]:
    """Return what is wrong after the job: by the change, or by a word for what is of no one of them."""
    for number, times in Counter(provider.ledger).items():
        if times > 1:
            yield changes[number].name, f"paid {times} times"
    if provider.nameless:
        yield "the job", f"{provider.nameless} batches were created without a file"
    for row in con.execute("FROM sqlbatch.audit WHERE NOT balanced").fetchall():
        yield "the audit", f"does not balance: {row}"
    # What is not read is not "not done": these are evidence that a request is to be sent again, and nothing here is.
    retried = """
        SELECT DISTINCT split_part(r.input, 'row ', 2).regexp_extract('^[0-9]+')::INTEGER, x.outcome, x.code
        FROM sqlbatch.results x JOIN sqlbatch.requests r USING (custom_id) LEFT JOIN sqlbatch.batches b USING (batch_id)
        WHERE x.outcome IN ('retryable', 'released') AND b.status IS DISTINCT FROM 'failed'"""
    if changes[0].place != "cancel":
        for number, outcome, code in con.execute(retried).fetchall():
            yield changes[number].name, f"{outcome}, {code}: not read is taken for not done"
    if not con.execute("FROM duckdb_tables() WHERE table_name = 'answers'").fetchall():
        blocked = con.execute("SELECT blocked FROM sqlbatch.jobs WHERE cancelled_at IS NULL").fetchall()
        if blocked and not (changes[0].may_cost_the_answer and blocked[0][0]):
            yield "the job", f"no target, blocked: {blocked[0][0]}"
        return
    vectors = changes[0].endpoint.endswith("embeddings")
    right = "embedding = [ord(c)::FLOAT FOR c IN string_split(text[-4:], '')]" if vectors else "response = text"
    answer = "embedding" if vectors else "response"
    rows = con.execute(f"SELECT n, ai_status, ai_error, {answer}::VARCHAR, {right} FROM answers").fetchall()
    for number, status, error, found, as_it_was in rows:
        change = changes[number]
        if status == "answered" and not as_it_was and found not in change.texts:
            yield change.name, f"taken for an answer: {found!r}"
        elif status == "failed" and not error:
            yield change.name, "failed without a reason"
        elif status != "answered" and not change.may_cost_the_answer:
            yield change.name, f"{status} although the provider has the answer: {error}"
