"""CHECK conditions as keywords of a JSON Schema."""

from __future__ import annotations

from typing import Any

from sqlbatch.query.returns.types import Field


def keywords(field: Field, condition: str) -> tuple[dict[str, Any], list[str]]:
    """Return the keywords that say a condition, and the parts of it that none can say."""
    return {}, [condition]
