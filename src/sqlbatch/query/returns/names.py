"""DuckDB's names for types: which stand for the same, and which a model's JSON answer cannot carry."""

from __future__ import annotations

import difflib

# Every name DuckDB 1.5 and 2.0 know, by the name they print (tested against duckdb_types()).
ALIASES = {
    alias: name
    for name, aliases in {
        "BOOLEAN": "bool boolean logical",
        "TINYINT": "int1 tinyint",
        "SMALLINT": "int16 int2 short smallint",
        "INTEGER": "int int32 int4 integer integral signed",
        "BIGINT": "bigint int64 int8 long oid",
        "HUGEINT": "hugeint int128",
        "UTINYINT": "uint8 utinyint",
        "USMALLINT": "uint16 usmallint",
        "UINTEGER": "uint32 uinteger",
        "UBIGINT": "ubigint uint64",
        "UHUGEINT": "uhugeint uint128",
        "FLOAT": "float float4 real",
        "DOUBLE": "double float8",
        "DECIMAL": "dec decimal numeric",
        "VARCHAR": "bpchar char nvarchar string text varchar",
        "DATE": "date",
        "TIME": "time",
        "TIME WITH TIME ZONE": "timetz",
        "TIMESTAMP": "datetime timestamp timestamp_us",
        "TIMESTAMP_S": "timestamp_s",
        "TIMESTAMP_MS": "timestamp_ms",
        "TIMESTAMP WITH TIME ZONE": "timestamptz",
        "UUID": "guid uuid",
        "ENUM": "enum",
        "STRUCT": "row struct",
    }.items()
    for alias in aliases.split()
}

# Types of several words, by the words.
PHRASES = {
    ("DOUBLE", "PRECISION"): "DOUBLE",
    ("CHARACTER", "VARYING"): "VARCHAR",
    ("CHARACTER",): "VARCHAR",
    ("TIME", "WITH", "TIME", "ZONE"): "TIME WITH TIME ZONE",
    ("TIME", "WITHOUT", "TIME", "ZONE"): "TIME",
    ("TIMESTAMP", "WITH", "TIME", "ZONE"): "TIMESTAMP WITH TIME ZONE",
    ("TIMESTAMP", "WITHOUT", "TIME", "ZONE"): "TIMESTAMP",
}

_BYTES = "JSON carries no bytes; use VARCHAR and decode it in SQL"
_NANOSECONDS = "JSON answers carry microseconds; use TIMESTAMP, TIMESTAMP WITH TIME ZONE or TIME"
# Why a type cannot be asked for, and what can.
REFUSED = {
    "array": "write INTEGER[3] for an array, INTEGER[] for a list",
    "bignum": "use HUGEINT, or VARCHAR for more than 38 digits",
    "varint": "use HUGEINT, or VARCHAR for more than 38 digits",
    "binary": _BYTES,
    "bit": "use VARCHAR with CHECK (regexp_full_match(name, '[01]+'))",
    "bitstring": "use VARCHAR with CHECK (regexp_full_match(name, '[01]+'))",
    "blob": _BYTES,
    "bytea": _BYTES,
    "geometry": "use VARCHAR for well-known text, or STRUCT(longitude DOUBLE, latitude DOUBLE)",
    "interval": "use an INTEGER in one unit, such as minutes",
    "json": "it may be anything; use STRUCT(...) or --returns JSON",
    "list": "write INTEGER[] for a list of integers",
    "map": "its keys are open; use STRUCT(key VARCHAR, value ...)[]",
    "null": "say which type it has when it is not NULL",
    "time_ns": _NANOSECONDS,
    "timestamp_ns": _NANOSECONDS,
    "timestamptz_ns": _NANOSECONDS,
    "tuple": "use STRUCT with named fields",
    "type": "use VARCHAR",
    "union": "use a STRUCT with one nullable field for each case",
    "varbinary": _BYTES,
    "variant": "it may be anything; use STRUCT(...) or --returns JSON",
}


def similar_type(name: str) -> str | None:
    """Return the known type whose name is most like an unknown one, or None."""
    close = difflib.get_close_matches(name.lower(), [*ALIASES, *REFUSED], n=1, cutoff=0.7)
    return close[0].upper() if close else None
