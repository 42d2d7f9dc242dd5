"""Print a comparison of two tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.db.prices import in_dollars
from sqlbatch.display.console import counted, err, info, show_facts
from sqlbatch.display.tables import show_table

if TYPE_CHECKING:
    from sqlbatch.compare import Agreement, Comparison

# The most characters of a value in a table of differences.
LONGEST = 120


def show_comparison(found: Comparison) -> None:
    """Print how far two tables agree by column, confusion tables, and differing rows; facts go to stderr."""
    left = [f"{counted(found.only_a, 'row')} only in {found.a}"] if found.only_a else []
    left += [f"{counted(found.only_b, 'row')} only in {found.b}"] if found.only_b else []
    left += [f"{found.unanswered:,} not answered in both"] if found.unanswered else []
    facts = {
        "a": found.a,
        "b": found.b,
        "rows": "; ".join([f"{found.rows:,} compared by {', '.join(found.keys)}", *left]),
    }
    if found.gold:
        facts["gold"] = found.gold
    for name, dollars in (("a", found.dollars_a), ("b", found.dollars_b)):
        facts[f"cost of {name}"] = "unknown" if dollars is None else f"{in_dollars(dollars)} for 1,000 rows"
    show_facts(err, facts)
    columns = ("column", "rows", "agree", "kappa", "95 % interval", "a is right", "b is right")
    judged = any(each.judged_a or each.judged_b for each in found.columns)
    width = len(columns) if judged else len(columns) - 2
    show_table(columns[:width], [_row(each)[:width] for each in found.columns], right=set(columns[1:]))
    for name in dict.fromkeys(cell.column for cell in found.confusion):
        cells = [cell for cell in found.confusion if cell.column == name]
        show_table(
            (f"{name} in a", f"{name} in b", "rows"),
            [[_value(cell.a), _value(cell.b), f"{cell.rows:,}"] for cell in cells],
            right={"rows"},
        )
    if found.differences:
        gold = any(each.gold is not None for each in found.differences)
        heads = ("row", "column", "a", "b", *(("gold",) if gold else ()))
        rows = [
            [_short(each.key), each.column, _value(each.a), _value(each.b), *([_value(each.gold)] if gold else [])]
            for each in found.differences
        ]
        show_table(heads, rows)
    differ = sum(each.rows - each.agreed for each in found.columns)
    info(
        f"{differ:,} values differ, {len(found.differences):,} shown; all of them: sqlbatch query "
        f"'FROM sqlbatch.differences WHERE comparison_id = {found.comparison_id}'"
    )


def _row(each: Agreement) -> list[str]:
    kappa = "" if each.kappa is None else f"{each.kappa:.3f}"
    interval = (
        "" if each.kappa_low is None or each.kappa_high is None else f"{each.kappa_low:.3f} to {each.kappa_high:.3f}"
    )
    right = [
        "" if part is None else f"{part:.1%} of {judged:,}"
        for part, judged in ((each.accuracy_a, each.judged_a), (each.accuracy_b, each.judged_b))
    ]
    return [each.column, f"{each.rows:,}", f"{each.agreement:.1%}", kappa, interval, *right]


def _value(text: str | None) -> str:
    return "NULL" if text is None else _short(text)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
