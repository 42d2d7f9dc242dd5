"""Turn DuckDB's errors into ours, on one line: what is wrong, and what to do."""

from __future__ import annotations

import re

import duckdb

from sqlbatch.errors import DatabaseConflict, DatabaseError, DatabaseLocked
from sqlbatch.trace import masked


def is_full_disk(error: duckdb.Error) -> bool:
    """Return whether the disk was full, for the file that DuckDB writes or for its spill files."""
    return any(sign in str(error) for sign in ("No space left on device", "max_temp_directory_size"))


def _folder_of(path: str) -> str:
    """Return the folder of a file, or the one above if it is a temporary folder of ours."""
    return re.sub(r"/\.sqlbatch-[^/]*$", "", path.rpartition("/")[0]) or "/"


def missing_extension(text: str) -> str | None:
    """Return what to do about an extension that DuckDB cannot load; None if the error is about something else."""
    found = re.search(r'Failed to download extension "(\w+)" at URL "\S+?/(v[^/]+)/([^/]+)/', text)
    if found is None:
        return None
    name, release, platform = found.groups()
    return (
        f"DuckDB's extension {name} is not on this machine, and cannot be downloaded from here: run sqlbatch query "
        f"'INSTALL {name}' once with a network, or copy {name}.duckdb_extension to "
        f"~/.duckdb/extensions/{release}/{platform}"
    )


def wrapped(error: duckdb.Error, name: str = "the database") -> DatabaseError:  # noqa: PLR0911 (one a cause)
    """Return DuckDB's error as ours, on one line."""
    text = masked(str(error))
    line = re.sub(r"^\w+( \w+)* Error: ", "", text.strip().partition("\n")[0])
    if "Could not set lock on file" in text:
        pid = re.search(r"\(PID (\d+)\)", text)
        holder = f"process {pid[1]}" if pid else "another process"
        message = f"{name} is locked by {holder}; close it there, or wait until it is done"
        return DatabaseLocked(message, int(pid[1]) if pid else None)
    if "with a different configuration than existing connections" in text:
        return DatabaseLocked(
            f"{name} is open in this process with other settings (read-only, or by %sql): close it there, or hand that "
            "connection to sqlbatch with db="
        )
    if isinstance(error, duckdb.TransactionException) and "onflict" in text:
        return DatabaseConflict(f"{name}: another connection changed the same rows first")
    if "not a valid DuckDB database file" in text:
        return DatabaseError(f"{name} is not a DuckDB database: name another file with --db")
    if "No such file or directory" in text and "Cannot open file" in text:
        return DatabaseError(f"{name} cannot be made: its folder does not exist")
    if "Permission denied" in text or "Read-only file system" in text:
        return DatabaseError(f"{name} cannot be written (permission denied): choose another place with --db")
    if (problem := missing_extension(text)) is not None:
        return DatabaseError(problem)
    if is_full_disk(error):
        path = re.search(r'"(/[^"]+)"', text)
        which = f" of {_folder_of(path[1])}" if path else " for temporary files" * ("max_temp_directory_size" in text)
        return DatabaseError(f"no space is left on the disk{which}; free some and run the same command again")
    return DatabaseError(f"{name}: {line}")
