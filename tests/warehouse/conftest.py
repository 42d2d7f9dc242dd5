"""A Postgres of the tests' own on loopback, DuckDB's extensions from their packages, and a place of each kind."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSIONS = ("postgres_scanner", "ducklake", "sqlite_scanner")


@pytest.fixture(scope="session", autouse=True)
def _extensions() -> Iterator[None]:
    """Install DuckDB's extensions in a home of the tests' own."""
    importing = pytest.importorskip("duckdb_extensions")
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        with duckdb.connect() as con:
            for name in EXTENSIONS:
                importing.import_extension(name, con=con)
        yield


def _programs() -> Path:
    """Return the folder of Postgres' programs: Debian has them beside the path."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if found is None and not debian:
        pytest.skip("there is no Postgres here: apt-get install postgresql")
    return Path(found).parent if found else debian[-1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a Postgres and return its connection string; as another user where we are root, which it refuses."""
    programs = _programs()
    user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)

    run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Place:
    """A database for targets: its --attach, its name, and its usual schema."""

    attach: str
    name: str
    schema: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL in DuckDB with the place attached, to be written."""
        path, _, rest = self.attach.partition(" AS ")
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute(f"ATTACH '{path}' AS {rest}")
            return con.execute(sql).fetchall()


@pytest.fixture(params=["postgres", "ducklake"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place of each kind, with a schema marts; a second DuckDB file where a test asks for it."""
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        found = Place(f"postgres:{server} AS pg", "pg", "public")
        found.rows("CALL postgres_execute('pg', 'DROP SCHEMA IF EXISTS marts CASCADE; DROP SCHEMA public CASCADE; "
                   "CREATE SCHEMA public; CREATE SCHEMA marts')")  # fmt: skip
        return found
    if request.param == "duckdb":
        found = Place(f"{tmp_path}/other.duckdb AS other", "other", "main")
        found.rows("CREATE SCHEMA other.marts")
        return found
    found = Place(f"ducklake:{tmp_path}/meta.ducklake AS lake (DATA_PATH '{tmp_path}/lake')", "lake", "main")
    found.rows("CREATE SCHEMA lake.marts")
    return found


@pytest.fixture
def pg(postgres: str) -> Place:
    """Return an empty Postgres with a schema marts."""
    found = Place(f"postgres:{postgres} AS pg", "pg", "public")
    found.rows("CALL postgres_execute('pg', 'DROP SCHEMA IF EXISTS marts CASCADE; CREATE SCHEMA marts')")
    return found
