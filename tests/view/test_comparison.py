"""The page of a comparison has the figures of the command, confusion tables, and the rows that differ side by side."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlbatch import compare
from sqlbatch.compare import Cell
from sqlbatch.view.comparison import confusions
from tests.query.support import content, database, enrich

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlbatch.db.database import Database
    from tests.view.conftest import Browser

QUERY = """
SELECT i AS n, 'film ' || i || CASE WHEN i % 2 = 0 THEN ' war' ELSE ' <b>love</b>' END AS story FROM range(40) r(i)
"""


def _answers(body: Any, *, wrong: bool) -> str:
    text = content(body)
    genre = "war" if "war" in text else "romance"
    return json.dumps({"genre": "drama" if wrong and "3" in text else genre})


def test_figures_confusion_and_rows_that_differ_are_on_the_page(page: Callable[[Database], Browser]) -> None:
    db = database()
    for name, wrong in (("brief", False), ("long", True)):
        options = {"into": name, "input": ["story"], "returns": "genre VARCHAR", "instructions": f"{name} prompt"}
        enrich(db, QUERY, partial(_answers, wrong=wrong), **options)
    browser = page(db)
    assert "There is no comparison yet" in browser.get("/compare").text
    made = compare.compare(db, "brief", "long")
    (genre,) = made.columns
    listed = browser.get("/compare").text
    assert "brief and long" in listed
    shown = browser.get(f"/compare/{made.comparison_id}")
    assert f"{100 * genre.agreement:.1f} % {genre.kappa:.3f}" in shown.text
    assert f"{genre.kappa_low:.3f} to {genre.kappa_high:.3f}" in shown.text
    assert f"{genre.rows - genre.agreed} values differ" in shown.text
    assert "film 3 <b>love</b> genre romance drama" in shown.text.replace("3 film 3", "film 3")
    assert "<b>" not in shown.html
    assert "genre: a down, b across" in shown.text
    assert browser.get("/compare/99").status == 404


def test_a_confusion_table_has_all_values_of_both_sides_the_commonest_first() -> None:
    (found,) = confusions([Cell("x", "a", "a", 8), Cell("x", "a", "b", 2), Cell("x", None, "a", 1)])
    assert found.labels == ("a", "b", None)
    assert found.rows == (
        ("a", ((8, 4, True), (2, 1, False), (0, 0, False))),
        ("b", ((0, 0, False), (0, 0, True), (0, 0, False))),
        (None, ((1, 1, False), (0, 0, False), (0, 0, True))),
    )
