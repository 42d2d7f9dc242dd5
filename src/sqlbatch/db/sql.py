"""Named SQL of the files in `sql/`, made ready for one database: qualified by its catalogue, names filled in."""

from __future__ import annotations

import re

from sqlbatch.named_sql import blocks

_SCHEMA = re.compile(r'(?<![\w."$])sqlbatch\.(?=[\w{])')
_INCLUDED = re.compile(r"\{(\w+\.\w+)\}")
_PLACE = re.compile(r"\{([a-z_]\w*)\}")


def quote_identifier(name: str) -> str:
    """Return a name as a SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return a text as a SQL string literal; DuckDB's knows no escapes but the doubled quote."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else quoted


def statement(name: str, catalog: str, **places: str) -> str:
    """Return the block `file.block` (`pack.claim`) for a database, its `{place}`s filled with SQL.

    A place `{file.block}` is filled with that block. `sqlbatch.x` becomes `"catalog".sqlbatch.x`: in a file named
    sqlbatch.duckdb the catalogue has the schema's name and the shorter form is ambiguous. Raises KeyError where the
    block or a place is unknown, for both are ours.
    """
    sql = _INCLUDED.sub(lambda included: _sql(included[1]), _sql(name))
    # Ours is qualified first, so that SQL of the user's that fills a place stays as it is.
    qualified = _SCHEMA.sub(lambda _: f"{quote_identifier(catalog)}.sqlbatch.", sql)
    return _PLACE.sub(lambda place: places[place[1]], qualified)


def _sql(name: str) -> str:
    file, _, block = name.partition(".")
    return blocks(f"{file}.sql")[block].sql
