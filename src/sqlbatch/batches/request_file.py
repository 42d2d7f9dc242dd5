"""Write a batch's input file from its manifest with DuckDB; batches with pictures are written part by part."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Requests:
    """A batch's requests as SQL over `sqlbatch.requests r`.

    A range to scan, and a condition for the batch's in it (`named`). `is_range`: every request of the range is the
    batch's.
    """

    within: str
    named: str
    endpoint: str
    is_range: bool


def make(database: Database, batch_id: str, path: Path, url: str) -> tuple[int, int] | None:
    """Write a batch's file; if requests had to be left out, return how many requests and bytes remain."""
    if not database.read(lambda session: has_pictures(session, _requests_of(session, batch_id).named)):
        return database.read(lambda session: write(session, batch_id, path, url))
    return database.write(lambda session: write(session, batch_id, path, url))


def write(session: Session, batch_id: str, path: Path, url: str | None = None) -> tuple[int, int] | None:
    """Write a batch's input file from its manifest; its lines are in no particular order.

    `url` is the provider's spelling of the endpoint, if it has its own. Requests whose pictures are gone fail and are
    left out, within the caller's transaction; then it returns how many requests and bytes remain.
    """
    requests = _requests_of(session, batch_id)
    which = requests.named
    url = requests.endpoint if url is None else url
    if not has_pictures(session, which):
        # Naming each number of a range that belongs to the batch would take as long as reading it.
        _write(session, batch_id, requests.within if requests.is_range else which, PLAIN, path, url)
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


def _requests_of(session: Session, batch_id: str) -> _Requests:
    low, high, endpoint, is_range = session.run("submit.extent", {"batch_id": batch_id})[0]
    manifest = f"SELECT m.seq FROM {{}}.sqlbatch.batch_requests m WHERE m.batch_id = {quote_literal(batch_id)}::UUID"
    within = f"r.seq BETWEEN {low} AND {high}"
    named = f"{within} AND r.seq IN ({manifest.format(quote_identifier(session.catalog))})"
    return _Requests(within, named, endpoint, bool(is_range))


def _write(session: Session, batch_id: str, which: str, made: Rendering, path: Path, url: str) -> None:
    places = {"chosen": which, "path": quote_literal(str(path))}
    head, tail = session.run("submit.around", {"batch_id": batch_id})[0]
    around = {"before": f'","method":"POST","url":"{url}","body":{head}', "behind": f"{tail}}}"}
    with session.keeping_row_order(keep=False):
        session.run("submit.write", around, rendered=made.input, joined=made.joined, **places)
    path.chmod(0o600)
