"""Each command killed at each of its points in turn, started again, and compared with the provider's ledger."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.db.database import Database

from .ground import Ground, Row, account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.batches.bench import Bench

    from .child import Ended

ROWS = 4
# So many rows go into one batch, so that a command meets batches that are at different places.
LIMITS = {"max_requests": 2}
# The steps that another computer can see. Where a state is mirrored, what a killed process has written to its own disk
# only is the same for the next one as if it had not: it starts from the shared copy and from what is at the provider.
_SHARED = re.compile(r"POST|DELETE|the (copy|lease) is made|the state is restored")
# A job is judged by its first two results.
FAILING = {**LIMITS, "first_results": 2}
_RETIRED = {"name": "model_retired"}
_KEY_REFUSED = {"name": "error", "on": "GET /v1/batches/*", "status": 401, "code": "invalid_api_key", "count": 4}
# The name of a result file that a person has fetched, in the ground's folder.
FETCHED = "fetched.jsonl"
# The name of the first target that nobody has named.
UNNAMED = "enriched_1"
_STUCK = {"name": "stuck_in_progress"}
_LOST = {"name": "drop_after", "on": "POST /v1/batches", "count": 1}
_NEVER_MADE = {"name": "drop_before", "on": "POST /v1/batches", "count": 1}
_REFUSED = {"name": "error", "on": "POST /v1/batches", "status": 429, "code": "rate_limit_exceeded", "count": 1}
_NO_MODEL = {"name": "error", "on": "POST /v1/batches", "status": 404, "code": "model_not_found", "skip": 1}
_UPLOAD_BROKEN = {"name": "upload_breaks", "bytes": 100, "count": 1}


@dataclass(frozen=True)
class Scenario:
    """A command, what stands before it, and what acts up meanwhile; `again` starts the killed process again."""

    name: str
    command: list[str]
    prepare: Callable[[Ground, Bench], None]
    again: Callable[[Ground, Bench], str]
    faults: tuple[dict[str, Any], ...] = ()
    retried: int = 0
    cancels: bool = False
    limits: dict[str, int] = field(default_factory=lambda: LIMITS)
    into: str = "answers"
    # How many rows fail in the end (None: it depends on the point), and the exit code that says so.
    failed: int | None = 0
    # Whether the command ends with an error, for the job waits for its user.
    blocked: bool = False


def enrich(bench: Bench, into: str = "answers") -> list[str]:
    """Return the arguments of an `enrich` whose every answer repeats its row's text, which no other job has."""
    own = bench.path.parent.name
    query = f"SELECT n, '{own} row ' || n AS text FROM range({ROWS}) r(n)"
    named = ["--into", into] if into != UNNAMED else []
    return [
        "enrich", query, "--input", "text", "--instructions", "Repeat the text.", "--model", "offline",
        "--base-url", bench.base_url, *named, "--yes", "--poll", "60",
    ]  # fmt: skip


def begun(bench: Bench) -> bool:
    """Whether a job is committed; if not, nothing may have been sent."""
    if not bench.path.exists():
        return False
    with duckdb.connect(str(bench.path)) as con:
        tables = con.execute("FROM duckdb_tables() WHERE schema_name = 'sqlbatch' AND table_name = 'jobs'").fetchall()
        return bool(tables and con.execute("FROM sqlbatch.jobs").fetchall())


def _nothing(_: Ground, __: Bench) -> None:
    """Stand before a database that is not there yet."""


def _sent(ground: Ground, bench: Bench) -> None:
    """Begin a job and submit it, as `enrich --no-wait` does."""
    right(ground.run(bench, [*enrich(bench), "--no-wait"], limits=LIMITS))


def _begun_only(ground: Ground, bench: Bench) -> None:
    """Begin a job of which nothing is sent yet: its process died right after the commit that begins it."""
    ended = ground.run(bench, enrich(bench), limits=LIMITS, kill_at="after the commit of compile.store_asks")
    assert ended.code == -9, "the commit that begins a job has another name now"
    assert begun(bench)


def _planned_only(ground: Ground, bench: Bench) -> None:
    """Begin a job whose batches are planned, and nothing of it is sent."""
    ended = ground.run(bench, enrich(bench), limits=LIMITS, kill_at="after the commit of plan.manifest")
    assert ended.code == -9, "the commit that plans batches has another name now"


def _ended(ground: Ground, bench: Bench) -> None:
    _sent(ground, bench)
    bench.control.until_ended()


def _failed(ground: Ground, bench: Bench) -> None:
    """Finish a job of which one batch's rows were refused."""
    bench.control.faults({"name": "refusal", "count": 1})
    ended = ground.run(bench, enrich(bench), limits=LIMITS)
    assert ended.code == 3, ended
    bench.control.faults()


def _half_stuck(ground: Ground, bench: Bench) -> None:
    """Submit a job of which one batch ends at once and the other never."""
    bench.control.faults({**_STUCK, "skip": 1})
    _sent(ground, bench)


def _before_join(ground: Ground, bench: Bench) -> None:
    """Stand before the final join: all results are in, and the process died before it wrote the target."""
    _ended(ground, bench)
    ended = ground.run(bench, ["wait", "--poll", "60"], limits=LIMITS, kill_at="before the commit of jobs.finish")
    assert ended.code == -9, ended


def _create_left(ground: Ground, bench: Bench) -> None:
    """Leave a create behind whose outcome nobody knows: its process died right after it was sent."""
    ended = ground.run(bench, enrich(bench), limits=LIMITS, kill_at="after POST /v1/batches")
    assert ended.code == -9, ended


def _upload_left(ground: Ground, bench: Bench) -> None:
    """Leave an upload behind: its process died before the create, and holds a lease."""
    ended = ground.run(bench, enrich(bench), limits=LIMITS, kill_at="after POST /v1/files")
    assert ended.code == -9, ended


def _first_refused(ground: Ground, bench: Bench) -> None:
    """Load a first batch, all refused; the second could not be made, and the job waits for its user."""
    bench.control.faults({"name": "refusal"}, {**_REFUSED, "count": 100, "skip": 1})
    ended = ground.run(bench, enrich(bench), limits=FAILING)
    assert ended.code == 1, ended
    assert "--keep-going" in ended.said, ended
    bench.control.faults()


def _keep_going(ground: Ground, bench: Bench) -> str:
    """Say that it goes on, again."""
    right(ground.run(bench, ["wait", "--keep-going", "--poll", "60"], limits=FAILING), failed=None)
    return "killed; wait --keep-going"


def _keep_going_or_enrich(ground: Ground, bench: Bench) -> str:
    """Say that it goes on; where no job was begun yet, enrich again."""
    if begun(bench):
        return _keep_going(ground, bench)
    return _wait_refused(ground, bench)


def _wait_refused(ground: Ground, bench: Bench) -> str:
    """Start again where the provider takes no line; what it has not refused yet it takes now."""
    command = ["wait", "--poll", "60"] if begun(bench) else enrich(bench)
    right(ground.run(bench, command, limits=LIMITS), failed=None)
    return "killed; wait" if command[0] == "wait" else "killed before there was a job; enrich again"


def _wait_unnamed(ground: Ground, bench: Bench) -> str:
    """Start again; where no job was begun yet, with the same `enrich`."""
    command = ["wait", "--poll", "60"] if begun(bench) else enrich(bench, UNNAMED)
    right(ground.run(bench, command, limits=LIMITS))
    return "killed; wait" if command[0] == "wait" else "killed before there was a job; enrich again"


def _wait(ground: Ground, bench: Bench) -> str:
    """Start again with `wait`; where no job was begun yet, with the same `enrich`."""
    if begun(bench):
        right(ground.run(bench, ["wait", "--poll", "60"], limits=LIMITS))
        return "killed; wait"
    right(ground.run(bench, enrich(bench), limits=LIMITS))
    return "killed before there was a job; enrich again"


def _wait_and_retry(ground: Ground, bench: Bench) -> str:
    """Start again with `wait`; where the retry was not committed, the rows are still failed and `retry` asks again."""
    ended = ground.run(bench, ["wait", "--poll", "60"], limits=LIMITS)
    if ended.code == 3:
        right(ground.run(bench, ["retry", "--yes", "--poll", "60"], limits=LIMITS))
        return "killed before it was noted; retry again"
    right(ended)
    return "killed; wait"


def _fetched(ground: Ground, bench: Bench) -> None:
    """Fetch by hand what a batch has brought; the other is at work still."""
    _half_stuck(ground, bench)
    bench.control.until_ended(1)
    ours = {row[0] for row in bench.sql("SELECT provider_id FROM sqlbatch.batches")}
    ended = next(one for one in bench.control.batches() if one["id"] in ours and one["output_file_id"])
    strange = b'{"custom_id":"stranger","response":{"status_code":200,"body":{}}}\n'
    (ground.folder / FETCHED).write_bytes(bench.control.content(ended["output_file_id"]) + strange)


def _load_again(ground: Ground, bench: Bench) -> str:
    """Load the file again, then wait for the rest."""
    right(ground.run(bench, ["load", "answers", FETCHED], limits=LIMITS))
    right(ground.run(bench, ["wait", "--poll", "60"], limits=LIMITS))
    return "killed; load again, then wait"


def _cancel_again(ground: Ground, bench: Bench) -> str:
    """Cancel again, then ask for the same anew: what was answered by then is kept and not paid again."""
    right(ground.run(bench, ["cancel", "1", "--poll", "60"], limits=LIMITS))
    hold_leases = {"validating", "in_progress", "finalizing", "cancelling"}
    ours = {row[0] for row in bench.sql("SELECT provider_id FROM sqlbatch.batches")}
    running = [one for one in bench.control.batches() if one["id"] in ours and one["status"] in hold_leases]
    assert not running, "the cancel left a batch at work"
    assert bench.sql("SELECT status FROM sqlbatch.job_status") == [("cancelled",)]
    assert bench.sql("FROM sqlbatch.in_flight") == []
    right(ground.run(bench, enrich(bench), limits=LIMITS))
    return "killed; cancel again, then enrich"


SCENARIOS = [
    Scenario("enrich", ["enrich"], _nothing, _wait),
    Scenario("enrich, a create's reply lost", ["enrich"], _nothing, _wait, (_LOST,)),
    Scenario("enrich, a create never made", ["enrich"], _nothing, _wait, (_NEVER_MADE,)),
    Scenario("enrich, a create refused", ["enrich"], _nothing, _wait, (_REFUSED,)),
    Scenario("enrich, a create refused for good", ["enrich"], _nothing, _wait, (_NO_MODEL,), blocked=True),
    Scenario("enrich, an upload broken", ["enrich"], _nothing, _wait, (_UPLOAD_BROKEN,)),
    Scenario("enrich, the queue limit reached", ["enrich"], _nothing, _wait, ({"name": "token_limit", "count": 1},)),
    Scenario("enrich, a target without a name", ["enrich"], _nothing, _wait_unnamed, into=UNNAMED),
    Scenario("enrich, its lines refused", ["enrich"], _nothing, _wait_refused, (_RETIRED,), failed=None),
    Scenario("enrich, asleep past its lease", ["enrich"], _nothing, _wait, limits={**LIMITS, "sleeps": 1}),
    Scenario(
        "enrich, its first results of no use",
        ["enrich"],
        _nothing,
        _keep_going_or_enrich,
        ({"name": "refusal"}, {**_REFUSED, "count": 100, "skip": 1}),
        limits=FAILING,
        failed=None,
        blocked=True,
    ),
    Scenario(
        "wait --keep-going",
        ["wait", "--keep-going", "--poll", "60"],
        _first_refused,
        _keep_going,
        limits=FAILING,
        failed=2,
    ),
    Scenario("wait, a create left behind", ["wait", "--poll", "60"], _create_left, _wait),
    Scenario("wait, an upload left behind", ["wait", "--poll", "60"], _upload_left, _wait),
    Scenario("wait, the key refused for a while", ["wait", "--poll", "60"], _sent, _wait, (_KEY_REFUSED,)),
    Scenario("sync, a job just begun", ["sync"], _begun_only, _wait),
    Scenario("sync, its batches ended", ["sync"], _ended, _wait),
    Scenario("wait", ["wait", "--poll", "60"], _sent, _wait),
    Scenario("retry", ["retry", "--yes", "--poll", "60"], _failed, _wait_and_retry, retried=1),
    Scenario("load, a file fetched by hand", ["load", "answers", FETCHED], _fetched, _load_again),
    Scenario("cancel", ["cancel", "1", "--poll", "60"], _half_stuck, _cancel_again, cancels=True),
    Scenario("cancel, nothing sent yet", ["cancel", "1", "--poll", "60"], _planned_only, _cancel_again, cancels=True),
    Scenario("the final join", ["wait", "--poll", "60"], _before_join, _wait),
]


def right(ended: Ended, *, failed: int | None = 0) -> None:
    """Check that a process ended as it should: where rows may fail (None) or shall, its exit code says so."""
    codes = {0} if failed == 0 else {3} if failed else {0, 3}
    assert ended.code in codes, f"exit code {ended.code}: {ended.said.strip().splitlines()[-1:]}"


def crashes(ground: Ground, scenario: Scenario, every: int = 1) -> Iterator[Row]:
    """Kill a scenario's process at each of its points in turn; the list of points is what a run of it passes.

    What a run passes that nothing disturbs is taken in the scenario of that alone, the rest with the disturbance. With
    `every` only each so-many-th point is taken.
    """
    told = _attempt(ground, scenario, None)
    varied = scenario.command == ["enrich"] and scenario is not SCENARIOS[0]
    undisturbed = _undisturbed(ground) if varied else []
    if isinstance(told, Row) or isinstance(undisturbed, Row):
        yield from (row for row in (told, undisturbed) if isinstance(row, Row))
        return
    points = [point for point in told if point not in undisturbed and (not ground.mirrored or _SHARED.search(point))]
    # Each scenario begins at another place, so that not only the first points of all are taken.
    first = zlib.crc32(scenario.name.encode()) % min(every, len(points)) if points else 0
    for point in points[first::every]:
        row = _attempt(ground, scenario, point)
        assert isinstance(row, Row)
        yield row


def _undisturbed(ground: Ground) -> Row | list[str]:
    """Return the points of an `enrich` that nothing disturbs, listed once for a ground."""
    if not ground.undisturbed:
        told = _attempt(ground, SCENARIOS[0], None)
        if isinstance(told, Row):
            return told
        ground.undisturbed.extend(told)
    return ground.undisturbed


def _attempt(ground: Ground, scenario: Scenario, point: str | None) -> Row | list[str]:
    """Kill at one point, start again, and account; without a point return the points that a run passes."""
    bench = ground.bench()
    name = f"{scenario.name}: {point or 'not killed'}"
    try:
        scenario.prepare(ground, bench)
        # A batch that is stuck stays so while its rule is there.
        kept = [{**_STUCK, "skip": 1, "on": one} for one in _stuck(bench)] if scenario.cancels else []
        bench.control.faults(*scenario.faults, *kept)
        command = enrich(bench, scenario.into) if scenario.command == ["enrich"] else scenario.command
        ended = ground.run(bench, command, limits=scenario.limits, kill_at=point)
        if point is None:
            if not scenario.blocked:
                right(ended, failed=scenario.failed)
            return list(ended.points)
        bench.control.faults()
        done = scenario.again(ground, bench) if ended.code == -9 else "it did not come by this point"
        if ended.code != -9:
            scenario.again(ground, bench)
        problem = "" if Database(bench.path).exists() else "no database"
        executed, twice, lost, wrong = account(
            bench, ROWS, scenario.into, failed=scenario.failed, retried=scenario.retried
        )
        return Row(name, done, executed, twice, lost, problem or wrong)
    except AssertionError as error:
        return Row(name, "killed", 0, 0, 0, str(error).partition("\n")[0])
    finally:
        bench.control.faults()


def _stuck(bench: Bench) -> list[str]:
    ours = {row[0] for row in bench.sql("SELECT provider_id FROM sqlbatch.batches")}
    return [one["id"] for one in bench.control.batches() if one["id"] in ours and one["status"] == "in_progress"]
