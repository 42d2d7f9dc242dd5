"""A plan of a query with AI functions: its sources, its calls in stages, and the query that joins the answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.functions.inputs import VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlbatch.functions.conditions import Policy
    from sqlbatch.functions.lookups import Lookup
    from sqlbatch.functions.sources import Source

SOURCE = re.compile(r'"?@sqlbatch_source_(\d+)@"?')


@dataclass(frozen=True)
class PlannedCall:
    """One call of a plan: its question, the query that collects its inputs, the calls it waits for, and its stage."""

    lookup: Lookup
    text: str
    clause: str
    collection: str
    bound: str
    needs: frozenset[int]
    stage: int
    bound_needs: frozenset[int] = frozenset()

    @property
    def number(self) -> int:
        """The number of the call."""
        return self.lookup.number


@dataclass(frozen=True)
class Plan:
    """The plan of a query with AI functions.

    In `query` and the collections, a source is named `"@sqlbatch_source_<n>@"` (see `with_sources`) and a call
    `sqlbatch_ai_<n>`; `columns` are the names and types of the result. `unasked` are calls that the result does not
    depend on.
    """

    sources: tuple[Source, ...]
    calls: tuple[PlannedCall, ...]
    query: str
    columns: tuple[tuple[str, str], ...]
    policy: Policy
    unasked: tuple[Lookup, ...] = ()

    @property
    def stages(self) -> int:
        """How many rounds of batches it takes."""
        return max((call.stage for call in self.calls), default=0)

    @property
    def fused_stages(self) -> int:
        """How many rounds it takes with the policy `fuse`, which asks everything that may be needed."""
        asked = {call.number for call in self.calls}
        stages, _ = stages_of({call.number: call.bound_needs & asked for call in self.calls})
        return max(stages.values(), default=0)


def with_sources(sql: str, name: Callable[[int], str]) -> str:
    """Return planned SQL with the tables of its sources filled in."""
    return SOURCE.sub(lambda found: name(int(found[1])), sql)


def stages_of(needs: Mapping[int, frozenset[int]]) -> tuple[dict[int, int], set[int]]:
    """Return the stage of each call, and the calls that wait for one another in a circle."""
    stages: dict[int, int] = {}
    while True:
        ready = {
            number: 1 + max((stages[each] for each in waits), default=0)
            for number, waits in needs.items()
            if number not in stages and all(each in stages for each in waits)
        }
        if not ready:
            break
        stages.update(ready)
    return stages, set(needs) - set(stages)


def numbers_of(sql: str, name: str = VALUE) -> frozenset[int]:
    """Return the numbers that follow a name in planned SQL: those of its calls, or of their WHY or PROBE."""
    return frozenset(int(number) for number in re.findall(rf"{name}(\d+)", sql))
