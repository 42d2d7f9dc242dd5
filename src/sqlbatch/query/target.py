"""The target: its name as SQL, and the table that already has this name."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from sqlbatch.db.sql import quote_identifier
from sqlbatch.errors import InvalidTarget
from sqlbatch.query.enrichment import Enrichment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.jobs import JobRow
    from sqlbatch.db.session import Session

_PART = r'(?:"(?:[^"]|"")+"|[^\W\d]\w*)'
_PATH = re.compile(rf"\s*{_PART}(?:\s*\.\s*{_PART}){{0,2}}\s*")
# DuckDB ignores the case of names, so capitals need no quotes.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"made by sqlbatch, job (\d+)\b")


@dataclass(frozen=True)
class Target:
    """A table by schema and name, in the user's database or in the attached database `catalog`."""

    schema: str
    name: str
    catalog: str | None = None

    @property
    def sql(self) -> str:
        """The name as SQL, quoted if needed; in the user's database without the default schema."""
        name = _quote_if_needed(self.name)
        if self.catalog is not None:
            return f"{_quote_if_needed(self.catalog)}.{_quote_if_needed(self.schema)}.{name}"
        return name if self.schema == "main" else f"{_quote_if_needed(self.schema)}.{name}"

    def qualified(self, catalog: str) -> str:
        """Return the name with catalog and schema, all quoted."""
        return ".".join(quote_identifier(part) for part in (self.catalog or catalog, self.schema, self.name))


@dataclass(frozen=True)
class Existing:
    """The table or view that has the target's name: its rows, and the job that made it (None: not ours).

    `stranger`: another sqlbatch database has published it.
    """

    kind: str
    rows: int
    job_id: int | None
    stranger: bool = False


def parse_target(text: str, catalog: str | None, attached: Sequence[str] = ()) -> Target:
    """Return the target that `--into` names: `films`, `marts.films`, `"my films"`, or any other text as one name.

    Of three names, the first is `catalog` (None: not known yet), or one of the attached databases. Raises InvalidTarget
    for an empty name, a reserved schema, or an unknown database.
    """
    if not text.strip():
        raise InvalidTarget("--into is empty: give the target table a name")
    if "\0" in text:
        raise InvalidTarget("--into contains a NUL character, which a table's name cannot have: leave it out")
    # A text that is not a SQL name (it has a space, a hyphen, …) is one name as a whole.
    parts = _names(text) or [text.strip()]
    elsewhere = None
    if len(parts) == 3 and (catalog is None or parts[0].casefold() != catalog.casefold()):
        elsewhere = next((name for name in attached if name.casefold() == parts[0].casefold()), None)
        if elsewhere is None and catalog is not None:
            raise InvalidTarget(
                f"--into {text}: no database of --attach is called {parts[0]}: name it, for example --attach "
                f"'postgres:dbname=… AS {parts[0]}', or leave it out for a table in {catalog}"
            )
    schema = parts[-2] if len(parts) > 1 else "main"
    if schema.casefold() in {"sqlbatch", "information_schema", "pg_catalog", "temp"}:
        raise InvalidTarget(f"--into {text}: the schema {schema} is reserved; choose another for the target")
    if elsewhere is not None and parts[-1].casefold() == MARKER:
        raise InvalidTarget(f"--into {text}: {MARKER} is where sqlbatch notes what it published; choose another name")
    return Target(schema, parts[-1], elsewhere)


def attached_in(text: str, attached: Sequence[str]) -> str | None:
    """Return the attached database that `--into` names, as `lake.films` or `lake.marts.films`; None for none."""
    names = _names(text)
    return next((name for name in attached if len(names) > 1 and name.casefold() == names[0].casefold()), None)


def _names(text: str) -> list[str]:
    """Return the parts of a SQL name; none if it is not one."""
    return [_unquote(part) for part in re.findall(_PART, text)] if _PATH.fullmatch(text) else []


def find_target(session: Session, text: str, attached: Sequence[str], *, exists: bool) -> Target:
    """Return the target that `--into` names, also as `lake.films`; `exists` says whether the user's database exists.

    Raises InvalidTarget as parse_target does, and if a name could be a schema here or an attached database.
    """
    names = _names(text)
    found = attached_in(text, attached)
    kind = session.run("target.database_type", {"name": found}) if found is not None else []
    if found is not None and len(names) == 2:
        usual = "public" if kind and kind[0][0] == "postgres" else "main"
        if exists and session.run("target.schema_exists", {"catalog": session.catalog, "schema": names[0]}):
            raise InvalidTarget(
                f"--into {text}: {names[0]} is an attached database and a schema of {session.catalog}: write "
                f"{names[0]}.{usual}.{names[1]} or {session.catalog}.{names[0]}.{names[1]}"
            )
        text = ".".join(quote_identifier(name) for name in (found, usual, names[1]))
    target = parse_target(text, session.catalog if exists else None, attached=attached)
    if target.catalog is not None and kind and kind[0][0] not in WRITABLE:
        raise InvalidTarget(
            f"--into {target.sql}: a target can be in Postgres, DuckLake, MotherDuck or a DuckDB file, and "
            f"{target.catalog} is {kind[0][0]}: write the table here, and bring it there as a Parquet file "
            "(sqlbatch query 'FROM …' --output rows.parquet)"
        )
    return target


def target_of(job: JobRow) -> Target:
    """Return a job's target; with a `catalog` it is in another database."""
    parts = _names(job.target)
    # A target in the user's own database is stored without the database's name, so that the file can be renamed.
    return Target(parts[1], parts[2], parts[0]) if len(parts) == 3 else parse_target(job.target, None)


def built_by(job_id: int) -> Target:
    """Return the table in our schema in which a job's rows are built before they go to their target."""
    return Target("sqlbatch", f"built_{job_id}")


def written_by(job: JobRow) -> Target:
    """Return the table that a job's rows are written to.

    Its target, or the table in our schema in which they are built.
    """
    target = target_of(job)
    incremental = Enrichment.from_json(job.enrichment).incremental
    return built_by(job.job_id) if target.catalog is not None or incremental else target


def rows_of(job: JobRow) -> Target:
    """Return the table in the user's database that has the rows of a finished job."""
    target = target_of(job)
    return target if target.catalog is None else built_by(job.job_id)


def look_up(session: Session, target: Target) -> Existing | None:
    """Return the table or view with the target's name, or None; raise InvalidTarget if its schema does not exist."""
    catalog = target.catalog or session.catalog
    elsewhere = target.catalog is not None
    if elsewhere and not session.run("target.database_type", {"name": catalog}):
        # The attached file does not exist yet.
        return None
    where = {"catalog": catalog, "schema": target.schema}
    if not session.run("target.schema_exists", where):
        what = f"the schema {target.schema} of --into does not exist"
        if elsewhere:
            raise InvalidTarget(f"{what} in {catalog}: create it there first")
        raise InvalidTarget(
            f"{what}: run sqlbatch query 'CREATE SCHEMA {_quote_if_needed(target.schema)}' first, or quote a name that "
            "has a dot"
        )
    found = session.run("target.find", {**where, "name": target.name})
    if not found:
        return None
    kind, comment = found[0]
    stranger, job_id = False, None
    if elsewhere:
        marked = []
        if session.run("target.find", {**where, "name": MARKER}):
            marker = Target(target.schema, MARKER, catalog).qualified(catalog)
            marked = session.run("target.marked", {"target": target.name}, marker=marker)
        state = session.run("target.identity")[0][0] if session.has_schema() else None
        if marked and marked[0][0] == state:
            return Existing(kind, marked[0][2], marked[0][1])
        stranger = bool(marked)
    elif kind == "table" and session.has_schema() and (made := _COMMENT.search(comment or "")):
        ours = session.run("target.made_by", {"job_id": int(made[1]), "target": target.sql})
        job_id = int(made[1]) if ours else None
    counted = elsewhere or kind == "table"
    rows = session.run("target.count", target=target.qualified(catalog))[0][0] if counted else 0
    return Existing(kind, rows, job_id, stranger)


def changed(session: Session, target: Target, existing: Existing) -> str | None:
    """Return what was changed in a target since its job wrote it; None if nothing was, or nothing is known.

    It reads the whole table: 0.4 seconds for a million rows of a kilobyte.
    """
    if existing.job_id is None or target.catalog is not None or session.run("database.version")[0][0] < STATE_VERSION:
        return None
    kept = session.run("target.state_of", {"job_id": existing.job_id})[0][0]
    if kept is None:
        return None
    release, columns, rows, values = kept.split("|", 3) if kept.count("|") == 3 else (*kept.split("|"), "")
    now = state_of(session, target).split("|")
    if now[1] != columns:
        return "its columns have changed"
    if now[2] != rows:
        return f"it has {int(now[2]):,} rows and had {int(rows):,}"
    same = release != now[0] or values == "".join(now[3:])
    return None if same else "some of its values have changed"


def state_of(session: Session, target: Target) -> str:
    """Return the state by which later changes of a target are detected.

    Release, columns, rows and a sum of the values.
    """
    where = {"catalog": session.catalog, "schema": target.schema, "name": target.name}
    return str(session.run("target.state", where, target=target.qualified(session.catalog))[0][0])


def comment_of(job_id: int) -> str:
    """Return the COMMENT by which a table is recognized as ours."""
    return f"made by sqlbatch, job {job_id}"


def _unquote(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quote_if_needed(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name.casefold() not in _keywords() else quote_identifier(name)


@functools.cache
def _keywords() -> frozenset[str]:
    """Return the words that must be quoted as a table's name, as DuckDB lists them."""
    with duckdb.connect() as connection:
        found = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(word for (word,) in found.fetchall())


# The kinds of databases, by DuckDB's names, that can hold a target.
WRITABLE = ("duckdb", "motherduck", "ducklake", "postgres")
# The table beside targets in another database that says which job published each.
MARKER = "sqlbatch_published"
# The migration since which the state of a target is stored.
STATE_VERSION = 14
