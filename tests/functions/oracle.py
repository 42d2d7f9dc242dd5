"""The oracle: a query run directly, its functions Python, and the same query run by the staged plan; both must agree.

The stand-in for the model is a function of the question and the text alone, so both sides get the same answers.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
from duckdb.func import SPECIAL

from sqlbatch.db.sql import statement
from sqlbatch.functions import catalogue
from sqlbatch.functions.answers import macros_of_functions
from sqlbatch.functions.conditions import Policy
from sqlbatch.functions.inputs import VALUE
from sqlbatch.functions.joins import Answers, with_joins
from sqlbatch.functions.lookups import answer_sql, custom_id, macro
from sqlbatch.functions.plan import Plan, with_sources
from sqlbatch.functions.planning import make_plans
from sqlbatch.query.enrichment import CHAT, Enrichment
from sqlbatch.returns import parse_returns
from sqlbatch.returns.types import Enum, List, Scalar, Struct, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlbatch.functions.catalogue import Question
    from sqlbatch.functions.sources import Source

ENRICHMENT = Enrichment("", "", None, None, (), CHAT, "m", (), "local", "local", None)

TABLES = """
CREATE TABLE movies AS SELECT i AS id, 'film ' || (i % 17) AS title,
  CASE WHEN i % 11 = 0 THEN NULL ELSE 'about ' || (i % 13) END AS overview,
  1980 + i % 30 AS year, ['a', 'b', 'c'][1 + i % 3] AS studio, (i * 7) % 10 AS rating,
  CASE WHEN i % 7 = 0 THEN NULL ELSE i % 5 END AS director FROM range(40) t(i);
CREATE TABLE reviews AS SELECT i AS rid, i % 25 AS movie, 'review ' || (i % 19) AS body, i % 4 AS stars,
  ['x', 'y', NULL][1 + i % 3] AS author FROM range(50) t(i);
CREATE TABLE people AS SELECT i AS pid, 'person ' || i AS name, 'bio ' || (i % 4) AS bio FROM range(7) t(i);
CREATE TABLE tags AS SELECT i AS tid, i % 20 AS movie, 'tag ' || (i % 6) AS tag FROM range(30) t(i);
CREATE VIEW recent AS SELECT * FROM movies WHERE year > 1995;
"""


@dataclass
class Model:
    """Answers by a hash of what it is asked; `seed` makes another model, `failing` is how many of 100 it fails."""

    seed: int = 0
    failing: int = 0
    asked: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, question: Question, text: str) -> str | None:
        """Return the content of an answer as the Batch API would give it, None for a failed one."""
        self.asked.add((f"{question.instructions}|{question.returns}", text))
        number = self._number(question.instructions, question.returns, text)
        if number % 100 < self.failing:
            return None
        if not question.returns:
            return f"said {number % 23}"
        returns = parse_returns(question.returns)
        return json.dumps(
            {c.name: self._value(c.type, number // 7 + i, c.not_null) for i, c in enumerate(returns.columns)}
        )

    def _number(self, *parts: object) -> int:
        return int(hashlib.sha256(repr((self.seed, *parts)).encode()).hexdigest()[:12], 16)

    def _value(self, kind: Type, number: int, not_null: bool) -> Any:  # noqa: PLR0911 (one for each type)
        number = self._number(number)
        if not not_null and number % 9 == 0:
            return None
        match kind:
            case Enum():
                return kind.values[number % len(kind.values)]
            case List():
                values = [self._value(kind.element, number + i, True) for i in range(number % 3)]
                return list(dict.fromkeys(values))
            case Struct():
                return {f.name: self._value(f.type, number + i, f.not_null) for i, f in enumerate(kind.fields)}
            case Scalar("BOOLEAN"):
                return number % 2 == 0
            case Scalar("DOUBLE"):
                return (number % 11) / 10
            case Scalar("DATE"):
                return f"2020-01-{1 + number % 28:02}"
            case Scalar("VARCHAR"):
                return f"v{number % 12}"
            case _:
                return number % 20


@dataclass(frozen=True)
class Result:
    """Names, types and rows of a query, and what was asked of the model."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    asked: frozenset[tuple[str, str]]

    def sorted(self) -> list[str]:
        """Return the rows as texts, in one order."""
        return sorted(map(repr, self.rows))


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables of the written queries."""
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    con.execute(TABLES)
    return con


@functools.cache
def _ask(signature: str) -> catalogue.Ask:
    given = json.loads(signature)
    known = {**catalogue.FUNCTIONS, catalogue.COMBINED.name: catalogue.COMBINED}
    function = known[given.pop("function")]
    return catalogue.bind(function, [], {k: v for k, v in given.items() if v is not None})


class Direct:
    """Runs queries as they stand, with the functions as macros over Python, on one connection."""

    def __init__(self) -> None:
        self.con = connect()
        self.model = Model()
        parameters: list[Any] = ["VARCHAR", "VARCHAR"]
        self.con.create_function("sqlbatch_answer", self._answer, parameters, "VARCHAR", null_handling=SPECIAL)
        failed = "CASE WHEN b IS NOT NULL AND sqlbatch_answer(a, b) IS NULL THEN 'failed' END"
        self.con.execute(f"CREATE MACRO sqlbatch_error(a, b) AS {failed}")
        for block, places in macros_of_functions("", ""):
            if block not in {"functions.image", "functions.answer"}:
                self.con.execute(statement(block, "memory", **places))
        # Nobody looks at the pictures: they are known by their names.
        self.con.execute("CREATE MACRO ai_image(x) AS 'picture: ' || sqlbatch_picture_name(x)")

    def _answer(self, signature: str, text: str | None) -> str | None:
        if text is None:
            return None
        ask = _ask(signature)
        content = self.model.answer(ask.question, text)
        if content is None or not ask.question.returns:
            return None if content is None else json.dumps(content)
        if ask.question.shape == "struct":
            return content
        return json.dumps(next(iter(json.loads(content).values())))

    def run(self, query: str, model: Model) -> Result:
        """Run a query and note what it asks."""
        self.model = model
        model.asked = set()
        return result(self.con.execute(query), model)


def result(cursor: duckdb.DuckDBPyConnection, model: Model) -> Result:
    """Return what a connection has as its result."""
    names, types = zip(*((d[0], str(d[1])) for d in cursor.description), strict=True)
    return Result(names, types, cursor.fetchall(), frozenset(model.asked))


def plan_of(con: duckdb.DuckDBPyConnection, query: str, policy: Policy = Policy.BALANCED) -> Plan:
    """Plan a query on a connection, its sources kept there as src_<n>."""
    return plans_of(con, query, [policy])[0]


def plans_of(con: duckdb.DuckDBPyConnection, query: str, policies: Iterable[Policy] = Policy) -> list[Plan]:
    """Plan a query by several policies, which share its sources."""

    def keep(source: Source) -> str:
        con.execute(f"CREATE OR REPLACE TABLE src_{source.number} AS {source.query}")
        return f"src_{source.number}"

    return make_plans(con, query, ENRICHMENT, keep, policies)


def run_plan(con: duckdb.DuckDBPyConnection, plan: Plan, model: Model) -> Result:
    """Run a plan stage by stage on the connection that it was made on."""
    model.asked = set()
    con.execute("CREATE OR REPLACE TEMP MACRO sqlbatch_picture(x) AS sqlbatch_picture_name(x)")
    for unasked in plan.unasked:
        con.execute(macro(VALUE, unasked.number, f"CAST(NULL AS {unasked.value_type})"))
    for call in plan.calls:
        found = call.lookup
        value = answer_sql(found.answers, found.call.call_id, found.ask_sql, pieces=found.ask.pieces)
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {found.answers} "
            f"(sqlbatch_key UUID, sqlbatch_value {found.ask.value_type(found.returns)}, sqlbatch_why VARCHAR); "
            f"{found.ask_macro()}; {macro(VALUE, found.number, value)}"
        )
    for call in plan.calls:
        found = call.lookup
        key = custom_id(found.call.call_id, "sqlbatch_input")
        inputs = con.execute(
            f"SELECT DISTINCT k, i FROM (SELECT {key} AS k, sqlbatch_input AS i FROM ({named(call.collection)})) "
            f"WHERE k NOT IN (SELECT sqlbatch_key FROM {found.answers})"
        ).fetchall()
        if not inputs:
            continue
        content = [model.answer(found.ask.question, _asked(shown)) for _, shown in inputs]
        value = found.value_sql("c", "NULL::FLOAT[]", "CASE WHEN c IS NULL THEN 'failed' END")
        con.execute(
            f"INSERT INTO {found.answers} SELECT k, {value}, NULL "
            "FROM (SELECT unnest($k::UUID[]) AS k, unnest($c::VARCHAR[]) AS c)",
            {"k": [str(custom) for custom, _ in inputs], "c": content},
        )
    # The last column, which says what failed, is the target's and not the query's.
    lookups = [call.lookup for call in plan.calls if not call.lookup.ask.pieces]
    answers = {found.number: Answers(found.answers, found.call.call_id, found.number) for found in lookups}
    whole = result(con.execute(named(plan.query)), model)
    for in_order in (True, False):
        joined = with_joins(
            named(plan.query), answers, lambda sql: con.execute(f"EXPLAIN {sql}") is not None, in_order=in_order
        )
        rows = con.execute(joined).fetchall()
        assert sorted(repr(row[:-1]) for row in rows) == sorted(repr(row[:-1]) for row in whole.rows)
    return Result(whole.names[:-1], whole.types[:-1], [row[:-1] for row in whole.rows], whole.asked)


def _asked(shown: str) -> str:
    content = json.loads(shown)["content"]
    return content if isinstance(content, str) else "".join(f"picture: {each['image_url']['url']}" for each in content)


def named(sql: str) -> str:
    """Return planned SQL with its sources named as `plan_of` keeps them."""
    return with_sources(sql, lambda number: f"src_{number}")
