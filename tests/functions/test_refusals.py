"""What cannot be planned is refused before anything is asked, with its place in the query and what to do."""

from __future__ import annotations

import re

import duckdb
import pytest

from sqlbatch.errors import InvalidQuery
from tests.functions.oracle import connect, plan_of
from tests.functions.test_oracle import read

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

REFUSED = read("refusals.sql")


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """Return a connection with tables."""
    return connect()


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_cannot_be_planned_is_refused_with_its_place(name: str, con: duckdb.DuckDBPyConnection) -> None:
    sql, _, words = REFUSED[name].partition("\n--> ")
    with pytest.raises(InvalidQuery) as refused:
        plan_of(con, sql)
    said = str(refused.value)
    assert said.startswith(f"the query: {words}")
    if name != "unknown_column":
        _, line, caret = said.split("\n")
        marked = line[caret.index("^") : caret.rindex("^") + 1]
        assert re.search(r"ai_\w+|\w+", marked)
        assert marked in sql


def test_the_place_is_on_the_line_that_has_it(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(InvalidQuery, match=r"\n  line 3:   ai_sentmient\(title\)\n            \^+$"):
        plan_of(con, "SELECT 'é',\n  id,\n  ai_sentmient(title)\nFROM movies")
