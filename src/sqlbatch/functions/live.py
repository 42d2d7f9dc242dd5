"""AI functions as macros over the stored answers, so that a query with calls runs in any client of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier

if TYPE_CHECKING:
    from sqlbatch.db.session import Session

BLOCKS = (
    "functions.text",
    "functions.cut",
    "plan_pictures.name",
    "functions.image",
    "functions.answer",
    "functions.missing",
    "functions.value",
    "functions.macros",
    "functions.aggregates",
)


def install(session: Session) -> list[str]:
    """Create the macros in the database itself, in schema main, within the caller's transaction; return their names."""
    schema = f"{quote_identifier(session.catalog)}.main."
    for block in BLOCKS:
        session.run(block, temporary="", schema=schema)
    found = session.run("functions.installed", {"catalog": session.catalog})
    return [name for (name,) in found]


def provide(session: Session) -> None:
    """Create the macros for this session only."""
    for block in BLOCKS:
        session.run(block, temporary="TEMP", schema="")
    session.run("functions.counting")


def unasked(session: Session) -> int:
    """Return how many calls this session looked up that were never asked; a call may be looked up twice."""
    return int(session.run("functions.counted")[0][0])
