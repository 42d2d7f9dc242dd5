"""show, from the whole job down to one request: its failures, a request in full, the files as they are sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Ran
from tests.query.support import Failure, answer, begin, content, database, enrich, rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

QUERY = "SELECT unnest(['a', 'b', 'a', 'c', 'a', 'a', 'a', 'a']) AS x"
REPLIES: dict[str, str | Failure] = {"a": Failure("refusal", "I would\nrather not."), "b": "B", "c": Failure("length")}
LINE = {"custom_id": "1", "response": {"body": {"note": "long " * 100}}}


@pytest.fixture
def failing() -> None:
    """Make a job of which two requests failed, and seven rows with them."""
    db = database("enriched.duckdb")
    enrich(db, QUERY, lambda body: REPLIES[content(body)], into="tags", input=["x"])
    with db.session() as session:
        session.sql(f"UPDATE sqlbatch.results SET raw = '{json.dumps(LINE)}' WHERE code = 'refusal'")


@pytest.mark.usefixtures("failing")
def test_failures_say_why_and_which_rows_ask_for_them(here: Command) -> None:
    found = json.loads(here("show", "--failures", "--json").out)
    assert [(each["code"], each["message"], each["rows"], each["asked_by"]) for each in found] == [
        ("refusal", "I would\nrather not.", [1, 3, 5, 6, 7], 6),
        ("length", "the model would not", [4], 1),
    ]
    assert (found[0]["raw"], found[1]["raw"]) == (LINE, None)
    plain = here("show", "tags", "--failures")
    heading, first, second = plain.out.splitlines()
    assert heading.split() == ["failed", "for", "requests", "rows", "row", "message", "custom_id"]
    assert first.split()[:4] == ["length", "1", "1", "4"]
    assert re.match(r"refusal +1 +6 +1; 3; 5; and 3 more +I would rather not\. +[0-9a-f-]{36}$", second)
    assert "--request CUSTOM_ID" in plain.err
    few = here("show", "--failures", "--limit", "1")
    assert len(few.out.splitlines()) == 2
    assert "1 more reason: --limit 2 shows all" in few.err


def test_one_reason_of_many_requests_is_told_once_and_at_the_end_of_the_command(here: Command) -> None:
    query = "SELECT 'film ' || i AS title, i % 2 AS odd FROM range(40) t(i)"
    wrong = Failure("model_not_found")
    enrich(database("enriched.duckdb"), query, lambda _: wrong, into="tags", input=["title"])
    done = here("wait")
    assert done.code == 3
    assert "0 of 40 requests answered, 40 failed (model_not_found: the model would not); " in done.err
    shown = here("show", "--failures").out.splitlines()
    assert len(shown) == 2
    assert "title" in shown[0]
    assert re.search(r"model_not_found +40 +40 +film 0; film 1; film 2; and 37 more +the model would not", shown[1])


def test_a_pruned_job_still_shows_its_failures_and_requests(here: Command) -> None:
    enrich(database("enriched.duckdb"), "SELECT 'a' AS x", lambda _: Failure("refusal"), into="tags")
    (custom_id,) = rows(database("enriched.duckdb"), "SELECT custom_id::VARCHAR FROM tags")[0]
    assert here("prune", "--yes").code == 0
    assert "refusal" in here("show", "--failures").out
    assert [each["code"] for each in json.loads(here("show", "--failures", "--json").out)] == ["refusal"]
    found = json.loads(here("show", "--request", custom_id).out)
    assert (found["body"], found["results"][0]["code"]) == (None, "refusal")
    assert "prune" in found["note"]


def test_a_target_with_a_number_for_a_name_is_found(here: Command) -> None:
    enrich(database("enriched.duckdb"), "SELECT 'a' AS x", content, into='"2024"')
    assert json.loads(here("show", "2024", "--json").out)["job_id"] == 1
    assert here("show", "7").error == "there is no job 7: sqlbatch jobs lists them"
    assert here("show", "99999999999999").error.startswith("there is no job 99999999999999")


def test_sync_tells_of_failed_rows_also_when_it_is_quiet(here: Command) -> None:
    db = database("enriched.duckdb")
    answer(db, begin(db, "SELECT 'a' AS x", into="tags"), lambda _: Failure("refusal"))
    ran = here("sync", "--quiet")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        "job 1 tags: done, 0 of 1 requests answered, 1 failed (refusal: the model would not); "
        "sqlbatch show 1 --failures says why"
    )
    assert here("sync", "--quiet") == Ran(0, "", "")


def test_a_pipe_gets_every_row_in_full(here: Command) -> None:
    words = " ".join(["word"] * 40)
    enrich(
        database("enriched.duckdb"), f"SELECT i, '{words}' AS x FROM range(12) t(i)", content, into="tags", input=["x"]
    )
    begin(database("enriched.duckdb"), f"SELECT i, '{words}' AS x FROM range(12) t(i)", into="tags", input=["x"])
    ran = here("wait")
    lines = ran.out.splitlines()
    assert lines[0] == "i,x,response,custom_id,ai_status,ai_error,ai_model"
    assert len(lines) == 13
    assert all(line.split(",")[1] == words for line in lines[1:])


@pytest.mark.usefixtures("failing")
def test_failures_are_told_also_where_the_rows_are_no_longer_kept(here: Command) -> None:
    with database("enriched.duckdb").session() as session:
        session.sql("DROP TABLE sqlbatch.rows_1; DROP TABLE sqlbatch.asks_1")
    found = json.loads(here("show", "--failures", "--json").out)
    assert [(each["code"], each["rows"], each["asked_by"]) for each in found] == [
        ("refusal", None, None),
        ("length", None, None),
    ]
    assert "prune deleted the stored rows" in here("show", "--failures").err


def test_a_job_without_failures_says_so(here: Command) -> None:
    enrich(database("enriched.duckdb"), "SELECT 'a' AS x", content)
    ran = here("show", "--failures")
    assert (ran.code, ran.out) == (0, "")
    assert "no request of job 1 has failed" in ran.err
    assert json.loads(here("show", "--failures", "--json").out) == []


@pytest.mark.usefixtures("failing")
def test_a_request_is_printed_in_full_with_what_came_back(here: Command) -> None:
    ids = dict(rows(database("enriched.duckdb"), "SELECT DISTINCT x, custom_id::VARCHAR FROM tags"))
    found = json.loads(here("show", "tags", "--request", ids["b"]).out)
    assert (found["method"], found["url"], found["custom_id"]) == ("POST", "/v1/chat/completions", ids["b"])
    assert found["body"]["messages"][-1] == {"role": "user", "content": "b"}
    assert [(each["source"], each["outcome"], each["content"]) for each in found["results"]] == [
        ("batch", "answered", "B")
    ]
    refused = json.loads(here("show", "--request", ids["a"][:8].upper()).out)
    assert refused["custom_id"] == ids["a"]
    assert refused["results"][0]["raw"] == LINE
    assert here("show", "--request", "").error.startswith("--request is empty")
    assert "no request of job 1 has the custom_id ffff" in here("show", "--request", "ffffffff").error


def test_request_files_are_what_is_sent_and_sent_by_nobody(here: Command, tmp_path: Path) -> None:
    db = database("enriched.duckdb")
    begin(db, QUERY, input=["x"])
    ran = here("show", "--request-files", "out/files")
    paths = [tmp_path / line for line in ran.out.splitlines()]
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600]
    found: list[Any] = [json.loads(line) for line in paths[0].read_text().splitlines()]
    assert sorted(each["body"]["messages"][-1]["content"] for each in found) == ["a", "b", "c"]
    assert {each["url"] for each in found} == {"/v1/chat/completions"}
    assert rows(db, "SELECT state, requests FROM sqlbatch.batches") == [("planned", 3)]
    again = here("show", "--request-files", "out/files", "--json")
    assert again.code == 1
    assert "exists already" in again.error
    other = json.loads(here("show", "--request-files", "out/others", "--json").out)
    assert sorted((tmp_path / other[0]).read_text().splitlines()) == sorted(paths[0].read_text().splitlines())
    # What was shown is what is sent: the same batches, and no others.
    assert here("wait").code == 0
    assert [name for (name,) in rows(db, "SELECT batch_id::VARCHAR FROM sqlbatch.batches")] == [
        re.sub(r"sqlbatch-|\.jsonl", "", path.name) for path in paths
    ]
    assert here("show", "--request-files", "out/after").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--failures", "--request", "x"), "give one of them"),
        (("--request-files", "enriched.duckdb"), "cannot be made: File exists"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: tuple[str, ...], told: str, here: Command) -> None:
    begin(database("enriched.duckdb"), "SELECT 'a' AS x")
    ran = here("show", *arguments)
    assert ran.code == 1
    assert told in ran.error


def test_a_job_that_sent_nothing_has_no_files(here: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT 'a' AS x", content)
    begin(db, "SELECT 'a' AS x", into="again")
    assert "there is no request file" in here("show", "again", "--request-files", "out").error
