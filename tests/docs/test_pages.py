"""The pages hold together: every link leads somewhere, and the README stays short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from tests.conftest import ROOT

from .schema_page import BEGIN, END, described
from .test_examples import PAGES

if TYPE_CHECKING:
    from pathlib import Path


def _links(page: Path) -> list[str]:
    """Return where a page's links lead to, without those to other sites."""
    inline = [child for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) for child in token.children or ()]
    found = [str(child.attrs["href"]) for child in inline if child.type == "link_open"]
    return [link for link in found if not link.startswith(("http://", "https://"))]


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _links(page):
        name, _, anchor = link.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), link
        assert not anchor or anchor in _anchors(other), link


def test_the_readme_is_under_200_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_the_page_of_the_schema_says_what_the_schema_says(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / "schema.md"
    text = path.read_text(encoding="utf-8")
    before, shown, after = text.partition(BEGIN)[0], text.partition(BEGIN)[2].partition(END)[0], text.partition(END)[2]
    if request.config.getoption("--regenerate"):
        path.write_text(f"{before}{BEGIN}\n\n{described()}\n\n{END}{after}", encoding="utf-8")
        return
    assert shown.strip() == described()


def test_every_page_is_found_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in _links(index)}
    assert {page.resolve() for page in PAGES} - listed - {index.resolve(), (ROOT / "README.md").resolve()} == set()
