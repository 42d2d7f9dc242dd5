"""A batch is created once: what was made and not heard of is adopted, what was not is fenced before it is sent anew."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import clock, paths
from sqlbatch.batches import replies, submit
from sqlbatch.batches.adopt import _look_through
from sqlbatch.batches.client import BatchAPI
from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import jobs
from sqlbatch.db.session import Session
from sqlbatch.errors import DatabaseLocked, JobError, ProviderError, ProviderRefused, ProviderUnreachable

from .bench import LEASE, SPEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlbatch.batches.replies import ProviderBatch

    from .bench import Bench

CREATE = "POST /v1/batches"
UPLOAD = "POST /v1/files"


def test_a_lost_reply_is_adopted_not_repeated(bench: Bench) -> None:
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1})
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [True]
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(10)


def test_a_500_after_the_deed_is_adopted_not_repeated(bench: Bench) -> None:
    bench.control.faults({"name": "error_after", "on": CREATE, "status": 500, "count": 1})
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [True]
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(10)


def test_a_page_in_the_place_of_a_reply_is_a_lost_reply(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    create = BatchAPI.create

    def paged(api: BatchAPI, *arguments: str) -> ProviderBatch:
        create(api, *arguments)
        monkeypatch.setattr(BatchAPI, "create", create)
        with api._errors("create a batch"):
            replies.parsed(b"<html>Sign in</html>")
        raise AssertionError("the page was taken for a batch")

    monkeypatch.setattr(BatchAPI, "create", paged)
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [True]
    bench.check(10)


def test_a_reply_lost_before_the_deed_is_fenced_and_sent_anew(bench: Bench) -> None:
    bench.control.faults({"name": "drop_before", "on": CREATE, "count": 1})
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [False]
    assert "in case it still appears" in bench.held
    assert "was never created" in bench.notes
    bench.check(10)
    states = bench.sql("SELECT state, count(*) FROM sqlbatch.batches GROUP BY state ORDER BY state")
    assert states == [("abandoned", 1), ("loaded", 1)]
    # The fence: the input file of the attempt that was given up is gone, so that a late create fails.
    assert len(bench.control.files()) == 1


def test_an_error_that_may_have_done_the_deed_is_fenced_too(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": CREATE, "status": 502, "count": 1})
    bench.enrich(10)
    assert "was never created" in bench.notes
    bench.check(10)


def test_a_refusal_after_the_deed_is_adopted_once_its_user_goes_on(bench: Bench) -> None:
    """A gateway says 422 of its own reading of a reply, and the batch runs behind it."""
    bench.control.faults({"name": "error_after", "on": CREATE, "status": 422, "count": 1})
    job_id = bench.begin(10)
    with pytest.raises(JobError, match=f"sqlbatch wait {job_id}"):
        bench.wait(job_id)
    bench.wait(job_id)
    assert [event.adopted for event in bench.submitted] == [True]
    bench.check(10)


def test_a_429_is_certain_and_needs_no_grace(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": CREATE, "status": 429, "count": 1, "code": "rate_limit_exceeded"})
    bench.enrich(10)
    assert "429" in bench.held
    assert "in case it still appears" not in bench.held
    bench.check(10)
    assert len(bench.control.files()) == 1


def test_a_long_retry_after_is_kept_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1")
    bench.control.faults({"name": "retry_after", "on": CREATE, "retry_after": 4000, "count": 1})
    job_id = bench.begin(10)
    bench.sync(job_id)
    left = bench.sql("SELECT paused_until FROM sqlbatch.jobs")[0][0] - clock.now()
    assert timedelta(seconds=2000) < left <= timedelta(seconds=4000)
    bench.sync(job_id)
    assert not bench.packed
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    bench.wait(job_id)
    bench.check(10)


@pytest.mark.parametrize(
    ("status", "code", "place"),
    [
        (429, "insufficient_quota", CREATE),
        (403, "billing_not_active", UPLOAD),
    ],
)
def test_no_money_blocks_the_job_and_counts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int, code: str, place: str
) -> None:
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1")
    bench.control.faults({"name": "error", "on": place, "status": status, "code": code, "message": "Not today."})
    job_id = bench.begin(10, max_attempts=1)
    bench.sync(job_id)
    job = bench.job(job_id)
    assert job.status == "blocked"
    assert "Not today." in str(job.blocked)
    assert bench.outcomes() == []
    calls = bench.control.calls("POST", "/v1/")
    bench.sync(job_id)
    assert bench.control.calls("POST", "/v1/") == calls, "a blocked job asks again only when its pause is over"
    bench.control.faults()
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", SPEED)
    bench.wait(job_id)
    bench.check(10)


@pytest.mark.parametrize(
    ("place", "status", "code", "told"),
    [
        (CREATE, 400, "invalid_request", "said 400 to create a batch: Not ever; nothing more is sent until"),
        (CREATE, 401, "invalid_api_key", r"refused the API key \(401\): Not ever \(set the right key\)"),
        (CREATE, 404, "model_not_found", "check the model, the endpoint and the base URL"),
        (UPLOAD, 403, None, "use a key with this permission"),
        (UPLOAD, 413, None, "a smaller max_bytes"),
    ],
)
def test_what_waiting_cannot_mend_blocks_the_job_until_its_user_goes_on(
    bench: Bench, place: str, status: int, code: str | None, told: str
) -> None:
    bench = bench.within(max_requests=5)
    refusal = {"name": "error", "on": place, "status": status, "code": code, "message": "Not ever."}
    bench.control.faults(refusal)
    job_id = bench.begin(10, max_attempts=1)
    for _ in range(2):
        with pytest.raises(JobError, match=f"{told}.*sqlbatch wait {job_id}"):
            bench.wait(job_id)
        sent = bench.control.calls("POST", "/v1/")
        bench.sync(job_id)
        bench.sync(job_id)
        assert bench.control.calls("POST", "/v1/") == sent, "nothing is sent again by itself"
    job = bench.job(job_id)
    assert (job.status, job.blocked_code) == ("blocked", code or f"http_{status}")
    assert bench.outcomes() == []
    bench.control.faults()
    bench.wait(job_id)
    bench.check(10)
    assert len(bench.control.files()) == 2


def test_what_was_taken_before_a_refusal_is_seen_to_its_end(bench: Bench) -> None:
    bench = bench.within(max_requests=5)
    bench.control.faults(
        {"name": "error", "on": CREATE, "status": 404, "skip": 1}, {"name": "line_error", "status": 503, "count": 1}
    )
    job_id = bench.begin(10)
    with pytest.raises(JobError, match=f"blocked: .* said 404 .*sqlbatch wait {job_id}"):
        bench.wait(job_id)
    assert [(outcome, number) for outcome, _, number in bench.outcomes()] == [("answered", 4), ("retryable", 1)]
    assert "nothing more is sent" in bench.held
    bench.control.faults()
    bench.wait(job_id)
    bench.check(10, once=False)
    assert len(bench.control.executed_twice()) == 1


def test_a_refusal_that_names_the_input_file_is_tried_again_and_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider may not be done with the file yet; later, or uploaded anew, it may take it."""
    create, asked = BatchAPI.create, list[str]()
    monkeypatch.setattr(submit, "LONGEST_PAUSE", 60.0)

    def refused(api: BatchAPI, file_id: str, endpoint: str, batch_id: str) -> ProviderBatch:
        asked.append(file_id)
        raise ProviderRefused(f"{file_id} is not processed yet", 400)

    monkeypatch.setattr(BatchAPI, "create", refused)
    job_id = bench.begin(10)
    with pytest.raises(JobError, match="is not processed yet"):
        bench.wait(job_id)
    assert 1 < len(asked) < 6
    assert len(set(asked[:3])) == 1, "the same file is waited for first"
    monkeypatch.setattr(BatchAPI, "create", create)
    bench.wait(job_id)
    bench.check(10)


@pytest.mark.parametrize(
    ("status", "words", "envelope"),
    [
        (404, "Input file not found", "detail"),
        (400, "The file must be in the Processed state; it is pending.", "object"),
    ],
)
def test_a_file_that_the_provider_is_not_done_with_is_waited_for_and_not_uploaded_anew(
    bench: Bench, status: int, words: str, envelope: str
) -> None:
    """As Azure wants its files processed first, and others do not find a file that has just been uploaded."""
    refusal = {"name": "error", "on": CREATE, "status": status, "message": words, "envelope": envelope}
    bench.control.faults({**refusal, "count": 3})
    bench.enrich(10)
    assert bench.control.calls("POST", "/v1/files") == 1
    bench.check(10)


@pytest.mark.parametrize("status", [409, 425])
def test_what_waiting_mends_is_waited_for(bench: Bench, status: int) -> None:
    bench.control.faults({"name": "error", "on": CREATE, "status": status, "count": 2})
    bench.enrich(10)
    assert f" said {status} to create a batch" in bench.held
    # A conflict does not say that no batch was made.
    assert ("in case it still appears" in bench.held) == (status == 409)
    bench.check(10)


def test_a_lost_create_is_found_by_its_file_where_metadata_is_dropped(bench: Bench) -> None:
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1}, {"name": "no_metadata"})
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [True]
    bench.check(10)


def test_a_list_that_lags_is_waited_for_within_the_grace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # A grace is then 4 real seconds, in which also a busy machine reads three lists.
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "240")
    bench.control.faults(
        {"name": "drop_after", "on": CREATE, "count": 1}, {"name": "list_lags", "seconds": 3600, "count": 2}
    )
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted][:1] == [True]
    bench.check(10)


def test_a_list_read_before_the_grace_ended_is_no_evidence_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer sleeps over the end of the grace, just when the list has come that lags by a minute."""
    lagging = {"name": "list_lags", "seconds": 3600}
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1}, lagging)
    job_id = bench.begin(10)
    while not bench.of_state("fenced"):
        bench.sync(job_id)
    batches, real, slept = BatchAPI.batches, clock.now, timedelta()

    def then_sleeps(api: BatchAPI, *, whole: bool = False) -> Iterator[list[ProviderBatch]]:
        nonlocal slept
        yield from batches(api, whole=whole)
        slept = timedelta(hours=1)

    # The grace began just now, whatever the machine does meanwhile.
    now = real()
    monkeypatch.setattr(BatchAPI, "batches", then_sleeps)
    monkeypatch.setattr(clock, "now", lambda: now + slept)
    bench.sql(f"UPDATE sqlbatch.batches SET fenced_at = TIMESTAMP '{now}' WHERE state = 'fenced'")
    bench.sync(job_id)
    assert slept
    assert bench.of_state("abandoned") == 0
    monkeypatch.setattr(BatchAPI, "batches", batches)
    monkeypatch.setattr(clock, "now", real)
    bench.control.faults()
    bench.wait(job_id)
    assert [event.adopted for event in bench.submitted] == [True]
    bench.check(10)


def test_a_list_without_an_end_is_read_once(bench: Bench) -> None:
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1}, {"name": "endless_list"})
    bench.enrich(10)
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(10)


def test_a_list_that_cannot_be_read_to_its_end_is_no_evidence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlbatch.batches.client._PAGES_AT_MOST", 0)
    bench.control.faults({"name": "drop_before", "on": CREATE, "count": 1})
    job_id = bench.begin(10)
    bench.sync(job_id)
    with pytest.raises(ProviderUnreachable, match="cannot be read to the end"):
        bench.sync(job_id)
    assert bench.sql("SELECT state FROM sqlbatch.batches") == [("creating",)]
    monkeypatch.setattr("sqlbatch.batches.client._PAGES_AT_MOST", 1_000)
    bench.wait(job_id)
    bench.check(10)


def test_a_list_that_lacks_what_is_known_to_be_there_is_no_evidence(bench: Bench) -> None:
    """Gateways that keep no list say that it is empty."""
    bench = bench.within(max_requests=5)
    empty = {"name": "edit_reply", "on": "GET /v1/batches", "set": {"data": [], "has_more": False}}
    bench.control.faults({"name": "drop_after", "on": CREATE, "skip": 1, "count": 1}, empty)
    job_id = bench.begin(10)
    while bench.of_state("creating") != 1 or bench.of_state("planned"):
        bench.sync(job_id)
    for _ in range(2):
        with pytest.raises(ProviderUnreachable, match=r"it has none of the 1 that are known .* not sent again"):
            bench.sync(job_id)
    bench.control.faults()
    bench.wait(job_id)
    assert bench.control.calls("POST", "/v1/batches") == 2
    bench.check(10)


def test_an_older_batch_with_the_same_file_is_not_adopted() -> None:
    """A provider may give equal files one id, and drop metadata."""
    listed = [
        replies.read_batch({"id": name, "input_file_id": "file-1", "status": "completed"}) for name in ("new", "old")
    ]
    api = SimpleNamespace(batches=lambda **_: iter([listed]), name="the provider")
    found = _look_through(api, {"old": True}, {"ours": "file-1"}, {}, [])  # type: ignore[arg-type]
    assert {batch_id: batch.provider_id for batch_id, batch in found.items()} == {"ours": "new"}


def test_an_input_file_that_cannot_be_seen_is_no_evidence(bench: Bench) -> None:
    bench.control.faults({"name": "drop_before", "on": CREATE, "count": 1})
    job_id = bench.begin(10)
    bench.sync(job_id)
    bench.control.faults({"name": "error", "on": "GET /v1/files/*", "status": 404})
    bench.sync(job_id)
    assert "cannot be seen with this key" in bench.held
    assert bench.sql("SELECT state FROM sqlbatch.batches") == [("creating",)]
    bench.control.faults()
    bench.wait(job_id)
    bench.check(10)


def test_an_upload_whose_reply_was_lost_is_found_again(bench: Bench) -> None:
    bench.control.faults({"name": "drop_after", "on": UPLOAD, "count": 1})
    bench.enrich(10)
    assert bench.control.calls("POST", "/v1/files") == 1
    assert len(bench.control.files()) == 1
    bench.check(10)


def test_an_upload_that_broke_off_is_sent_again(bench: Bench) -> None:
    bench.control.faults({"name": "upload_breaks", "bytes": 100, "count": 2})
    bench.enrich(10)
    assert len(bench.control.files()) == 1
    bench.check(10)


def test_a_batch_that_appears_after_it_was_given_up_is_stopped_and_its_answers_kept(bench: Bench) -> None:
    """The provider's list lags for longer than the grace, and its batch outlives the deletion of its input file."""
    bench.control.faults(
        {"name": "drop_after", "on": CREATE, "count": 1},
        {"name": "list_lags", "seconds": 3600},
        {"name": "stuck_in_progress", "count": 1},
    )
    job_id = bench.begin(10)
    while not bench.of_state("abandoned"):
        bench.sync(job_id)
    # The first batch stays where it is, the second is made and goes on.
    bench.control.faults({"name": "stuck_in_progress", "skip": 1})
    bench.wait(job_id)
    assert "appeared after it was given up" in bench.notes
    assert sorted(batch["status"] for batch in bench.control.batches()) == ["cancelled", "completed"]
    bench.check(10)


def test_a_reply_that_comes_after_somebody_else_gave_the_batch_up_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = BatchAPI.create

    def late(api: BatchAPI, file_id: str, endpoint: str, batch_id: str) -> ProviderBatch:
        reply = create(api, file_id, endpoint, batch_id)
        fact = {"batch_id": batch_id, "now": clock.now(), "code": "never_made", "error": "not found"}
        bench.database.write(lambda session: session.run("submit.abandon", fact))
        monkeypatch.setattr(BatchAPI, "create", create)
        return reply

    monkeypatch.setattr(BatchAPI, "create", late)
    bench.enrich(10)
    assert [event.adopted for event in bench.submitted] == [True]
    assert len(bench.control.batches()) == 1
    bench.check(10)


def test_a_laptop_that_slept_between_commit_and_create_starts_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, moved = clock.now, [timedelta()]
    write = type(bench.database).write

    def sleeping(database: Any, work: Callable[..., Any], **more: Any) -> Any:
        done = write(database, work, **more)
        if bench.of_state("creating") and not moved[0]:
            moved[0] = timedelta(days=4)
        return done

    monkeypatch.setattr(clock, "now", lambda: now() + moved[0])
    monkeypatch.setattr(type(bench.database), "write", sleeping)
    bench.enrich(10)
    assert moved[0]
    assert bench.control.calls("POST", "/v1/batches") == 1
    assert len(bench.control.files()) == 1
    bench.check(10)


@pytest.mark.parametrize("backup", ["planned", "uploading", "creating", "open", "ended"])
def test_a_restored_backup_finds_what_was_sent_since(bench: Bench, backup: str) -> None:
    job_id = bench.begin(10)
    bench.sync(job_id)
    bench.control.until_ended()
    ours = {
        "planned": "provider_id = NULL, input_file_id = NULL",
        "uploading": "provider_id = NULL, input_file_id = NULL",
    }
    bench.sql(f"UPDATE sqlbatch.batches SET state = '{backup}', {ours.get(backup, 'provider_id = provider_id')}")
    if backup == "ended":
        bench.sql(f"UPDATE sqlbatch.batches SET status = 'completed', output_file_id = '{bench.control.batches()[0]['output_file_id']}'")  # fmt: skip  # noqa: E501
    bench.wait(job_id)
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(10)


def test_a_restored_backup_is_compared_also_where_the_clock_was_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.begin(10)
    bench.sync(job_id)
    bench.control.until_ended()
    bench.sql("UPDATE sqlbatch.batches SET state = 'planned', provider_id = NULL, input_file_id = NULL")
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() - timedelta(days=2))
    bench.wait(job_id)
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(10)


def test_the_lease_of_a_process_that_died_ends_with_it(bench: Bench) -> None:
    """Without it, what a killed process was uploading would wait for half an hour."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    job_id = bench.begin(10)
    bench.control.faults({"name": "error", "on": UPLOAD, "status": 503})
    bench.sync(job_id)
    bench.control.faults()
    owner = f"{os.uname().nodename}:{child.pid}:00000000"
    bench.sql(f"UPDATE sqlbatch.batches SET lease_owner = '{owner}', lease_until = '2200-01-01'")
    bench.sql("UPDATE sqlbatch.jobs SET paused_until = NULL")
    bench.wait(job_id)
    bench.check(10)


def test_the_lease_of_a_living_process_is_respected(bench: Bench) -> None:
    job_id = bench.begin(10)
    bench.control.faults({"name": "error", "on": UPLOAD, "status": 503})
    bench.sync(job_id)
    bench.control.faults()
    for owner in (f"{os.uname().nodename}:{os.getpid()}:00000000", "another-computer:1:00000000"):
        bench.sql(f"UPDATE sqlbatch.batches SET lease_owner = '{owner}', lease_until = '2200-01-01'")
        bench.sql("UPDATE sqlbatch.jobs SET paused_until = NULL")
        bench.sync(job_id)
        assert not bench.submitted


def test_the_key_is_nowhere(bench: Bench) -> None:
    key = os.environ["OPENAI_API_KEY"]
    bench.control.faults(
        {"name": "error", "on": CREATE, "status": 401, "count": 1, "message": f"Incorrect API key provided: {key}."},
        {"name": "error", "on": UPLOAD, "status": 500, "count": 1, "message": f"It was {key}."},
    )
    with pytest.raises(JobError, match=r"Incorrect API key provided: \(the key\)"):
        bench.enrich(10)
    assert "(the key)" in bench.held
    told = repr(bench.events)
    assert key not in told
    for path in [bench.path, *paths.state_dir(bench.database).rglob("*")]:
        assert path.is_dir() or key.encode() not in path.read_bytes()


def test_the_sdk_sends_no_post_twice(bench: Bench) -> None:
    api = BatchAPI(bench.base_url, "sk-test", "the provider", KNOWN["openai"], loopback=True)
    for place, post in (
        (UPLOAD, lambda: api.upload(bench.path, lambda _: None)),
        (CREATE, lambda: api.create("file-x", "/v1/chat/completions", "x")),
    ):
        bench.control.faults({"name": "drop_before", "on": place})
        with pytest.raises(ProviderError):
            post()
        assert bench.control.calls("POST", place.removeprefix("POST ")) == 1
    api.close()


def test_the_create_is_given_up_long_before_its_lease_ends() -> None:
    """Else another process could fence a create that is still under way."""
    api = BatchAPI("http://127.0.0.1:9/v1", "sk-test", "the provider", KNOWN["openai"], loopback=True)
    assert isinstance(api._once.timeout, object)
    assert getattr(api._once.timeout, "read", None) == 600
    assert submit.CREATE_LEASE > 600 + 60
    api.close()


def test_a_batch_that_comes_when_its_job_is_done_is_loaded_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was suspended as it sent the create, for longer than its lease and another's grace."""
    job_id = bench.begin(3)
    create, now = BatchAPI.create, clock.now

    def suspended(*given: Any) -> Any:
        monkeypatch.setattr(BatchAPI, "create", create)
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=2 * LEASE * float(SPEED)))
        bench.wait(job_id)
        return create(*given)

    monkeypatch.setattr(BatchAPI, "create", suspended)
    bench.sync(job_id)
    assert bench.job(job_id).status == "done"
    assert bench.of_state("open") == 1
    bench.control.until_ended()
    assert job_id in bench.database.read(jobs.left_over)
    bench.sync(job_id)
    assert bench.of_state("loaded") == 2
    assert bench.database.read(jobs.left_over) == []
    bench.check(3)


def test_what_a_run_of_this_process_has_left_behind_is_taken_over_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, whose process lives on: a lock has outlasted the step that was to send the batch."""

    def locked(*_: object, **__: object) -> str:
        raise DatabaseLocked("a.duckdb is locked by process 7", 7)

    job_id = bench.begin(5)
    with monkeypatch.context() as patch:
        patch.setattr(BatchAPI, "upload", locked)
        with pytest.raises(DatabaseLocked):
            bench.sync(job_id)
    bench.sync(job_id)
    assert len(bench.submitted) == 1
    bench.wait(job_id)
    bench.check(5)


def test_a_batch_is_made_only_where_it_is_on_record_that_it_may_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that the disk or a broken lock has lost: the create is not sent, and the batch is begun anew."""
    job_id = bench.begin(5)
    run = Session.run

    def lost(session: Session, name: str, /, *more: object, **places: str) -> object:
        return [("committed",)] if name == "submit.creating" else run(session, name, *more, **places)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "run", lost)
    bench.sync(job_id)
    assert bench.control.calls("POST", "/v1/batches") == 0
    monkeypatch.setattr(Session, "run", run)
    bench.sql("UPDATE sqlbatch.batches SET lease_until = NULL")
    bench.wait(job_id)
    assert bench.control.calls("POST", "/v1/files") == 1
    bench.check(5)
