"""Work that waits for the disk, beside the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


async def beside(function: Callable[[], _Result]) -> _Result:
    """Return what a function returns that waits for the disk, without holding up the event loop."""
    try:
        waiting = asyncio.get_running_loop().run_in_executor(None, function)
    except RuntimeError:  # the interpreter is ending and takes no more work for other threads
        return function()
    return await waiting
