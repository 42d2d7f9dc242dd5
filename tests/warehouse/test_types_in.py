"""Every type of a source is sent as the value that DuckDB has of it: the same request as without the other database."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from tests.query.support import begin
from tests.test_exchange import TYPES

from .conftest import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What DuckDB's own types are in a table of its own; a union has no value for a model.
OURS = [(sql, f"({sql})") for sql, *_ in TYPES if "UNION" not in sql]
# A lake has fewer, and takes the table of the others.
LAKE = [each for each in OURS if not any(kind in each[0] for kind in ("ENUM", "::BIT", "FLOAT[3]", "TIMESTAMP_S"))]
# A type of Postgres' with a value, and the same in DuckDB.
POSTGRES = [
    ("true", "true"),
    ("(-7)::smallint", "(-7)::SMALLINT"),
    ("70000::integer", "70000::INTEGER"),
    ("9007199254740993::bigint", "9007199254740993::BIGINT"),
    ("0.1::real", "0.1::FLOAT"),
    ("0.1::double precision", "0.1::DOUBLE"),
    ("12.50::numeric(10,2)", "12.50::DECIMAL(10,2)"),
    ("12.5::numeric", "12.5::DOUBLE"),
    ("'größe 🎬'::text", "'größe 🎬'"),
    ("'abc'::varchar(10)", "'abc'"),
    ("'ab'::char(3)", "'ab'"),
    ("'\\x00ff'::bytea", "'\\x00\\xFF'::BLOB"),
    ("date '1931-02-03'", "DATE '1931-02-03'"),
    ("time '23:59:59.000001'", "TIME '23:59:59.000001'"),
    ("timestamp '2024-01-02 03:04:05.123456'", "TIMESTAMP '2024-01-02 03:04:05.123456'"),
    ("timestamptz '2024-01-02 03:04:05+02'", "TIMESTAMPTZ '2024-01-02 03:04:05+02'"),
    ("interval '1 month 2 days 3 seconds'", "INTERVAL '1 month 2 days 3 seconds'"),
    ("'0190d2f4-0000-7000-8000-000000000000'::uuid", "'0190d2f4-0000-7000-8000-000000000000'::UUID"),
    ("'{\"a\": [1]}'::json", "'{\"a\": [1]}'"),
    ("'{\"a\": [1]}'::jsonb", "'{\"a\": [1]}'"),
    ("array['a', NULL, '']", "['a', NULL, '']"),
    ("'sad'::marts.mood", "'sad'"),
    ("NULL::text", "NULL::VARCHAR"),
]
SQLITE = [
    ("INTEGER", "9007199254740993", "9007199254740993::BIGINT"),
    ("REAL", "0.1", "0.1::DOUBLE"),
    ("TEXT", "'größe 🎬'", "'größe 🎬'"),
    ("BLOB", "x'00ff'", "'\\x00\\xFF'::BLOB"),
    ("DATE", "'1931-02-03'", "DATE '1931-02-03'"),
    ("TIMESTAMP", "'2024-01-02 03:04:05'", "TIMESTAMP '2024-01-02 03:04:05'"),
    ("TEXT", "NULL", "NULL::VARCHAR"),
]


def named(values: list[str]) -> str:
    return "SELECT " + ", ".join(f"{value} AS c{number}" for number, value in enumerate(values))


def in_duckdb(folder: Path, _: Any) -> tuple[str, str, list[str]]:
    with duckdb.connect(str(folder / "other.duckdb")) as con:
        con.execute(f"CREATE TABLE films AS {named([sql for sql, _ in OURS])}")
    return f"{folder / 'other.duckdb'} AS other", "other.films", [here for _, here in OURS]


def in_ducklake(folder: Path, _: Any) -> tuple[str, str, list[str]]:
    place = Place(f"ducklake:{folder}/meta.ducklake AS lake (DATA_PATH '{folder}/lake')", "lake", "main")
    place.rows(f"CREATE TABLE lake.main.films AS {named([sql for sql, _ in LAKE])}")
    return place.attach, "lake.main.films", [here for _, here in LAKE]


def in_postgres(_: Path, request: pytest.FixtureRequest) -> tuple[str, str, list[str]]:
    place: Place = request.getfixturevalue("pg")
    rows = named([theirs for theirs, _ in POSTGRES]).replace("'", "''")
    made = f"CREATE TYPE marts.mood AS ENUM (''sad'', ''glad''); CREATE TABLE marts.films AS {rows}"
    place.rows(f"CALL postgres_execute('pg', '{made}')")
    return place.attach, "pg.marts.films", [here for _, here in POSTGRES]


def in_sqlite(folder: Path, _: Any) -> tuple[str, str, list[str]]:
    columns = ", ".join(f"c{number} {kind}" for number, (kind, *_) in enumerate(SQLITE))
    with sqlite3.connect(folder / "app.db") as con:
        con.execute(f"CREATE TABLE films ({columns})")
        con.execute("INSERT INTO films VALUES (" + ", ".join(value for _, value, _ in SQLITE) + ")")
    con.close()
    return f"sqlite:{folder / 'app.db'} AS app", "app.films", [here for *_, here in SQLITE]


@pytest.mark.parametrize("source", [in_duckdb, in_ducklake, in_postgres, in_sqlite])
def test_every_type_is_sent_as_it_is_without_the_other_database(
    source: Callable[[Path, Any], tuple[str, str, list[str]]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    attach, table, values = source(tmp_path, request)
    there = Database(tmp_path / "there.duckdb", attach=[Attached.parse(attach, "--attach")])
    here = Database(tmp_path / "here.duckdb")
    inputs = []
    for db, query in ((there, f"FROM {table}"), (here, named(values))):
        begin(db, query)
        inputs.append(db.read(lambda session: session.sql("SELECT custom_id::VARCHAR, input FROM sqlbatch.requests")))
    assert inputs[0] == inputs[1]
