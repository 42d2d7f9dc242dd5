"""Prepare named SQL of the files in `sql/` for one database: qualify it with the catalog, fill in its places."""

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
    """Return a text as a SQL string literal; its only escape is the doubled quote."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else quoted


def statement(name: str, catalog: str, **places: str) -> str:
    """Return the block `file.block` (`pack.claim`) for a database, its `{place}`s filled with SQL.

    A place `{file.block}` is filled with that block. `sqlbatch.x` becomes `"catalog".sqlbatch.x`, because in a file
    named sqlbatch.duckdb the catalog has the schema's name and the shorter form is ambiguous. Raises KeyError for an
    unknown block or place.
    """
    sql = _INCLUDED.sub(lambda included: _sql(included[1]), _sql(name))
    # Our SQL is qualified first, so that the user's SQL in a place stays as it is.
    qualified = _SCHEMA.sub(lambda _: f"{quote_identifier(catalog)}.sqlbatch.", sql)
    return _PLACE.sub(lambda place: places[place[1]], qualified)


def _sql(name: str) -> str:
    file, _, block = name.partition(".")
    return blocks(f"{file}.sql")[block].sql
