"""Sums of money, as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.store.records import Billed

UNKNOWN = "unknown: give the model's price under [prices] in sqlbatch.toml, or in the table sqlbatch.prices"


def dollars(amount: float) -> str:
    """Return a sum in dollars: in cents, and a small one with its first two digits."""
    if amount >= 1:
        return f"${amount:,.2f}"
    if amount >= 0.0001:
        text = f"{amount:.4f}"
        return f"${text[:-2] if text.endswith('00') else text}"
    return "$0" if not amount else "under $0.0001"


def spent(billed: Billed) -> str:
    """Return what was spent."""
    if billed.dollars is None:
        return UNKNOWN
    return dollars(billed.dollars) if billed.dollars else "nothing"
