"""The folder that sqlbatch and another engine share (`--shared`): a local path, or an address of an object store."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import duckdb

from sqlbatch.db.files import as_pattern
from sqlbatch.db.sql import quote_literal
from sqlbatch.errors import EngineError, InvalidSettings
from sqlbatch.trace import masked


def local_path(folder: str) -> Path | None:
    """Return a folder as a path of this computer, None if it is an address."""
    if folder.startswith("file:"):
        return Path(re.sub(r"^file:(//)?", "", folder))
    return None if re.match(r"[a-zA-Z][\w+.-]*://|dbfs:", folder) else Path(folder)


def files_of(folder: str) -> str:
    """Return the pattern that matches the Parquet files of a folder in DuckDB."""
    local = local_path(folder)
    return f"{as_pattern(str(local)) if local is not None else folder}/*.parquet"


def remove(folder: str) -> None:
    """Delete a run's files; files at an address stay, and are deleted by the rules of its store."""
    local = local_path(folder)
    if local is not None:
        shutil.rmtree(local, ignore_errors=True)
        with contextlib.suppress(OSError):
            # This deletes the folder only if it is empty.
            local.parent.rmdir()


def share(file: Path, folder: str) -> None:
    """Put a file into a shared folder, whole or not at all."""
    local = local_path(folder)
    try:
        if local is None:
            # A connection of its own: the user's database is not open while the network is waited for.
            with duckdb.connect() as con:
                source, place = quote_literal(str(file)), quote_literal(f"{folder}/part-0.parquet")
                con.execute(f"COPY (FROM read_parquet({source})) TO {place} (FORMAT parquet)")
            return
        local.mkdir(parents=True)
        shutil.copyfile(file, local / "part-0.copy")
        (local / "part-0.copy").replace(local / "part-0.parquet")
    except duckdb.Error as error:
        raise EngineError(f"the answers cannot be written to {folder}: {first_line(error)}") from error
    except OSError as error:
        raise EngineError(f"the answers cannot be written to {folder}: {error.strerror}") from error


def root_of(shared: str) -> str:
    """Return the folder that --shared names, as the engine sees it; raise InvalidSettings if it is empty."""
    if not shared or not shared.strip():
        raise InvalidSettings("--shared is empty: name a folder that both this process and the engine see")
    if local_path(shared) is not None and not shared.startswith("file:"):
        return os.path.abspath(shared).rstrip("/")  # noqa: PTH100 (a path that is not resolved: the engine may see no more)
    return shared.rstrip("/")


def first_line(error: Exception) -> str:
    """Return the first line of an error, without secrets."""
    return masked(str(error).strip().partition("\n")[0])
