"""The page about costs: by day, target and model, and this month's budget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.db import prices
from sqlbatch.db.prices import in_dollars
from sqlbatch.view.site import page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.view.site import Visit

# Days in the chart, today last.
DAYS = 42


@dataclass(frozen=True)
class Bar:
    """A day of the chart: its date, its dollars in words, and its height of 100."""

    day: date
    words: str
    height: float


@page("spend.html")
def spend(visit: Visit) -> dict[str, Any]:
    """Show costs."""
    by = {key: prices.spent_by(visit.session, key) for key in ("day", "month", "target", "model")}
    return {
        "days": bars(by["day"], clock.now().date()),
        "tables": [(key, sorted(by[key], key=lambda each: -each.dollars)) for key in ("target", "model")],
        "by_day": by["day"][::-1][:DAYS],
        "months": by["month"][::-1],
        "this": clock.now().strftime("%Y-%m"),
        "budget": prices.month(visit.session),
    }


def bars(spent: Sequence[prices.Spent], today: date) -> list[Bar]:
    """Return the chart of the last days; a day without a bill has no height."""
    dollars = {each.key: each.dollars for each in spent}
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    most = max((dollars.get(day.isoformat(), 0.0) for day in days), default=0.0)
    return [
        Bar(day, in_dollars(amount), round(100 * amount / most, 2) if most else 0.0)
        for day in days
        for amount in [dollars.get(day.isoformat(), 0.0)]
    ]


READ = {"/spend": spend}
