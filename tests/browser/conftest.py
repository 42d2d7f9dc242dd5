"""A Chromium for all tests, and the page over a database of furniture, films and jobs."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import compare
from tests.conftest import ROOT
from tests.query.support import Failure, content, database, enrich
from tests.view.conftest import served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.db.database import Database

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FURNITURE = f"""
SELECT item_id, title, material, colour, price, '{ROOT}/' || image AS image
FROM '{ROOT}/data/furniture.csv' ORDER BY item_id
"""
FILMS = f"SELECT title, year, overview FROM '{ROOT}/data/movies.csv' ORDER BY title, year"
SCRIPT = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken over'\">"
GENRES = ("comedy", "crime", "drama", "romance", "war")


def caption(body: Any) -> str:
    """Return a caption for a piece of furniture, from what the request says of it."""
    text = next(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")
    title, _, rest = text.partition(": ")[2].partition(", made of ")
    material, _, colour = rest.partition(" in ")
    colour = colour.partition(",")[0]
    told = (
        f"A {title.lower()} in {colour} {material}, made to be handed down.",
        f"{colour.capitalize()} {material}, and a quiet corner becomes the best seat in the house.",
        f"The {title.lower()} that a room was waiting for, in {colour}.",
    )[len(title) % 3]
    return json.dumps({"caption": told, "keywords": [material, colour, title.split()[-1].lower()]})


def tags(body: Any) -> str:
    """Return the genre and a summary of a film, from its overview."""
    text = content(body)
    found = {"war": ("war", "soldier"), "romance": ("love", "marri"), "crime": ("murder", "police", "thief")}
    genre = next((name for name, words in found.items() if any(word in text for word in words)), "drama")
    return json.dumps({"genre": genre, "summary": text.partition(". ")[0] + "."})


def make_furniture(db: Database) -> None:
    """Caption all furniture, each piece with its picture."""
    prompt = "A caption for the piece in the picture: {{ title }}, made of {{ material }} in {{ colour }}, please."
    returns = "caption VARCHAR, keywords VARCHAR[]"
    options = {"image": ["image"], "prompt": prompt, "instructions": None, "returns": returns}
    enrich(db, FURNITURE, caption, into="furniture_captions", **options)


def make_films(db: Database) -> None:
    """Tag all films."""
    returns = f"genre ENUM({', '.join(repr(genre) for genre in GENRES)}), summary VARCHAR"
    enrich(db, FILMS, tags, into="movie_tags", input=["overview"], returns=returns)


def make_comparison(db: Database) -> None:
    """Tag all films with another prompt, which names fewer wars and more comedies, and compare the two."""

    def other(body: Any) -> str:
        told = json.loads(tags(body))
        text = content(body)
        if told["genre"] == "war" and "soldier" not in text:
            told["genre"] = "drama"
        elif told["genre"] == "drama" and any(word in text for word in ("comic", "wedding", "party", "dance")):
            told["genre"] = "comedy"
        return json.dumps(told)

    returns = f"genre ENUM({', '.join(repr(genre) for genre in GENRES)}), summary VARCHAR"
    options = {"input": ["overview"], "returns": returns, "instructions": "Name the genre; think twice."}
    enrich(db, FILMS, other, into="movie_tags_second", **options)
    compare.compare(db, "movie_tags", "movie_tags_second")


def make_failures(db: Database) -> None:
    """Ask about three rows, of which two fail, one with markup in it."""

    def reply(body: Any) -> str | Failure:
        return "fine" if "good" in content(body) else Failure("content_filter", f"not for me {SCRIPT}")

    enrich(db, f"SELECT unnest(['good', 'bad', $${SCRIPT}$$]) AS note", reply, into="notes")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start Chromium for the whole run."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = launched(driver)
        yield browser
        browser.close()


def launched(driver: Any) -> Any:
    """Start Debian's Chromium, which asks nothing of anybody by itself."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    return driver.chromium.launch(executable_path=CHROMIUM, args=quiet)


@contextmanager
def visit(browser: Any, db: Database, **options: Any) -> Iterator[Any]:
    """Open the page over a database; what it asks of other hosts, and any problem in it, fails the test."""
    problems: list[str] = []
    with served(db) as at:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(30_000)
        tab = context.new_page()
        base = f"http://127.0.0.1:{at.port}"

        def asked(request: Any) -> None:
            if not request.url.startswith((f"{base}/", "data:")):
                problems.append(f"asked for {request.url}")

        tab.on("request", asked)
        tab.on("pageerror", lambda error: problems.append(f"script: {error}"))
        tab.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        tab.goto(f"{base}/?token={at.token}")
        tab.base = base
        yield tab
        assert tab.title() != "taken over"
        context.close()
    assert problems == []


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database of furniture, films and a job that failed, once."""
    folder = tmp_path_factory.mktemp("made")
    db = database(str(folder / "work.duckdb"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_furniture(db)
        make_films(db)
        make_failures(db)
        make_comparison(db)
    path: Path = folder / "work.duckdb"
    return path


@pytest.fixture
def db(_made: Path, tmp_path: Path) -> Database:
    """Lay that database into the test's folder."""
    (tmp_path / "work.duckdb").write_bytes(_made.read_bytes())
    return database()


@pytest.fixture
def look(chromium: Any, db: Database) -> Callable[..., Any]:
    """Visit the page over that database."""
    return lambda **options: visit(chromium, db, **options)
