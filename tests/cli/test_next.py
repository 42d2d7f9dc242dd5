"""What to do next: each state of a job has one short step, which is true."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import job_actions
from sqlbatch.batches import plan
from sqlbatch.batches.providers import KNOWN
from sqlbatch.db.jobs import JobRow
from sqlbatch.display.status import next_step
from tests.query.support import Failure, begin, content, database, enrich

if TYPE_CHECKING:
    from tests.conftest import Command

NEVER = datetime(9999, 12, 31)  # noqa: DTZ001 (as the schema has it)
BLOCKED = {"status": "blocked", "blocked": "no"}


def job(**facts: Any) -> JobRow:
    """Return job 1, for the table t, done with all answered but for some facts."""
    plain: dict[str, Any] = dict.fromkeys((field.name for field in fields(JobRow)), 0)
    usual = {
        "job_id": 1,
        "target": "t",
        "status": "done",
        "newest": 1,
        "successor": 1,
        "kept": True,
        "error": None,
        "paused_until": None,
    }
    return JobRow(**plain | usual | facts)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        ({}, "sqlbatch query 'FROM t'"),
        ({"failed": 2}, "sqlbatch show 1 --failures says why, sqlbatch retry 1 asks again"),
        ({"failed": 2, "kept": False}, "sqlbatch show 1 --failures says why, the same enrich with --fresh asks all"),
        ({"error": "in the way"}, "sqlbatch load 1 once the name is free, or with --replace in its place"),
        ({"newest": 3}, "sqlbatch show 3 shows the job that has its target now"),
        ({"status": "running"}, "sqlbatch wait 1 follows it to its end"),
        (
            {"status": "superseded", "newest": 3, "successor": 2},
            "sqlbatch show 2 shows the job that has its target now",
        ),
        ({"status": "cancelled"}, "the same enrich continues from there"),
        (
            {"status": "cancelled", "answered": 2},
            "sqlbatch load 1 writes what was answered; the same enrich continues from there",
        ),
        ({"status": "cancelled", "kept": False}, "the same enrich continues from there"),
        (
            BLOCKED | {"failing": True},
            "sqlbatch show 1 --failures says why, sqlbatch wait 1 --keep-going continues anyway",
        ),
        (BLOCKED | {"blocked_code": "budget"}, "sqlbatch wait 1 --max-cost USD allows more"),
        (BLOCKED | {"blocked_code": "invalid_api_key"}, "set the right key, then sqlbatch wait 1"),
        (
            BLOCKED | {"paused_until": NEVER, "blocked_code": "http_404"},
            "once that is fixed, sqlbatch wait 1 continues",
        ),
        (BLOCKED | {"blocked_code": "insufficient_quota"}, "check the account's billing, then sqlbatch wait 1"),
        (BLOCKED | {"blocked_code": "http_429"}, "it continues by itself with sqlbatch wait 1, or with sync"),
    ],
)
def test_each_state_has_its_step(facts: dict[str, Any], step: str) -> None:
    assert next_step(job(**facts)).startswith(step)


def test_the_step_names_the_database_where_it_is_not_the_usual_one(here: Command) -> None:
    begin(database("my films.duckdb"), "SELECT 'a' AS x", into="tags")
    ran = here("jobs", "--db", "my films.duckdb")
    assert "job 1: sqlbatch wait 1 --db 'my films.duckdb' follows it to its end" in ran.err
    told = json.loads(here("jobs", "--db", "my films.duckdb", "--json").out)
    assert told[0]["next"] == "sqlbatch wait 1 --db 'my films.duckdb' follows it to its end"


def test_what_is_over_says_how_to_go_on(here: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT unnest(['a', 'b']) AS x", lambda _: Failure("refusal"), into="tags")
    assert "job 1: sqlbatch show 1 --failures says why, sqlbatch retry 1 asks again" in here("jobs").err
    failed = here("wait", "1")
    assert (failed.code, failed.err.rstrip().endswith("sqlbatch retry 1 asks again")) == (3, True)
    begin(db, "SELECT 'c' AS x", into="others")
    job_actions.cancel(db, 2)
    assert "job 2" not in here("jobs").err
    cancelled = here("wait", "2")
    going_on = "the same enrich continues from there: it sends only unanswered requests"
    assert (cancelled.code, cancelled.error) == (1, f"job 2 is cancelled; 0 answers kept; {going_on}")
    assert here("load", "2").err.endswith(f"{going_on}\n")
    begin(db, "SELECT 'd' AS x", into="more")
    begin(db, "SELECT 'e' AS x", into="more")
    superseded = here("wait", "3")
    assert (superseded.code, superseded.error) == (
        1,
        "job 3 is superseded: job 4 has the target more now; sqlbatch show 4 shows the job that has its target now",
    )


def test_the_step_of_what_is_done_runs_as_it_is_told(here: Command) -> None:
    enrich(database("enriched.duckdb"), "SELECT 'a' AS x", content, into='"My tags"')
    told = json.loads(here("show", "--json").out)["next"]
    words = shlex.split(told)
    assert words[0] == "sqlbatch"
    assert "answered" in here(*words[1:]).out


def test_cancel_without_a_job_cancels_nothing_unasked(here: Command) -> None:
    begin(database("enriched.duckdb"), "SELECT 'a' AS x", into="tags")
    unnamed = here("cancel")
    assert unnamed.code == 2
    assert unnamed.error.startswith("name the job to cancel; the newest is job 1 (tags, 0 of 1 requests answered)")
    assert "sqlbatch wait 1" in here("jobs").err


def test_giving_up_what_may_have_been_paid_asks_first(here: Command) -> None:
    db = database("enriched.duckdb")
    job_id = begin(db, "SELECT 'a' AS x", into="tags")
    plan.pack(db, job_id, KNOWN["openai"])
    db.write(lambda session: session.sql("UPDATE sqlbatch.batches SET state = 'open', provider_id = 'batch_1'"))
    own = "INSERT INTO sqlbatch.prices (model, input, output) VALUES ('offline', 1000, 1000)"
    db.write(lambda session: session.sql(own))
    asked = here("cancel", "1", "--give-up")
    assert (asked.code, "add --yes to do it without being asked" in asked.error) == (1, True)
    assert "1 request in 1 batch, about 16 tokens of input" in asked.err
    assert "are paid again when they are sent again: $0.32 expected, up to $2.03 (answers not capped)" in asked.err

    assert db.read(lambda session: session.sql("SELECT state FROM sqlbatch.batches")) == [("open",)]
