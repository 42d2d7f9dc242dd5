"""Tests that take long: `python -m tests` runs some of them, `pytest -m long` the others, and `.ci/run` both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_of(every: int, values: Iterable[Any]) -> list[Any]:
    """Return the cases of a test of which one of `every` is run each time, and the others are long."""
    return [
        pytest.param(value, marks=() if place % every == 0 else pytest.mark.long) for place, value in enumerate(values)
    ]
