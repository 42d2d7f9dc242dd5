"""The page of spending adds up what was billed, as sqlbatch costs does."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.db.prices import Spent
from sqlbatch.view.spend import DAYS, bars
from tests.query.support import content, database, enrich

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlbatch.db.database import Database
    from tests.view.conftest import Browser


def test_what_was_spent_is_added_up_by_day_target_and_model(page: Callable[[Database], Browser]) -> None:
    db = database()
    browser = page(db)
    assert "Nothing was billed yet" in browser.get("/spend").text
    enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="tags")
    with db.session() as session:
        session.sql("UPDATE work.sqlbatch.results SET tokens_in = 1000000, tokens_out = 0")
        session.sql("UPDATE work.sqlbatch.batches SET base_url = 'http://x', batch_factor = NULL")
        models = "SELECT DISTINCT model, 3, 1 FROM work.sqlbatch.batches"
        session.sql(f"INSERT INTO work.sqlbatch.prices (model, input, output) {models}")
    shown = browser.get("/spend")
    today = clock.now().date()
    assert "$6.00 this month" in shown.text
    assert "tags 2 2,000,000 0 $6.00" in shown.text
    assert "offline 2 2,000,000 0 $6.00" in shown.text
    assert f"{today}: $6.00" in shown.html


def test_the_month_stands_against_its_budget(page: Callable[[Database], Browser], tmp_path: Path) -> None:
    (tmp_path / "sqlbatch.toml").write_text("[budget]\nmonth = 8\n")
    db = database()
    enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="tags")
    with db.session() as session:
        session.sql("UPDATE work.sqlbatch.results SET tokens_in = 1000000, tokens_out = 0")
        session.sql("UPDATE work.sqlbatch.batches SET base_url = 'http://x', batch_factor = NULL")
        models = "SELECT DISTINCT model, 3, 1 FROM work.sqlbatch.batches"
        session.sql(f"INSERT INTO work.sqlbatch.prices (model, input, output) {models}")
    shown = page(db).get("/spend")
    assert "$6.00 of $8.00 this month; $2.00 left" in shown.text
    assert 'width="750.0"' in shown.html


def test_a_day_without_a_bill_has_no_bar() -> None:
    spent = [Spent("2026-03-01", 1, 0, 0, 0, 0, 2.0, 0), Spent("2026-03-03", 1, 0, 0, 0, 0, 4.0, 0)]
    shown = bars(spent, date(2026, 3, 3))
    assert len(shown) == DAYS
    assert [(bar.day.day, bar.words, bar.height) for bar in shown[-3:]] == [
        (1, "$2.00", 50.0),
        (2, "$0.00", 0.0),
        (3, "$4.00", 100.0),
    ]
