"""Any text survives: from a row to the request that is sent, from an answer to the target, in names and templates."""

from __future__ import annotations

import itertools
import json
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqlbatch import run
from sqlbatch.db.database import Database
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.query.enrichment import Enrichment, parameters, read_front_matter
from sqlbatch.query.target import parse_target

from .support import answer, begin, bodies, content, lines

# All of Unicode that UTF-8 can write, with what breaks lines, JSON, SQL and templates made likely.
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from(
    "\0\n\r\t\"'\\{}$;%\u2028\u2029\x85\ufeff\x7f\x1b😀ß"
)
TEXT = st.text(CHARACTERS, max_size=20)
# DuckDB takes no empty name and no NUL in one; sqlbatch's own names are refused elsewhere.
NAME = st.text(CHARACTERS.filter(lambda c: c != "\0"), min_size=1, max_size=12).filter(
    lambda name: name.casefold() not in {"response", "custom_id", "prompt", "messages", "sqlbatch_row"}
)
STRANGE = [
    "",
    "\0",
    "nul \0 in it",
    "'\"\\",
    "{{ x }}",
    "{query}",
    "$1 $x",
    "\u2028\u2029\x85",
    "\ufeff",
    "😀👩‍👩‍👧",
    "\r\n",
    "NULL",
]
QUICK = settings(max_examples=8, deadline=None)
_number = itertools.count()


def fresh() -> tuple[Database, duckdb.DuckDBPyConnection]:
    """Return a new database in memory, and the connection that holds it."""
    con = duckdb.connect(f":memory:any_text_{next(_number)}")
    return Database(connection=con), con


def as_text(text: str) -> str:
    """Return a text as an option takes it: an @ at its beginning would name a file, two of them are one."""
    return "@" + text if text.startswith("@") else text


@QUICK
@example(STRANGE)
@given(st.lists(TEXT, min_size=1, max_size=20))
def test_any_text_is_the_same_in_the_request_and_in_the_target(texts: list[str]) -> None:
    db, con = fresh()
    con.execute("CREATE TABLE texts AS SELECT unnest($1::VARCHAR[]) AS text, unnest(range(len($1))) AS i", [texts])
    job_id = begin(db, "SELECT i, text FROM texts ORDER BY i", input=["text"])
    sent = [json.loads(line) for batch in lines(db, job_id).values() for line in batch]
    assert sorted(content(each["body"]) for each in sent) == sorted(set(texts))
    assert len({each["custom_id"] for each in sent}) == len(set(texts))
    con.close()


@QUICK
@example(STRANGE)
@given(st.lists(TEXT, min_size=1, max_size=20))
def test_any_answer_is_the_same_in_the_target(texts: list[str]) -> None:

    db, con = fresh()
    job_id = begin(db, f"SELECT i FROM range({len(texts)}) AS r(i)", returns="said VARCHAR, parts VARCHAR[]")
    answer(
        db, job_id, lambda body: json.dumps({"said": texts[int(content(body))], "parts": [texts[int(content(body))]]})
    )
    run.finish(db, job_id)
    found = con.execute("SELECT said, parts FROM answers").fetchall()
    assert found == [(text, [text]) for text in texts]
    con.close()


@QUICK
@example(['a"b', "c.d", "it's", "select", "größe", "Two Words", "{scratch}", "1st", "\n", "😀"])
@given(st.lists(NAME, min_size=1, max_size=6, unique_by=lambda name: name.casefold().upper()))
def test_a_column_of_any_name_is_seen_and_rides_along(names: list[str]) -> None:
    db, con = fresh()
    con.execute(f"CREATE TABLE t AS SELECT {', '.join(f'{i} AS {quote_identifier(n)}' for i, n in enumerate(names))}")
    job_id = begin(db, "FROM t")
    first = begin(db, "FROM t", input=names[:1], prompt=None, instructions="Another.", into="other")
    (body,) = (each for each in bodies(db, first).values() if each["messages"][0]["content"] == "Another.")
    assert content(body) == "0"
    (body,) = (each for each in bodies(db, job_id).values() if each["messages"][0]["content"] != "Another.")
    values = {name: number for number, name in enumerate(names)}
    assert json.loads(content(body)) == (values if len(names) > 1 else 0)
    found = con.execute("FROM sqlbatch.rows_1")
    assert [each[0] for each in found.description or []] == ["sqlbatch_row", *names]
    con.close()


@QUICK
@example("{{ x }}", "{", "}", "}}")
@example("'", "\0", "{query} $call_id", "\u2028")
@example("@", "\0", "", "")
@given(TEXT, TEXT, TEXT, TEXT)
def test_any_template_is_filled_and_otherwise_left_as_it_is(before: str, between: str, after: str, value: str) -> None:
    db, con = fresh()
    con.execute('CREATE TABLE t AS SELECT $1 AS x, 7 AS "a b"', [value])
    parts = [each.replace("{{", "").replace("}}", "") for each in (before, between, after)]
    # Braces that touch a place's own belong to it or not by where they stand; the fixtures have such cases.
    first, second, third = (part.strip("{}") for part in parts)
    job_id = begin(db, "FROM t", prompt=as_text(f'{first}{{{{ x }}}}{second}{{{{"a b"}}}}{third}'))
    (body,) = bodies(db, job_id).values()
    assert content(body) == f"{first}{value}{second}7{third}"
    con.close()


@QUICK
@example("\0 ' \" \\ {query} $x \u2028")
@example("@ { x }")
@example("@@")
@given(st.text(CHARACTERS, min_size=1, max_size=20).filter(lambda text: text.strip()))
def test_any_instructions_are_sent_as_they_are(instructions: str) -> None:
    db, con = fresh()
    (body,) = bodies(db, begin(db, "SELECT 1 AS x", instructions=as_text(instructions))).values()
    assert body["messages"][0] == {"role": "system", "content": instructions}
    con.close()


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_any_target_is_one_name_or_refused_and_reads_back_from_its_sql(text: str) -> None:
    from sqlbatch.errors import InvalidTarget  # noqa: PLC0415 (only here)

    try:
        target = parse_target(text, "work")
    except InvalidTarget:
        return
    assert parse_target(target.sql, "work") == target
    assert len(duckdb.extract_statements(f"SELECT 1 AS {quote_identifier(target.name)}")) == 1


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5,
), max_size=3))  # fmt: skip
def test_any_enrichment_comes_back_from_its_json(values: dict[str, Any]) -> None:
    asked = Enrichment(
        query="SELECT 1", returns="", prompt="{{ x }}", instructions=None, inputs=("a", "b"), endpoint="/v1/x",
        model="m", params=parameters(values), provider="local", base_url="local", limit=None,
    )  # fmt: skip
    assert Enrichment.from_json(asked.to_json()) == asked
    assert {name: json.loads(text) for name, text in asked.params} == values


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_any_literal_is_one_value_to_duckdb(text: str) -> None:
    found = duckdb.execute(f"SELECT {quote_literal(text)}, {quote_literal(text)}[1:0]").fetchall()
    assert found == [(text, "")]


@pytest.mark.parametrize("text", ["SELECT 1", "/* sqlbatchx */ SELECT 1", "-- /* sqlbatch */\nSELECT 1", "/* other */"])
def test_a_comment_that_is_not_ours_has_no_options(text: str) -> None:
    assert read_front_matter(text, "the query") == {}
