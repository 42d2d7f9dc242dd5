"""What goes to another database by way of Parquet: each type arrives as one that the other end has, with its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.lake.exchange import Kind, arriving, carried, select_list

if TYPE_CHECKING:
    from pathlib import Path

# A value as SQL, its type at another DuckDB, in Postgres, and for Spark.
TYPES = [
    ("true", "BOOLEAN", "BOOLEAN", "BOOLEAN"),
    ("(-7)::TINYINT", "TINYINT", "SMALLINT", "TINYINT"),
    ("255::UTINYINT", "UTINYINT", "SMALLINT", "SMALLINT"),
    ("4294967295::UINTEGER", "UINTEGER", "BIGINT", "BIGINT"),
    ("18446744073709551615::UBIGINT", "UBIGINT", "DECIMAL(20,0)", "DECIMAL(20,0)"),
    ("(-99999999999999999999)::HUGEINT", "HUGEINT", "DECIMAL(38,0)", "DECIMAL(38,0)"),
    ("170141183460469231731687303715884105727::HUGEINT", "HUGEINT", "VARCHAR", "VARCHAR"),
    ("1.50::DECIMAL(10,2)", "DECIMAL(10,2)", "DECIMAL(10,2)", "DECIMAL(10,2)"),
    ("'NaN'::DOUBLE", "DOUBLE", "DOUBLE", "DOUBLE"),
    ("'größe 🎬'", "VARCHAR", "VARCHAR", "VARCHAR"),
    ("'a'::ENUM('a', 'it''s')", "ENUM('a', 'it''s')", "VARCHAR", "VARCHAR"),
    ("'\\x00\\xFF'::BLOB", "BLOB", "BLOB", "BLOB"),
    ("'0101'::BIT", "BIT", "VARCHAR", "VARCHAR"),
    ("DATE '2024-02-29'", "DATE", "DATE", "DATE"),
    ("TIME '23:59:59.000001'", "TIME", "TIME", "VARCHAR"),
    ("TIMESTAMP '2024-01-01 00:00:00.000001'", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP"),
    ("TIMESTAMP_S '2024-01-01 00:00:01'", "TIMESTAMP_S", "TIMESTAMP", "TIMESTAMP"),
    ("TIMESTAMP_NS '2024-01-01 00:00:00.000000001'", "TIMESTAMP_NS", "TIMESTAMP", "TIMESTAMP"),
    ("TIMESTAMPTZ '2024-01-01 00:00:00+02'", *["TIMESTAMP WITH TIME ZONE"] * 3),
    ("INTERVAL '1 month 2 days 0.000001 seconds'", "INTERVAL", "INTERVAL", "VARCHAR"),
    ("'0190d2f4-0000-7000-8000-000000000000'::UUID", "UUID", "UUID", "VARCHAR"),
    ("['a', NULL, '']", "VARCHAR[]", "VARCHAR[]", "VARCHAR[]"),
    ("[['a'], NULL]", "VARCHAR[][]", "JSON", "VARCHAR[][]"),
    ("[1, 2, 3]::FLOAT[3]", "FLOAT[3]", "FLOAT[]", "FLOAT[]"),
    ("{'a': 1, 'b c': ['x'::ENUM('x')]}", "STRUCT(a INTEGER, \"b c\" ENUM('x')[])", "JSON",
     'STRUCT(a INTEGER, "b c" VARCHAR[])'),
    ("MAP {'k': 1.5::DOUBLE}", "MAP(VARCHAR, DOUBLE)", "JSON", "MAP(VARCHAR, DOUBLE)"),
    ("'{\"a\": [1]}'::JSON", "JSON", "JSON", "VARCHAR"),
    ("union_value(n := 1)::UNION(n INTEGER, t VARCHAR)", "JSON", "JSON", "VARCHAR"),
]  # fmt: skip
ENDS = (Kind.DUCKDB, Kind.POSTGRES, Kind.SPARK)


@pytest.mark.parametrize("end", ENDS)
def test_every_type_arrives_as_one_that_the_other_end_has(end: Kind, tmp_path: Path) -> None:
    columns = ", ".join(f"{sql} AS c{number}" for number, (sql, *_) in enumerate(TYPES))
    with duckdb.connect() as con:
        con.execute(
            f"SET TimeZone = 'UTC'; CREATE TABLE t AS SELECT {columns} UNION ALL SELECT {'NULL, ' * len(TYPES)}"
        )
        carry = carried(con, "t", end)
        con.execute(f"COPY (SELECT {select_list(carry)} FROM t) TO '{tmp_path}/t.parquet' (FORMAT parquet)")
        con.execute(f"CREATE TABLE back AS SELECT {arriving(carry)} FROM read_parquet('{tmp_path}/t.parquet')")
        types = dict(row[:2] for row in con.execute("DESCRIBE back").fetchall())
        expected = {f"c{n}": each[1 + ENDS.index(end)] for n, each in enumerate(TYPES)}
        assert {name: kind.replace('"a"', "a") for name, kind in types.items()} == expected
        if end is Kind.SPARK:
            # Spark reads the file itself.
            in_file = con.execute(f"DESCRIBE FROM '{tmp_path}/t.parquet'").fetchall()
            assert {row[0]: row[1].replace('"a"', "a") for row in in_file} == expected
        for number in range(len(TYPES)):
            was, is_now = (
                con.execute(f"SELECT c{number}::VARCHAR FROM {table} ORDER BY ALL NULLS LAST").fetchall()
                for table in ("t", "back")
            )
            if types[f"c{number}"] not in {"JSON", "TIMESTAMP"}:
                assert is_now == was, TYPES[number]
            assert is_now[0][0] is not None
            assert is_now[1][0] is None


def test_postgres_is_handed_no_nul_and_no_number_that_json_has_not(tmp_path: Path) -> None:
    rows = r"""SELECT 'a' || chr(0) || 'b' AS t, ['x' || chr(0)] AS l,
      {'s': 'c' || chr(0), 'f': 'NaN'::DOUBLE, 'g': ['Infinity'::FLOAT, 1]} AS s,
      to_json('\u0000' || chr(0) || chr(0) || '\') AS j, MAP {'k': 'NaN'::DOUBLE} AS m"""
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS {rows}")
        carry = carried(con, "t", Kind.POSTGRES)
        con.execute(f"COPY (SELECT {select_list(carry)} FROM t) TO '{tmp_path}/t.parquet' (FORMAT parquet)")
        found = con.execute(f"SELECT {arriving(carry)} FROM '{tmp_path}/t.parquet'").fetchall()
    assert found == [
        ("ab", ["x"], '{"s":"c","f":null,"g":[null,1.0]}', r'"\\u0000\\"', '{"k":null}'),
    ]
