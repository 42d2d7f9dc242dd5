"""The part of docs/schema.md that schema.sql says: each table and view, its columns, their types and comments."""

from __future__ import annotations

import re

import duckdb

from sqlbatch.named_sql import read_sql

BEGIN, END = "<!-- from schema.sql -->", "<!-- end of schema.sql -->"
_MADE = re.compile(r"((?:^--[^\n]*\n)*)^CREATE (TABLE|VIEW) (\w+)(.*?)(?=^CREATE|^--|\Z)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r'^  "?(\w+)"? .*?-- (.*(?:\n {3,}--.*)*)$', re.MULTILINE)


def described() -> str:
    """Return the sections, tables first, each in the order of schema.sql."""
    text = read_sql("schema.sql")
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA sqlbatch; USE memory.sqlbatch")
        con.execute(text)
        parts = {"TABLE": ["### Tables"], "VIEW": ["### Views"]}
        for comment, kind, name, body in _MADE.findall(text):
            found = _COLUMN.findall(body) if kind == "TABLE" else []
            told = {column: re.sub(r"\n +--", "", text) for column, text in found}
            columns = con.execute(f"DESCRIBE {name}").fetchall()
            parts[kind].append(_section(name, comment, [(row[0], row[1], told.get(row[0], "")) for row in columns]))
    return "\n\n".join([*parts["TABLE"], *parts["VIEW"]])


def _section(name: str, comment: str, columns: list[tuple[str, str, str]]) -> str:
    lines = [line.removeprefix("--")[1:] for line in comment.splitlines()]
    prose = " ".join(line for line in lines if not line.startswith("  "))
    listed = [line.removeprefix("  ") for line in lines if line.startswith("  ")]
    parts = [f"#### {name}", *([prose] if prose else [])]
    if listed:
        parts.append("\n".join(["```text drawing", *listed, "```"]))
    if any(told for *_, told in columns):
        rows = [f"| `{column}` | {kind} | {told.replace('|', chr(92) + '|')} |" for column, kind, told in columns]
        parts.append("\n".join(["| column | type | |", "|---|---|---|", *rows]))
    else:
        parts.append(
            "\n".join(["| column | type |", "|---|---|", *(f"| `{each[0]}` | {each[1]} |" for each in columns)])
        )
    return "\n\n".join(parts)
