"""Spark: read the user's query, keep its rows as Parquet, join the answers to them. The only importer of pyspark.

Everything is SQL and DataFrames, so that classic sessions, Spark Connect, and other servers that speak Connect all
work.
"""

from __future__ import annotations

import contextlib
import re
import socket
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import EngineError, InvalidQuery, InvalidSettings, InvalidTarget
from sqlbatch.functions.find import mentions_calls
from sqlbatch.lake.kept_rows import EngineRows
from sqlbatch.query.compile import REF
from sqlbatch.query.rows import described
from sqlbatch.query.select import QueryColumn, without_terminator
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Spark's default writes timestamps as INT96, which other readers do not recognize as timestamps.
_TIMESTAMPS = "spark.sql.parquet.outputTimestampType"
_TYPES = {
    "StringType": "VARCHAR",
    "VarcharType": "VARCHAR",
    "CharType": "VARCHAR",
    "BooleanType": "BOOLEAN",
    "ByteType": "TINYINT",
    "ShortType": "SMALLINT",
    "IntegerType": "INTEGER",
    "LongType": "BIGINT",
    "FloatType": "FLOAT",
    "DoubleType": "DOUBLE",
    "BinaryType": "BLOB",
    "DateType": "DATE",
    "TimestampType": "TIMESTAMP WITH TIME ZONE",
    "TimestampNTZType": "TIMESTAMP",
}
# The default port of Spark Connect, and the seconds that its server has to answer.
_PORT, _PATIENCE = 15002, 10.0
_PART = r"(?:`(?:[^`]|``)+`|[^\W\d][\w-]*)"
_NAME = re.compile(rf"\s*{_PART}(?:\s*\.\s*{_PART}){{0,2}}\s*")


class Spark:
    """A user's Spark session, classic or over Connect."""

    name = "spark"

    def __init__(self, session: Any, *, table_format: str | None = None) -> None:
        """Take a session; `table_format` is the format of new targets, None for the session's default."""
        self._session = session
        self._format = table_format

    def read(self, query: Any, where: str | None = None) -> EngineRows:
        """Return the columns of a query, or of a DataFrame limited by a condition; it is only analyzed.

        Raises InvalidQuery if Spark refuses it.

        The query is put into a subquery, because Spark runs a command (CREATE, INSERT) as soon as it is parsed.
        """
        with _told("the query", InvalidQuery, _calls(query)):
            if isinstance(query, str):
                frame = self._session.sql(f"SELECT * FROM (\n{without_terminator(query)}\n) AS sqlbatch_query")
            elif hasattr(query, "schema") and hasattr(query, "write"):
                frame = query if where is None else query.where(where)
            else:
                raise InvalidQuery(
                    f"a {type(query).__name__} is no rows of Spark's: give a SELECT, the Path of a .sql file, or a "
                    "Spark DataFrame"
                )
            fields = frame.schema.fields
        columns = tuple(QueryColumn(field.name, duckdb_type(field.dataType)) for field in fields)
        kept = query if isinstance(query, str) else described(query)
        return EngineRows(kept, columns, {field.name: field.dataType.simpleString() for field in fields}, frame)

    def keep(self, rows: EngineRows, folder: str, *, limit: int | None = None, sample: int | None = None) -> None:
        """Write rows to a new folder as Parquet, each with its number; the first `limit`, or a random `sample`."""
        from pyspark.sql import functions  # noqa: PLC0415 (only who has Spark imports it)

        with _told("Spark could not keep the rows", EngineError):
            frame = rows.frame
            if limit is not None:
                frame = frame.limit(limit)
            if sample is not None:
                frame = frame.orderBy(functions.rand()).limit(sample)
            numbered = frame.select(functions.monotonically_increasing_id().alias(REF), "*")
            with self._timestamps():
                numbered.write.mode("error").parquet(folder)

    def exists(self, target: str) -> bool:
        """Return whether a table or view has the target's name; raise InvalidTarget if it is not a valid name."""
        if not _NAME.fullmatch(target):
            raise InvalidTarget(f"--into {target}: name a table of Spark's, as catalog.schema.table")
        with _told(f"--into {target}", InvalidTarget):
            return bool(self._session.catalog.tableExists(target))

    def publish(self, rows: str, answers: str, columns: Sequence[str], target: str) -> int:
        """Replace the target, in one commit, by the rows of a folder joined to their answers; return how many it has.

        `columns` are the target's, in their order.
        """
        with _told(f"Spark could not write {target}", EngineError):
            kept, answered = self._session.read.parquet(rows), self._session.read.parquet(answers)
            # The sent columns are in both; those of the rows are the original ones.
            mine = {name.casefold() for name in kept.columns}
            extra = [name for name in answered.columns if name == REF or name.casefold() not in mine]
            joined = kept.join(answered.select(*map(_quoted, extra)), REF, "inner").select(*map(_quoted, columns))
            writer = joined.write.mode("overwrite").option("overwriteSchema", "true")
            writer = writer.format(self._format) if self._format else writer
            writer.saveAsTable(target)
            return int(self._session.table(target).count())

    def columns(self, folder: str) -> list[str]:
        """Return the columns of a folder of Parquet files."""
        with _told("Spark could not read the kept rows", EngineError):
            return [str(name) for name in self._session.read.parquet(folder).columns]

    def table(self, target: str) -> Any:
        """Return the target as a DataFrame."""
        with _told(f"Spark could not read {target}", EngineError):
            return self._session.table(target)

    @contextlib.contextmanager
    def _timestamps(self) -> Iterator[None]:
        """Write timestamps as such for the block; if that cannot be set, the type check of the files refuses them."""
        conf, before = self._session.conf, None
        changed = False
        with contextlib.suppress(Exception):
            before = conf.get(_TIMESTAMPS, None)
            conf.set(_TIMESTAMPS, "TIMESTAMP_MICROS")
            changed = True
        try:
            yield
        finally:
            if changed:
                with contextlib.suppress(Exception):
                    conf.unset(_TIMESTAMPS) if before is None else conf.set(_TIMESTAMPS, before)


def connect(address: str, *, table_format: str | None = None) -> Spark:
    """Return the Spark behind a Connect address (sc://host:port); raise InvalidSettings if it cannot be used."""
    if not address.startswith("sc://"):
        raise InvalidSettings(f"--engine {address}: it is an address of Spark Connect, as sc://localhost:15002")
    try:
        with warnings.catch_warnings():
            # pyspark's warnings about the installed pandas do not matter here.
            warnings.simplefilter("ignore")
            from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise InvalidSettings(
            f"--engine needs pyspark, which is not installed ({error}): pip install 'sqlbatch[spark]'"
        ) from None
    _reach(address)
    with _told("Spark does not answer", EngineError):
        session = SparkSession.builder.remote(address).getOrCreate()
        # The first call connects.
        _ = session.version
    return Spark(session, table_format=table_format)


def _reach(address: str) -> None:
    """Raise EngineError if nothing listens: pyspark would retry for ten minutes before it says so."""
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname or "", place.port or _PORT), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"--engine {masked(address)}: nothing answers there: {error}") from None


def duckdb_type(kind: Any) -> str:
    """Return DuckDB's name for the Parquet type of a Spark type, '' if sqlbatch cannot send it."""
    name = type(kind).__name__
    if name == "DecimalType":
        return f"DECIMAL({kind.precision},{kind.scale})"
    if name == "ArrayType":
        inner = duckdb_type(kind.elementType)
        return f"{inner}[]" if inner else ""
    if name == "MapType":
        key, value = duckdb_type(kind.keyType), duckdb_type(kind.valueType)
        return f"MAP({key}, {value})" if key and value else ""
    if name == "StructType":
        fields = [(field.name, duckdb_type(field.dataType)) for field in kind.fields]
        if not all(each for _, each in fields):
            return ""
        return f"STRUCT({', '.join(f'{quote_identifier(field)} {each}' for field, each in fields)})"
    return _TYPES.get(name, "")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@contextlib.contextmanager
def _told(what: str, kind: type[Exception], advice: str = "") -> Iterator[None]:
    """Raise Spark's error as one line of ours; classic and Connect errors share no base class."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("pyspark", "py4j", "grpc")):
            raise
        raise kind(f"{what}: {_in_words(error)}{advice}") from error


def _calls(query: object) -> str:
    """Return what to do about a query with AI functions that Spark refuses; on Databricks, some are its own."""
    if not isinstance(query, str) or not mentions_calls(query):
        return ""
    return "; sqlbatch's AI functions do not go with Spark's queries: ask with --instructions and --returns instead"


def _in_words(error: Exception) -> str:
    """Return the error on one line, without Spark's plan and the stack of its JVM."""
    text = str(error).partition("\n\nJVM stacktrace")[0].partition("\n== SQL")[0].partition(";\n'")[0]
    return " ".join(text.split())[:400] or type(error).__name__
