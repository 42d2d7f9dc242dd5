"""Pages of objects, as the API lists them."""

from __future__ import annotations

from typing import Any

from sqlbatch.server.envelope import ApiError


def page_size(text: str | None, *, largest: int, default: int) -> int:
    """Return the asked-for number of objects a page, or refuse one outside 1..`largest`."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        message = f"Invalid type for 'limit': expected an integer, but got '{text}' instead."
        raise ApiError(400, message, param="limit", code="invalid_type")
    number = int(text[:20])
    if number < 1:
        message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {number} instead."
        raise ApiError(400, message, param="limit", code="integer_below_min_value")
    if number > largest:
        message = (
            f"Invalid 'limit': integer above maximum value. Expected a value <= {largest}, but got {number} instead."
        )
        raise ApiError(400, message, param="limit", code="integer_above_max_value")
    return number


def listing(objects: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Return a page of at most `limit` of `objects`, which hold one more where there is a next page."""
    page = objects[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(objects) > limit,
    }
