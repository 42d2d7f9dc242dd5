"""Several transfers at a time, in threads that an interrupt does not wait for, with their progress told meanwhile."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from sqlbatch.batches.events import Transferring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Result = TypeVar("Result")
# Uploads and downloads at a time: enough to fill a line, few enough to keep each file's data in memory small.
AT_ONCE = 4
# Seconds between two tellings of the progress.
_TELL = 0.2


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A transfer that ended: what it returned, or the error it raised."""

    result: Result | None
    error: BaseException | None


def transfers(
    doing: str,
    tasks: Sequence[Callable[[Callable[[int], None]], Result]],
    total: int | None,
) -> Iterator[Transferring | Done[Result]]:
    """Run tasks, a few at a time; yield the progress of all together, and each task's end as it comes.

    A task is called with a function to tell how many bytes it has moved so far.
    """
    ends: queue.SimpleQueue[Done[Result]] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[tuple[int, Callable[[Callable[[int], None]], Result]]] = queue.SimpleQueue()
    moved = [0] * len(tasks)

    def work() -> None:
        while True:
            try:
                number, task = waiting.get_nowait()
            except queue.Empty:
                return

            def tell(size: int, number: int = number) -> None:
                moved[number] = size

            try:
                ends.put(Done(task(tell), None))
            except BaseException as error:  # noqa: BLE001 (handed over to the thread that asked)
                ends.put(Done(None, error))

    for each in enumerate(tasks):
        waiting.put(each)
    for _ in range(min(AT_ONCE, len(tasks))):
        threading.Thread(target=work, daemon=True).start()
    left = len(tasks)
    while left:
        try:
            end = ends.get(timeout=_TELL)
        except queue.Empty:
            yield Transferring(doing, sum(moved), total)
            continue
        left -= 1
        yield Transferring(doing, sum(moved), total)
        yield end
