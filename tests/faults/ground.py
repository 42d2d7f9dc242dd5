"""Where crashes and faults are acted out: one server for many jobs, each in a database of its own, and the account."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import clock, paths
from sqlbatch.batches.providers import Provider
from sqlbatch.lake.shared_state import SLACK
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.batches.bench import HTTP, KEY, Bench, empty, hurry

from . import child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEED = "2400"


@dataclass(frozen=True)
class Row:
    """A line of the matrix: what was acted out, what was done about it, and the account of it."""

    point: str
    done: str
    executed: int
    twice: int
    lost: int
    problem: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing was paid twice, nothing lost, and the job ended as it should."""
        return not (self.twice or self.lost or self.problem)


class Disk(Enum):
    """What becomes of a killed process's disk, where the state is mirrored."""

    KEPT = "disk kept"
    LOST = "disk lost"


@dataclass
class Ground:
    """A server that can be told to fail, and folders for jobs; every job has rows, and so requests, of its own.

    Where it is mirrored, each command has a state in a shared folder in the place of a database: where the disk is
    lost, each works on another computer, and comes once the lease of the one before has ended.
    """

    base_url: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    variables: dict[str, str]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    undisturbed: list[str] = field(default_factory=list)
    mirrored: Disk | None = None

    def bench(self) -> Bench:
        """Return a bench with a new database at the common server."""
        folder = self.folder / f"job-{next(self.numbers)}"
        folder.mkdir()
        provider = Provider("openai", self.base_url, "OPENAI_API_KEY")
        return Bench(self.base_url, folder / "a.duckdb", provider, self.monkeypatch)

    def run(self, bench: Bench, arguments: list[str], **how: Any) -> child.Ended:
        """Run a command on a bench's database in a process of its own; mirrored, the bench has its last copy then.

        `how` is what `child.start` takes besides, and `variables` in the place of the ground's.
        """
        path, variables = str(bench.path), how.pop("variables", self.variables)
        if self.mirrored is None:
            return child.start([*arguments, "--db", path], variables, self.folder, keep_open=path, **how)()
        state, disk = bench.path.with_name("state"), bench.path.with_name(f"disk-{next(self.numbers)}")
        disk.mkdir()
        if not state.exists():
            # As an earlier driver has left it; how a state is made is in the matrix without a mirror.
            state.mkdir()
            (state / "copy-00000001.duckdb").write_bytes(empty())
        host = disk.name if self.mirrored is Disk.LOST else "driver"
        variables = variables | {"TMPDIR": str(disk)}
        ended = child.start([*arguments, "--state", str(state)], variables, self.folder, host=host, **how)()
        if self.mirrored is Disk.LOST:
            shutil.rmtree(disk)
            _lease_ends(state)
        for copy in sorted(state.glob("copy-*"))[-1:]:
            bench.path.with_name(bench.path.name + ".wal").unlink(missing_ok=True)
            shutil.copyfile(copy, bench.path)
        return ended


def _lease_ends(state: Path) -> None:
    """Have the lease of a computer that is gone end now: what is waited for in the meantime is the same for all."""
    for path in sorted(state.glob("lease-*"))[-1:]:
        lease = json.loads(path.read_text())
        until = datetime.fromisoformat(lease["until"])
        ended = min(until, clock.now() - timedelta(seconds=2 * SLACK))
        path.write_text(json.dumps(lease | {"until": ended.isoformat()}))


@contextlib.contextmanager
def ground(folder: Path, mirrored: Disk | None = None) -> Iterator[Ground]:
    """Run a provider that goes on whoever is killed, and a clock that all processes share."""
    folder.mkdir(exist_ok=True)
    (folder / "faults.toml").write_text("")
    config = ServerConfig(folder / "provider", faults=folder / "faults.toml")
    origin = str(time.time())
    variables = {"OPENAI_API_KEY": KEY, "SQLBATCH_CLOCK_SPEED": SPEED, "SQLBATCH_CLOCK_ORIGIN": origin}
    with pytest.MonkeyPatch.context() as monkeypatch, EmbeddedServer(folder / "provider", config=config) as server:
        for name in [name for name in os.environ if name.startswith(("OPENAI_", "SQLBATCH_"))]:
            monkeypatch.delenv(name)
        hurry(monkeypatch)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield Ground(server.base_url, folder, monkeypatch, variables, mirrored=mirrored)


def account(
    bench: Bench, rows: int, name: str = "answers", *, failed: int | None = 0, retried: int = 0, untyped: bool = True
) -> tuple[int, int, int, str]:
    """Compare a job with the provider's ledger: requests executed, paid twice, lost, and what else is not right.

    Paid twice is an execution of a request that had a usable or final result before, but for `retried` ones which the
    user asked for again. Lost is a row without its answer or reason (`failed` of them have a reason; None: any number),
    an execution whose result is not in, or a batch that does not add up.
    """
    with duckdb.connect(str(bench.path)):
        return _account(bench, rows, name, failed, retried, untyped=untyped)


def _account(
    bench: Bench, rows: int, name: str, failed: int | None, retried: int, *, untyped: bool
) -> tuple[int, int, int, str]:
    ledger = HTTP.get(f"{bench.base_url.removesuffix('/v1')}/control/ledger").json()["data"]
    ours = {row[0] for row in bench.sql("SELECT custom_id::VARCHAR FROM sqlbatch.requests")}
    executed = [entry for entry in ledger if entry["custom_id"] in ours]
    # What was not final may be asked again, and what was final may not.
    again = "count(*) FILTER (outcome IN ('retryable', 'released')) + max((outcome IN ('answered', 'failed'))::INTEGER)"
    allowed = dict(bench.sql(f"SELECT custom_id::VARCHAR, {again} FROM sqlbatch.results GROUP BY custom_id"))
    times = Counter(entry["custom_id"] for entry in executed)
    twice = sum(max(0, count - allowed.get(custom_id, 1)) for custom_id, count in times.items()) - retried
    loaded = {row[0] for row in bench.sql("SELECT provider_id FROM sqlbatch.batches WHERE state = 'loaded'")}
    lost = sum(entry["batch_id"] not in loaded for entry in executed)
    lost += len(bench.sql("FROM sqlbatch.audit WHERE NOT balanced"))
    lost += len(bench.sql("SELECT custom_id FROM sqlbatch.in_flight"))
    problem = ""
    if rows:
        found = bench.sql(f"SELECT ai_status, ai_error, count(*) FROM {name} GROUP BY ALL")
        statuses: Counter[str] = Counter()
        for status, error, count in found:
            statuses[status] += count
            lost += count if (status == "failed") != (error is not None) else 0
        lost += abs(rows - statuses["answered"] - statuses["failed"])
        lost += 0 if failed is None else max(0, statuses["failed"] - failed)
        if untyped:
            lost += len(bench.sql(f"FROM {name} WHERE ai_status = 'answered' AND response IS DISTINCT FROM text"))
        if failed is not None and statuses["failed"] != failed:
            problem = f"{statuses['failed']} rows failed, not {failed}"
    spool = paths.state_dir(bench.database) / "spool"
    left = bench.leftovers() if spool.exists() else []
    return len(executed), max(twice, 0), lost, problem or (f"left behind: {', '.join(left)}" if left else "")
