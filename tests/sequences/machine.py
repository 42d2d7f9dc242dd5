"""Commands in any order on one database and a real server, against a model of what must hold after each of them."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sqlbatch.cli import main
from tests.batches.bench import HTTP, Bench, empty

if TYPE_CHECKING:
    from tests.faults.ground import Ground

# Two jobs over one table: every third row is asked for by one of them alone, the others by both, as the same requests.
TARGETS = {"one": "n % 3 <> 0", "two": "n % 3 <> 1"}
CODES = {0, 1, 3}
# What a provider may do, each so often and no more, so that a job that is waited for comes to its end.
FAULTS: tuple[dict[str, Any], ...] = (
    {"name": "line_error", "status": 503, "count": 2},
    {"name": "line_error", "status": 400, "code": "too_long", "count": 1},
    {"name": "refusal", "count": 1},
    {"name": "length", "count": 1},
    {"name": "expires", "count": 1},
    {"name": "missing_line", "count": 1},
    {"name": "duplicate_line", "count": 1},
    {"name": "token_limit", "count": 1},
    {"name": "content_502", "count": 2},
    {"name": "cut_silently", "bytes": 700, "count": 1},
    {"name": "lying_counts", "count": 3},
    {"name": "upload_breaks", "bytes": 100, "count": 1},
    {"name": "drop_after", "on": "POST /v1/files", "count": 1},
    {"name": "drop_after", "on": "POST /v1/batches", "count": 1},
    {"name": "drop_before", "on": "POST /v1/batches", "count": 1},
    {"name": "error_after", "on": "POST /v1/batches", "count": 1},
    {"name": "error", "on": "POST /v1/batches", "status": 401, "count": 1},
    {"name": "error", "on": "GET /v1/batches*", "status": 500, "count": 2},
)
_targets = st.sampled_from(sorted(TARGETS))


class Commands(RuleBasedStateMachine):
    """One user's afternoon: the class attribute `ground` is where it is spent."""

    ground: Ground
    _examples = itertools.count(1)

    @initialize(fault=st.none() | st.sampled_from(FAULTS), into=_targets)
    def begin(self, fault: dict[str, Any] | None, into: str) -> None:
        """Make a database with a table of the user's, and ask for it, at a provider that may fail already."""
        self.ground.monkeypatch.chdir(self.ground.folder)
        self.bench: Bench = self.ground.bench()
        self.bench.control.faults()
        self.bench.path.write_bytes(empty())
        # No two examples share a request, for they share the server and its ledger.
        self.example = f"{self.ground.folder.name} {next(self._examples)}"
        self.asked: set[str] = set()
        self.again = False
        self.edited: dict[str, bool] = dict.fromkeys(TARGETS, False)
        self.con = duckdb.connect(str(self.bench.path))
        self.con.execute("SET threads = 1")
        self.con.execute("CREATE TABLE source AS SELECT n, 'row ' || n AS text FROM range(6) r(n)")
        self.begun = True
        if fault is not None:
            self.fault(fault)
        self.enrich(into, "--no-wait", False)

    @rule(into=_targets, how=st.sampled_from(["--no-wait", "--no-wait", "--poll=60"]), fresh=st.booleans())
    def enrich(self, into: str, how: str, fresh: bool) -> None:
        """Ask for all rows of a target."""
        replacing = ["--replace"] if self.edited[into] else []
        self.edited[into] = False
        fresh = fresh and how == "--poll=60"
        self.again = self.again or fresh
        self.run("enrich", *self.ask(into), "--yes", how, *(["--fresh"] if fresh else []), *replacing)

    @rule(into=_targets)
    def plan(self, into: str) -> None:
        """Ask what it would cost; nothing is sent."""
        before = len(self.ledger())
        self.run("plan", *self.ask(into))
        assert len(self.ledger()) == before

    @rule(into=_targets, rows=st.integers(1, 3))
    def preview(self, into: str, rows: int) -> None:
        """Ask for a few rows now."""
        self.run("preview", *self.ask(into), "--yes", f"--rows={rows}")

    @rule()
    def sync(self) -> None:
        """Take one step of every job."""
        self.run("sync")

    @rule(into=_targets, fault=st.sampled_from(FAULTS))
    def both(self, into: str, fault: dict[str, Any]) -> None:
        """Ask for both targets, which share requests, at a provider that fails; see one of them to its end."""
        self.fault(fault)
        for each in TARGETS:
            self.enrich(each, "--no-wait", False)
        self.wait(into)

    @rule(into=_targets)
    def wait(self, into: str) -> None:
        """See a job to its end, and its table with it."""
        code, _ = self.run("wait", into, "--poll=60")
        if code in {0, 3}:
            self.check_table(into, failed=code == 3)

    @rule(into=_targets)
    def retry(self, into: str) -> None:
        """Ask again for what failed: the one way to pay for it twice."""
        self.again = True
        self.run("retry", into, "--yes", "--poll=60")

    @rule(into=_targets)
    def cancel(self, into: str) -> None:
        """Give a job up."""
        self.run("cancel", into, "--poll=60")

    @rule(into=_targets)
    def load(self, into: str) -> None:
        """Write what is there so far."""
        self.run("load", into, *(["--replace"] if self.edited[into] else []))
        # The table of a job whose rows are no longer kept stays as it is.
        self.edited[into] = self.edited[into] and bool(self.sql(f"FROM {into} WHERE response = 'mine'"))

    @rule()
    def prune(self) -> None:
        """Delete what is needed no longer."""
        self.run("prune", "--yes")

    @rule(into=_targets, more=st.sampled_from([[], ["--failures"], ["--json"]]))
    def show(self, into: str, more: list[str]) -> None:
        """Look at a job, and at all of them."""
        self.run("show", into, *more)
        assert self.run("jobs")[0] == 0

    @rule(number=st.integers(0, 8))
    def edit_the_source(self, number: int) -> None:
        """Change a row of the source, or add one."""
        self.con.execute("DELETE FROM source WHERE n = ?", [number])
        self.con.execute("INSERT INTO source VALUES ($n, 'row ' || $n || ' anew')", {"n": number})

    @rule(into=_targets)
    def edit_a_target(self, into: str) -> None:
        """Change a target by hand."""
        if self.exists(into):
            self.con.execute(f"UPDATE {into} SET response = 'mine' WHERE n = (SELECT min(n) FROM {into})")
            self.edited[into] = True

    @rule(into=_targets, point=st.integers(1, 60), command=st.sampled_from(["enrich", "wait", "sync"]))
    def kill(self, into: str, point: int, command: str) -> None:
        """Kill a command in a process of its own at one of its points, or let it end where it has fewer."""
        arguments = {"enrich": ["enrich", *self.ask(into), "--yes", "--no-wait"], "wait": ["wait", into, "--poll=60"]}
        if command == "enrich" and self.edited[into]:
            return
        self.con.close()
        try:
            ended = self.ground.run(self.bench, arguments.get(command, [command]), kill_at=point)
        finally:
            self.con = duckdb.connect(str(self.bench.path))
        assert ended.code in CODES | {-9}, ended
        assert "Traceback" not in ended.said, ended.said
        assert "--debug shows where" not in ended.said, ended.said

    @rule(fault=st.sampled_from(FAULTS))
    def fault(self, fault: dict[str, Any]) -> None:
        """Let the provider fail, in the place of what it did before."""
        self.bench.control.faults(fault)

    @invariant()
    def nothing_is_lost_or_paid_twice(self) -> None:
        """Check the account after every command."""
        if not getattr(self, "begun", False):
            return
        self.bench.check_audit()
        self.asked |= {row[0] for row in self.sql("SELECT custom_id::VARCHAR FROM sqlbatch.requests")}
        times = Counter(custom_id for custom_id in self.ledger() if custom_id in self.asked)
        # A result that was final is paid for once, unless its user has asked again since.
        final = "count(*) FILTER (outcome IN ('answered', 'failed') AND source = 'batch')"
        final = final if self.again else f"least(1, {final})"
        counted = f"count(*) FILTER (outcome IN ('retryable', 'released')) + {final}"
        accounted = dict(self.sql(f"SELECT custom_id::VARCHAR, {counted} FROM sqlbatch.results GROUP BY custom_id"))
        accounted |= {
            row[0]: accounted.get(row[0], 0) + 1
            for row in self.sql("SELECT DISTINCT custom_id::VARCHAR FROM sqlbatch.in_flight")
        }
        twice = {
            each: (count, accounted.get(each, 0)) for each, count in times.items() if count > accounted.get(each, 0)
        }
        assert twice == {}, "executed more often than is accounted for"

    def teardown(self) -> None:
        """See all jobs to their end on a provider that is well, and check their tables."""
        if not getattr(self, "begun", False):
            return
        self.bench.control.faults()
        for into in TARGETS:
            if self.edited[into] or not self.sql("FROM sqlbatch.jobs WHERE target = ? LIMIT 1", into):
                continue
            code, said = self.run("wait", into, "--poll=60")
            if code in {0, 3}:
                self.check_table(into, failed=code == 3)
            else:
                assert "cancelled" in said or "superseded" in said or "blocked" in said, said
        self.nothing_is_lost_or_paid_twice()
        self.con.close()

    def ask(self, into: str) -> list[str]:
        """Return the words of a question, the same for both targets but for the rows."""
        return [
            f"SELECT n, text FROM source WHERE {TARGETS[into]} ORDER BY n", "--input=text", "--model=offline",
            f"--instructions=Repeat the text ({self.example}).", f"--base-url={self.bench.base_url}", f"--into={into}",
        ]  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command here; return its exit code, one of those that are documented, and its words."""
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*arguments, "--db", str(self.bench.path)])
        said = err.getvalue()
        assert code in CODES, (arguments, code, said)
        assert "Traceback" not in said, said
        assert "--debug shows where" not in said, said
        assert code != 1 or "error: " in said, (arguments, said)
        return int(code), said

    def check_table(self, into: str, *, failed: bool) -> None:
        """Check the table of a job that is done: every row its own answer, or a reason."""
        if not self.exists(into) or self.edited[into]:
            return
        rows = self.sql(f"SELECT text, response, ai_status, ai_error FROM {into}")
        assert {status for _, _, status, _ in rows} <= ({"answered", "failed"} if failed else {"answered"}), rows
        assert [
            row for row in rows if (row[2] == "answered" and row[1] != row[0]) or (row[2] == "failed" and not row[3])
        ] == []

    def exists(self, table: str) -> bool:
        """Whether a table is there."""
        return bool(self.sql("FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = ?", table))

    def sql(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.con.cursor().execute(sql, params).fetchall()

    def ledger(self) -> list[str]:
        """Return what the provider has executed for batches of any example."""
        url = self.bench.base_url.removesuffix("/v1")
        return [each["custom_id"] for each in HTTP.get(f"{url}/control/ledger").json()["data"]]
