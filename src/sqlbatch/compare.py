"""Compare two tables on the same rows: where they agree, how far beyond chance, and which one is right.

All of it is SQL: `compare` writes the values to `sqlbatch.compared`, and the views `sqlbatch.agreement`,
`sqlbatch.confusion` and `sqlbatch.differences` compute the rest, for this module and for anybody who queries them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import jobs, prices
from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import InvalidOption, did_you_mean
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.target import look_up, parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session
    from sqlbatch.query.target import Target

# Columns that sqlbatch adds to a target; they are not compared.
ADDED = frozenset({"custom_id", "ai_status", "ai_error", "ai_model", "ai_confidence"})
# The most values of a column that has a confusion table.
LABELS = 12
# The most rows that are resampled for the interval of kappa; beyond it, the cells of the confusion table are resampled.
ROWS_DRAWN = 20_000


@dataclass(frozen=True)
class Agreement:
    """How two tables agree in one column: of `rows`, `agreed` have the same value; two NULLs count as the same.

    `kappa` is Cohen's kappa with its 95 % bootstrap interval; None if the column has more than 50 values, or if chance
    alone explains all agreement. `accuracy_a` and `accuracy_b` are fractions of the rows that have a gold value or a
    review.
    """

    column: str
    rows: int
    agreed: int
    agreement: float
    labels: int
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    judged_a: int
    accuracy_a: float | None
    judged_b: int
    accuracy_b: float | None


@dataclass(frozen=True)
class Cell:
    """How many rows have one value in the first table and another in the second."""

    column: str
    a: str | None
    b: str | None
    rows: int


@dataclass(frozen=True)
class Difference:
    """A row and column in which the tables differ; `key` is a JSON object of the columns that identify the row."""

    row: int
    column: str
    key: str
    a: str | None
    b: str | None
    gold: str | None


@dataclass(frozen=True)
class Comparison:
    """Two tables on the same rows. `dollars_a` and `dollars_b` are per 1,000 rows; None if a price is unknown.

    `rows` are compared; `only_a` and `only_b` are in one table only; `unanswered` are in both, but not answered in
    both.
    """

    comparison_id: int
    a: str
    b: str
    gold: str | None
    keys: list[str]
    rows: int
    only_a: int
    only_b: int
    unanswered: int
    dollars_a: float | None
    dollars_b: float | None
    columns: tuple[Agreement, ...]
    confusion: tuple[Cell, ...]
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class _Side:
    """One of the two tables: its columns with their types and, if sqlbatch made it, its returned columns."""

    target: Target
    table: str
    columns: dict[str, str]
    returned: frozenset[str]


def compare(
    database: Database,
    a: str,
    b: str,
    *,
    gold: str | None = None,
    keys: Sequence[str] = (),
    sample: int | None = None,
    differences: int = 20,
) -> Comparison:
    """Compare two tables of a database on the rows that both have, and store the comparison for its views.

    Rows are matched by `keys`, by default the columns of both tables that a model did not return. `sample` limits the
    rows compared, chosen by a hash of their keys. `gold` is a table with the same keys and the right values; without
    it, reviews say what is right, if there are any. Raises InvalidOption for tables that cannot be compared.
    """
    if sample is not None and sample < 1:
        raise InvalidOption(f"--sample {sample}: it must be 1 or more")

    def work(session: Session) -> Comparison:
        prices.refresh(session)
        sides = [_side(session, name) for name in (a, b)]
        if sides[0].table == sides[1].table:
            raise InvalidOption(f"{a} and {b} are one table: name two")
        named = _keys(sides, keys)
        columns = [name for name in sides[0].columns if _is_compared(name, sides, named)]
        if not columns:
            raise InvalidOption(f"{a} and {b} have no column in common that a model returned: nothing to compare")
        truth = _side(session, gold) if gold is not None else None
        if truth is not None:
            _check_gold(truth, named, columns)
        session.run("compare.pairs", **_pairs(sides, named, columns))
        rows, only_a, only_b, unanswered = session.run("compare.counts")[0]
        if not rows:
            raise InvalidOption(
                f"{a} and {b} have no answered row in common by {', '.join(named)}: name the columns that tell a row "
                "with --key"
            )
        rows = min(rows, sample or rows)
        names = {"a": sides[0].target.sql, "b": sides[1].target.sql}
        for block in ("compare.forget_values", "compare.forget_intervals", "compare.forget"):
            session.run(block, names)
        costs = [_dollars(session, side) for side in sides]
        facts = {
            "gold": truth.target.sql if truth else None,
            "keys": list(named),
            "rows": rows,
            "only_a": only_a,
            "only_b": only_b,
            "unanswered": unanswered,
            "dollars_a": costs[0],
            "dollars_b": costs[1],
            "now": clock.now(),
        }
        comparison_id = int(session.run("compare.add", names | facts)[0][0])
        reviewed = truth is None and bool(session.run("compare.has_reviews", {"catalog": session.catalog}))
        for column in columns:
            places = _value_places(session, column, sides, named, truth, reviewed=reviewed)
            asked = {"comparison_id": comparison_id, "column": column, "rows": rows}
            session.run("compare.values", asked, **places)
        resamples = max(200, min(1000, 2_000_000 // rows))
        session.run("compare.intervals", {"comparison_id": comparison_id, "most": ROWS_DRAWN, "resamples": resamples})
        return result(session, comparison_id, differences=differences)

    return database.write(work)


def result(session: Session, comparison_id: int, *, differences: int = 20) -> Comparison:
    """Return a stored comparison, with some of its differing rows and confusion tables of columns with few values."""
    asked = {"comparison_id": comparison_id}
    columns = tuple(Agreement(*row) for row in session.run("compare.agreement", asked))
    confusion = tuple(Cell(*row) for row in session.run("compare.confusion", asked | {"most": LABELS}))
    listed = tuple(Difference(*row) for row in session.run("compare.differences", asked | {"most": differences}))
    facts = (*session.run("compare.one", asked)[0], columns, confusion, listed)
    return Comparison(*facts)


def _side(session: Session, name: str) -> _Side:
    """Return a table by its name, or by the number of the job that wrote it."""
    if name.isascii() and name.isdigit():
        name = jobs.find(session, name).target
    target = parse_target(name, session.catalog)
    existing = look_up(session, target)
    if existing is None:
        near = did_you_mean(name, [job.target for job in jobs.rows(session)] or [name])
        raise InvalidOption(f"there is no table {name}: {near}")
    where = {"catalog": session.catalog, "schema": target.schema, "name": target.name}
    columns = dict(session.run("compare.columns", where))
    returned: frozenset[str] = frozenset()
    if existing.job_id is not None:
        enrichment = Enrichment.from_json(jobs.find(session, str(existing.job_id)).enrichment)
        names = [column.name for column in read_returns(enrichment.endpoint, enrichment.returns).columns]
        returned = frozenset(names or ["response"])
    return _Side(target, target.qualified(session.catalog), columns, returned)


def _keys(sides: Sequence[_Side], given: Sequence[str]) -> tuple[str, ...]:
    """Return the columns by which rows are matched."""
    both = [name for name in sides[0].columns if name in sides[1].columns and name not in ADDED]
    for name in given:
        if name not in both:
            raise InvalidOption(f"--key {name}: both tables must have it; {did_you_mean(name, both)}")
    returned = sides[0].returned | sides[1].returned
    if given:
        return tuple(given)
    if not returned:
        raise InvalidOption("neither table was made by sqlbatch: say with --key which columns name a row")
    found = tuple(name for name in both if name not in returned)
    if not found:
        raise InvalidOption("the tables share no column that names a row: name one with --key")
    return found


def _is_compared(name: str, sides: Sequence[_Side], keys: Sequence[str]) -> bool:
    if name in keys or name in ADDED or name not in sides[1].columns:
        return False
    returned = sides[0].returned | sides[1].returned
    return name in returned or not returned


def _check_gold(gold: _Side, keys: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in keys if name not in gold.columns]
    if missing:
        raise InvalidOption(
            f"--gold {gold.target.sql} has no column {missing[0]}: rows are matched by {', '.join(keys)}; name others "
            "with --key"
        )
    if not any(name in gold.columns for name in columns):
        raise InvalidOption(f"--gold {gold.target.sql} has none of the compared columns: {', '.join(columns)}")


def _pairs(sides: Sequence[_Side], keys: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    places = {"keys": f"struct_pack({_fields(keys)})"}
    for side, letter in zip(sides, "ab", strict=True):
        places |= {
            letter: side.table,
            f"{letter}_answered": "ai_status = 'answered'" if "ai_status" in side.columns else "true",
            f"{letter}_id": "custom_id" if "custom_id" in side.columns else "NULL::UUID",
            f"{letter}_values": _fields(columns),
        }
    return places


def _fields(names: Sequence[str]) -> str:
    """Return columns as the fields of a struct, in SQL."""
    return ", ".join(f"{quote_identifier(name)} := {quote_identifier(name)}" for name in names)


def _value_places(
    session: Session,
    column: str,
    sides: Sequence[_Side],
    keys: Sequence[str],
    gold: _Side | None,
    *,
    reviewed: bool,
) -> dict[str, str]:
    """Return SQL for a column's text in both tables and in gold, and for whether each is right."""
    name, kind = quote_identifier(column), sides[0].columns[column]
    texts = [_text(f"p.{letter}.{name}", side.columns[column]) for letter, side in zip("ab", sides, strict=True)]
    places = {"a_text": texts[0], "b_text": texts[1], "gold_text": "NULL", "gold_join": ""}
    places |= {"a_right": "NULL", "b_right": "NULL"}
    if gold is not None and column in gold.columns:
        value = _text(f"any_value({name})", gold.columns[column])
        places["gold_join"] = (
            f"LEFT JOIN (SELECT struct_pack({_fields(keys)}) AS k, {value} AS v FROM {gold.table} GROUP BY ALL) g "
            "ON g.k IS NOT DISTINCT FROM p.keys"
        )
        places["gold_text"] = "g.v"
        for letter, text in zip("ab", texts, strict=True):
            places[f"{letter}_right"] = f"CASE WHEN g.k IS NOT NULL THEN {text} IS NOT DISTINCT FROM g.v END"
    elif reviewed:
        verdicts = f"{quote_identifier(session.catalog)}.sqlbatch.verdicts"
        joins = []
        for letter in "ab":
            # A JSON text loses its quotes; a list or an object is parsed as JSON.
            nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "JSON"))
            given = '"value"' if nested else "(\"value\"->>'$')"
            value = _text(f"TRY_CAST({given} AS {kind})", kind)
            joins.append(
                f"LEFT JOIN (SELECT custom_id, verdict, CASE WHEN verdict <> 'rejected' THEN {value} END AS v "
                f'FROM {verdicts} WHERE "column" = {quote_literal(column)}) v{letter} '
                f"ON v{letter}.custom_id = p.{letter}_id"
            )
        places["gold_join"] = " ".join(joins)
        places["gold_text"] = "coalesce(va.v, vb.v)"
        for letter, text in zip("ab", texts, strict=True):
            places[f"{letter}_right"] = (
                f"CASE WHEN coalesce(va.v, vb.v) IS NOT NULL THEN {text} IS NOT DISTINCT FROM coalesce(va.v, vb.v) "
                f"WHEN v{letter}.verdict = 'rejected' THEN false END"
            )
    return places


def _text(value: str, kind: str) -> str:
    """Return SQL for a value as text.

    Lists are sorted, because the model is not asked for an order.
    """
    if kind.endswith("]"):
        return f"to_json(list_sort({value}))::VARCHAR"
    if kind.startswith(("STRUCT", "MAP", "UNION")) or kind in {"JSON", "BLOB"}:
        return f"to_json({value})::VARCHAR"
    return f"({value})::VARCHAR"


def _dollars(session: Session, side: _Side) -> float | None:
    if "custom_id" not in side.columns:
        return None
    found = session.run("compare.dollars", table=side.table)
    return None if found[0][0] is None else float(found[0][0])
