"""Render the bodies of requests as the provider gets them, with their pictures."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlbatch.db.files import in_parts, read_with, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.db.session import Session

UNREADABLE = "image_unreadable"


@dataclass(frozen=True)
class Rendering:
    """How to render inputs in a query over `sqlbatch.requests r`.

    `input` is SQL for one, `joined` a join that it needs. `unreadable` maps custom_ids of requests with an unreadable
    picture to the problem.
    """

    input: str = "r.input"
    joined: str = ""
    unreadable: tuple[tuple[str, str], ...] = ()


PLAIN = Rendering()


def has_pictures(session: Session, chosen: str) -> bool:
    """Return whether any of the requests has pictures; `chosen` is SQL over `sqlbatch.requests r` (`r.seq = 1`)."""
    return bool(session.run("render.pictured", chosen=chosen))


@contextlib.contextmanager
def rendering(session: Session, chosen: str) -> Iterator[Rendering]:
    """Prepare the inputs of requests for the block; `chosen` is as in `has_pictures`.

    Each picture's sha256 is checked as it is read. The bytes are in temporary tables, so `chosen` should select at most
    one batch's requests at a time.
    """
    if not has_pictures(session, chosen):
        yield PLAIN
        return
    session.run("render.needed", chosen=chosen)
    session.run("render.kept")
    places: dict[str, list[tuple[str, int]]] = {}
    for sha256, path, size in session.run("render.places"):
        places.setdefault(sha256, []).append((path, size))
    while places:
        # The same bytes may be at several places; the next place is tried only if the one before has changed.
        first = {files[0][0]: files[0][1] for files in places.values()}
        for part in in_parts({path: size for path, size in first.items() if size_of(path)[0] == size}):
            read_with(session, "render.read", part)
        still = {row[0] for row in session.run("render.places")}
        places = {sha256: files[1:] for sha256, files in places.items() if sha256 in still and files[1:]}
    missing = session.run("render.missing", chosen=chosen)
    session.run("render.inputs", chosen=chosen)
    try:
        unreadable = tuple((custom_id, _because(path)) for custom_id, path, _ in missing)
        yield Rendering("coalesce(i.input, r.input)", "LEFT JOIN sqlbatch_inputs i ON i.seq = r.seq", unreadable)
    finally:
        # After an error, the transaction accepts no statement; the first error is the one to raise.
        with contextlib.suppress(Exception):
            session.run("render.done")


def bodies(
    session: Session, custom_ids: Sequence[str], *, job_id: int | None = None, around: tuple[str, str] | None = None
) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Return custom_id, endpoint and body of requests in order, and the problems of those without a body, by custom_id.

    The bodies are as a job sends them or, without a job, with the head and tail `around`.
    """
    if not custom_ids:
        return [], {}
    ids = ", ".join(f"'{custom_id}'::UUID" for custom_id in custom_ids)
    chosen = f"r.custom_id IN ({ids})"
    with rendering(session, chosen) as made:
        head, tail = around or (None, None)
        sent = {"job_id": job_id, "head": head, "tail": tail}
        found = session.run("render.bodies", sent, chosen=chosen, rendered=made.input, joined=made.joined)
        wrong = dict(made.unreadable)
        return [row for row in found if row[0] not in wrong], wrong


def _because(path: str | None) -> str:
    """Return what is wrong with a picture that was readable when its job started."""
    if path is None:
        return "the database does not keep the picture's bytes any more; run its enrich again"
    reason = size_of(path)[1] or "the picture has changed since the job started"
    return f"{path}: {reason}; run its enrich again once that is fixed"
