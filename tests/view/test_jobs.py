"""The pages of jobs say how far each is, what it cost, what to do next, and why requests failed."""

from __future__ import annotations

import signal
import webbrowser
from typing import TYPE_CHECKING, Any

from sqlbatch.view.app import path_of
from tests.query.support import Failure, answer, begin, content, database, enrich

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from sqlbatch.db.database import Database
    from tests.conftest import Command
    from tests.view.conftest import Browser

SCRIPT = "<script>alert(1)</script>"


def _fails(body: Any) -> str | Failure:
    text = content(body)
    return Failure("refusal", f"I'd rather not {SCRIPT}") if "bad" in text else text


def test_a_job_that_failed_shows_the_row_the_request_and_what_came_back(page: Callable[[Database], Browser]) -> None:
    db = database()
    enrich(db, f"SELECT unnest(['fine', 'bad {SCRIPT}', 'worse and bad']) AS story", _fails, into="tags")
    with db.session() as session:
        session.sql("UPDATE work.sqlbatch.results SET raw = '{\"error\": \"<b>no</b>\"}' WHERE outcome = 'failed'")
    browser = page(db)
    listed = browser.get("/")
    assert "1 answered 2 failed of 3 requests" in listed.text
    one = browser.get("/jobs/1").text
    assert "sqlbatch show 1 --failures says why, sqlbatch retry 1 asks again" in one
    assert "Say it again." in one
    assert "refusal 2 2 I'd rather not" in one
    failed = browser.get("/jobs/1/failures?code=refusal")
    assert f"Row 2 story bad {SCRIPT}" in failed.text
    assert '"role": "user"' in failed.text
    assert '"error": "<b>no</b>"' in failed.text
    assert browser.get("/jobs/1/failures?code=other").text.count("Row ") == 0
    for html in (listed.html, browser.get("/jobs/1").html, failed.html):
        assert "<script>" not in html
        assert "<b>no" not in html


def test_a_running_job_says_how_far_the_provider_is_and_when_it_will_be_done(
    page: Callable[[Database], Browser],
) -> None:
    db = database()
    job_id = begin(db, "SELECT 'row ' || i AS story FROM range(100) r(i)", into="tags")
    answer(db, job_id, lambda body: content(body) if content(body).endswith("1") else None)
    with db.session() as session:
        session.sql(
            "UPDATE work.sqlbatch.batches SET state = 'open', completed = 40, job_id = 1, "
            "opened_at = now()::TIMESTAMP - INTERVAL 10 MINUTE"
        )
    text = page(db).get(f"/jobs/{job_id}").text
    assert "10 answered 40 done at the provider of 100 requests about 10 minutes left" in text
    assert "sqlbatch wait 1 follows it to its end" in text


def test_a_request_is_shown_in_full_and_what_is_not_there_is_said(page: Callable[[Database], Browser]) -> None:
    db = database()
    enrich(db, "SELECT 'a' AS story", content, into="tags")
    browser = page(db)
    with db.session() as session:
        ((custom_id,),) = session.sql("SELECT custom_id::VARCHAR FROM tags")
    shown = browser.get(f"/jobs/1/requests/{custom_id}").text
    assert "POST /v1/chat/completions" in shown
    assert '"outcome": "answered"' in shown
    for path in ("/jobs/7", "/jobs/x", "/jobs/1/requests/00", "/nowhere"):
        missing = browser.get(path)
        assert missing.status == 404
        assert "Not found" in missing.text


def test_the_file_is_free_between_two_pages(page: Callable[[Database], Browser], cli: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT 'a' AS story", content, into="tags")
    browser = page(db)
    assert browser.get("/").status == 200
    assert cli("query", "SELECT count(*) AS n FROM tags").out == "n\n1\n"
    assert browser.get("/").status == 200


def test_the_command_opens_a_table_a_job_or_all_jobs(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    db = database("enriched.duckdb", "CREATE TABLE films AS SELECT 1 AS x; CREATE SCHEMA marts")
    enrich(db, "SELECT 'a' AS story", content, into='marts."my tags"')
    begin(db, "SELECT 'b' AS story", into="later")
    assert path_of(db, None) == "/"
    assert path_of(db, "films") == "/tables/main/films"
    assert path_of(db, 'marts."my tags"') == "/tables/marts/my%20tags"
    assert path_of(db, "1") == "/jobs/1"
    assert path_of(db, "later") == "/jobs/2"
    assert "no job has the target nothing" in here("view", "nothing", "--no-browser").error
    opened: list[str] = []

    def looked_at(address: str) -> None:
        opened.append(address)
        # Ctrl-C.
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(webbrowser, "open", looked_at)
    ran = here("view", "2", "--port", "0")
    assert ran.code == 0
    assert opened == [ran.out.strip()]
    assert "/jobs/2?token=" in ran.out
    assert "Ctrl-C ends it" in ran.err
