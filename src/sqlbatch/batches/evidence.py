"""What the result files of one batch tell of its requests, and what cannot be said from them."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from sqlbatch.batches import download
from sqlbatch.batches.parse_results import LONGEST_LINE, as_text, parse_results
from sqlbatch.errors import InvalidSettings, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlbatch.batches.download import Ended, Fetched
    from sqlbatch.db.session import Session


# Makes, from an endpoint and the canonical returned columns, SQL over an answer's `content` and `vector` that is NULL
# where it has the asked-for shape, and says what is wrong otherwise.
Check: TypeAlias = "Callable[[str, str], str]"
# Characters of a line that are shown.
_SHOWN = 200


@dataclass(frozen=True)
class Evidence:
    """What the lines of a batch's files tell: how many of its requests have one that can be read.

    `strange` counts lines that cannot be read or belong to no request of the batch, `first` is the first of them.
    """

    read: int = 0
    spare: int = 0
    strange: int = 0
    first: str | None = None


class Doubtful(ProviderUnreachable):
    """The result files do not tell what became of every request; they are fetched again."""


def read_files(
    session: Session, batch: Ended, files: tuple[Path, ...], check: Check, copies: contextlib.ExitStack
) -> tuple[Evidence, tuple[Path, ...], int]:
    """Read the lines of result files; return what they tell, and the files and line length with which all were read."""
    if not files:
        return Evidence(), (), LONGEST_LINE

    def parse(files: tuple[Path, ...], longest: int) -> Evidence:
        parse_results(session, files, batch.endpoint, check(batch.endpoint, batch.returns), longest=longest)
        session.run("results.chosen")
        return Evidence(*session.run("results.evidence", {"batch_id": batch.batch_id})[0])

    found = parse(files, LONGEST_LINE)
    if found.read < batch.requests:
        # DuckDB skips lines that are not UTF-8 or too long: they are not lines that never came.
        with contextlib.suppress(InvalidSettings):
            readable, longest = copies.enter_context(as_text(files))
            if readable != files or longest > LONGEST_LINE:
                return parse(readable, longest), readable, longest
    return found, files, LONGEST_LINE


def doubt_of(batch: Ended, fetched: Fetched, found: Evidence) -> str | None:
    """Return why it cannot be said that the requests without a result were not answered; None where it can."""
    missing = batch.requests - found.read
    if not missing or (fetched.gone and not fetched.cut):
        return None
    if fetched.cut or fetched.late:
        given = download.GONE_AFTER // timedelta(minutes=1)
        return fetched.cut or f"the provider does not have its result file yet (it is given {given} minutes)"
    if found.strange:
        first = " ".join((found.first or "").split())[:_SHOWN]
        return (
            f"{found.strange:,} of its result lines cannot be read or name no request of it; the first begins: {first}"
        )
    if batch.status == "completed" and not found.read:
        return "it is completed, and has no result line"
    if batch.completed > found.read and (missing > max(3, batch.requests // 20) or not found.read):
        return f"the provider counts {batch.completed:,} answers, and its files have {found.read:,} lines"
    return None


def too_early(batch: Ended, fetched: Fetched, found: Evidence) -> bool:
    """Whether the files may only not be complete yet: they lack what the counts have, or there are neither."""
    if batch.requests == found.read or fetched.gone:
        return False
    return batch.completed > found.read or (not fetched.files and not batch.counted)


def keep_files(files: Sequence[Path], batch: Ended, folder: Path) -> None:
    """Keep result files under names that tell their batch; before the transaction ends, so that no crash loses them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in files:
        kind = path.name.split(".")[-2]
        shutil.copyfile(path, folder / f"{batch.batch_id}.{kind}.jsonl")
