"""The profile of a column: how many values and NULLs, the most common values, and a small histogram."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlbatch.view.values import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlbatch.db.session import Session
    from sqlbatch.view.values import Column

# With more rows than this, values are counted in a sample of this size; values and NULLs are always counted in all
# rows.
SAMPLE = 100_000
TOP, BINS = 12, 24


@dataclass(frozen=True)
class Bin:
    """A bar of a histogram: its lower and upper bound, its count, and its height of 100."""

    low: float
    high: float
    label: str
    count: int
    height: float
    last: bool


@dataclass(frozen=True)
class Profile:
    """The profile of a column, for the rows that are shown.

    `distinct` is the number of different values, an estimate if `guessed`. `top` are the most common values with their
    counts and, of 100, their height; `sample` is how many rows they were counted in, None for all rows.
    """

    column: Column
    rows: int
    nulls: int
    distinct: int | None
    least: str | None
    mean: str | None
    greatest: str | None
    top: tuple[tuple[str, int, float], ...]
    bins: tuple[Bin, ...]
    sample: int | None

    @property
    def guessed(self) -> bool:
        """Whether there are too many different values to count them exactly."""
        return self.rows > SAMPLE


def of_column(
    session: Session, table: str, column: Column, where: str, values: Mapping[str, object], rows: int
) -> Profile:
    """Return the profile of a column for the rows of a condition; `rows` is the number of these."""
    places = {"table": table, "where": where, "column": column.sql}
    filled = int(session.run("view.filled", values, **places)[0][0])
    sample = f"USING SAMPLE {min(100.0, 100.0 * SAMPLE / rows):.4f}% (system, 1)" if rows > 2 * SAMPLE else ""
    distinct: int | None = None
    top: tuple[tuple[str, int, float], ...] = ()
    if column.counted:
        count = "count(DISTINCT sqlbatch_value)" if rows <= SAMPLE else "approx_count_distinct(sqlbatch_value)"
        among = {"values": column.values, "sample": sample, "distinct": count}
        distinct = int(session.run("view.distinct", values, **places, **among)[0][0])
        found = session.run("view.top", {**values, "most": TOP}, **places, values=column.values, sample=sample)
        # If every value is different, the first ones are no more common than the rest.
        found = [] if found and found[0][1] == 1 and distinct > TOP else found
        top = tuple((value, count, round(100 * count / found[0][1], 2)) for value, count in found)
    least = mean = greatest = None
    bins: tuple[Bin, ...] = ()
    if column.number is not None and filled:
        places["number"] = column.number
        low, middle, high = session.run("view.bounds", values, **places, sample=sample)[0]
        if low is not None:
            least, mean, greatest = (_written(column, value) for value in (low, middle, high))
        if low is not None and high > low:
            counts = dict(
                session.run(
                    "view.histogram", {**values, "low": low, "high": high, "bins": BINS}, **places, sample=sample
                )
            )
            bins = _bins(column, low, high, counts)
    return Profile(column, rows, rows - filled, distinct, least, mean, greatest, top, bins, SAMPLE if sample else None)


def _bins(column: Column, low: float, high: float, counts: Mapping[int, int]) -> tuple[Bin, ...]:
    width, most = (high - low) / BINS, max(counts.values())
    edges = [low + width * place for place in range(BINS)] + [high]
    return tuple(
        Bin(
            edges[place],
            edges[place + 1],
            f"{_written(column, edges[place])} to {_written(column, edges[place + 1])}",
            counts.get(place, 0),
            round(100 * counts.get(place, 0) / most, 2),
            place == BINS - 1,
        )
        for place in range(BINS)
    )


def _written(column: Column, value: Any) -> str:
    if column.kind is Kind.TIME:
        # It starts at the epoch, because earlier times are not valid timestamps everywhere.
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        return f"{moment:%Y-%m-%d}" if column.type == "DATE" else f"{moment:%Y-%m-%d %H:%M}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value)}"
    return f"{value:.4g}"
