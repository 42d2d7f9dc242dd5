"""Prices are data: the shipped list, sqlbatch.toml and the user's own rows, in this order of weight."""

from __future__ import annotations

import csv
import re
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import prices
from sqlbatch.db.database import Database
from sqlbatch.errors import InvalidSettings
from sqlbatch.named_sql import read_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.prices import Price
    from sqlbatch.db.session import Session

OPENAI = KNOWN["openai"].base_url
TODAY = date(2026, 11, 21)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Database(tmp_path / "work.duckdb").session() as opened:
        yield opened


def found(session: Session, model: str, day: date = TODAY, base_url: str = OPENAI) -> Price | None:
    return prices.find(session, base_url, model, day)


def test_the_shipped_list_is_right_in_form() -> None:
    rows = list(csv.DictReader(read_sql("prices.csv").splitlines()))
    assert len({(row["model"], row["valid_from"]) for row in rows}) == len(rows) >= 30
    for row in rows:
        assert re.fullmatch(r"[a-z0-9.-]+", row["model"])
        assert row["source"]
        # A price is known whole or not at all; where none is known the row is there for the shutdown.
        assert bool(row["input"]) == bool(row["output"])
        assert row["input"] or row["shutdown"]
        assert bool(row["shutdown"]) == bool(row["successor"])
    models = {row["model"] for row in rows if not row["shutdown"]}
    assert {row["successor"] for row in rows if row["shutdown"]} <= models


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-6-luna", (0.1, 0.01, 0.5)),
        ("GPT-6-Luna", (0.1, 0.01, 0.5)),
        ("gpt-4o-2024-08-06", (2.5, 1.25, 10)),
        ("text-embedding-3-small", (0.02, None, 0)),
        # A dated version that was priced otherwise has a row of its own.
        ("gpt-4o-2024-05-13", (None, None, None)),
    ],
)
def test_a_model_is_found_by_its_name_and_a_dated_one_by_its_family(
    model: str, price: tuple[float | None, ...], session: Session
) -> None:
    found_ = found(session, model)
    assert found_ is not None
    assert (found_.input, found_.cached, found_.output) == price
    assert found_.batch_factor == 0.5


@pytest.mark.parametrize(
    "model", ["gpt-6", "gpt-4o-mini-tts", "gpt-4o-audio-preview", "ft:gpt-4o-2024-08-06:me::x", "gpt-4o-2024", "", "'"]
)
def test_a_name_that_only_looks_alike_has_no_price(model: str, session: Session) -> None:
    assert found(session, model) is None


def test_the_shipped_prices_hold_at_openai_only(session: Session) -> None:
    assert found(session, "gpt-6-luna", base_url="https://gateway.example/v1") is None


def test_a_price_holds_from_its_day_and_the_first_one_also_before(session: Session) -> None:
    days = (date(2026, 1, 1), date(2026, 8, 20), date(2026, 8, 21), TODAY)
    assert [getattr(found(session, "gpt-5.6-sol", day), "input", None) for day in days] == [5, 5, 4, 4]


def test_a_row_of_ones_own_goes_before_sqlbatch_toml_and_that_before_the_shipped_list(session: Session) -> None:
    def price() -> tuple[float | None, str]:
        it = found(session, "gpt-6-luna")
        assert it is not None
        return it.input, it.origin

    assert price() == (0.1, "shipped")
    Path("sqlbatch.toml").write_text('[prices."gpt-6-luna"]\ninput = 0.2\noutput = 1\n')
    assert price() == (0.2, "toml")
    session.sql("INSERT INTO sqlbatch.prices (model, input, output) VALUES ('gpt-6-luna', 0.3, 1)")
    assert price() == (0.3, "own")
    # One that holds only from tomorrow on changes nothing today.
    session.sql("DELETE FROM sqlbatch.prices WHERE origin = 'own'")
    tomorrow = TODAY + timedelta(days=1)
    session.sql(f"INSERT INTO sqlbatch.prices (model, input, output, valid_from) VALUES ('gpt-6-luna', 9, 9, '{tomorrow}')")  # fmt: skip  # noqa: E501
    assert price() == (0.2, "toml")
    assert found(session, "gpt-6-luna", tomorrow) is not None
    assert getattr(found(session, "gpt-6-luna", tomorrow), "input", None) == 9


def test_the_table_has_all_that_is_known_and_keeps_what_is_the_users(session: Session) -> None:
    session.sql("INSERT INTO sqlbatch.prices (model, input, output) VALUES ('mine', 1, 2)")
    session.sql("DELETE FROM sqlbatch.prices WHERE model = 'o3'; UPDATE sqlbatch.prices SET input = 7 WHERE model = 'gpt-5'")  # fmt: skip  # noqa: E501
    Path("sqlbatch.toml").write_text('[prices."theirs"]\ninput = 0.2\noutput = 1\nbatch_factor = 1\n')
    prices.refresh(session)
    Path("sqlbatch.toml").unlink()
    prices.refresh(session)
    shipped = len(read_sql("prices.csv").splitlines()) - 1
    counts: list[tuple[Any, ...]] = session.sql("SELECT origin, count(*) FROM sqlbatch.prices GROUP BY ALL ORDER BY 1")
    assert counts == [("own", 1), ("shipped", shipped), ("toml", 1)]
    assert getattr(found(session, "gpt-5"), "input", None) == 1.25
    assert getattr(found(session, "theirs"), "batch_factor", None) == 1


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_price_that_is_none_is_refused_with_its_place(value: str, session: Session) -> None:
    Path("sqlbatch.toml").write_text(f'[prices."mine"]\ninput = {value}\noutput = 1\n')
    with pytest.raises(InvalidSettings, match=r"sqlbatch\.toml, line 1: input = .* is no price"):
        found(session, "mine")
