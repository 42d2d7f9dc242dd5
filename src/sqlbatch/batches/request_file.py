"""Write a batch's input file from its manifest with DuckDB; batches with pictures are written part by part."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.render import PLAIN, UNREADABLE, Rendering, has_pictures, rendering
from sqlbatch.db.sql import quote_identifier, quote_literal

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Bytes of lines with pictures that are rendered at a time.
PART_BYTES = 32_000_000


def make(database: Database, batch_id: str, path: Path, url: str) -> tuple[int, int] | None:
    """Write a batch's file; if requests had to be left out, return how many requests and bytes remain."""
    pictured = database.read(lambda session: has_pictures(session, _requests_of(session, batch_id)[0]))
    # Requests whose pictures are gone fail, which is written to the database.
    return (database.write if pictured else database.read)(lambda session: write(session, batch_id, path, url))


def write(session: Session, batch_id: str, path: Path, url: str | None = None) -> tuple[int, int] | None:
    """Write a batch's input file from its manifest; its lines are in no particular order.

    `url` is the provider's spelling of the endpoint, if it has its own. Requests whose pictures are gone fail and are
    left out, within the caller's transaction; then it returns how many requests and bytes remain.
    """
    which, quickest, endpoint = _requests_of(session, batch_id)
    url = endpoint if url is None else url
    if not has_pictures(session, which):
        _write(session, batch_id, quickest, PLAIN, path, url)
        return None
    left: tuple[int, int] | None = None
    part = path.with_suffix(".part")
    whole = path.with_suffix(".whole")
    try:
        with whole.open("wb") as out:
            # DuckDB keeps the pictures of a part in memory, several times over.
            for low, high in session.run("submit.parts", {"most": PART_BYTES}, chosen=which):
                within = f"{which} AND r.seq BETWEEN {low} AND {high}"
                with rendering(session, within) as made:
                    if made.unreadable:
                        left = _leave_out(session, batch_id, made)
                    _write(session, batch_id, within, made, part, url)
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, out, 1 << 20)
        whole.chmod(0o600)
        whole.replace(path)
    finally:
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
    return left


def _leave_out(session: Session, batch_id: str, made: Rendering) -> tuple[int, int]:
    """Fail the requests that cannot be sent; return how many requests and bytes the batch then has."""
    ids, messages = map(list, zip(*made.unreadable, strict=True))
    fact = {"now": clock.now(), "code": UNREADABLE}
    session.append_results("submit.unsent", {"ids": ids, "messages": messages, **fact})
    session.run("submit.leave_out", {"ids": ids, "batch_id": batch_id})
    requests, size = session.run("submit.count_again", {"batch_id": batch_id, **fact})[0]
    return requests, size


def _requests_of(session: Session, batch_id: str) -> tuple[str, str, str]:
    """Return a batch's requests as SQL over `sqlbatch.requests r`, the SQL that finds them fastest, and their endpoint.

    Naming each number of a range that belongs to the batch would take as long as reading it.
    """
    low, high, endpoint, is_range = session.run("submit.extent", {"batch_id": batch_id})[0]
    manifest = f"SELECT m.seq FROM {{}}.sqlbatch.batch_requests m WHERE m.batch_id = {quote_literal(batch_id)}::UUID"
    within = f"r.seq BETWEEN {low} AND {high}"
    named = f"{within} AND r.seq IN ({manifest.format(quote_identifier(session.catalog))})"
    return named, within if is_range else named, endpoint


def _write(session: Session, batch_id: str, which: str, made: Rendering, path: Path, url: str) -> None:
    places = {"chosen": which, "path": quote_literal(str(path))}
    head, tail = session.run("submit.around", {"batch_id": batch_id})[0]
    around = {"before": f'","method":"POST","url":"{url}","body":{head}', "behind": f"{tail}}}"}
    with session.keeping_row_order(keep=False):
        session.run("submit.write", around, rendered=made.input, joined=made.joined, **places)
    path.chmod(0o600)
