"""A short connection to one database: named SQL, transactions, DuckDB's errors as ours."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch import trace
from sqlbatch.db.duckdb_errors import wrapped
from sqlbatch.db.sql import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Session:
    """A short connection that runs named SQL against one database."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, catalog: str, *, owned: bool, close: Callable[[], None] | None = None
    ) -> None:
        self.con = con
        self.catalog = catalog
        self.owned = owned
        self.close = close or con.close
        # Whether the schema is known to exist and to be up to date, which saves a query.
        self.migrated = False
        # The content of the temporary table of prices: the models, the text of sqlbatch.toml, and whether it has the
        # user's rows.
        self.prices_of: tuple[frozenset[tuple[str, str]], str, bool] | None = None

    def run(self, name: str, params: Mapping[str, object] | None = None, /, **places: str) -> list[tuple[Any, ...]]:
        """Run the block `file.block` and return its rows; raise DatabaseError for DuckDB's errors."""
        return self.sql(statement(name, self.catalog, **places), params, name)

    def sql(
        self, sql: str, params: Mapping[str, object] | None = None, name: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a SQL text and return its rows; raise DatabaseError for DuckDB's errors."""
        began = trace.now()
        try:
            return self.con.execute(sql, dict(params) if params else None).fetchall()
        except duckdb.Error as error:
            raise wrapped(error) from error
        finally:
            trace.report_sql(sql, began, name)

    def append_results(self, name: str, params: Mapping[str, object], /, **places: str) -> None:
        """Append the results that the block `file.block` selects to the stored results, received at `params["now"]`."""
        source = statement(name, self.catalog, **places)
        self.sql(statement("database.append_results", self.catalog, source=source), params, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements of the block, or none of them."""
        self.sql("BEGIN TRANSACTION")
        try:
            yield
            self.sql("COMMIT")
        except BaseException:
            # A temporary table that the transaction created is gone with it.
            self.prices_of = None
            # If DuckDB has already rolled back by itself, the first error is the one to raise.
            with suppress(duckdb.Error):
                self.con.execute("ROLLBACK")
            raise

    @contextmanager
    def keeping_row_order(self, *, keep: bool) -> Iterator[None]:
        """Set whether results keep the order of rows; without it, DuckDB needs a third of the memory.

        The setting belongs to the whole instance. On a user's connection it is only switched on, and set back
        afterwards.
        """
        before = bool(self.sql("SELECT current_setting('preserve_insertion_order')::BOOLEAN")[0][0])
        if before == keep or not (keep or self.owned):
            yield
            return
        self.sql(f"SET preserve_insertion_order = {keep}")
        try:
            yield
        finally:
            # After an error, the transaction accepts no statement; the first error is the one to raise.
            with suppress(duckdb.Error):
                self.con.execute(f"SET preserve_insertion_order = {before}").fetchall()

    def has_schema(self) -> bool:
        """Return whether the schema `sqlbatch` is in this database."""
        return self.migrated or bool(self.run("database.has_schema", {"catalog": self.catalog}))
