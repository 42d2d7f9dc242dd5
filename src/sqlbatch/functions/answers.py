"""The answers of calls as macros and tables: those of a plan for its queries, and all that are stored for any query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.db.sql import quote_identifier
from sqlbatch.functions import catalogue
from sqlbatch.functions.aggregates import PIECES
from sqlbatch.functions.conditions import ASK
from sqlbatch.functions.inputs import VALUE, WHY
from sqlbatch.functions.joins import PENDING, Answers, with_joins
from sqlbatch.functions.lookups import TEXT, answer_sql, asked_sql, custom_id, macro

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlbatch.db.session import Session
    from sqlbatch.functions.jobs import KeptCall


@dataclass(frozen=True)
class Defined:
    """What was defined of a plan's calls: the answers that a join can look up, and macros and tables as SQL."""

    answers: dict[int, Answers]
    macros: list[str]
    tables: list[str]

    def joined(self, session: Session, sql: str, *, in_order: bool) -> str:
        """Return planned SQL with the answers joined to the rows, where they can be."""

        def binds(tried: str) -> bool:
            # On another connection: an error would end the transaction.
            with session.con.cursor() as other:
                try:
                    for statement in (*self.tables, *self.macros, f"EXPLAIN {tried}"):
                        other.execute(statement)
                except duckdb.Error:
                    return False
            return True

        return with_joins(sql, self.answers, binds, in_order=in_order)


def define(
    session: Session,
    calls: Sequence[KeptCall],
    used: frozenset[int],
    decided: str = "sqlbatch_decided",
    *,
    failures: bool = True,
    unfinished: bool = False,
) -> Defined:
    """Create the macros of a plan's calls, and the tables of the answers they use, from the table `decided`.

    Without `failures`, nothing says why an answer is missing, which saves a look-up a call. In an `unfinished` plan, an
    answer that is not there yet counts as PENDING.
    """
    defined = Defined({}, [TEXT], [])
    made: set[str] = set()
    for call in calls:
        pieces = call.type == PIECES
        value, why = f"CAST(NULL AS {call.type})", "CAST(NULL AS VARCHAR)"
        if call.number in used and call.stage:
            if call.answers not in made:
                answers = {"answers": call.answers, "value": call.value, "decided": decided}
                session.run("functions.answers", {"call_id": call.call.call_id}, **answers)
                made.add(call.answers)
                kind = "VARCHAR" if pieces else call.type
                columns = f"sqlbatch_key UUID, sqlbatch_value {kind}, sqlbatch_why VARCHAR"
                defined.tables.append(f"CREATE TEMP TABLE {call.answers} ({columns})")
            value = answer_sql(call.answers, call.call.call_id, call.ask, pieces=pieces)
            if failures and pieces:
                why = f"({value})[1].why"
            elif failures:
                where = f"FROM {call.answers} WHERE sqlbatch_key = {custom_id(call.call.call_id, call.ask)}"
                why = f"(SELECT sqlbatch_why {where})"
                if unfinished:
                    told = f"(SELECT CASE WHEN count(*) = 0 THEN {PENDING} ELSE any_value(sqlbatch_why) END {where})"
                    why = f"CASE WHEN ({call.ask}) IS NOT NULL THEN {told} END"
            if not pieces:
                defined.answers[call.number] = Answers(
                    call.answers, call.call.call_id, call.number, failures, unfinished
                )
        asked = asked_sql(call.ask, pieces=pieces)
        found = ((ASK, asked), (VALUE, value), (WHY, why))
        defined.macros.extend(macro(name, call.number, sql) for name, sql in found)
    for each in defined.macros:
        session.sql(each)
    return defined


def macros_of_functions(temporary: str, schema: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the blocks, with their places, that create the functions as macros over the answers that are stored.

    With them, a query with calls runs in any client of the database.
    """
    places = {"temporary": temporary, "schema": schema}
    for block in ("functions.text", "plan_pictures.name", "functions.image", "functions.answer", "functions.value"):
        yield block, places
    for each in catalogue.FUNCTIONS.values():
        if each.embeds or each.aggregates:
            continue
        names = [quote_identifier(name) for name in each.parameters]
        optional = [f"{name} := NULL" for name in names[each.least :]]
        yield (
            "functions.function",
            places
            | {
                "function": each.name,
                "parameters": "".join(f", {name}" for name in [*names[: each.least], *optional]),
                "given": "".join(f", {name} := {name}" for name in names),
                "spec": each.spec.replace("{schema}", schema),
            },
        )


def install(session: Session) -> list[str]:
    """Create the macros in the database itself, in schema main, within the caller's transaction; return their names."""
    for block, places in macros_of_functions("", f"{quote_identifier(session.catalog)}.main."):
        session.run(block, **places)
    return [name for (name,) in session.run("functions.installed", {"catalog": session.catalog})]


def provide(session: Session) -> None:
    """Create the macros for this session only."""
    for block, places in macros_of_functions("TEMP", ""):
        session.run(block, **places)
    session.run("functions.counting")


def unasked(session: Session) -> int:
    """Return how many calls this session looked up that were never asked; a call may be looked up twice."""
    return int(session.run("functions.counted")[0][0])
