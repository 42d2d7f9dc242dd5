"""The project of docs/dbt.md runs: `dbt run` submits and returns, the next one has the answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.batches.bench import KEY, Control
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the files of the page, and what their query reads."""
    page = (ROOT / "docs" / "dbt.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def dbt(project: Path, command: str, **variables: str) -> str:
    """Run dbt in the project; return what it says."""
    environment = os.environ | {"DBT_PROFILES_DIR": str(project), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"} | variables
    words = [str(Path(sys.executable).with_name("dbt")), command]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(project: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on dbt's database."""
    with duckdb.connect(str(project / "films.duckdb"), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_the_project_of_the_page_has_its_answers_and_its_tests_pass(project: Path) -> None:
    """With the local provider at once, and the model after it is made from them."""
    dbt(project, "build")
    assert rows(project, "SELECT ai_status, count(*) FROM genres GROUP BY ALL") == [("answered", 9)]
    assert rows(project, "SELECT typeof(genres), typeof(custom_id) FROM genres LIMIT 1") == [("VARCHAR[]", "UUID")]
    assert rows(project, "SELECT count(*) > 0 FROM films_by_genre") == [(True,)]


def test_a_run_submits_and_the_next_one_has_the_answers(project: Path, tmp_path: Path) -> None:
    """No run waits, and nothing is sent twice."""
    faults = tmp_path / "faults.toml"
    faults.write_text("")
    with EmbeddedServer(tmp_path / "provider", config=ServerConfig(tmp_path / "provider", faults=faults)) as server:
        schema = project / "models" / "schema.yml"
        paid = f"model: offline\n        base_url: {server.base_url}\n        'yes': true"
        schema.write_text(schema.read_text().replace("provider: local", paid))
        said = dbt(project, "run", OPENAI_API_KEY=KEY)
        assert re.search(r"sqlbatch: genres: job 1 is running.*0 of 9 requests answered", said)
        assert rows(project, "SELECT ai_status, count(*) FROM genres GROUP BY ALL") == [("pending", 9)]
        Control(server.base_url).until_ended()
        dbt(project, "run", OPENAI_API_KEY=KEY)
        assert rows(project, "SELECT ai_status, count(*) FROM genres GROUP BY ALL") == [("answered", 9)]
        assert len(Control(server.base_url).ledger()) == 9
