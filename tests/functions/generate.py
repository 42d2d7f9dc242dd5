"""A generator of queries with AI functions over the oracle's tables: the same query for the same seed."""

from __future__ import annotations

from random import Random

_TEXTS = {"m": ["m.title", "m.overview", "m.studio"], "r": ["r.body", "r.author"]}
_CHEAP = {
    "m": ["m.year > 1995", "m.rating BETWEEN 2 AND 7", "m.studio <> 'a'", "m.overview IS NOT NULL", "m.id % 3 = 0"],
    "r": ["r.stars > 1", "r.author IS NOT NULL", "r.rid < 30"],
}
_KEYS = {"m": "m.id", "r": "r.rid"}


def generated(seed: int) -> str:
    """Return a query."""
    return _Generator(Random(seed)).query()  # noqa: S311 (it decides nothing secret)


class _Generator:
    def __init__(self, random: Random) -> None:
        self.random = random

    def query(self) -> str:
        """Return a SELECT in one of several shapes."""
        shape = self.random.choice([self.rows, self.rows, self.groups, self.cte, self.union, self.correlated, self.top])
        return shape()

    def tables(self) -> list[str]:
        return self.random.choice([["m"], ["m"], ["r"], ["m", "r"]])

    def source(self, tables: list[str]) -> str:
        if tables == ["m", "r"]:
            kind = self.random.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
            more = f" AND {self.condition(tables, 0)}" if self.random.random() < 0.4 else ""
            return f"movies m {kind} reviews r ON r.movie = m.id{more}"
        return "movies m" if tables == ["m"] else "reviews r"

    def text(self, tables: list[str], depth: int = 0) -> str:
        own = self.random.choice(_TEXTS[self.random.choice(tables)])
        chance = self.random.random()
        if depth < 1 and chance < 0.15:
            return f"ai_summarize({own})"
        if chance < 0.3:
            return f"{own} || ' and ' || {self.random.choice(_TEXTS[self.random.choice(tables)])}"
        return own

    def boolean(self, tables: list[str]) -> str:
        text = self.text(tables)
        return self.random.choice(
            [
                f"ai_filter({text}, 'p')",
                f"ai_filter({text}, 'q')",
                f"ai_classify({text}, ['a', 'b', 'c']) = 'a'",
                f"ai_score({text}, 's') > 0.4",
                f"ai_extract({text}, {{n: 'INTEGER'}}).n < 9",
            ]
        )

    def condition(self, tables: list[str], depth: int = 2) -> str:
        chance = self.random.random()
        if depth and chance < 0.25:
            return f"({self.condition(tables, depth - 1)} OR {self.condition(tables, depth - 1)})"
        if depth and chance < 0.4:
            return f"({self.condition(tables, depth - 1)} AND {self.condition(tables, depth - 1)})"
        if chance < 0.47:
            return f"NOT {self.boolean(tables)}"
        if chance < 0.52:
            return f"({self.boolean(tables)}) IS NOT FALSE"
        if chance < 0.75:
            return self.boolean(tables)
        return self.random.choice(_CHEAP[self.random.choice(tables)])

    def where(self, tables: list[str]) -> str:
        parts = [self.condition(tables) for _ in range(self.random.randint(0, 3))]
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def value(self, tables: list[str]) -> str:
        text = self.text(tables)
        cheap = self.random.choice(_CHEAP[self.random.choice(tables)])
        return self.random.choice(
            [
                f"ai_complete({text})",
                f"ai_classify({text}, ['a', 'b'])",
                f"ai_extract({text}, ['x', 'y'])",
                f"CASE WHEN {cheap} THEN ai_sentiment({text}) ELSE 'no' END",
                f"CASE WHEN {self.boolean(tables)} THEN ai_complete({text}) END",
                f"coalesce({text}, ai_complete({self.text(tables)}))",
                f"ai_score({text}, 's') + 1",
                f"upper(ai_sentiment({text}))",
            ]
        )

    def keys(self, tables: list[str]) -> str:
        return ", ".join(_KEYS[table] for table in tables)

    def rows(self) -> str:
        tables = self.tables()
        values = [f"{self.value(tables)} AS v{i}" for i in range(self.random.randint(0, 2))]
        return f"SELECT {', '.join([self.keys(tables), *values])} FROM {self.source(tables)}{self.where(tables)}"

    def top(self) -> str:
        tables = self.random.choice([["m"], ["r"]])
        order = self.random.choice(
            [_KEYS[tables[0]], f"ai_score({self.text(tables)}, 's') DESC NULLS LAST, {_KEYS[tables[0]]}"]
        )
        limit = f"LIMIT {self.random.randint(1, 9)}" + self.random.choice(["", " OFFSET 2"])
        return (
            f"SELECT {_KEYS[tables[0]]}, {self.value(tables)} AS v FROM {self.source(tables)}{self.where(tables)} "
            f"ORDER BY {order} {limit}"
        )

    def groups(self) -> str:
        tables = self.tables()
        key = self.random.choice([f"ai_classify({self.text(tables)}, ['a', 'b', 'c'])", _TEXTS[tables[0]][-1]])
        made = self.random.choice(
            [
                f"count(*) FILTER (WHERE {self.boolean(tables)})",
                f"sum(ai_complete({self.text(tables)}, returns := 'INTEGER'))",
                f"max(ai_sentiment({self.text(tables)}))",
                "count(*)",
            ]
        )
        having = self.random.choice(
            ["", "", " HAVING count(*) > 2", f" HAVING max(ai_score({self.text(tables)}, 's')) > 0.5"]
        )
        return f"SELECT {key} AS k, {made} AS n FROM {self.source(tables)}{self.where(tables)} GROUP BY k{having}"

    def cte(self) -> str:
        conditions = self.random.choice(["year > 1995", "v IS NOT NULL", "year > 1990 AND v <> 'said 3'"])
        call = f"{self.random.choice(['ai_complete', 'ai_sentiment'])}({self.text(['m'])})"
        inner = f"SELECT m.id, m.year, {call} AS v FROM movies m{self.where(['m'])}"
        if self.random.random() < 0.5:
            return f"WITH c AS ({inner}) SELECT id, v FROM c WHERE {conditions}"
        return f"SELECT v, count(*) FROM ({inner}) c WHERE {conditions} GROUP BY v"

    def union(self) -> str:
        kind = self.random.choice(["UNION ALL", "UNION", "EXCEPT", "INTERSECT"])
        sides = [
            f"SELECT ai_classify({self.text(t)}, ['a', 'b', 'c']) AS c FROM {self.source(t)}{self.where(t)}"
            for t in (["m"], ["r"])
        ]
        return f" {kind} ".join(sides)

    def correlated(self) -> str:
        inner = f"FROM reviews r WHERE r.movie = m.id AND {self.condition(['r'])} AND {self.condition(['m', 'r'], 0)}"
        outer = self.condition(["m"], 0)
        use = self.random.choice(["EXISTS", "NOT EXISTS"])
        if self.random.random() < 0.5:
            return f"SELECT m.id FROM movies m WHERE {outer} AND {use} ({inner})"
        return f"SELECT m.id, (SELECT count(*) {inner}) AS n FROM movies m WHERE {outer}"
