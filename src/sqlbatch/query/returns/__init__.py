"""Returned columns: `--returns` as a strict JSON Schema on the way out, and as checked, typed columns on the way back."""

from __future__ import annotations

from sqlbatch.query.returns.conditions import Check
from sqlbatch.query.returns.definition import Column, Returns, ReturnsMode, parse_returns
from sqlbatch.query.returns.from_schema import returns_from_schema

__all__ = ["Check", "Column", "Returns", "ReturnsMode", "parse_returns", "returns_from_schema"]
