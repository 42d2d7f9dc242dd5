"""A query asks about pictures: they are looked at when it is planned, and what cannot be sent fails its row alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch.cli import main
from sqlbatch.errors import InvalidEnrichment
from tests.functions.test_jobs import begun, run_through
from tests.query.support import Failure, begin, database, rows

if TYPE_CHECKING:
    from sqlbatch.db.database import Database

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

IMAGES = Path(__file__).parent.parent.parent / "data" / "images"
CHAIR, LAMP = IMAGES / "oak_dining_chair.png", IMAGES / "arc_floor_lamp.png"


def pictured(folder: Path) -> Database:
    """Return a database with a table of pictures: two files, one that is missing, one that is none, a URL, and NULL."""
    (folder / "text.png").write_text("no picture")
    names = [str(CHAIR), str(LAMP), str(folder / "gone.png"), str(folder / "text.png"), "https://example.com/a.png"]
    values = ", ".join(f"({number}, '{name}')" for number, name in enumerate(names, 1))
    return database(setup=f"CREATE TABLE t AS FROM (VALUES {values}, (6, NULL)) AS v(id, image)")


def says(body: Any) -> str | Failure | None:
    """Answer with what a request has of pictures."""
    parts = body["messages"][-1]["content"]
    shown = [part["image_url"]["url"][:14] for part in parts if part["type"] == "image_url"]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    if "response_format" in body:
        return json.dumps({"answer": not shown[0].startswith("https")})
    return " ".join([*texts, *shown])


def test_pictures_are_asked_about_and_one_that_cannot_be_sent_fails_its_row_alone(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    run_through(db, begun(db, "SELECT id, ai_complete(ai_image(image), 'Describe it.') AS d FROM t"), says)
    found = rows(db, "SELECT id, d, ai_status, split_part(ai_error, ':', 2) FROM answers ORDER BY id")
    assert found == [
        (1, "data:image/png", "answered", None),
        (2, "data:image/png", "answered", None),
        (3, None, "failed", " image_unreadable"),
        (4, None, "failed", " image_unsupported"),
        (5, "https://exampl", "answered", None),
        (6, None, "answered", None),
    ]


def test_what_a_picture_is_asked_is_the_very_request_of_the_option(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    flags = begin(db, "SELECT image FROM t WHERE id < 3", image=["image"], instructions="Describe it.", into="one",
                  returns="a VARCHAR")  # fmt: skip
    calls = begun(db, "SELECT ai_complete(ai_image(image), 'Describe it.', returns := 'a VARCHAR') AS a FROM t "
                  "WHERE id < 3", into="two")  # fmt: skip
    asked = "SELECT custom_id FROM sqlbatch.wanted WHERE job_id = {} ORDER BY ALL"
    assert rows(db, asked.format(flags)) == rows(db, asked.format(calls))


def test_a_later_stage_looks_at_what_was_seen_when_it_was_planned(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    job_id = begun(
        db,
        "SELECT id, ai_complete(prompt('Compare {0} with {1}: {2}', ai_image(a.image), ai_image(b.content), id)) AS d "
        f"FROM t a, read_blob('{CHAIR}') b WHERE NOT ai_filter(prompt('{{0}}?', ai_image(image)))",
    )
    rows(db, "UPDATE t SET image = NULL")
    assert len(run_through(db, job_id, says)) == 1
    assert rows(db, "SELECT id, d, ai_status, ai_error FROM answers ORDER BY id") == [
        (5, "Compare picture 1 with picture 2: 5 https://exampl data:image/png", "answered", None)
    ]
    # Two of the pictures could not be sent, and a retry may ask about the rest.
    assert rows(db, "SELECT count(*) FROM sqlbatch.images WHERE content IS NOT NULL") == [(1,)]


def test_the_quote_has_the_pictures_and_what_cannot_be_sent(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    quote = sqlbatch.plan("SELECT ai_complete(ai_image(image)) AS d FROM t", db=db.path, provider="local")
    assert (quote.pictures, quote.to_send, quote.unsent) == (3, 3, 2)
    assert quote.picture_bytes > CHAIR.stat().st_size
    assert 3 * 765 < quote.tokens < 3 * 765 + 200
    low = sqlbatch.plan("SELECT ai_complete(ai_image(image)) AS d FROM t", db=db.path, provider="local",
                        image_detail="low")  # fmt: skip
    assert low.tokens < 500


def test_a_preview_looks_at_pictures_and_names_what_cannot_be_sent(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    query = "SELECT id, ai_complete(ai_image(image)) AS d FROM t WHERE id < 4"
    shown = sqlbatch.preview(query, db=db.path, rows=3, provider="local")
    assert [row.status for row in shown.rows] == ["answered", "answered", "failed"]
    assert "no such file" in repr(shown.rows[2])
    assert "PNG picture" in (shown.rows[0].answer or {})["d"]


def test_installed_macros_know_a_picture_by_its_name(tmp_path: Path) -> None:
    db = pictured(tmp_path)
    query = "SELECT id, ai_complete(ai_image(image), 'Describe it.') AS d FROM t ORDER BY id"
    run_through(db, begun(db, query), says)
    assert main(["functions", "install", "--db", str(db.path)]) == 0
    with duckdb.connect(str(db.path)) as con:
        assert con.execute(query).fetchall() == con.execute("SELECT id, d FROM answers ORDER BY id").fetchall()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT ai_image(image) FROM t", "ai_image is the input of another function"),
        ("SELECT ai_complete('see ' || ai_image(image)) FROM t", "ai_image is the input of another function"),
        ("SELECT ai_complete(ai_image(ai_complete(image))) FROM t", "not an answer"),
        ("SELECT ai_embed(ai_image(image)) FROM t", "ai_embed accepts no pictures"),
        ("SELECT ai_agg(ai_image(image), 'x') FROM t", "ai_agg accepts no pictures"),
        ("SELECT ai_complete(ai_image(image, 'low')) FROM t", "ai_image takes one argument"),
    ],
)
def test_a_picture_where_none_can_be_is_refused(query: str, said: str, tmp_path: Path) -> None:
    db = pictured(tmp_path)
    with pytest.raises(InvalidEnrichment, match=said):
        sqlbatch.plan(query, db=db.path, provider="local")
