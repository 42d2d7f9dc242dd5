"""Rows of another engine: it keeps them as Parquet files, sqlbatch asks about these, and it joins the answers to them.

    the engine's query -> numbered rows (REF) -> <shared>/runs/<run>/rows
    DuckDB reads the columns to send -> requests, batches, results, as for any job
    DuckDB writes the answers by REF -> <shared>/runs/<run>/answers
    the engine joins both and replaces its table in one commit, which is then noted

The kept rows are the ones that are asked about and joined, however often a step is repeated.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import EngineError, InvalidQuery, InvalidSettings, JobError
from sqlbatch.lake.shared_folder import files_of, first_line, local_path, remove, root_of
from sqlbatch.leases import is_gone, new_owner
from sqlbatch.query.compile import REF, check_names
from sqlbatch.query.endpoints import read_returns
from sqlbatch.query.prompt import build_prompt
from sqlbatch.query.rows import KeptRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlbatch.db.database import Database
    from sqlbatch.lake.spark import Spark
    from sqlbatch.query.enrichment import Enrichment
    from sqlbatch.query.select import QueryColumn

# The file in a local run folder that names its owner, until a job needs the folder.
OWNER = "owner.txt"


@dataclass(frozen=True)
class EngineRows:
    """The result of an engine's query: its text, its columns with DuckDB's types ('': not sent), the engine's types.

    `frame` is the engine's own object for it.
    """

    query: str
    columns: tuple[QueryColumn, ...]
    types: Mapping[str, str]
    frame: Any


@dataclass
class Kept:
    """Rows that the engine keeps for a run: their folder, the columns that are sent, and the query that reads those.

    The folder is deleted at the end of the block of `kept`, unless a job needs it.
    """

    run_id: str
    folder: str
    sent: tuple[str, ...]
    rows: KeptRows
    needed: bool = False


@contextlib.contextmanager
def kept(
    engine: Spark,
    rows: EngineRows,
    enrichment: Enrichment,
    shared: str,
    database: Database | None,
    *,
    sample: int | None = None,
) -> Iterator[Kept]:
    """Have the engine write the rows of a query for the block, below the folder `shared` that it and DuckDB both see.

    `database` is the one whose job will need them, None for a plan or a preview. Raises InvalidQuery if a column cannot
    be sent.
    """
    sent = sent_columns(rows, enrichment)
    state = ""
    if database is not None:
        state = str(database.query("kept_rows.identity")[0][0])
        _sweep(database, shared, state)
    run_id = str(uuid.uuid4())
    folder = f"{root_of(shared)}/runs/{run_id}"
    local = local_path(folder)
    if local is not None:
        try:
            local.mkdir(parents=True)
            (local / OWNER).write_text(f"{state} {new_owner()}")
        except OSError as error:
            raise InvalidSettings(f"--shared {shared}: {error.strerror}") from None
    found: Kept | None = None
    try:
        engine.keep(rows, f"{folder}/rows", limit=enrichment.limit, sample=sample)
        _check_types(f"{folder}/rows", rows, sent)
        names = ", ".join(quote_identifier(name) for name in (REF, *sent))
        query = f"SELECT {names} FROM read_parquet({quote_literal(files_of(f'{folder}/rows'))})"
        found = Kept(run_id, folder, sent, KeptRows(query))
        yield found
    finally:
        if found is None or not found.needed:
            remove(folder)


def sent_columns(rows: EngineRows, enrichment: Enrichment) -> tuple[str, ...]:
    """Return the columns that are sent to the model.

    Raise InvalidQuery for an unsuitable type, or a name used twice.
    """
    names = [column.name for column in rows.columns]
    if REF in {name.casefold() for name in names}:
        raise InvalidQuery(f"the query has a column {REF}, which sqlbatch adds: give it another name with AS")
    returns = read_returns(enrichment.endpoint, enrichment.returns)
    check_names(rows.columns, returns, confident=enrichment.confidence)
    sent = build_prompt(enrichment, rows.columns).columns
    kinds = {column.name: column.type for column in rows.columns}
    for name in sent:
        if not kinds[name]:
            raise InvalidQuery(
                f"{name} is {rows.types[name]}, which cannot be sent to a model: cast it in the query, for example "
                f"CAST({name} AS STRING) AS {name}"
            )
    return tuple(name for name in names if name in sent)


def _check_types(folder: str, rows: EngineRows, sent: Sequence[str]) -> None:
    """Raise InvalidQuery if a sent column was written with another type: its requests would have other ids."""
    expected = {column.name: column.type for column in rows.columns}
    with duckdb.connect() as con:
        try:
            found = con.sql(f"FROM read_parquet({quote_literal(files_of(folder))})")
            kinds = dict(zip(found.columns, found.types, strict=True))
        except duckdb.Error as error:
            if "No files found" in str(error):
                raise JobError("the query has no rows to send") from None
            raise EngineError(f"DuckDB cannot read the rows that were kept in {folder}: {first_line(error)}") from error
        for name in sent:
            if kinds[name] != con.sql(f"SELECT CAST(NULL AS {expected[name]})").types[0]:
                raise InvalidQuery(
                    f"{name} is {rows.types[name]}, and comes out of Parquet as {kinds[name]}: cast it in the query, "
                    f"for example CAST({name} AS STRING) AS {name}"
                )


def _sweep(database: Database, shared: str, state: str) -> None:
    """Delete the rows that killed processes of this computer left without a job, of this state or of no state."""
    root = local_path(f"{root_of(shared)}/runs")
    for marker in root.glob(f"*/{OWNER}") if root is not None else ():
        with contextlib.suppress(OSError):
            whose, _, owner = marker.read_text().partition(" ")
            left = whose in {"", state} and is_gone(owner)
            if left and not database.query("kept_rows.needed", {"run_id": marker.parent.name}):
                shutil.rmtree(marker.parent, ignore_errors=True)
