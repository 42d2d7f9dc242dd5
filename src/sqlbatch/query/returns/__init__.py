"""Returned columns: `--returns` a strict JSON Schema on the way out, checked and typed columns on the way back."""

from __future__ import annotations

from sqlbatch.query.returns.definition import Returns, ReturnsMode, parse_returns
from sqlbatch.query.returns.from_schema import returns_from_schema
from sqlbatch.query.returns.kinds import Check, Column

__all__ = ["Check", "Column", "Returns", "ReturnsMode", "parse_returns", "returns_from_schema"]
