"""How the configuration looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from sqlbatch.display.console import out, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Facts = dict[str, Any]


def show_config(
    files: Sequence[str], options: Sequence[Facts], providers: Sequence[Facts], prices: Sequence[Facts]
) -> None:
    """Print what holds, the providers and the user's own prices; of a key only whether it is set."""
    console = out()
    for file in files:
        console.print(f"[dim]file[/]  {plain(file)}", soft_wrap=True)
    console.print(_table(("option", "value", "from"), [_option_row(each) for each in options]))
    console.print(_table(("provider", "address", "key"), [_provider_row(each) for each in providers]))
    if prices:
        names = ("model", "input", "cached", "output", "batch_factor", "from")
        console.print(_table(names, [["" if n not in each else str(each[n]) for n in names] for each in prices]))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == headings[0])
    for row in rows:
        table.add_row(*(plain(each) for each in row))
    return table


def _option_row(each: Facts) -> list[str]:
    value = str(each["value"]).lower() if isinstance(each["value"], bool) else str(each["value"])
    return [each["option"], value, "" if each["from"] == "default" else each["from"]]


def _provider_row(each: Facts) -> list[str]:
    key = "none needed" if each["key_variable"] is None else f"{each['key_variable']}: {_set(each)}"
    where = "in this process, no cost" if each["provider"] == "local" else each["base_url"] or each["address"]
    name = each["provider"] if each["from"] == "sqlbatch" else f"{each['provider']} ({each['from']})"
    return [name, where, key]


def _set(each: Facts) -> str:
    return "set" if each["key_set"] else "not set"
