"""The page of a table: each value readable, rows filtered, sorted and paged by SQL, and the address says it all."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest

from tests.conftest import ROOT
from tests.query.support import Failure, content, database, enrich
from tests.view.conftest import Browser, served

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "<script>alert(1)</script>"
PICTURE = ROOT / "data" / "images" / "double_bed.png"
TYPED = f"""
CREATE TABLE typed AS SELECT 7 AS whole, 2.5 AS part, true AS yes, NULL AS nothing, '{SCRIPT}' AS script, '' AS empty,
  repeat('long text ', 60) AS long, ['a<b', 'c'] AS list, range(100) AS numbers,
  list_transform(range(256), lambda x: (x / 256)::FLOAT) AS vector, {{'name': '<i>x</i>', 'ages': [1, 2]}} AS person,
  '{{"k": [1, null]}}'::JSON AS doc, DATE '1850-02-03' AS day, 'a'::ENUM('a', 'b') AS letter, uuid() AS id,
  '<svg onload=alert(1)>'::BLOB AS false_picture, (SELECT content FROM read_blob('{PICTURE}')) AS picture,
  [[1], [2]] AS nested, MAP {{'a': 1}} AS map;
CREATE TABLE years AS SELECT 1900 + i AS year, 'film ' || i AS title,
  CASE WHEN i % 3 = 0 THEN NULL ELSE 'g' || i % 4 END AS genre,
  [CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END] AS tags FROM range(120) r(i);
CREATE TABLE hidden AS SELECT 'same' AS rowid, 'film ' || i AS title FROM range(3) r(i);
CREATE VIEW late AS FROM years WHERE year >= 2000;
"""


def _reply(body: Any) -> str | Failure:
    text = content(body)
    return Failure("refusal", "no") if "bad" in text else json.dumps({"genre": text[:5], "tags": [text[:3], SCRIPT]})


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Serve a database with a target, and tables of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tables"))
        db = database("work.duckdb", TYPED)
        query = "SELECT * FROM (VALUES ('drama of a king'), ('bad film'), ('crime in a town')) t(story)"
        enrich(db, query, _reply, into="tags", returns="genre VARCHAR, tags VARCHAR[]")
        with served(db) as page:
            yield page.open()


def _titles(html: str) -> list[str]:
    return re.findall(r'data-label="title">(film \d+)<', html)


def test_input_stands_beside_output_and_every_row_says_what_became_of_it(browser: Browser) -> None:
    reply = browser.get("/tables/main/tags")
    assert "from the query from offline what became of it" in reply.text
    assert re.search(
        r"drama of a king drama dra .*? answered .* 2 bad film NULL NULL .*? failed refusal: no", reply.text
    )
    listed = browser.get("/tables").text
    assert "tags job 1 3 7" in listed
    assert "late a view" in listed


def test_every_type_is_readable_and_nothing_in_a_row_is_markup(browser: Browser) -> None:
    for path in ("/tables/main/typed", "/tables/main/typed?as=cards", "/tables/main/typed/rows/0", "/tables/main/tags"):
        html = browser.get(path).html
        for foreign in ("<script>", "<i>x", "<svg onload", "<b'", "style="):
            assert foreign not in html, path
    html = browser.get("/tables/main/typed").html
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
    for shown in (
        "[0, 0.00391, 0.00781, 0.0117, …] 256 numbers",
        "a<b c",
        "and 76 more",
        "name <i>x</i> ages 1 2",
        "k 1 null",
        "1850-02-03",
        "21 bytes, no picture",
        "empty text",
        SCRIPT,
    ):
        assert shown in text, shown
    assert html.count('<details class="fold">') == 1
    assert "long text " * 60 in " ".join(browser.get("/tables/main/typed/rows/0").text.split()) + " "


@pytest.mark.parametrize(
    ("params", "rows"),
    [
        ({}, 120),
        ({"q": "FILM 11"}, 11),
        ({"is.genre": "g1"}, 20),
        ({"column": "genre", "value": "g1"}, 20),
        ({"null.genre": "1"}, 40),
        ({"is.tags": "odd"}, 60),
        ({"from.year": "1990", "below.year": "2000"}, 10),
        ({"where": "year % 10 = 0 AND tags[1] = 'even'"}, 12),
        ({"where": "year IN (SELECT max(year) FROM late)", "q": "film"}, 1),
        ({"where": "year > 1990 -- a remark", "is.genre": "g2"}, 5),
        ({"is.title": "' OR true --"}, 0),
        ({"q": "%"}, 0),
    ],
)
def test_rows_are_filtered_by_value_text_bounds_and_condition(
    browser: Browser, params: dict[str, str], rows: int
) -> None:
    reply = browser.get(f"/tables/main/years?{urlencode(params)}")
    assert reply.status == 200
    assert not params or f"{rows} row{'s' * (rows != 1)} of 120" in reply.text
    assert len(_titles(reply.html)) == min(rows, 50)


def test_a_target_is_filtered_by_status_and_by_the_reason_of_failures(browser: Browser) -> None:
    assert "1 row of 3" in browser.get("/tables/main/tags?status=failed").text
    assert "1 row of 3" in browser.get("/tables/main/tags?code=refusal").text
    assert "2 rows of 3" in browser.get("/tables/main/tags?status=answered").text
    assert "status=failed" in browser.get("/tables/main/tags").html


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("year >", "syntax error"),
        ("nowhere > 1", 'Referenced column "nowhere" not found'),
        ("title::INTEGER > 1", "Could not convert"),
        ("true); DROP TABLE years; SELECT (true", "the condition must be one condition"),
        ("EXISTS (FROM read_text('/etc/hostname'))", "it can read tables of this database, and nothing else"),
    ],
)
def test_a_wrong_condition_is_said_where_it_was_typed_and_the_rows_stay(
    browser: Browser, condition: str, said: str
) -> None:
    reply = browser.get(f"/tables/main/years?where={quote(condition)}")
    assert reply.status == 400
    assert said in reply.text
    assert "Error" not in reply.text
    assert len(_titles(reply.html)) == 50
    assert 'aria-describedby="problem"' in reply.html


def test_a_condition_that_takes_too_long_is_told_where_it_was_typed(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlbatch.view.relation.PATIENCE", 0.5)
    endless = "(SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = -year) = 0"
    reply = browser.get(f"/tables/main/years?where={quote(endless)}")
    assert "took longer than" in reply.text


def test_pages_and_order_are_in_the_address(browser: Browser) -> None:
    last = browser.get("/tables/main/years?sort=year&desc=1&page=6&size=20").html
    assert _titles(last)[0] == "film 19"
    assert _titles(last)[-1] == "film 0"
    assert "Page 6 of 6" in browser.get("/tables/main/years?page=999&size=20").text
    first = browser.get("/tables/main/years?sort=genre").html
    assert 'aria-sort="ascending"' in first
    links = [unescape(link) for link in re.findall(r'href="(/tables/main/years\?[^"]*sort=genre[^"]*)"', first)]
    assert any("desc=1" in link for link in links)
    # A page of rows that are filtered anew is the first one.
    filtered = browser.get("/tables/main/years?is.genre=g1&page=2&size=20").html
    assert all("page=" not in unescape(link) for link in re.findall(r'class="chip" href="([^"]*)"', filtered))


def test_a_view_is_shown_too_and_what_is_not_there_is_said(browser: Browser) -> None:
    assert len(_titles(browser.get("/tables/main/late?sort=year&desc=1&size=20").html)) == 20
    for path in (
        "/tables/main/nowhere",
        "/tables/sqlbatch/jobs",
        "/tables/main/late/rows/0",
        "/tables/main/years/rows/999",
    ):
        assert browser.get(path).status == 404
    assert "has no column nowhere" in browser.get("/tables/main/years?is.nowhere=1").text


def test_a_column_called_rowid_mixes_up_no_rows(browser: Browser) -> None:
    reply = browser.get("/tables/main/hidden")
    assert sorted(_titles(reply.html)) == ["film 0", "film 1", "film 2"]
    assert browser.get("/tables/main/hidden/rows/0").status == 404


def test_a_column_says_what_it_holds(browser: Browser) -> None:
    genre = browser.get("/tables/main/years?about=genre").text
    assert "values 80 NULL 40" in genre
    assert re.search(r"g1 20 g2 20", genre)
    year = browser.get("/tables/main/years?about=year")
    assert "least 1900 mean 1960 greatest 2019" in year.text
    assert "1900 to 1905: 5;" in year.html
    assert "from.year=1900" in year.html
    tags = browser.get("/tables/main/years?about=tags&from.year=2000").text
    assert "values 20 NULL 0" in tags
    assert "even 10 odd 10" in tags
    for column in ("day", "vector", "person", "picture", "yes", "id", "long", "nothing", "map"):
        assert browser.get(f"/tables/main/typed?about={column}").status == 200, column


def test_a_picture_is_a_picture_or_nothing(browser: Browser) -> None:
    shown = browser.get("/pictures/main/typed/picture/0/0")
    assert (shown.status, shown.headers["content-type"], shown.body) == (200, "image/png", PICTURE.read_bytes())
    for path in (
        "/pictures/main/typed/false_picture/0/0",
        "/pictures/main/typed/script/0/0",
        "/pictures/main/typed/picture/99/0",
        "/pictures/main/typed/nowhere/0/0",
    ):
        reply = browser.get(path)
        assert (reply.status, reply.headers["content-type"]) == (404, "text/plain; charset=utf-8"), path
    # What sqlbatch keeps for itself is no table of a page.
    assert browser.get("/pictures/sqlbatch/images/content/0/0").status == 404


def test_pictures_come_from_files_and_data_and_never_from_elsewhere(page: Any) -> None:
    data = f"data:image/png;base64,{base64.b64encode(PICTURE.read_bytes()).decode()}"
    values = [str(PICTURE), "gone.png", data, "https://elsewhere.example/x.png", "/etc/hostname"]
    db = database()
    rows = ", ".join(f"({place}, '{value}')" for place, value in enumerate(values))
    query = f"SELECT * FROM (VALUES {rows}) t(place, photo) ORDER BY place"
    enrich(db, query, lambda _: '{"seen": "x"}', into="seen", image=["photo"], returns="seen VARCHAR")
    browser = page(db)
    statuses = [browser.get(f"/pictures/main/seen/photo/{row}/0").status for row in range(5)]
    assert statuses == [200, 404, 200, 404, 404]
    html = browser.get("/tables/main/seen").html
    assert 'href="https://elsewhere.example/x.png" rel="noreferrer noopener"' in html
    assert 'src="https' not in html
