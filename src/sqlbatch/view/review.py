"""Review answers: a sample of rows, one after the other, each approved, rejected or corrected by key or by form."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse

from sqlbatch.errors import InvalidSettings
from sqlbatch.query import reviewed
from sqlbatch.query.confidence import COLUMN
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.target import Target
from sqlbatch.view.editor import as_json, editor_of, value_in_words
from sqlbatch.view.relation import find_table, reading
from sqlbatch.view.site import NotFound, address, number, part
from sqlbatch.view.values import cell, shown_sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from sqlbatch.db.session import Session
    from sqlbatch.returns import Returns
    from sqlbatch.view.relation import Table
    from sqlbatch.view.site import Site
    from sqlbatch.view.values import Cell

# The sizes of a sample, and the most rows of one.
SIZES, MOST = (20, 50, 100, 200, 500), 10_000
# The ways to draw a sample, and their words; the last one needs a table that says how sure the model was.
DRAWN = {
    "random": "at random", "value": "as many of each value", "status": "as many of each status",
    "confidence": "least sure first",
}  # fmt: skip
# The header by which our script asks for the next row in the reply to a verdict, and the header with that row's
# address.
NEXT, ADDRESS = "sqlbatch-next", "sqlbatch-address"
# The most characters of a note.
NOTE = 2_000


@dataclass(frozen=True)
class Sample:
    """The sample in an address: the reviewed column, the reviewer, which rows, and the current row, from 1."""

    column: str
    size: int
    drawn: str
    seed: int
    reviewer: str
    at: int

    def pairs(self) -> list[tuple[str, object]]:
        """Return the sample as parameters of an address."""
        named = [("column", self.column), ("n", self.size), ("by", self.drawn), ("seed", self.seed)]
        return [*named, ("reviewer", self.reviewer), ("at", self.at)]


@dataclass(frozen=True)
class Drawn:
    """A request of a sample: the id of its first row, and the verdict on its answer (None: none on this value)."""

    custom_id: str
    place: int
    verdict: str | None


@dataclass(frozen=True)
class Reviewable:
    """A target whose answers can be judged, and its returned columns."""

    table: Table
    returns: Returns
    target: Target

    @property
    def path(self) -> str:
        """The path of its review."""
        return f"/review/{part(self.table.schema)}/{part(self.table.name)}"

    @property
    def answers(self) -> list[str]:
        """The columns that can be reviewed."""
        return [column.name for column in self.returns.columns if self.table.column(column.name)]

    @property
    def drawn(self) -> dict[str, str]:
        """The ways to draw a sample, in words."""
        sure = self.table.sureness(self.answers[0]) is not None
        return {way: words for way, words in DRAWN.items() if sure or way != "confidence"}

    @property
    def columns(self) -> list[tuple[str, str]]:
        """All columns, with their types."""
        return [(column.name, column.type) for column in self.table.columns]


def find(session: Session, request: Request) -> Reviewable:
    """Return the target that an address names; raise NotFound if there is none whose answers can be reviewed."""
    table = find_table(session, request)
    if table.asked is None or table.column("custom_id") is None or table.is_view:
        raise NotFound(f"the rows of {table.shown_name} are no answers that can be reviewed")
    returns = read_returns(table.asked.endpoint, table.asked.returns)
    if not reviewed.can_be_reviewed(returns):
        raise NotFound(f"{table.shown_name} holds vectors, which nobody can judge by eye")
    return Reviewable(table, returns, Target(table.schema, table.name))


def read_sample(query: Mapping[str, str], found: Reviewable, reviewer: str) -> Sample:
    """Return the sample in an address; invalid parameters are ignored."""
    column = query.get("column", "")
    size = number(query.get("n"), SIZES[1])
    return Sample(
        column if column in found.answers else found.answers[0],
        min(size, MOST),
        query.get("by", "") if query.get("by") in found.drawn else "random",
        min(number(query.get("seed"), 1), 2**31),
        (query.get("reviewer") or reviewer).strip()[:100] or reviewer,
        number(query.get("at"), 1),
    )


def _draw(session: Session, found: Reviewable, sample: Sample) -> list[Drawn]:
    column = found.table.column(sample.column)
    assert column is not None  # noqa: S101 (read_sample has chosen one that is there)
    stratum = {"value": f"left({column.sql}::VARCHAR, 100)", "status": "ai_status"}.get(sample.drawn, "1")
    sure = found.table.sureness(column.name) if sample.drawn == "confidence" else None
    which = "true" if sample.drawn == "status" else "ai_status = 'answered'"
    drawn = session.run(
        "reviewed.sample",
        {"column": sample.column, "seed": sample.seed, "most": sample.size},
        target=found.table.sql,
        column=column.sql,
        stratum=stratum,
        which=which,
        sure=sure or "NULL::DOUBLE",
    )
    return [Drawn(custom_id, place, verdict if current else None) for custom_id, place, verdict, current in drawn]


def begin(site: Site, request: Request) -> Response:
    """Return the page of a review: the choice of a sample if none is chosen yet, else the current row."""
    return site.database.read(lambda session: _shown(site, request, session, request.query_params))


def _shown(
    site: Site, request: Request, session: Session, asked: Mapping[str, str], problem: str | None = None
) -> Response:
    found = find(session, request)
    sample = read_sample(asked, found, site.reviewer)

    def link(**changed: Any) -> str:
        """Return the address of this review with some parameters changed."""
        return address(found.path, *replace(sample, **changed).pairs())

    values: dict[str, Any] = {"table": found.table, "sample": sample, "path_of": found.path, "answers": found.answers}
    if request.method == "POST":
        # A posted form has no address; the row's own address is used.
        values["share"] = site.share(request, link().partition("?")[2])
    values["view"] = reviewed.view_of(found.target).sql
    if "n" not in asked:
        counts = session.run("reviewed.counts", target=found.table.sql)
        values["counts"] = [row for row in counts if row[0] in found.answers]
        return site.render(request, "review_begin.html", values | {"sizes": SIZES, "most": MOST, "drawn": found.drawn})
    drawn = _draw(session, found, sample)
    judged = [each.verdict for each in drawn if each.verdict]
    said = {"judged": len(judged)} | {verdict: judged.count(verdict) for verdict in reviewed.VERDICTS}
    values |= {"drawn": drawn, "link": link, "said": said}
    if sample.at > len(drawn):
        return site.render(request, "review_end.html", values)
    with reading(session):
        values |= _item(session, found, sample, drawn[sample.at - 1])
    values |= {"problem": problem, "typed": asked.get("value") if problem else None, "words": found.drawn[sample.drawn]}
    return site.render(request, "review.html", values, 400 if problem else 200)


def _item(session: Session, found: Reviewable, sample: Sample, at: Drawn) -> dict[str, Any]:
    """Return one row to judge: its cells, the value and its editor, and earlier verdicts."""
    table = found.table
    column = table.column(sample.column)
    returned = reviewed.column_of(found.returns, sample.column)
    assert column is not None  # noqa: S101 (it was chosen from those that are there)
    texts = ", ".join(shown_sql(each) for each in table.columns)
    row = session.run("view.rows", table=table.sql, shown=texts, ids=str(at.place))[0]
    cells = {each.name: cell(each, value) for each, value in zip(table.columns, row[1:], strict=True)}
    wanted = {"target": table.sql, "column": column.sql, "row": reviewed.row_sql(found.columns, found.returns)}
    _, value, whole = session.run("reviewed.row", {"custom_id": at.custom_id}, **wanted)[0]
    of = {"custom_id": at.custom_id, "column": sample.column}
    verdict = session.run("reviewed.verdict", of)
    earlier = session.run("reviewed.earlier", {**of, "target": found.target.sql, "row": whole})
    said = verdict[0] if verdict else None
    now = said[1] if said is not None and said[0] == reviewed.CORRECTED else value
    return {
        "drawn_at": at,
        "cells_of": [cells[each.name] for each in table.columns if each.part == "yours"],
        "answer": cells[sample.column],
        "others": [cells[name] for name in found.answers if name != sample.column],
        "why": cells.get("ai_error"),
        "sure": _sure(cells.get(COLUMN), sample.column),
        "edit": editor_of(returned, now),
        "verdict": said and _in_words(*said),
        "stale": said is not None and at.verdict is None,
        "earlier": [_in_words(verdict, value, None, by, at) for verdict, value, by, at in earlier],
        "same_as_earlier": bool(earlier) and json.loads(earlier[0][1]) == json.loads(value),
    }


def _sure(cell: Cell | None, column: str) -> float | None:
    """Return how sure the model was of a column's value, None if the row does not say."""
    number = cell.tree.get(column) if cell is not None and isinstance(cell.tree, dict) else None
    return number if isinstance(number, float | int) else None


def _in_words(verdict: str, value: str, note: str | None, by: str, at: object) -> dict[str, object]:
    """Return a review in the words of a page."""
    return {"verdict": verdict, "value": value_in_words(value), "note": note, "by": by, "at": at}


def judge(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    """Store a verdict, and go on to the next row of the sample without one."""
    verdict = form.get("verdict", "")
    if verdict not in reviewed.VERDICTS:
        raise InvalidSettings("a verdict is approved, rejected or corrected")

    def write(session: Session) -> str:
        found = find(session, request)
        sample = read_sample(form, found, site.reviewer)
        corrected = verdict == reviewed.CORRECTED
        returned = reviewed.column_of(found.returns, sample.column)
        review: dict[str, str | None] = {
            "custom_id": form.get("custom_id", ""),
            "column": sample.column,
            "verdict": verdict,
            "value": as_json(returned, form.get("value", "")) if corrected else None,
            "note": form.get("note", "").strip()[:NOTE] or None,
            "reviewer": sample.reviewer,
        }
        reviewed.add(session, found.target, found.returns, review, found.columns)
        drawn = _draw(session, found, sample)
        rest = [*range(sample.at, len(drawn)), *range(min(sample.at, len(drawn)))]
        following = next((place + 1 for place in rest if drawn[place].verdict is None), len(drawn) + 1)
        return address(found.path, *replace(sample, at=following).pairs())

    try:
        if request.headers.get(NEXT) is None:
            return RedirectResponse(site.database.write(write), 303)
        with site.database.kept_open():
            following = site.database.write(write)
            asked = dict(parse_qsl(urlsplit(following).query))
            reply = site.database.read(lambda session: _shown(site, request, session, asked))
    except InvalidSettings as error:
        problem = str(error)
    else:
        reply.headers[ADDRESS] = following
        return reply
    return site.database.read(lambda session: _shown(site, request, session, form, problem))


READ = {"/review/{schema}/{table}": begin}
WRITE = {"/review/{schema}/{table}": judge}
