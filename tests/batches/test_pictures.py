"""Pictures, from a column to the file that is uploaded; one that cannot be sent fails its row and nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from sqlbatch import job_actions
from sqlbatch.errors import InvalidEnrichment
from tests.query.support import begin, bodies, database, lines, rows

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.db.database import Database

    from .bench import Bench


def picture(colour: int = 0, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of a small picture."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(out, kind, **options)
    return out.getvalue()


def animated() -> bytes:
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in (0, 120, 240)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=2)
    return out.getvalue()


def url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def shown(body: Any) -> list[str]:
    """Return the URLs of a chat body's pictures."""
    return [part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"]


def asked(query: str, db: Database | None = None, **options: Any) -> list[Any]:
    """Return the bodies of an ask about `image`, in the order of its rows."""
    db = db or database()
    given = {"image": ["image"], "into": "answers", "instructions": "Say what is there."} | options
    job_id = begin(db, query, **given)
    made = bodies(db, job_id)
    asks = rows(db, f"SELECT custom_id::VARCHAR FROM work.sqlbatch.asks_{job_id} ORDER BY sqlbatch_row")
    return [made.get(custom_id) for (custom_id,) in asks]


def failures(db: Database) -> list[tuple[Any, ...]]:
    return rows(db, "SELECT code, message FROM work.sqlbatch.failures ORDER BY ALL")


@pytest.mark.parametrize(("kind", "mime"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif")])
def test_a_file_becomes_a_data_url_of_the_type_that_its_bytes_have(kind: str, mime: str, tmp_path: Path) -> None:
    content = picture(kind=kind)
    (tmp_path / "misnamed.txt").write_bytes(content)
    (body,) = asked("SELECT 'misnamed.txt' AS image")
    assert shown(body) == [url(content, mime)]


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "name",
    ["it's.png", 'a "b".png', "with space.png", "ünï✓😀.png", "a[1].png", "what?.png", "st*r.png", "{a,b}.png",
     "$1.png", "back\\slash.png", "%20.png", "#.png", "..hidden.png", "sqlbatch:x.png"],
)  # fmt: skip
def test_a_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(picture(1))
    (tmp_path / "a1.png").write_bytes(picture(2))
    (tmp_path / "star.png").write_bytes(picture(3))
    quoted = name.replace("'", "''")
    (body,) = asked(f"SELECT '{quoted}' AS image")
    assert shown(body) == [url(picture(1))]


def test_urls_are_passed_on_and_all_else_is_sent_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(picture(1))
    (tmp_path / "c.png").write_bytes(picture(2))
    absolute = tmp_path / "c.png"
    query = f"""SELECT unnest(['https://example.org/a b.png?x="1"', 'b.png', '{absolute}', '{absolute.as_uri()}',
      '{url(picture(3))}']) AS image"""
    made = [shown(body)[0] for body in asked(query)]
    assert made[0] == 'https://example.org/a b.png?x="1"'
    assert made[1:] == [url(picture(1)), url(picture(2)), url(picture(2)), url(picture(3))]


def test_blobs_are_kept_once_and_let_go_of_when_all_is_answered(bench: Bench) -> None:
    hexes = [picture(n % 3).hex() for n in range(6)]
    query = f"SELECT unhex(unnest({hexes})) AS image, 'x' AS text"
    job_id = bench.begin(query, images=("image",))
    assert bench.sql("SELECT count(*), count(path), sum(size) FROM sqlbatch.images") == [
        (3, 0, sum(len(picture(n)) for n in range(3)))
    ]
    bench.wait(job_id)
    assert bench.sql("SELECT count(*) FROM sqlbatch.images") == [(0,)]
    assert bench.sql("SELECT ai_status, count(*) FROM answers GROUP BY ALL") == [("answered", 6)]
    assert bench.control.executed_twice() == []
    assert len(bench.control.ledger()) == 3


def test_rows_have_several_pictures_of_several_columns_in_their_order(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    query = "SELECT 'sofa' AS title, '1.png' AS front, ['2.png', NULL, '0.png', '1.png'] AS others"
    (body,) = asked(query, image=["others", "front"], image_detail="low")
    text, *parts = body["messages"][-1]["content"]
    assert text == {"type": "text", "text": "sofa"}
    assert [part["image_url"] for part in parts] == [{"url": url(picture(n)), "detail": "low"} for n in (2, 0, 1, 1)]


def test_text_that_looks_like_the_name_of_a_picture_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    sha = hashlib.sha256(picture(1)).hexdigest()
    text = f'{{"url":"sqlbatch:{sha}"}}, "sqlbatch:{sha}", \\":\\"sqlbatch:{sha}'
    (body,) = asked(f"SELECT '{text}' AS text, 'a.png' AS image", input=["text"])
    assert body["messages"][-1]["content"][0]["text"] == text
    assert shown(body) == [url(picture(1))]


def test_the_other_endpoints_name_pictures_in_their_own_way(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    query = "SELECT 'a.png' AS image, 'chair' AS title"
    (body,) = asked(query, endpoint="responses", image_detail="original", provider="openai", model="gpt-6-luna")
    assert body["input"][-1]["content"] == [
        {"type": "input_text", "text": "chair"},
        {"type": "input_image", "image_url": url(picture(1)), "detail": "original"},
    ]
    none: dict[str, Any] = {"instructions": None, "fresh": True}
    (body,) = asked(query, endpoint="images/edits", prompt="Red {{ title }}", provider="openai", model="m", **none)
    assert body == {"model": "m", "images": [{"image_url": url(picture(1))}], "prompt": "Red chair"}


def test_the_same_bytes_are_one_request_wherever_they_lie_and_changed_bytes_another(tmp_path: Path) -> None:
    db = database()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture(1))
    begin(db, "SELECT unnest(['a.png', './b.png']) AS image", image=["image"])
    assert rows(db, "SELECT count(*) FROM work.sqlbatch.requests") == [(1,)]
    (tmp_path / "a.png").write_bytes(picture(2))
    begin(db, "SELECT unnest(['a.png', './b.png']) AS image", image=["image"])
    assert rows(db, "SELECT count(*) FROM work.sqlbatch.requests") == [(2,)]


@pytest.mark.parametrize("chosen", ["none", "text"])
def test_a_row_without_a_picture_is_skipped_and_told(chosen: str, tmp_path: Path) -> None:
    db = database()
    (tmp_path / "a.png").write_bytes(picture(1))
    query = "SELECT * FROM (VALUES ('a.png', NULL, NULL), (NULL, '', 'x'), (NULL, 'a.png', 'y')) v(front, back, text)"
    job_id = begin(db, query, image=["front", "back"], input=[] if chosen == "none" else ["text"])
    found = rows(db, f"SELECT skipped FROM work.sqlbatch.asks_{job_id} ORDER BY sqlbatch_row")
    assert found == [(None,), ("front, back are all NULL",), (None,)]


def test_what_cannot_be_sent_fails_its_row_with_its_reason_and_the_others_go(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(picture(1))
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "moving.gif").write_bytes(animated())
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge.png").write_bytes(picture(2) + bytes(40_000))
    bench = bench.within(max_bytes=50_000)
    names = ["good.png", "none.png", "text.png", "empty.png", "moving.gif", "folder", "huge.png",
             "data:image/png,x", "data:image/png;base64,eHh4", "s3://bucket/x.png", "a" * 300,
             "nul\\0.png"]  # fmt: skip
    values = ", ".join(f"'{name}'" for name in names)
    bench.enrich(f"SELECT unnest([{values}]) AS image, 'x' AS text", images=("image",), folder=str(tmp_path))
    found = dict(bench.sql("SELECT left(image, 40), concat(ai_status, ' ', ai_error) FROM answers"))
    assert found.pop("good.png") == "answered "
    unsupported = "it is no PNG, JPEG, WEBP or GIF without animation"
    assert found.pop("none.png") == "failed image_unreadable: none.png: no such file or directory"
    assert found.pop("folder") == "failed image_unreadable: folder: it is a folder"
    assert found.pop("text.png") == f"failed image_unsupported: text.png: {unsupported}"
    assert found.pop("empty.png") == f"failed image_unsupported: empty.png: {unsupported}"
    assert found.pop("moving.gif") == f"failed image_unsupported: moving.gif: {unsupported}"
    assert found.pop("huge.png").startswith("failed image_too_large: huge.png has ")
    assert found.pop("data:image/png,x") == "failed image_unreadable: image: the data: URL has no base64"
    assert found.pop("data:image/png;base64,eHh4") == f"failed image_unsupported: image: {unsupported}"
    assert len(found) == 3
    assert all(why.startswith("failed image_unreadable: ") for why in found.values())
    job = bench.job(1)
    assert (job.status, job.requests, job.answered, job.failed) == ("done", 12, 1, 11)
    assert len(bench.control.ledger()) == 1


@pytest.mark.one_of(4)
@pytest.mark.parametrize("then", ["changed", "deleted", "folder", "unreadable"])
def test_a_picture_that_changes_before_it_is_sent_fails_its_row_alone(bench: Bench, tmp_path: Path, then: str) -> None:
    for n in range(4):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    shutil.copy(tmp_path / "3.png", tmp_path / "copy.png")
    query = "SELECT n || '.png' AS image, 'x' AS text FROM range(4) r(n) UNION ALL SELECT 'copy.png', 'x'"
    job_id = bench.begin(query, images=("image",), folder=str(tmp_path))
    for name in ("2.png", "3.png"):
        (tmp_path / name).unlink()
        if then == "changed":
            content = picture(99)
            (tmp_path / name).write_bytes(content)
        elif then == "folder":
            (tmp_path / name).mkdir()
        elif then == "unreadable":
            (tmp_path / name).symlink_to(name)
    bench.wait(job_id)
    found = bench.sql("SELECT image, ai_status, ai_error FROM answers")
    assert [row[:2] for row in found if row[0] != "2.png"] == [
        (name, "answered") for name in ("0.png", "1.png", "3.png", "copy.png")
    ]
    ((_, status, error),) = [row for row in found if row[0] == "2.png"]
    assert status == "failed"
    assert error.startswith("image_unreadable: ")
    assert "2.png" in error
    bench.check_audit()
    assert bench.control.executed_twice() == []
    # Asked again while nothing is mended it fails again; mended, the same ask sends it alone.
    job_actions.retry(bench.database, job_id)
    bench.wait(job_id)
    assert bench.sql("SELECT count(*) FROM answers WHERE ai_status = 'failed'") == [(1,)]
    for n in (2, 3):
        path = tmp_path / f"{n}.png"
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(picture(n))
    bench.enrich(query, images=("image",), folder=str(tmp_path))
    assert bench.sql("SELECT count(*) FROM answers WHERE ai_status = 'answered'") == [(5,)]
    assert bench.control.executed_twice() == []
    assert len(bench.control.ledger()) == 4


def test_a_batch_without_any_readable_picture_is_given_up(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(1))
    job_id = bench.begin("SELECT 'a.png' AS image, 'x' AS text", images=("image",), folder=str(tmp_path))
    (tmp_path / "a.png").unlink()
    bench.wait(job_id)
    assert bench.sql("SELECT ai_status FROM answers") == [("failed",)]
    assert bench.of_state("abandoned") == 1
    assert bench.control.files() == []
    bench.check_audit()


def test_batches_are_packed_by_what_pictures_take(tmp_path: Path) -> None:
    db = database()
    for n in range(6):
        (tmp_path / f"{n}.png").write_bytes(picture(n) + bytes(30_000))
    job_id = begin(db, "SELECT n || '.png' AS image FROM range(6) r(n)", image=["image"])
    rows(db, "UPDATE work.sqlbatch.requests SET tokens = tokens")
    for batch_id, sent in lines(db, job_id).items():
        size = rows(db, f"SELECT bytes FROM work.sqlbatch.batches WHERE batch_id = '{batch_id}'")[0][0]
        assert size == sum(len(line) + 1 for line in sent)
    assert rows(db, "SELECT max(tokens) < 2000, min(bytes) > 40000 FROM work.sqlbatch.requests") == [(True, True)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": ["imag"]}, "did you mean image?"),
        ({"image": ["n"]}, "the column is INTEGER; a picture is a VARCHAR"),
        ({"image": ["image", "image"]}, "names image twice"),
        ({"image": ["image"], "endpoint": "embeddings"}, "accepts no pictures"),
        ({"image": ["image"], "image_detail": "original"}, "original is for --endpoint responses"),
        ({"image": ["image"], "image_detail": "tiny"}, "it is one of auto, low, high"),
        ({"image_detail": "low"}, "name their column with --image"),
    ],
)
def test_a_wrong_ask_about_pictures_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"input": ["n"]} | options
    with pytest.raises(InvalidEnrichment) as error:
        begin(database(), "SELECT 1 AS n, 'a.png' AS image", instructions=None if "endpoint" in given else "x",
              **given)  # fmt: skip
    assert message in str(error.value)
