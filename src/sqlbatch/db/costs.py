"""What was spent outlives the results that it was spent on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.db.session import Session


def fold(session: Session, which: str) -> None:
    """Add up in sqlbatch.spent what results cost that the same transaction is about to delete from sqlbatch.results.

    `which` is SQL over the view `billed` as `r` (job_id, batch_id, custom_id, day …): the same ones, and only those.
    """
    session.run("costs.fold", which=which)
