"""What models cost, and what was spent, can be asked for without SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.query.support import content, database, enrich

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command


def test_prices_of_one_model_stand_in_each_tier_with_where_they_are_from(here: Command) -> None:
    found = json.loads(here("prices", "gpt-6-luna", "--json").out)
    rates = {row["tier"]: row["input"] for row in found if row["above"] == 0}
    assert rates["batch"] == rates["default"] / 2
    assert {row["source"].partition(" ")[0] for row in found} == {"genai-prices"}
    listed = here("prices", "gpt-6-luna").out
    assert listed.splitlines()[1].split()[:2] == ["gpt-6-luna", "default"]


def test_a_model_that_is_misspelled_is_named_and_your_own_price_goes_first(here: Command, tmp_path: Path) -> None:
    assert "did you mean gpt-6-luna?" in here("prices", "gpt-6-lunna").error
    (tmp_path / "sqlbatch.toml").write_text('[prices."gpt-6-luna"]\ninput = 7\noutput = 8\n')
    found = json.loads(here("prices", "gpt-6-luna", "--json").out)
    assert {(row["tier"], row["input"], row["origin"]) for row in found} >= {
        ("default", 7, "toml"),
        ("batch", 3.5, "toml"),
    }
    all_of_them = {row["model"]: row for row in json.loads(here("prices", "--json").out)}
    assert len(all_of_them) > 20
    assert all_of_them["gpt-6-luna"]["input"] == 3.5


def test_costs_are_added_up_by_what_one_asks(here: Command) -> None:
    db = database("enriched.duckdb")
    enrich(db, "SELECT unnest(['a', 'b']) AS x", content, into="tags")
    own = '"enriched".sqlbatch'
    with db.session() as session:
        session.sql(f"UPDATE {own}.results SET tokens_in = 1000000, tokens_out = 0")
        session.sql(f"UPDATE {own}.batches SET base_url = 'http://x', batch_factor = NULL")
        session.sql(f"INSERT INTO {own}.prices (model, input, output) SELECT DISTINCT model, 3, 1 FROM {own}.batches")
    for by, key in (("target", "tags"), ("job", "1")):
        ((found),) = json.loads(here("costs", "--by", by, "--json").out)
        assert (found[by], found["results"], found["tokens_in"], found["dollars"], found["unpriced"]) == (
            key,
            2,
            2000000,
            6,
            0,
        )
    assert here("costs").out.split()[-1] == "$6.00"
    assert here("costs", "--by", "week").code == 2
