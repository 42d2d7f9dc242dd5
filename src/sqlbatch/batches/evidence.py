"""The evidence in a batch's result files: which requests have a result, and which may still be unaccounted for."""

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


# Turns an endpoint and the canonical returned columns into SQL over an answer's `content` and `vector`: NULL if the
# answer has the requested shape, otherwise what is wrong.
Check: TypeAlias = "Callable[[str, str], str]"
# Characters of a line that are shown.
_SHOWN = 200


@dataclass(frozen=True)
class Evidence:
    """What a batch's result lines show: `read` is how many of its requests have a readable line.

    `spare` counts lines that belong to no request of the batch, or are one too many for it. `strange` counts lines that
    cannot be read or belong to no request of the batch; `first` is the first of them.
    """

    read: int = 0
    spare: int = 0
    strange: int = 0
    first: str | None = None


class Doubtful(ProviderUnreachable):
    """The result files do not account for every request; they are downloaded again."""


def read_files(
    session: Session, batch: Ended, files: tuple[Path, ...], check: Check, copies: contextlib.ExitStack
) -> tuple[Evidence, tuple[Path, ...], int]:
    """Read the lines of result files; return the evidence, and the files and line length that were used."""
    if not files:
        return Evidence(), (), LONGEST_LINE

    def parse(files: tuple[Path, ...], longest: int) -> Evidence:
        parse_results(session, files, batch.endpoint, check(batch.endpoint, batch.returns), longest=longest)
        session.run("results.chosen")
        return Evidence(*session.run("results.evidence", {"batch_id": batch.batch_id})[0])

    found = parse(files, LONGEST_LINE)
    if found.read < batch.requests:
        # DuckDB skips lines that are too long or not UTF-8; such lines exist, and must not count as missing.
        with contextlib.suppress(InvalidSettings):
            readable, longest = copies.enter_context(as_text(files))
            if readable != files or longest > LONGEST_LINE:
                return parse(readable, longest), readable, longest
    return found, files, LONGEST_LINE


def doubt_of(batch: Ended, fetched: Fetched, found: Evidence) -> str | None:
    """Return why requests without a result may have been answered all the same; None if they certainly were not."""
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
    """Whether the files may still be incomplete: they have fewer lines than the provider counts, or neither exists."""
    if batch.requests == found.read or fetched.gone:
        return False
    return batch.completed > found.read or (not fetched.files and not batch.counted)


def keep_files(files: Sequence[Path], batch: Ended, folder: Path) -> None:
    """Keep result files under their batch's id.

    Call it before the transaction ends, so that no crash loses them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in files:
        kind = path.name.split(".")[-2]
        shutil.copyfile(path, folder / f"{batch.batch_id}.{kind}.jsonl")
