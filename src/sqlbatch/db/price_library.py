"""Prices from the library genai-prices, as rows of sqlbatch.prices; shutdown dates of models come from our own list.

The library knows the providers' prices for ordinary requests, batches and flex, cached input, cache writes, prompts
beyond a length, and the days from which they apply. Importing it takes most of a second, so callers ask only about
models whose rows are missing or of another release.
"""

from __future__ import annotations

import csv
import functools
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlbatch.errors import nearest
from sqlbatch.named_sql import read_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_prices.types import ModelInfo, ModelPrice

# The column of sqlbatch.prices, and the library's name for the rate.
RATES = {
    "input": "input_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
# The tiers, and the library's names for them. What it says of `default` applies to the others too.
TIERS: dict[str, dict[str, str]] = {
    "default": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
}
# The first day of a price that has always applied.
FIRST_DAY = date(2000, 1, 1)
# Models that OpenAI does not bill; the library lists them without a rate.
_FREE = frozenset({"omni-moderation-latest", "text-moderation-latest"})


@functools.cache
def release() -> str:
    """Return the name and release of the library, as stored in the column `source`."""
    return f"genai-prices {version('genai-prices')}"


def rows_of(base_url: str, model: str) -> list[dict[str, Any]]:
    """Return the rows of sqlbatch.prices for one model at one address; a row without rates if the model is unknown."""
    found = _find(base_url, model)
    stop = shutdowns().get(model.lower()) or (shutdowns().get(found.id) if found is not None else None) or {}
    same = {"model": model, "base_url": base_url, "origin": "shipped", "source": release(), **stop}
    rows = [same | row for row in _rows(found)] if found is not None else []
    if not rows and model.lower() in _FREE and found is not None:
        rows = [same | {"tier": "default", "above": 0, "valid_from": str(FIRST_DAY), "input": 0.0, "output": 0.0}]
    return rows or [same | {"tier": "default", "above": 0, "valid_from": str(FIRST_DAY)}]


def models(base_url: str) -> list[str]:
    """Return the names of the models that the library has a price for at an address, sorted."""
    provider = _provider(base_url)
    return sorted(model.id for model in provider.models) if provider is not None else []


def alike(base_url: str, model: str) -> str | None:
    """Return the known model whose name is most like an unknown one, or None."""
    return nearest(model.lower(), models(base_url), 0.75)


@functools.cache
def shutdowns() -> dict[str, dict[str, str]]:
    """Return the day from which a model is no longer served, and its successor, by the model's name."""
    rows = csv.DictReader(read_sql("shutdowns.csv").splitlines())
    return {row["model"]: {"shutdown": row["shutdown"], "successor": row["successor"]} for row in rows}


def _provider(base_url: str) -> Any:
    if urlsplit(base_url).hostname in {"127.0.0.1", "localhost", "::1"}:
        # The library knows no server on this machine, so it need not be imported.
        return None
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 (its data take most of a second to import)

    try:
        return get_snapshot().find_provider(None, None, base_url)
    except LookupError:
        return None


def _find(base_url: str, model: str) -> ModelInfo | None:
    provider = _provider(base_url)
    found: ModelInfo | None = provider.find_model(model.lower()) if provider is not None and model else None
    return found


def _rows(model: ModelInfo) -> Iterator[dict[str, Any]]:
    """Return a row for each tier, each day on which its price changes, and each length of prompt with its own price."""
    for tier, context in TIERS.items():
        before: list[dict[str, Any]] = []
        for day in sorted({FIRST_DAY, *_days(model)}):
            rates = _rates(_dearest(model, day, context))
            # A tier has no price of its own until it differs from that of an ordinary request.
            ordinary = tier != "default" and not before and rates == _rates(_dearest(model, day, {}))
            if rates != before and not ordinary:
                before = rates
                yield from ({"tier": tier, "valid_from": str(day), **each} for each in rates)


def _days(model: ModelInfo) -> set[date]:
    conditional = model.prices if isinstance(model.prices, list) else []
    variants = model.price_variants or []
    constraints = [*(each.constraint for each in conditional), *(each.constraint for each in variants)]
    return {day for each in constraints if (day := getattr(each, "start_date", None)) is not None}


def _dearest(model: ModelInfo, day: date, context: dict[str, str]) -> ModelPrice:
    """Return a day's price; if it depends on the hour, the highest, because nobody knows when a batch will run."""
    hours = [model.get_prices(datetime.combine(day, time(hour), UTC), context) for hour in range(24)]
    return max(hours, key=lambda price: sum(_rate(getattr(price, rate), 0) or 0 for rate in RATES.values()))


def _rates(price: ModelPrice) -> list[dict[str, Any]]:
    """Return the rates by the length of prompt from which they apply, in dollars per million tokens."""
    values = [getattr(price, name) for name in RATES.values()]
    if all(value is None for value in values) or price.requests_kcount is not None:
        # Prices by the call, by the second or by the picture cannot be computed from tokens.
        return []
    starts = sorted({0, *(tier.start for value in values for tier in getattr(value, "tiers", ()))})
    return [
        {"above": start, **{ours: _rate(getattr(price, name), start) for ours, name in RATES.items()}}
        for start in starts
    ]


def _rate(value: Any, above: int) -> float | None:
    """Return the rate for prompts of more tokens than `above`."""
    if value is None or isinstance(value, Decimal):
        return None if value is None else float(value)
    rate = value.base
    for tier in value.tiers:
        rate = tier.price if tier.start <= above else rate
    return float(rate)
