"""A request is its content, and an answer stands beside its own row."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from sqlbatch import clock, job_actions, paths, run
from sqlbatch.batches.events import Transferring
from sqlbatch.db import open_file
from sqlbatch.errors import JobError

from .bench import numbered

if TYPE_CHECKING:
    from pathlib import Path

    from .bench import Bench


def shuffle(path: Path, seed: int) -> None:
    """Put the lines of a file into another order."""
    lines = path.read_bytes().splitlines(keepends=True)
    random.Random(seed).shuffle(lines)  # noqa: S311 (repeatable on purpose)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_answer_stands_beside_its_own_row_whatever_the_order_of_the_lines(bench: Bench, seed: int) -> None:
    bench = bench.within(max_requests=70)
    job_id = bench.begin(200)
    bench.until_ended(job_id)
    for batch in bench.control.batches():
        shuffle(bench.path.parent.parent / "provider" / "files" / batch["output_file_id"], seed)
    bench.wait(job_id)
    bench.check(200)


def test_answers_in_the_output_file_and_failures_in_the_error_file_come_together(bench: Bench) -> None:
    bench.control.faults({"name": "line_error", "status": 400, "share": 0.3, "code": "too_long", "message": "No."})
    bench.enrich(60)
    found = bench.target()
    failed = [row for row in found if row[2] == "failed"]
    assert 0 < len(failed) < 60
    assert all(row[1] is None and row[3] == "too_long: No." for row in failed)
    assert all(row[0] == row[1] for row in found if row[2] == "answered")
    assert [row[0] for row in found] == [f"row {n}" for n in range(60)]
    bench.check_audit()


def test_a_second_run_sends_nothing_and_uploads_nothing(bench: Bench) -> None:
    bench.enrich(20)
    calls = bench.control.calls("POST", "/v1/")
    files = bench.control.files()
    bench.enrich(20)
    assert not bench.packed
    assert bench.control.calls("POST", "/v1/") == calls
    assert bench.control.files() == files
    bench.check(20)


def test_a_run_that_needs_nothing_needs_no_provider(bench: Bench) -> None:
    bench.enrich(20)
    bench.control.faults({"name": "error", "status": 401, "code": "invalid_api_key"})
    bench.enrich(numbered(5, first=10), into="again")
    assert len(bench.target("again")) == 5


def test_ten_new_rows_send_ten_requests(bench: Bench) -> None:
    bench.enrich(20)
    bench.enrich(30)
    assert [event.requests for event in bench.packed] == [10]
    bench.check(30)
    assert len(bench.control.ledger()) == 30


def test_a_changed_prompt_sends_all(bench: Bench) -> None:
    bench.enrich(20)
    bench.enrich(20, instructions="Repeat the text once more.")
    assert [event.requests for event in bench.packed] == [20]
    bench.check(20)
    assert len(bench.control.ledger()) == 40


def test_another_parameter_or_another_column_sends_all(bench: Bench) -> None:
    bench.enrich(5)
    bench.enrich(5, params=(("temperature", "0"),))
    assert [event.requests for event in bench.packed] == [5]
    bench.enrich(5, into="typed", returns="summary VARCHAR")
    assert [event.requests for event in bench.packed] == [5]


def test_equal_rows_share_one_request(bench: Bench) -> None:
    bench.enrich("SELECT n, 'row ' || n % 7 AS text FROM range(100) r(n)")
    assert [event.requests for event in bench.packed] == [7]
    bench.check(100)
    assert len(bench.control.ledger()) == 7


def test_fresh_asks_again(bench: Bench) -> None:
    bench.enrich(5)
    bench.enrich(5, fresh=True)
    assert [event.requests for event in bench.packed] == [5]
    bench.check(5, once=False)
    assert len(bench.control.ledger()) == 10


def test_the_input_file_has_the_size_that_was_planned_and_the_manifest_is_contiguous(bench: Bench) -> None:
    bench = bench.within(max_requests=40)
    bench.enrich(100)
    planned = dict(bench.sql("SELECT 'sqlbatch-' || batch_id || '.jsonl', bytes FROM sqlbatch.batches"))
    assert {file["filename"]: file["bytes"] for file in bench.control.files()} == planned
    spans = bench.sql(
        "SELECT max(seq) - min(seq) + 1, count(*) FROM sqlbatch.batch_requests GROUP BY batch_id ORDER BY min(seq)"
    )
    assert spans == [(40, 40), (40, 40), (20, 20)]
    for file in bench.control.files():
        lines = bench.control.lines(file["id"])
        assert all(line["url"] == "/v1/chat/completions" and line["body"]["model"] == "offline" for line in lines)


def test_what_another_job_has_in_flight_is_waited_for(bench: Bench) -> None:
    first = bench.begin(20, "one")
    bench.sync(first)
    second = bench.begin(30, "two")
    bench.wait(second)
    assert [event.requests for event in bench.packed] == [10]
    bench.check(30, name="two")
    bench.wait(first)
    assert not bench.packed
    bench.check(20, name="one")
    assert len(bench.control.ledger()) == 30


def test_what_another_job_only_planned_is_sent_by_the_one_that_needs_it(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": "POST /v1/files", "status": 503})
    first = bench.begin(20, "one")
    bench.sync(first)
    bench.control.faults()
    second = bench.begin(20, "two")
    bench.wait(second)
    assert not bench.packed
    bench.check(20, name="two")


def test_two_threads_at_once_never_send_a_request_twice(cold_bench: Bench) -> None:
    bench = cold_bench.within(max_requests=20)
    job_ids = [bench.begin(40, "one"), bench.begin(60, "two"), bench.begin(60, "three")]
    gate = threading.Barrier(len(job_ids))
    problems: list[BaseException] = []

    def follow(job_id: int) -> None:
        try:
            gate.wait(10)
            for _ in run.run_job(bench.database, job_id):
                pass
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            problems.append(error)

    threads = [threading.Thread(target=follow, args=(job_id,)) for job_id in job_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    for name, rows in (("one", 40), ("two", 60), ("three", 60)):
        bench.check(rows, name=name)
    assert len(bench.control.ledger()) == 60


def test_two_waits_for_one_job_both_end_well(cold_bench: Bench) -> None:
    bench = cold_bench.within(max_requests=5)
    job_id = bench.begin(30)
    problems: list[BaseException] = []

    def follow() -> None:
        try:
            for _ in run.run_job(bench.database, job_id):
                pass
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            problems.append(error)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    bench.check(30)


def test_load_gives_what_is_there_and_the_rest_is_pending(bench: Bench) -> None:
    bench = bench.within(max_requests=10)
    job_id = bench.begin(30)
    bench.control.faults({"name": "error", "on": "POST /v1/batches", "status": 429, "skip": 1})
    bench.sync(job_id)
    bench.control.until_ended()
    bench.sync(job_id)
    joined = job_actions.load(bench.database, job_id)
    assert (joined.answered, joined.pending) == (10, 20)
    found = bench.target()
    assert len(found) == 30
    assert all((answer == text) == (status == "answered") for text, answer, status, _ in found)
    bench.control.faults()
    bench.wait(job_id)
    bench.check(30)


def test_a_job_goes_on_step_by_step(bench: Bench) -> None:
    job_id = bench.begin(20)
    bench.sync(job_id)
    assert len(bench.submitted) == 1
    bench.control.until_ended()
    bench.sync(job_id)
    assert bench.job(job_id).status == "done"
    bench.check(20)
    assert bench.sync(job_id) == []


def test_a_superseded_job_leaves_the_target_alone(bench: Bench) -> None:
    first = bench.begin(20)
    bench.sync(first)
    second = bench.begin(25)
    assert bench.job(first).status == "superseded"
    bench.wait(first)
    assert not bench.packed
    assert bench.sql("FROM duckdb_tables() WHERE table_name = 'answers'") == []
    with pytest.raises(JobError, match=f"job {second} is the newest"):
        job_actions.load(bench.database, first)
    bench.wait(second)
    bench.check(25)


def test_a_table_that_somebody_else_made_meanwhile_is_not_replaced_until_the_user_says_so(bench: Bench) -> None:
    job_id = bench.begin(20)
    bench.sync(job_id)
    bench.sql("CREATE TABLE answers AS SELECT 42 AS precious")
    with pytest.raises(JobError, match=f"sqlbatch load {job_id}"):
        bench.wait(job_id)
    assert bench.sql("FROM answers") == [(42,)]
    job = bench.job(job_id)
    assert job.status == "done"
    assert "--replace" in str(job.error)
    with pytest.raises(Exception, match="did not make"):
        job_actions.load(bench.database, job_id)
    job_actions.load(bench.database, job_id, replacing=True)
    bench.check(20)
    assert bench.job(job_id).error is None
    # The rows were kept for this, and are not needed any more.
    assert bench.sql("FROM duckdb_tables() WHERE table_name LIKE 'rows\\_%' ESCAPE '\\'") == []


def test_nothing_is_left_in_the_spool(bench: Bench) -> None:
    bench = bench.within(max_requests=10)
    bench.control.faults({"name": "error", "on": "POST /v1/batches", "status": 429, "count": 2})
    bench.enrich(30)
    bench.check(30)
    assert bench.leftovers() == []
    assert (paths.state_dir(bench.database) / "spool").stat().st_mode & 0o777 == 0o700


def test_the_file_is_closed_at_every_call_and_every_event_and_opened_no_oftener(
    cold_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions between two calls share one opening, which takes longer than most of them; nobody waits with it open."""
    opened, told, waiting = [], [], []
    real_open, real_call, real_sleep = open_file.open_newest, httpx2.HTTPTransport.handle_request, clock.sleep

    def opening(path: Path) -> Any:
        opened.append(path)
        return real_open(path)

    def waits(where: str) -> None:
        told.append(where)
        if open_file.is_open_here(cold_bench.path):
            waiting.append(where)

    def calling(transport: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        waits(f"{request.method} {request.url.path}")
        return real_call(transport, request)

    def sleeping(seconds: float) -> None:
        waits("a pause")
        real_sleep(seconds)

    monkeypatch.setattr(open_file, "open_newest", opening)
    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", calling)
    monkeypatch.setattr(clock, "sleep", sleeping)
    job_id = cold_bench.begin(3)
    for event in run.run_job(cold_bench.database, job_id):
        # While files are on their way, threads note in the database how far they are.
        if not isinstance(event, Transferring):
            waits(str(event))
    assert not waiting
    # Each session of its own would be four times as many.
    assert len(opened) <= len(told) + 3
