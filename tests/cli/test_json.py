"""What scripts read: the keys of `--json`, on stdout alone, and the exit codes of the main job."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.cli.app import ORDER
from tests.query.support import Failure, begin, content, database, enrich

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

FREE = ("--provider", "local", "--instructions", "Say it again.")
QUERY = "SELECT unnest(['a', 'b', 'a', NULL]) AS x, 1 AS y"


def test_plan_prints_one_object_with_its_counts(here: Command) -> None:
    ran = here("plan", QUERY, *FREE, "--input", "x", "--into", "tags", "--json")
    assert ran.code == 0
    quote = json.loads(ran.out)
    counts = {
        "rows": 4,
        "skipped": 1,
        "distinct": 2,
        "answered": 0,
        "failed_before": 0,
        "in_flight": 0,
        "to_send": 2,
        "batches": 1,
    }
    assert quote.items() >= counts.items()
    assert quote["bytes"] > 0
    assert quote["target"] == "tags"
    assert (quote["sent_columns"], quote["also_kept"]) == (["x"], ["y"])
    assert quote["skipped_why"] == {"x is NULL": 1}


def test_plan_counts_what_is_known_already(here: Command) -> None:
    db = database("enriched.duckdb")
    replies: dict[str, str | Failure] = {"a": Failure("refusal"), "b": "B"}
    enrich(db, QUERY, lambda body: replies[content(body)], input=["x"], into="tags")
    begin(db, "SELECT 'c' AS x", into="others")
    quote = json.loads(here("plan", f"{QUERY} UNION ALL SELECT 'd', 2", *FREE, "--input", "x", "--json").out)
    assert {name: quote[name] for name in ("distinct", "answered", "failed_before", "to_send")} == {
        "distinct": 3, "answered": 1, "failed_before": 1, "to_send": 1,
    }  # fmt: skip
    fresh = json.loads(here("plan", QUERY, *FREE, "--input", "x", "--fresh", "--json").out)
    assert fresh["to_send"] == 2


def test_jobs_is_a_list_and_show_an_object(here: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="first")
    begin(db, "SELECT 'c' AS x", into="second")
    listed = json.loads(here("jobs", "--json").out)
    assert [(job["job_id"], job["target"], job["status"]) for job in listed] == [
        (2, "second", "running"),
        (1, "first", "done"),
    ]
    for key in (
        "rows",
        "skipped",
        "requests",
        "answered",
        "failed",
        "pending",
        "provider",
        "created_at",
        "finished_at",
        "error",
    ):
        assert key in listed[0]
    shown = json.loads(here("show", "first", "--json").out)
    assert shown.items() >= listed[1].items()
    assert [batch["requests"] for batch in shown["batches"]] == [2]
    assert shown["failures"] == []
    assert listed[0]["created_at"].endswith("Z")


def test_an_empty_database_has_an_empty_list_of_jobs(here: Command) -> None:
    database("enriched.duckdb", "CREATE TABLE t (x INT)")
    ran = here("jobs", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])


def test_show_tells_failures_by_reason(here: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT unnest(['a', 'b']) AS x", lambda _: Failure("refusal", "I would rather not."), into="tags")
    shown = json.loads(here("show", "--json").out)
    assert shown["failures"] == [{"code": "refusal", "requests": 2, "example": "I would rather not."}]
    plain = here("show", "tags")
    assert "refusal" in plain.out
    assert "I would rather not." in plain.out
    assert here("wait", "tags").code == 3


@pytest.fixture(scope="session")
def of_all(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a database with a job that is done, one with failures, and one that is open; made once."""
    folder = tmp_path_factory.mktemp("of_all")
    with contextlib.chdir(folder):
        db = database("enriched.duckdb")
        enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="tags")
        enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="others", instructions="Otherwise.")
        enrich(db, "SELECT 'c' AS x", lambda _: Failure("refusal", "I would rather not."), into="none")
        begin(db, "SELECT unnest(['d', 'e']) AS x", into="open")
    return (folder / "enriched.duckdb").read_bytes()


ASK = ("SELECT unnest(['a', 'z']) AS x", *FREE)
EVERY = [
    ("plan", *ASK),
    ("plan", "SELECT 1 AS x WHERE false", *FREE),
    ("preview", *ASK),
    ("preview", "SELECT 1 AS x WHERE false", *FREE),
    ("enrich", *ASK, "--into", "more"),
    ("enrich", "SELECT 1 AS x WHERE false", *FREE),
    ("jobs",),
    ("show", "tags"),
    ("show", "none", "--failures"),
    ("show", "tags", "--failures"),
    ("show", "tags", "--request-files", "."),
    ("wait", "tags"),
    ("wait", "none"),
    ("sync",),
    ("retry", "none"),
    ("cancel", "open"),
    ("load", "open"),
    ("query", "FROM tags"),
    ("query", "CREATE TABLE t (x INT)"),
    ("query", "CREATE TABLE t (x INT); INSERT INTO t VALUES (1)"),
    ("functions",),
    ("costs", "--by", "job"),
    ("compare", "tags", "others"),
    ("prices", "--provider", "local"),
    ("prune", "--dry-run"),
    ("prune", "--yes"),
    ("config",),
    ("functions",),
    ("functions", "install"),
]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("number", range(len(EVERY)), ids=[" ".join(command)[:40] for command in EVERY])
def test_every_command_prints_one_document_whatever_else_is_told(
    number: int, of_all: bytes, here: Command, tmp_path: Path
) -> None:
    if EVERY[number] == ("functions", "install") and duckdb.__version__ < "2":
        pytest.skip("AI functions need DuckDB 2.0")
    (tmp_path / "enriched.duckdb").write_bytes(of_all)
    command, told = EVERY[number], ("--quiet", "--verbose")[number % 2]
    ran = here(*command, "--json", told)
    assert ran.code in {0, 3}, ran.err
    json.loads(ran.out)
    assert told == "--verbose" or ran.err == ""


def test_no_command_is_left_out() -> None:
    # Two serve until they are ended; the third needs another database: test_places.py.
    assert {command for command, *_ in EVERY} == set(ORDER) - {"serve", "view", "publish"}


@pytest.mark.parametrize("command", [("show", "9"), ("query", "FROM nowhere"), ("wait",), ("enrich", "SELEC 1", *FREE)])
def test_an_error_is_a_line_on_stderr_and_leaves_stdout_empty(command: tuple[str, ...], here: Command) -> None:
    ran = here(*command, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error


def test_two_formats_are_a_wrong_use(here: Command) -> None:
    ran = here("query", "SELECT 1", "--json", "--format", "csv")
    assert (ran.code, ran.error) == (2, "--json and --format csv are two formats: give one of them")


def test_the_main_job_end_to_end_and_again_for_nothing(cli: Command, here: Command) -> None:
    arguments = ("enrich", QUERY, *FREE, "--input", "x", "--returns", "words VARCHAR[], said VARCHAR", "--into", "tags")
    ran = cli(*arguments, "--json")
    assert ran.code == 0, ran.err
    job = json.loads(ran.out)
    assert (job["status"], job["rows"], job["skipped"], job["requests"], job["answered"]) == ("done", 4, 1, 2, 2)
    assert (job["model"], job["dollars"], job["billed_results"]) == ("offline", 0.0, 2)
    assert job["next"] == "sqlbatch query 'FROM tags'"
    assert "offline" in ran.err
    again = here(*arguments)
    assert again.code == 0
    assert "to send        nothing" in again.err
    assert "submitted" not in again.err
    assert "ai_status" in again.out
    ten_more = here(*arguments[:1], f"{QUERY} UNION ALL SELECT 'n' || i, i FROM range(10) AS r(i)", *arguments[2:])
    assert ten_more.code == 0
    assert "submitted: 10 requests" in ten_more.err


def test_the_version_is_data(here: Command) -> None:
    ran = here("--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip().count(".") == 2
