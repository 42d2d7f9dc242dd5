"""Prices are data: the shipped list, sqlbatch.toml and the user's own rows, in this order of weight."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import price_library, prices
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


def test_the_list_of_shutdowns_is_right_in_form() -> None:
    rows = list(csv.DictReader(read_sql("shutdowns.csv").splitlines()))
    assert len({row["model"] for row in rows}) == len(rows) >= 15
    for row in rows:
        assert date.fromisoformat(row["shutdown"]) > date(2026, 1, 1)
        assert row["successor"] not in {each["model"] for each in rows}
        assert row["successor"] in price_library.models(OPENAI)
    assert set(rows[0]) == {"model", "shutdown", "successor"}, "prices come from the library"


@pytest.mark.parametrize(
    ("model", "ordinary", "batch"),
    [
        ("gpt-6-luna", (0.1, 0.01, 0.125, 0.5), (0.05, 0.005, 0.0625, 0.25)),
        ("GPT-6-Luna", (0.1, 0.01, 0.125, 0.5), (0.05, 0.005, 0.0625, 0.25)),
        ("gpt-4o-2024-08-06", (2.5, 1.25, None, 10), (1.25, 1.25, None, 5)),
        # A dated version that is priced otherwise than its family.
        ("gpt-4o-2024-05-13", (5, None, None, 15), (2.5, None, None, 7.5)),
        # What has no rate for batches costs the provider's part of the ordinary price.
        ("text-embedding-3-small", (0.02, None, None, None), (0.01, None, None, None)),
        ("omni-moderation-latest", (0, None, None, 0), (0, None, None, 0)),
    ],
)
def test_a_model_has_the_librarys_price_of_each_tier(
    model: str, ordinary: tuple[float | None, ...], batch: tuple[float | None, ...], session: Session
) -> None:
    for tier, rates in (("default", ordinary), ("batch", batch)):
        price = prices.find(session, OPENAI, model, TODAY, tier=tier, batch_factor=0.5)
        assert price is not None
        rate = price.rates[0]
        assert (rate.input, rate.cached, rate.cache_write, rate.output) == rates


def test_long_prompts_have_rates_of_their_own(session: Session) -> None:
    price = prices.find(session, OPENAI, "gpt-5.4", TODAY, tier="batch")
    assert price is not None
    assert [(rate.above, rate.input, rate.cached, rate.output) for rate in price.rates] == [
        (0, 1.25, 0.13, 7.5),
        (272_000, 2.5, 0.25, 11.25),
    ]


@pytest.mark.parametrize("model", ["gpt-6", "gpt-4o-2024", "", "'", "gpt-6-lunna"])
def test_a_name_that_only_looks_alike_has_no_price(model: str, session: Session) -> None:
    price = found(session, model)
    assert price is None or price.input is None


def test_a_price_holds_at_its_providers_address_only(session: Session) -> None:
    price = found(session, "gpt-6-luna", base_url="https://gateway.example/v1")
    assert price is None or price.input is None


def test_a_price_holds_from_its_day_and_the_first_one_also_before(session: Session) -> None:
    days = (date(2026, 1, 1), date(2026, 8, 20), date(2026, 8, 21), TODAY)
    assert [getattr(found(session, "gpt-5.6-sol", day), "input", None) for day in days] == [5, 5, 4, 4]


def test_a_row_of_ones_own_goes_before_sqlbatch_toml_and_that_before_the_shipped_list(session: Session) -> None:
    def price() -> tuple[float | None, str]:
        session.prices_of = None  # as in the next session
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


def test_the_table_has_the_prices_of_the_models_that_were_asked_and_keeps_the_users_rows(session: Session) -> None:
    session.sql("INSERT INTO sqlbatch.prices (model, input, output) VALUES ('mine', 1, 2)")
    session.sql(
        "INSERT INTO sqlbatch.calls (call_id, base_url, endpoint, model, head, tail, returns) "
        f"VALUES (uuid(), '{OPENAI}', '/v1/chat/completions', 'gpt-5', '', '', '')"
    )
    Path("sqlbatch.toml").write_text('[prices."theirs"]\ninput = 0.2\noutput = 1\nbatch_factor = 1\n')
    prices.refresh(session)
    counts = "SELECT origin, count(DISTINCT model) FROM sqlbatch.prices GROUP BY ALL ORDER BY 1"
    assert session.sql(counts) == [("own", 1), ("shipped", 1), ("toml", 1)]
    session.sql("UPDATE sqlbatch.prices SET input = 7, source = 'an older release' WHERE model = 'gpt-5'")
    assert getattr(found(session, "gpt-5"), "input", None) == 1.25
    prices.refresh(session)
    assert session.sql("SELECT max(input) FROM sqlbatch.prices WHERE model = 'gpt-5' AND tier = 'default'") == [(1.25,)]


def test_a_price_that_sqlbatch_toml_no_longer_has_is_in_force_no_more(session: Session) -> None:
    Path("sqlbatch.toml").write_text('[prices."theirs"]\ninput = 0.2\noutput = 1\n')
    prices.refresh(session)
    assert getattr(found(session, "theirs"), "input", None) == 0.2
    Path("sqlbatch.toml").unlink()
    assert getattr(found(session, "theirs"), "input", None) is None
    prices.refresh(session)
    assert session.sql("FROM sqlbatch.prices WHERE origin = 'toml'") == []


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_price_that_is_none_is_refused_with_its_place(value: str, session: Session) -> None:
    Path("sqlbatch.toml").write_text(f'[prices."mine"]\ninput = {value}\noutput = 1\n')
    with pytest.raises(InvalidSettings, match=r"sqlbatch\.toml, line 2: input.* must be"):
        found(session, "mine")


def test_a_price_is_found_also_after_a_transaction_that_looked_for_it_was_rolled_back(session: Session) -> None:
    def fail() -> None:
        with session.transaction():
            assert found(session, "gpt-6-luna") is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found(session, "gpt-6-luna") is not None
