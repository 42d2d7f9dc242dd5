"""Which rows of a table are shown, in which order, and how: read from the address, written as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import InvalidQuery
from sqlbatch.view.condition import check_condition
from sqlbatch.view.site import number
from sqlbatch.view.values import Column, Kind

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from sqlbatch.db.session import Session
    from sqlbatch.view.relation import Table

# Rows on a page: the default, and the choices.
PER_PAGE, SIZES = 50, (20, 50, 100, 200)
STATUSES = ("answered", "failed", "pending", "skipped", "uncertain")


@dataclass(frozen=True)
class State:
    """The state of a table's page in its address: which rows, in which order, shown how.

    `equal`, `null`, `least` and `below` are columns with a value, without one, and with bounds of their number.
    """

    status: str | None = None
    code: str | None = None
    search: str = ""
    where: str = ""
    equal: tuple[tuple[str, str], ...] = ()
    null: tuple[str, ...] = ()
    least: tuple[tuple[str, str], ...] = ()
    below: tuple[tuple[str, str], ...] = ()
    sort: str | None = None
    descending: bool = False
    page: int = 1
    size: int = PER_PAGE
    cards: bool = False
    about: str | None = None

    def pairs(self) -> list[tuple[str, object]]:
        """Return the state as parameters of an address."""
        found: list[tuple[str, object]] = [("status", self.status), ("code", self.code), ("q", self.search)]
        found += [("where", self.where)]
        found += [(f"is.{name}", value or " ") for name, value in self.equal]
        found += [(f"null.{name}", 1) for name in self.null]
        found += [(f"from.{name}", value) for name, value in self.least]
        found += [(f"below.{name}", value) for name, value in self.below]
        found += [("sort", self.sort), ("desc", 1 if self.descending else None)]
        found += [
            ("page", self.page if self.page > 1 else None),
            ("size", self.size if self.size != PER_PAGE else None),
        ]
        return [*found, ("as", "cards" if self.cards else None), ("about", self.about)]

    @property
    def filtered(self) -> bool:
        """Whether a filter may leave out some rows."""
        return bool(
            self.status or self.code or self.search or self.where or self.equal or self.null or self.least or self.below
        )


def read_state(query: QueryParams) -> State:
    """Return the state in an address; invalid parameters are ignored."""

    def named(prefix: str) -> tuple[tuple[str, str], ...]:
        return tuple(
            (name.removeprefix(prefix), value) for name, value in query.multi_items() if name.startswith(prefix)
        )

    equal = [(name, value if value.strip() else "") for name, value in named("is.")]
    if query.get("column") and query.get("value"):
        # Fields of the form that apply to any column.
        equal.append((query["column"], query["value"]))
    size = number(query.get("size"), PER_PAGE)
    return State(
        status=query.get("status") if query.get("status") in STATUSES else None,
        code=query.get("code") or None,
        search=query.get("q", "").strip(),
        where=query.get("where", "").strip(),
        equal=tuple(dict.fromkeys(equal)),
        null=tuple(name for name, _ in named("null.")),
        least=named("from."),
        below=named("below."),
        sort=query.get("sort") or None,
        descending=query.get("desc") == "1",
        page=number(query.get("page"), 1),
        size=size if size in SIZES else PER_PAGE,
        cards=query.get("as") == "cards",
        about=query.get("about") or None,
    )


def condition_of(session: Session, table: Table, wanted: State) -> tuple[str, dict[str, object]]:
    """Return SQL of the rows that a state shows, over the table, and its parameters; `true` for all rows.

    Raises InvalidQuery for an invalid condition, and for columns that the table does not have.
    """
    parts: list[str] = []
    values: dict[str, object] = {}

    def held(value: object) -> str:
        values[f"sqlbatch_{len(values)}"] = value
        return f"$sqlbatch_{len(values) - 1}"

    if wanted.status and table.has_status:
        parts.append(f"ai_status = {held(wanted.status)}")
    if wanted.code and table.column("ai_error"):
        parts.append(f"split_part(ai_error, ': ', 1) = {held(wanted.code)}")
    if wanted.search:
        needle = held(wanted.search)
        texts = [column for column in table.columns if column.kind not in {Kind.PICTURE, Kind.BYTES, Kind.VECTOR}]
        parts.append(
            f"({' OR '.join(f'contains(lower({c.sql}::VARCHAR), lower({needle}))' for c in texts) or 'false'})"
        )
    for name, value in wanted.equal:
        column = _known(table, name)
        parts.append(_is(column, held(value)))
    parts += [f"{_known(table, name).sql} IS NULL" for name in wanted.null]
    for names, sign in ((wanted.least, ">="), (wanted.below, "<")):
        for name, value in names:
            bound = _known(table, name).number
            if bound is not None:
                parts.append(f"{bound} {sign} TRY_CAST({held(value)} AS DOUBLE)")
    if wanted.where:
        check_condition(session, wanted.where)
        parts.append(f"(\n{wanted.where}\n)")
    return " AND ".join(parts) or "true", values


def _is(column: Column, value: str) -> str:
    if column.kind is Kind.CHIPS:
        return f"list_contains({column.values}, {value})"
    if column.kind is Kind.TREE:
        return f"contains({column.sql}::VARCHAR, {value})"
    return f"{column.sql}::VARCHAR = {value}"


def _known(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise InvalidQuery(f"the table {table.shown_name} has no column {name[:80]}")
    return column


def chosen(found: Table, wanted: State, link: Any) -> list[tuple[str, str]]:
    """Return the filters in words, each with the address without it."""
    listed = []
    if wanted.status:
        listed.append((f"status is {wanted.status}", link(status=None)))
    if wanted.code:
        listed.append((f"failed for {wanted.code}", link(code=None)))
    if wanted.search:
        listed.append((f"contains “{wanted.search}”", link(search="")))
    if wanted.where:
        listed.append((wanted.where, link(where="")))
    for at, (name, value) in enumerate(wanted.equal):
        rest = wanted.equal[:at] + wanted.equal[at + 1 :]
        listed.append((f"{name} is {value or 'empty'}", link(equal=rest)))
    listed += [(f"{name} is NULL", link(null=tuple(n for n in wanted.null if n != name))) for name in wanted.null]
    bounds = [("from", *each) for each in wanted.least] + [("below", *each) for each in wanted.below]
    for name in dict.fromkeys(name for _, name, _ in bounds):
        without = link(
            least=tuple(each for each in wanted.least if each[0] != name),
            below=tuple(each for each in wanted.below if each[0] != name),
        )
        column = found.column(name)
        measured = f"{column.measure} of {name}" if column is not None and column.measure else name
        words = " ".join(f"{word} {value}" for word, of, value in bounds if of == name)
        listed.append((f"{measured} {words}", without))
    return listed
