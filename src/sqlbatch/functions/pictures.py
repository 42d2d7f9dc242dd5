"""Pictures that a query asks about (ai_image): read once, when the query is planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier
from sqlbatch.functions.conditions import ASK
from sqlbatch.functions.inputs import PICTURE
from sqlbatch.query import pictures
from sqlbatch.query.select import QueryColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.functions.plan import Plan
    from sqlbatch.query.enrichment import Enrichment

# The most bytes of pictures in any request.
MOST = pictures.REQUEST_BYTES
# The columns of a query's pictures, as messages name them.
_COLUMNS = (QueryColumn("ai_image", "VARCHAR"), QueryColumn("ai_image (BLOB)", "BLOB"))


def look(
    session: Session, plan: Plan, enrichment: Enrichment, scratch: str, named: Callable[[str], str], line_limit: int
) -> bool:
    """Read all pictures that the calls of a plan may ask about, once; return whether there are any.

    The facts about them are in the table `ai_pictures` of the attached database `scratch`; `named` gives planned SQL
    the names of its sources. Which rows pass is not known yet, so all conditions are tried as true and as false.
    """
    asking = [call for call in plan.calls if call.lookup.pictures]
    if not asking:
        return False
    session.run("plan_pictures.raw")
    session.run("plan_pictures.begin", scratch=scratch)
    for passes in ("true", "false"):
        for lookup in [*(call.lookup for call in plan.calls), *plan.unasked]:
            session.sql(lookup.symbolic_macro(passes))
        for call in asking:
            macro = f"{ASK}{call.number}(sqlbatch_x) AS struct_extract(sqlbatch_x, 'p')"
            session.sql(f"CREATE OR REPLACE TEMP MACRO {macro}")
            session.run("plan_pictures.add", scratch=scratch, collection=named(call.bound))
    pictures.look(session, scratch, _COLUMNS, Path(enrichment.folder or "."), line_limit)
    session.run("plan_pictures.looked", scratch=scratch)
    define(session, f"{scratch}.main.ai_pictures")
    return True


def define(session: Session, table: str) -> None:
    """Create the macro of a picture, from a table of pictures that were read."""
    session.run("plan_pictures.seen", pictures=table)


def define_of_job(session: Session, job_id: int, sql: str) -> str | None:
    """Create the macro of a job's pictures if the planned SQL has some, and return SQL of the facts about them."""
    if PICTURE not in sql:
        return None
    seen = f"(SELECT * FROM {quote_identifier(session.catalog)}.sqlbatch.ai_pictures WHERE job_id = {job_id})"
    define(session, seen)
    return seen


def in_collected(session: Session, table: str, line_limit: int, detail: str | None) -> None:
    """Add the facts about their pictures to the collected requests, from a table of pictures that were read."""
    most = min(line_limit, pictures.REQUEST_BYTES)
    too_many = f"image_too_large: the pictures of the request are more than the {most:,} bytes that one can carry"
    facts = {"most": most, "too_many": too_many, "tokens": pictures.tokens(detail)}
    session.run("plan_pictures.collected", facts, pictures=table)


def keep(session: Session, scratch: str, job_id: int) -> None:
    """Store the pictures of a job's query, and which requests of its first stage cannot be sent."""
    pictures.store(session, scratch)
    session.run("plan_pictures.keep", scratch=scratch, job=str(job_id))
    pictures.settle(session, scratch, job_id)


def settle_collected(session: Session) -> None:
    """Note collected requests that cannot be sent as failed, within the caller's transaction."""
    session.run("plan_pictures.due")
    pictures.fail(session, "temp")


def keep_collected(session: Session, scratch: str) -> list[tuple[str, str]]:
    """Store the pictures of a preview's call; return which of its requests cannot be sent, and why."""
    pictures.store(session, scratch)
    return [(custom_id, why) for custom_id, why in session.run("plan_pictures.unsent")]


def define_unsent(session: Session, scratch: str, unsent: Sequence[tuple[str, str, str]]) -> None:
    """Define a preview's pictures, and the requests that cannot be sent as failed: custom_id, call and reason."""
    define(session, f"{scratch}.main.ai_pictures")
    custom_ids, calls, whys = ([each[place] for each in unsent] for place in range(3))
    session.run("plan_pictures.unsent_decided", {"custom_ids": custom_ids, "calls": calls, "whys": whys})
