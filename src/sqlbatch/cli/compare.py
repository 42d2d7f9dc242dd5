"""The command that sets two tables side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from sqlbatch import compare as comparisons
from sqlbatch import display
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.follow import existing

Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE", help="A table, or the number of the job that made it.", autocompletion=complete.jobs
    ),
]


@app.command()
def compare(
    a: Table,
    b: Table,
    gold: Annotated[
        str | None, opt.option("--gold", "TABLE", "A table with the right values; without it reviews tell.")
    ] = None,
    key: Annotated[
        list[str] | None,
        opt.option("--key", "COLUMN", "Column that names a row; repeatable.", default="all that no model returned"),
    ] = None,
    sample: Annotated[
        int | None, opt.option("--sample", "N", "Compare N rows, chosen by a hash of their keys.")
    ] = None,
    limit: Annotated[int, opt.option("--limit", "N", "Rows that differ to show.", default="20", min=0)] = 20,
    db: opt.Db = None,
    as_json: opt.Json = False,
) -> int:
    """Compare two tables on the same rows: agreement beyond chance, which is right, what each costs, where they differ.

    The figures stay in the views sqlbatch.agreement, sqlbatch.confusion and sqlbatch.differences.

    Example: sqlbatch compare tags_short tags_long --gold checked
    """
    found = comparisons.compare(existing(db), a, b, gold=gold, keys=key or (), sample=sample, differences=limit)
    if as_json:
        display.print_json(found.as_dict())
    else:
        display.show_comparison(found)
    return display.Exit.DONE
