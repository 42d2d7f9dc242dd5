"""Databases beside the user's own: parse `--attach`, attach them, store how to reach them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlbatch.db.sql import quote_identifier, quote_literal
from sqlbatch.errors import DatabaseError, DatabaseLocked, InvalidSettings
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from sqlbatch.db.session import Session

# PATH AS NAME (OPTIONS), as in DuckDB's ATTACH.
_NAMED = re.compile(r'(?is)(?P<path>.*\S)\s+AS\s+(?P<name>"(?:[^"]|"")+"|[^()"][^()]*?)\s*(?:\((?P<options>.*)\))?\s*')
# Prefixes of the paths of databases that are not DuckDB files.
_PREFIX = re.compile(r"(?i)((?:ducklake|sqlite|duckdb):)*")
# An option of ATTACH whose value is a secret: TOKEN '…', CLIENT_SECRET '…'. SECRET only names one that DuckDB keeps.
_SECRET_OPTION = re.compile(r"(?i)(\b\w*(?:token|password|passwd|pwd|_secret|_key)\w*\s+)'(?:[^']|'')*'")


@dataclass(frozen=True)
class Attached:
    """A further database that the user's SQL may read, or that holds a target.

    `path` is its path or connection string, `name` its name in SQL, `option` where the user named it, and `options` the
    SQL of further options of ATTACH.
    """

    path: str
    name: str
    option: str = "--attach"
    options: str = ""

    @classmethod
    def parse(cls, text: str, option: str, folder: Path | None = None) -> Attached:
        """Parse `PATH[ AS NAME[ (OPTIONS)]]`; a path is relative to the folder, if one is given.

        Raises InvalidSettings for a connection string without a name.
        """
        found = _NAMED.fullmatch(text)
        path = (found["path"] if found else text).strip()
        if found is None and "=" in path:
            raise InvalidSettings(f"{option} {masked(path)}: give it a name, as '{masked(path)} AS source'")
        if folder is not None and ":" not in path and (folder / path).exists():
            path = str(folder / path)
        if found is None:
            return cls(path, Path(text.rpartition(":")[2] or text).stem.strip(), option)
        name = found["name"].strip()
        if name.startswith('"'):
            name = name[1:-1].replace('""', '"')
        return cls(path, name, option, (found["options"] or "").strip())

    @property
    def file(self) -> Path | None:
        """Its file, which need not exist; None if it is reached over a network."""
        prefix = _PREFIX.match(self.path)
        rest = self.path[prefix.end() :] if prefix else self.path
        return Path(rest) if rest and ":" not in rest and "=" not in rest else None

    @property
    def is_new(self) -> bool:
        """Whether its file does not exist yet but its folder does, so that writing to it creates it."""
        return self.file is not None and not self.file.exists() and self.file.parent.is_dir()

    def kept(self) -> str:
        """Return it in the form that `parse` reads, to be reached from any folder and without passwords."""
        path = self.path
        if self.file is not None and not self.file.is_absolute():
            path = path.removesuffix(str(self.file)) + str(self.file.absolute())
        return str(replace(self, path=path))

    def __str__(self) -> str:
        """Return it as it was given, without passwords."""
        options = masked(_SECRET_OPTION.sub(r"\1…", self.options))
        return f"{masked(self.path)} AS {self.name}" + f" ({options})" * bool(options)

    def attach(self, session: Session, *, read_only: bool = True) -> None:
        """Attach it; raises DatabaseError, without the password of the connection string."""
        options = ", ".join([*(["READ_ONLY"] if read_only else []), *([self.options] if self.options else [])])
        clause = f"ATTACH {quote_literal(self.path)} AS {quote_identifier(self.name)}" + f" ({options})" * bool(options)
        try:
            session.sql(clause, name=f"attach {self.name}")
        except DatabaseError as error:
            what = f"{self.option} {self.name}: {masked(self.path)}"
            if isinstance(error, DatabaseLocked):
                raise DatabaseLocked(str(error).replace("the database", what, 1), error.pid) from None
            reason = str(error).removeprefix("the database: ")
            raise DatabaseError(f"{what} cannot be attached: {reason}") from None
