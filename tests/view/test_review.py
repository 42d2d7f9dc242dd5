"""Review: what a person says of an answer is kept beside the table, corrects a view of it, and outlives a new run."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import run
from sqlbatch.errors import InvalidSettings
from sqlbatch.query import reviewed
from sqlbatch.returns import parse_returns
from sqlbatch.view.editor import as_json
from tests.query.support import Failure, answer, begin, content, database, enrich, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.database import Database
    from tests.view.conftest import Browser, Reply

    Page = Callable[[Database], Browser]

QUERY = "SELECT * FROM (VALUES ('war film', 1), ('comedy', 2), ('bad', 3), ('thriller', 4)) t(story, n) ORDER BY n"
RETURNS = "genre ENUM('war', 'comedy', 'crime') NOT NULL, score INTEGER CHECK (score <= 10), tags VARCHAR[]"
REVIEW = "/review/main/films"


def _reply(body: Any) -> str | Failure:
    text = content(body)
    if "bad" in text:
        return Failure("refusal")
    return json.dumps({"genre": "war" if "war" in text else "comedy", "score": len(text), "tags": text.split()})


def _films(**options: Any) -> Database:
    db = database()
    enrich(db, QUERY, _reply, **{"into": "films", "returns": RETURNS, "input": ["story"]} | options)
    return db


def _form(html: str) -> dict[str, str]:
    """Return the fields of a review's form as a browser would send them."""
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', html)
    fields += re.findall(r'<textarea id="value" name="(value)"[^>]*>([^<]*)</textarea>', html)
    return {name: unescape(value) for name, value in fields}


def _judge(browser: Browser, html: str, verdict: str, **more: str) -> Reply:
    return browser.post(REVIEW, {**_form(html), "verdict": verdict, **more})


def test_each_verdict_leads_to_the_next_row_and_the_view_has_the_corrections(page: Page) -> None:
    db = _films()
    browser = page(db)
    assert "at random" in browser.get(REVIEW).text
    where = f"{REVIEW}?column=genre&n=20&seed=3"
    html = browser.get(where).html
    assert "0 of 3 reviewed" in html
    seen = []
    for verdict in ("approved", "rejected", "corrected"):
        seen.append(_form(html)["custom_id"])
        value = {"value": "crime"} if verdict == "corrected" else {}
        reply = _judge(browser, html, verdict, note="hm" if value else "", **value)
        assert reply.status == 303
        html = browser.get(reply.headers["location"]).html
    assert "All 3 are reviewed" in html
    assert len(set(seen)) == 3
    found = dict(rows(db, "SELECT custom_id::VARCHAR, (genre, ai_review['genre']) FROM films_reviewed"))
    judged = dict(rows(db, "SELECT custom_id::VARCHAR, genre::VARCHAR FROM films"))
    assert [found[each] for each in seen] == [(judged[seen[0]], "approved"), (None, "rejected"), ("crime", "corrected")]
    assert rows(db, "SELECT count(*) FROM films_reviewed WHERE ai_review IS NULL") == [(1,)]
    kept = rows(db, "SELECT verdict, value::VARCHAR, note, reviewer FROM work.sqlbatch.reviews ORDER BY reviewed_at")
    assert kept[2] == ("corrected", '"crime"', "hm", "kim")
    assert [each[0] for each in kept] == ["approved", "rejected", "corrected"]
    # The answer itself is as it came.
    assert rows(db, "SELECT typeof(genre) FROM films_reviewed LIMIT 1") == [("ENUM('war', 'comedy', 'crime')",)]


def test_the_same_seed_draws_the_same_rows_and_strata_take_turns(page: Page) -> None:
    db = database()
    query = "SELECT 'film ' || i || CASE WHEN i % 20 = 0 THEN ' war' ELSE '' END AS story FROM range(100) r(i)"
    enrich(db, query, _reply, into="films", returns="genre VARCHAR, score INTEGER, tags VARCHAR[]")
    browser = page(db)

    def drawn(params: str, count: int) -> list[str]:
        found = [browser.get(f"{REVIEW}?column=genre&n={count}&at={at}&{params}").html for at in range(1, count + 1)]
        return [_form(html)["custom_id"] for html in found]

    assert drawn("seed=1", 4) == drawn("seed=1", 4) != drawn("seed=2", 4)
    genres = dict(rows(db, "SELECT custom_id::VARCHAR, genre FROM films"))
    assert sorted(genres[each] for each in drawn("by=value", 6)) == ["comedy"] * 3 + ["war"] * 3


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("genre", "western", "western"),
        ("score", "eleven", "score: eleven is not a number"),
        ("score", "11", "score"),
        ("score", "3.5", "score"),
        ("genre", "", "null"),
    ],
)
def test_a_correction_is_held_to_the_same_rules_as_an_answer(page: Page, column: str, value: str, said: str) -> None:
    db = _films()
    browser = page(db)
    html = browser.get(f"{REVIEW}?column={column}&n=20").html
    reply = _judge(browser, html, "corrected", value=value)
    assert reply.status == 400
    assert said in reply.text.partition("Keep the correction")[0]
    assert rows(db, "SELECT count(*) FROM work.sqlbatch.reviews") == [(0,)]


def test_reviews_survive_a_new_run_and_count_for_the_answer_that_was_seen(page: Page) -> None:
    db = _films()
    browser = page(db)
    first = browser.get(f"{REVIEW}?column=score&n=20").html
    _judge(browser, first, "rejected")
    second = browser.get(f"{REVIEW}?column=score&n=20&at=2").html
    _judge(browser, second, "corrected", value="7")

    def other(body: Any) -> str | Failure:
        reply = _reply(body)
        return reply if isinstance(reply, Failure) else json.dumps(json.loads(reply) | {"score": 1})

    enrich(db, QUERY, other, into="films", returns=RETURNS, input=["story"], fresh=True)
    found = dict(rows(db, "SELECT custom_id::VARCHAR, score FROM films_reviewed"))
    # What was rejected is no longer there; what was corrected holds.
    assert found[_form(first)["custom_id"]] == 1
    assert found[_form(second)["custom_id"]] == 7
    assert "That was of another answer" in browser.get(f"{REVIEW}?column=score&n=20").text
    assert "1 of 3 reviewed" in browser.get(f"{REVIEW}?column=score&n=20").text


def test_a_changed_prompt_keeps_reviews_as_gold_and_the_view_follows_the_target(page: Page) -> None:
    db = _films()
    browser = page(db)
    html = browser.get(f"{REVIEW}?column=genre&n=20&seed=5").html
    _judge(browser, html, "corrected", value="crime")
    story = rows(db, "SELECT source_row ->> 'story' FROM work.sqlbatch.gold")[0][0]
    enrich(
        db, QUERY, lambda _: '{"genre": "comedy", "mood": "x"}', into="films", input=["story"],
        instructions="Another prompt.", returns="genre VARCHAR, mood VARCHAR",
    )  # fmt: skip
    assert rows(db, "SELECT count(*), count(ai_review), count(mood) FROM films_reviewed") == [(4, 0, 4)]
    shown = [browser.get(f"{REVIEW}?column=genre&n=20&at={at}").text for at in range(1, 5)]
    (gold,) = [text for text in shown if "gold" in text]
    assert story in gold
    assert "Not “crime”, corrected by kim under another prompt" in gold


def test_a_view_of_somebody_elses_is_left_alone_and_what_is_no_answer_is_not_reviewed(page: Page) -> None:
    db = _films()
    with db.session() as session:
        session.sql("CREATE VIEW films_reviewed AS SELECT 1 AS mine; CREATE TABLE own AS SELECT 1 AS x")
    browser = page(db)
    _judge(browser, browser.get(f"{REVIEW}?column=genre&n=20").html, "approved")
    assert rows(db, "FROM films_reviewed") == [(1,)]
    assert browser.get("/review/main/own").status == 404
    form = _form(browser.get(f"{REVIEW}?column=genre&n=20").html)
    assert browser.post(REVIEW, {**form, "verdict": "deleted"}).status == 400
    assert browser.post(REVIEW, {**form, "verdict": "approved", "custom_id": "x'; DROP TABLE films"}).status == 400
    assert browser.post(REVIEW, {**form, "verdict": "approved"}, Origin="http://elsewhere.example").status == 403
    assert rows(db, "SELECT count(*) FROM work.sqlbatch.reviews") == [(1,)]


@pytest.mark.parametrize(
    ("definition", "typed", "text"),
    [
        ("x VARCHAR", 'it\'s "so"', '"it\'s \\"so\\""'),
        ("x VARCHAR", " ", "null"),
        ("x VARCHAR NOT NULL", "", '""'),
        ("x INTEGER", " 12 ", "12"),
        ("x DECIMAL(30, 2)", "1.50", '"1.50"'),
        ("x BOOLEAN", "true", "true"),
        ("x DATE", "2024-01-02", '"2024-01-02"'),
        ("x VARCHAR[]", "a\r\n\r\n b ", '["a", "b"]'),
        ("x INTEGER[]", "1\n2", "[1, 2]"),
        ("x STRUCT(a INTEGER)", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_column(definition: str, typed: str, text: str) -> None:
    returns = parse_returns(definition)
    assert as_json(reviewed.column_of(returns, "x"), typed) == text


def test_what_is_typed_as_json_has_to_be_json() -> None:
    with pytest.raises(InvalidSettings, match="this is not JSON"):
        as_json(reviewed.column_of(parse_returns("x STRUCT(a INTEGER)"), "x"), "{a: 1")


def test_a_review_and_a_table_may_begin_with_what_the_model_was_least_sure_of(page: Page) -> None:
    db = database()
    job_id = begin(db, "SELECT 'film ' || i AS title FROM range(9) r(i)", into="sure", returns="genre VARCHAR", confidence=True)  # fmt: skip  # noqa: E501
    answer(db, job_id, lambda body: json.dumps({"genre": content(body)}))
    number = "CASE WHEN content LIKE '%film 4%' THEN 0.21 WHEN content LIKE '%film 7%' THEN 0.34 ELSE 0.9 END"
    rows(db, f"UPDATE work.sqlbatch.results SET confidence = map(['', 'genre'], [0.5, {number}])")
    run.finish(db, job_id)
    browser = page(db)
    assert "least sure first" in browser.get("/review/main/sure").text
    shown = browser.get("/review/main/sure?column=genre&n=20&by=confidence").text
    assert "film 4" in shown
    assert "the model was 21 % sure of its words" in shown
    assert "film 7" in browser.get("/review/main/sure?column=genre&n=20&by=confidence&at=2").text
    table = browser.get("/tables/main/sure?sort=ai_confidence.genre").html
    assert table.index("film 4") < table.index("film 7") < table.index("film 0")
    assert "0.21" in table
    # A table that does not say how sure the model was has no such order.
    assert "least sure first" not in page(_films()).get(REVIEW).text


def test_a_script_gets_the_next_row_in_the_reply_to_a_verdict(page: Page) -> None:
    db = _films()
    browser = page(db)
    html = browser.get(f"{REVIEW}?column=genre&n=20&seed=3").html
    verdicts = {**_form(html), "verdict": "approved"}
    reply = browser.post(REVIEW, verdicts, Sqlbatch_Next="here")
    assert (reply.status, reply.headers["sqlbatch-address"].partition("?")[0]) == (200, REVIEW)
    assert reply.html == browser.get(reply.headers["sqlbatch-address"]).html
    assert "1 of 3 reviewed" in reply.text
    wrong = browser.post(REVIEW, {**_form(reply.html), "verdict": "corrected", "value": "opera"}, Sqlbatch_Next="here")
    assert (wrong.status, "sqlbatch-address" in wrong.headers) == (400, False)
    assert "opera" in wrong.text
