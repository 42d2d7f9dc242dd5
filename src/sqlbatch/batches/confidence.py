"""How sure a model was of each value that it returned, from the log probabilities in result lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlbatch.db.session import Session


def measure(session: Session) -> None:
    """Compute a number for each returned value of the result lines that were read, then drop the log probabilities."""
    if session.run("confidence.any"):
        session.run("confidence.measured")
        session.run("confidence.joined")
    session.run("confidence.forget")
