"""Make the pictures of docs/view.md: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import contextlib
import io
import tempfile

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import launched, make_comparison, make_films, make_furniture, visit
from tests.conftest import ROOT
from tests.query.support import database

# The name of each picture, its page, and the light that it is seen in.
SHOWN = {
    "view-table": ("/tables/main/furniture_captions", "light"),
    "view-compare": ("/compare/1", "light"),
    "view-review": ("/review/main/movie_tags?column=genre&n=50&seed=11", "dark"),
}


def main() -> None:
    """Write each picture, in few colours, so that it stays small."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), sync_playwright() as driver:
        db = database("enriched.duckdb")
        make_furniture(db)
        make_films(db)
        make_comparison(db)
        browser = launched(driver)
        for name, (path, scheme) in SHOWN.items():
            with visit(browser, db, color_scheme=scheme) as tab:
                if name == "view-review":
                    _review_some(tab, path)
                else:
                    tab.goto(tab.base + path)
                tab.wait_for_load_state("networkidle")
                tab.evaluate("Promise.all([...document.images].slice(0, 6).map((each) => each.decode()))")
                shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
                shot.quantize(128).save(ROOT / "docs" / f"{name}.png", optimize=True)
        browser.close()


def _review_some(tab: object, path: str) -> None:
    """Judge a few rows, so that there is some progress to see."""
    tab.goto(tab.base + path)  # type: ignore[attr-defined]
    for key in "aaraaa":
        with tab.expect_navigation():  # type: ignore[attr-defined]
            tab.keyboard.press(key)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
