"""In a real browser: pictures are seen, films reviewed by keys, a million rows open at once, nothing foreign runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import visit
from tests.query.support import answer, begin, content, database, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.database import Database

# Pages of every kind, as they are read at any width and in any light.
PAGES = (
    "/",
    "/jobs/3",
    "/jobs/3/failures",
    "/tables",
    "/tables/main/furniture_captions?about=price",
    "/tables/main/movie_tags?as=cards&where=year%20%3E%201990",
    "/tables/main/movie_tags/rows/7",
    "/review/main/movie_tags",
    "/review/main/furniture_captions?column=caption&n=20",
    "/compare",
    "/compare/1",
    "/spend",
)


def until(tab: Any, condition: str) -> None:
    """Wait until a condition holds in the page. Its policy forbids the waiting that playwright would do in it."""
    late = time.monotonic() + 30
    while not tab.evaluate(condition):
        assert time.monotonic() < late, condition
        tab.wait_for_timeout(50)


@pytest.mark.parametrize("shown", ["rows", "cards"])
def test_every_piece_of_furniture_has_its_picture_beside_its_caption(look: Callable[..., Any], shown: str) -> None:
    with look() as tab:
        tab.goto(f"{tab.base}/tables/main/furniture_captions?as={shown}")
        pictures = tab.locator("img.picture")
        assert pictures.count() == 30
        for at in range(30):
            pictures.nth(at).scroll_into_view_if_needed()
        until(tab, "[...document.images].every(each => each.complete && each.naturalWidth === 512)")
        assert "oak" in tab.locator("tbody tr, li.card").first.inner_text()


def test_390_films_are_reviewed_by_keys_alone(look: Callable[..., Any], db: Database) -> None:
    with look() as tab:
        tab.goto(f"{tab.base}/review/main/movie_tags?column=genre&n=10000&seed=7")
        for at in range(390):
            if at % 40 == 1:
                with tab.expect_navigation():
                    tab.keyboard.press("r")
            elif at % 40 == 2:
                tab.keyboard.press("e")
                tab.keyboard.type("com")
                with tab.expect_navigation():
                    tab.keyboard.press("Control+Enter")
            else:
                with tab.expect_navigation():
                    tab.keyboard.press("a")
        assert "All 390 are reviewed" in tab.locator("h1").inner_text()
    found = dict(rows(db, "SELECT verdict, count(*) FROM work.sqlbatch.verdicts GROUP BY ALL"))
    assert (found["approved"], found["rejected"], found["corrected"]) == (370, 10, 10)
    assert rows(db, "SELECT count(*) FROM movie_tags_reviewed WHERE genre = 'comedy'")[0][0] >= 10


def test_j_and_k_go_to_and_fro_and_no_key_works_while_one_types(look: Callable[..., Any], db: Database) -> None:
    with look() as tab:
        tab.goto(f"{tab.base}/review/main/furniture_captions?column=caption&n=20")
        first = tab.locator(".answer").inner_text()
        with tab.expect_navigation():
            tab.keyboard.press("j")
        assert tab.locator(".answer").inner_text() != first
        with tab.expect_navigation():
            tab.keyboard.press("k")
        assert tab.locator(".answer").inner_text() == first
        tab.keyboard.press("e")
        tab.keyboard.type("ajar rare")
        assert tab.locator("#value").input_value() == "ajar rare"
        tab.keyboard.press("Escape")
        tab.locator("#note").fill("by hand")
        # Enter keeps what was typed, and approves nothing.
        with tab.expect_navigation():
            tab.locator("#note").press("Enter")
    kept = rows(db, "SELECT verdict, value ->> '$', note FROM work.sqlbatch.reviews")
    assert kept == [("corrected", "ajar rare", "by hand")]


def test_a_failing_job_says_why_and_markup_in_rows_is_text(look: Callable[..., Any]) -> None:
    with look() as tab:
        tab.get_by_role("link", name="Failures").click()
        assert tab.locator("article.failure").count() == 2
        assert "<script>document.title = 'taken over'</script>" in tab.locator("main").inner_text()
        tab.get_by_text("The request").first.click()
        assert '"role": "user"' in tab.locator("details[open] pre").first.inner_text()
        tab.goto(f"{tab.base}/tables/main/notes")
        assert tab.locator("main script, main img").count() == 0


def test_what_is_no_picture_is_shown_as_none(chromium: Any) -> None:
    db = database(
        "false.duckdb", "CREATE TABLE t AS SELECT '<svg onload=\"document.title=''taken over''\">'::BLOB AS photo"
    )
    with visit(chromium, db) as tab:
        tab.goto(f"{tab.base}/tables/main/t")
        assert "no picture" in tab.locator("tbody").inner_text()
        reply = tab.goto(f"{tab.base}/pictures/main/t/photo/0/0")
        assert (reply.status, reply.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_counts_move_while_a_job_runs(chromium: Any) -> None:
    db = database()
    job_id = begin(db, "SELECT 'row ' || i AS story FROM range(100) r(i)", into="tags")
    with visit(chromium, db) as tab:
        assert "0 answered" in tab.locator(".counts").inner_text()
        answer(db, job_id, lambda body: content(body) if content(body).endswith("1") else None)
        until(tab, "document.querySelector('.counts').innerText.startsWith('10 answered')")


def test_a_million_rows_open_in_under_a_second(chromium: Any) -> None:
    setup = """
    CREATE TABLE many AS SELECT i AS id, 'title ' || i AS title,
      repeat('some text of an overview ', 20) || i AS overview,
      1900 + i % 120 AS year, ['tag ' || i % 7, 'tag ' || i % 11] AS tags, uuid() AS custom_id,
      CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'answered' END AS ai_status,
      CASE WHEN i % 50 = 0 THEN 'refusal: no' END AS ai_error, 'offline' AS ai_model
    FROM range(1000000) r(i)
    """
    db = database("many.duckdb", setup)
    with visit(chromium, db) as tab:
        for path in ("/tables/main/many", "/tables/main/many?page=9000", "/tables/main/many?sort=year&desc=1"):
            took = []
            for _ in range(3):
                # The work of all threads here, which is more than the time that passes where nothing else runs.
                began = time.process_time()
                assert tab.goto(tab.base + path).status == 200
                took.append(time.process_time() - began)
            assert "1,000,000 rows" in tab.locator("main").inner_text()
            assert min(took) < 1, (path, took)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_is_read_at_any_width_and_light(look: Callable[..., Any], width: int, scheme: str) -> None:
    with look(color_scheme=scheme) as tab:
        tab.set_viewport_size({"width": width, "height": 850})
        for path in PAGES:
            assert tab.goto(tab.base + path).ok, path
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
            assert tab.evaluate(_script("unnamed")) == [], path
            assert tab.evaluate(_script("faint")) == [], path


def _script(name: str) -> str:
    """Return a function that runs in the page, without its first line, which says what it is for."""
    return (Path(__file__).parent / f"{name}.js").read_text().partition("\n")[2]


def test_all_of_it_works_without_javascript(look: Callable[..., Any], db: Database) -> None:
    with look(java_script_enabled=False) as tab:
        tab.goto(f"{tab.base}/tables/main/movie_tags")
        tab.get_by_label("SQL condition").fill("year = 1994 AND genre IS NOT NULL")
        tab.get_by_role("button", name="Filter").click()
        assert "of 390" in tab.locator("main").inner_text()
        tab.get_by_role("link", name="What genre holds").click()
        tab.get_by_role("link", name="drama", exact=True).click()
        assert "genre is drama" in tab.locator(".chosen").inner_text()
        tab.get_by_role("link", name="Review answers").click()
        tab.get_by_role("button", name="Begin").click()
        tab.get_by_role("button", name="Approve").click()
        assert "1 of 50 reviewed" in tab.locator(".sofar").inner_text()
    assert rows(db, "SELECT verdict FROM work.sqlbatch.reviews") == [("approved",)]


def test_who_uses_a_keyboard_sees_where_they_are(look: Callable[..., Any]) -> None:
    with look() as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
        tab.keyboard.press("Tab")
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
