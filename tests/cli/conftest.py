"""A database of a user's, for the commands to be wrong about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.conftest import everything

if TYPE_CHECKING:
    from pathlib import Path

SETUP = """
CREATE TABLE movies (title VARCHAR, overview VARCHAR, year INTEGER);
INSERT INTO movies VALUES ('Alien', 'A crew wakes.', 1979), ('Brazil', 'A clerk dreams.', 1985), ('Cube', NULL, 1997);
CREATE TABLE mine AS SELECT 1 AS x;
CREATE VIEW seen AS SELECT 1 AS x;
CREATE SEQUENCE numbers;
CREATE SCHEMA marts;
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a user's database, made once."""
    path = tmp_path_factory.mktemp("made") / "enriched.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(SETUP)
    return path.read_bytes()


@pytest.fixture
def theirs(made: bytes, tmp_path: Path) -> Path:
    """Lay a user's database into the test's folder, under the default name."""
    path = tmp_path / "enriched.duckdb"
    path.write_bytes(made)
    return path


class Unchanged:
    """What a folder held; to be asked whether it still does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = everything(folder)

    def check(self) -> None:
        """Check that no file or folder came, went or changed by a byte."""
        after = everything(self._folder)
        assert sorted(after) == sorted(self._before)
        assert [name for name in after if after[name] != self._before[name]] == []
