"""What the tests of the answering layer work with: a server that can be told to fail, a database, and the library."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from sqlbatch import paths, prepare, run
from sqlbatch.batches.events import Loaded, Notice, Packed, Submitted, Waiting
from sqlbatch.batches.providers import KNOWN, Provider
from sqlbatch.db import jobs
from sqlbatch.db.database import Database
from sqlbatch.db.session import Session
from sqlbatch.query.enrichment import CHAT, Enrichment

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from sqlbatch.batches.events import Event
    from sqlbatch.db.jobs import JobRow

KEY = "sk-test-0123456789abcdef"
# How fast the clock of leases, graces and pauses runs in most tests: a grace of 15 minutes passes in 0.4 seconds.
SPEED = "2400"
# Real seconds that a lease lasts in the tests, far longer than any step of theirs; a test of its end moves the clock.
LEASE = 60.0
# One client for all that tests ask of servers of ours: to make one takes longer than to ask.
HTTP = httpx2.Client(verify=False, trust_env=False)
# Steps after which a job that does not end is a mistake.
PATIENCE = 4_000


_KNOWN: dict[Path, Database] = {}


@dataclass
class Bench:
    """One server, one database file and one provider; every request's text is its row's own."""

    base_url: str
    path: Path
    provider: Provider
    monkeypatch: pytest.MonkeyPatch
    events: list[Event] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database as a new process would open it."""
        return Database(self.path)

    @property
    def _known(self) -> Database:
        """The database as who has opened it before does: what is only looked at need not bring it up to date."""
        return _KNOWN.setdefault(self.path, self.database)

    def within(self, **limits: Any) -> Bench:
        """Return the same bench with a provider of other limits, which a job finds again by the provider's name."""
        self.monkeypatch.setitem(KNOWN, "openai", replace(KNOWN["openai"], **limits))
        return replace(self, provider=replace(self.provider, **limits), events=[])

    def begin(self, rows: int | str, into: str = "answers", **more: Any) -> int:
        """Begin a job over so many rows (or those of a query with a column `text`), and return its number."""
        enrichment, options = self.ask(rows, **more)
        with prepare.prepared(self.database, enrichment, self.provider, into, **options) as prepared:
            return prepare.start(self.database, prepared)

    def ask(self, rows: int | str, **more: Any) -> tuple[Enrichment, dict[str, Any]]:
        """Return an enrichment, and the options that `prepare.prepared` takes."""
        query = numbered(rows) if isinstance(rows, int) else rows
        asked: dict[str, Any] = {
            "query": query,
            "returns": "",
            "prompt": None,
            "instructions": "Repeat the text.",
            "inputs": ("text",),
            "endpoint": CHAT,
            "model": "offline",
            "params": (),
            "provider": self.provider.name,
            "base_url": self.provider.base_url,
            "limit": None,
            "images": (),
            "folder": None,
            "confidence": False,
            "logprobs": False,
        }
        asked |= {name: more.pop(name) for name in list(more) if name in asked}
        return Enrichment(**asked), more

    def wait(self, job_id: int, poll: float | None = None, *, keep_going: bool = False) -> list[Event]:
        """Do steps until the job ends; return what happened."""
        self.events = []
        for event in self._steps(job_id, once=False, poll=poll, keep_going=keep_going):
            self.events.append(event)
            assert len(self.events) < PATIENCE, self.events[-5:]
        return self.events

    def blocks_of_a_step(self, job_id: int) -> list[str]:
        """Take one step, and return the names of the SQL blocks that it ran."""
        ran: list[str] = []
        real = Session.run

        def told(session: Session, name: str, /, *more: Any, **places: str) -> list[tuple[Any, ...]]:
            ran.append(name)
            return real(session, name, *more, **places)

        append = Session.append_results

        def appended(session: Session, name: str, /, *more: Any, **places: str) -> None:
            ran.append(name)
            append(session, name, *more, **places)

        with self.monkeypatch.context() as patch:
            patch.setattr(Session, "run", told)
            patch.setattr(Session, "append_results", appended)
            self.sync(job_id)
        return ran

    def sync(self, job_id: int) -> list[Event]:
        """Do one step; return what happened."""
        self.events = []
        for event in self._steps(job_id, once=True, poll=None):
            self.events.append(event)
        return self.events

    def enrich(self, rows: int | str, into: str = "answers", **more: Any) -> int:
        """Begin a job and see it to its end."""
        job_id = self.begin(rows, into, **more)
        self.wait(job_id)
        return job_id

    def until_ended(self, job_id: int) -> None:
        """Do single steps until every batch of the job has ended at the provider and none is loaded yet."""
        self.sync(job_id)
        self.control.until_ended()

    def job(self, job_id: int) -> JobRow:
        """Return a job as it stands."""
        return self._known.read(lambda session: jobs.find(session, str(job_id)))

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of any SQL on the database."""
        return self._known.read(lambda session: session.sql(sql))

    def target(self, name: str = "answers") -> list[tuple[Any, ...]]:
        """Return text, response, status and error of each row of a target, in its order."""
        return self.sql(f"SELECT text, response, ai_status, ai_error FROM {name}")

    def outcomes(self) -> list[tuple[str, str | None, int]]:
        """Return how many results there are of each outcome and code."""
        return self.sql("SELECT outcome, code, count(*) FROM sqlbatch.results GROUP BY ALL ORDER BY ALL")

    def of_state(self, state: str) -> int:
        """Return how many batches have a state."""
        return int(self.sql(f"SELECT count(*) FROM sqlbatch.batches WHERE state = '{state}'")[0][0])

    def of(self, *kinds: type[Event]) -> list[Any]:
        """Return the last run's events of some kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def held(self) -> str:
        """Why the last run waited, all reasons as one text."""
        return "\n".join(event.reason for event in self.of(Waiting))

    @property
    def submitted(self) -> list[Submitted]:
        """The batches that the last run submitted."""
        return self.of(Submitted)

    @property
    def loaded(self) -> list[Loaded]:
        """The batches that the last run loaded."""
        return self.of(Loaded)

    @property
    def packed(self) -> list[Packed]:
        """What the last run planned."""
        return self.of(Packed)

    @property
    def notes(self) -> str:
        """What the last run noted, as one text."""
        return "\n".join(event.message for event in self.of(Notice))

    @property
    def control(self) -> Control:
        """The server's control endpoint."""
        return Control(self.base_url)

    def check(self, rows: int, *, once: bool = True, name: str = "answers") -> None:
        """Check that every row of a target has its own answer, each request ran once, and all is accounted for."""
        found = self.target(name)
        assert len(found) == rows
        assert [(status, error) for _, _, status, error in found] == [("answered", None)] * rows
        # The offline model repeats a short text: an answer that stands beside another row's text is seen at once.
        assert [text for text, answer, _, _ in found if answer != text] == []
        self.check_audit()
        if once:
            assert self.control.executed_twice() == []

    def check_audit(self) -> None:
        """Check that nothing is missing: every batch balanced, no request in two live manifests, no orphan left."""
        assert self.sql("FROM sqlbatch.audit WHERE NOT balanced") == []
        doubled = "SELECT custom_id FROM sqlbatch.in_flight GROUP BY custom_id HAVING count(*) > 1"
        assert self.sql(doubled) == []

    def leftovers(self) -> list[str]:
        """Return what lies in the spool, and beside the database file what is not its own."""
        home = paths.state_dir(self.database)
        spool = [path.name for path in (home / "spool").iterdir()] if (home / "spool").exists() else []
        beside = [path.name for path in self.path.parent.iterdir() if path.name.startswith(".sqlbatch-")]
        return spool + beside

    def _steps(self, job_id: int, *, once: bool, poll: float | None, keep_going: bool = False) -> Iterator[Event]:
        yield from run.run_job(self.database, job_id, once=once, poll=poll, keep_going=keep_going)


class Control:
    """The control endpoint of a server with faults, and its API where the tests look behind our own."""

    def __init__(self, base_url: str) -> None:
        self._api = base_url
        self._url = base_url.removesuffix("/v1") + "/control"

    def faults(self, *rules: dict[str, Any]) -> None:
        """Act out these failures and no others."""
        HTTP.put(f"{self._url}/faults", json={"fault": list(rules)}).raise_for_status()

    def fired(self) -> int:
        """Return how often any failure has happened."""
        return sum(rule["fired"] for rule in HTTP.get(f"{self._url}/faults").json()["fault"])

    def ledger(self) -> list[str]:
        """Return the custom_ids of the executed requests, in their order."""
        return [entry["custom_id"] for entry in HTTP.get(f"{self._url}/ledger").json()["data"]]

    def executed_twice(self) -> list[str]:
        """Return the custom_ids that were executed, and paid, more than once."""
        ledger = self.ledger()
        return [custom_id for custom_id in set(ledger) if ledger.count(custom_id) > 1]

    def calls(self, method: str, path: str) -> int:
        """Return how many HTTP requests the server has seen at a place (a path's beginning)."""
        found = HTTP.get(f"{self._url}/requests").json()["data"]
        return sum(one["method"] == method and one["path"].startswith(path) for one in found)

    def batches(self) -> list[dict[str, Any]]:
        """Return the provider's batches, newest first."""
        found: list[dict[str, Any]] = HTTP.get(f"{self._api}/batches", params={"limit": 100}).json()["data"]
        return found

    def files(self, purpose: str = "batch") -> list[dict[str, Any]]:
        """Return the provider's files of a purpose."""
        found: list[dict[str, Any]] = HTTP.get(f"{self._api}/files", params={"purpose": purpose}).json()["data"]
        return found

    def until_ended(self, but: int = 0) -> None:
        """Look until no batch is at work any more, `but` so many."""
        ends = {"completed", "failed", "expired", "cancelled"}
        for _ in range(3_000):
            if sum(batch["status"].lower() not in ends for batch in self.batches()) <= but:
                return
            time.sleep(0.005)
        raise AssertionError("the batches do not end")

    def lines(self, file_id: str) -> list[dict[str, Any]]:
        """Return the lines of a file at the provider."""
        return [json.loads(line) for line in self.content(file_id).split(b"\n") if line]

    def content(self, file_id: str) -> bytes:
        """Return a file at the provider as it is."""
        return HTTP.get(f"{self._api}/files/{file_id}/content").content


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDK ask again at once: it waits in real seconds, whatever the speed of our clock."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@functools.cache
def empty() -> bytes:
    """Return a database file of ours without a job, which is quicker to copy than to make."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.duckdb"
        with Database(path).session():
            pass
        return path.read_bytes()


def numbered(rows: int, first: int = 0) -> str:
    """Return a query of so many rows, each with a text of its own."""
    return f"SELECT n, 'row ' || n AS text FROM range({first}, {first + rows}) r(n)"
