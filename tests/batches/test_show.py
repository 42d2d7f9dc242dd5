"""`show` tells what happened, in words that an analyst understands."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import job_actions
from sqlbatch.batches import submit
from sqlbatch.db.jobs import BatchRow
from sqlbatch.display.status import batch_in_words
from sqlbatch.errors import ProviderRefused

if TYPE_CHECKING:
    from tests.conftest import Command

    from .bench import Bench

CREATE = "POST /v1/batches"


@pytest.fixture
def shown(bench: Bench, here: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what `show` prints of the newest job, and check that its JSON says the same."""
    monkeypatch.setenv("COLUMNS", "80")

    def show() -> str:
        text = here("show", "--db", str(bench.path)).out
        told = json.loads(here("show", "--db", str(bench.path), "--json").out)
        assert told["says"] in text
        assert told["next"] in text
        assert all(batch["says"] in text for batch in told["batches"] if batch["says"][:6] not in {"done", "at the"})
        return text

    return show


def test_an_expired_batch_keeps_what_was_answered(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "expires", "count": 1})
    job_id = bench.begin(10)
    bench.until_ended(job_id)
    bench.control.faults({"name": "stuck_in_progress"})
    bench.sync(job_id)
    text = shown()
    assert "expired after its 24 hours: 5 answered and kept, 5 not (sent again within the job's attempts)" in text
    assert "retried   5 for batch_expired (5 open); up to 3 attempts each" in text
    assert " 0/5 " in text
    bench.control.faults()
    bench.wait(job_id)
    assert "retried   5 for batch_expired (5 answered since); up to 3 attempts each" in shown()


def test_what_failed_too_often_was_given_up(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "line_error", "status": 503})
    bench.wait(bench.begin(2))
    text = shown()
    assert "retried   2 for server_error (2 given up after 3 attempts)" in text
    assert "done, 2 requests failed\n" in text


def test_a_lost_reply_is_told(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "drop_after", "on": CREATE, "count": 1})
    bench.wait(bench.begin(2))
    assert "done; its reply was lost, it was found at the provider and not sent twice" in shown()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"name": "quota"}, "no quota or credit is left there: check the account's billing"),
        ({"name": "error", "on": CREATE, "status": 429}, "too many requests at once: it continues by itself"),
    ],
)
def test_what_blocks_a_job_is_told_with_what_to_do(bench: Bench, shown: Any, fault: dict[str, Any], told: str) -> None:
    bench.control.faults(fault)
    bench.sync(bench.begin(2))
    text = shown()
    assert told in text
    assert "waiting until 20" in text
    assert "planned, not sent yet (the last try: " in text


def test_what_waits_for_its_user_is_told_with_what_to_do(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "error", "on": CREATE, "status": 401, "message": "Revoked."})
    job_id = bench.begin(2)
    bench.sync(job_id)
    told = "refused the API key (401): Revoked (set the right key); nothing more is sent until you "
    assert told + "run sqlbatch wait 1" in bench.held
    assert told + "say so next set the right key, then sqlbatch wait 1" in " ".join(shown().split())


def test_the_queue_limit_is_told_with_the_time(bench: Bench, shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "FIRST_PAUSE", 100_000.0)
    bench.control.faults({"name": "token_limit", "count": 1})
    job_id = bench.begin(2)
    bench.until_ended(job_id)
    bench.sync(job_id)
    text = shown()
    assert "waiting until 20" in text
    assert "its queue is full: the rest is sent as it empties" in text
    assert "rejected, nothing ran: the provider's queue limit was reached (Enqueued" in text


def test_a_key_that_is_refused_at_a_look_is_told_until_it_is_taken(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    job_id = bench.begin(2)
    bench.sync(job_id)
    bench.control.faults({"name": "stuck_in_progress"}, {"name": "error", "on": "GET /v1/*", "status": 401})
    with pytest.raises(ProviderRefused):
        bench.sync(job_id)
    assert "the key was refused: set the right one" in shown()
    bench.control.faults({"name": "stuck_in_progress"})
    bench.sync(job_id)
    assert "running\n" in shown()
    bench.control.faults()


def test_lines_that_the_key_has_no_right_to_are_released(
    bench: Bench, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that lost its right in the middle is no fault of the requests': they wait, and count no attempt."""
    monkeypatch.setattr(submit, "FIRST_PAUSE", 100_000.0)
    bench.control.faults({"name": "line_error", "status": 401, "count": 2, "code": "invalid_api_key"})
    job_id = bench.begin(4)
    bench.until_ended(job_id)
    bench.sync(job_id)
    assert bench.outcomes() == [("answered", None, 2), ("released", "invalid_api_key", 2)]
    assert "the key was refused: set the right one" in shown()
    bench.wait(job_id)
    bench.check(4, once=False)


@pytest.mark.parametrize(("count", "outcomes"), [(4, ("released", 4)), (1, ("failed", 1))])
def test_a_403_is_the_keys_where_no_line_was_answered_and_else_the_requests_own(
    bench: Bench, count: int, outcomes: tuple[str, int]
) -> None:
    bench.control.faults({"name": "line_error", "status": 403, "count": count, "code": "forbidden"})
    job_id = bench.begin(4)
    bench.until_ended(job_id)
    bench.sync(job_id)
    assert [(name, number) for name, code, number in bench.outcomes() if code] == [outcomes]


def test_results_that_are_gone_are_told(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "content_gone"})
    bench.wait(bench.begin(2))
    assert "2 paid results gone at the provider: sqlbatch retry asks, and pays, again" in shown()


def test_a_cancelled_batch_keeps_its_paid_part(bench: Bench, shown: Any) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    job_id = bench.begin(2)
    bench.sync(job_id)
    job_actions.cancel(bench.database, job_id)
    bench.wait(job_id)
    text = shown()
    assert "cancelled; 0 answers kept\n" in text
    assert "cancelled: 0 answered by then and kept, 2 not" in text


def batch(**facts: Any) -> BatchRow:
    """Return a batch of 10 requests that is loaded, but for some facts."""
    plain: dict[str, Any] = dict.fromkeys((field.name for field in fields(BatchRow)), 0)
    moments = dict.fromkeys(("fenced_until", "taken_from", "error", "error_code"))
    usual: dict[str, Any] = {"state": "loaded", "status": "completed", "requests": 10}
    return BatchRow(**plain | moments | usual | facts)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "done"),
        ({"state": "planned"}, "planned, not sent yet"),
        ({"state": "uploading", "error": "cut"}, "its file is being uploaded (the last try: cut)"),
        ({"state": "creating"}, "sent, no reply yet: sqlbatch looks for the batch at the provider"),
        (
            {"state": "fenced", "fenced_until": datetime(2026, 1, 2, 3, 4, 5)},  # noqa: DTZ001 (as the schema has it)
            "sent, but not found at the provider: waiting until 2026-01-02 03:04:05 UTC in case it still appears",
        ),
        ({"state": "abandoned", "error_code": "cancelled"}, "cancelled before it was sent"),
        ({"state": "abandoned", "error_code": "never_made"}, "its reply was lost and it was never made: its requests"),
        ({"state": "abandoned", "error": "No."}, "rejected, nothing ran: No."),
        ({"state": "ended", "status": "expired"}, "expired at the provider, not loaded yet"),
        ({"status": "failed", "error": "Bad line."}, "failed validation, nothing ran: Bad line."),
        ({"doubled": 3, "adopted": True}, "done; it appeared after it was given up, when 3 requests of it had been"),
        ({"taken_from": "elsewhere:12:ab"}, "done; its upload was taken over from process 12 on elsewhere"),
    ],
)
def test_what_became_of_a_batch_is_told(facts: dict[str, Any], told: str) -> None:
    assert batch_in_words(batch(**facts)).startswith(told)
