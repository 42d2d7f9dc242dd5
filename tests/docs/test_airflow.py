"""The tasks of the page about Airflow do what it says; stand-ins for Airflow's decorators run them."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import sqlbatch
from sqlbatch.server import EmbeddedServer
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class PokeReturnValue:
    """What a sensor returns: whether it succeeds."""

    def __init__(self, *, is_done: bool) -> None:
        self.is_done = is_done


def task(**_: Any) -> Callable[[Any], Any]:
    """Run a task where it is called."""
    return lambda function: function


def sensor(**_: Any) -> Callable[[Any], Any]:
    """Call a sensor until it succeeds."""

    def decorated(function: Callable[..., PokeReturnValue]) -> Callable[..., int]:
        def called(*given: Any) -> int:
            for looks in range(1, 500):
                if function(*given).is_done:
                    return looks
            raise AssertionError("the sensor does not succeed")

        return called

    return decorated


@pytest.mark.long
def test_the_dag_of_the_page_submits_and_looks_until_the_table_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(task, "sensor", sensor)  # noqa: B010 (as Airflow has it)
    sdk = ModuleType("airflow.sdk")
    vars(sdk).update(PokeReturnValue=PokeReturnValue, task=task, dag=lambda **_: lambda function: function)
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "2400")
    page = (ROOT / "docs" / "airflow.md").read_text(encoding="utf-8")
    dag = next(iter(re.findall(r"^```python[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)))
    dag = dag.replace("/data/sqlbatch", str(tmp_path)).replace("/dags/sql", str(tmp_path))
    with EmbeddedServer(tmp_path / "provider") as server:
        (tmp_path / "sqlbatch.toml").write_text('[prices."offline"]\ninput = 1\noutput = 1\n')
        (tmp_path / "film_genres.sql").write_text(
            '/* sqlbatch\nmodel = "offline"\ninstructions = "Name the genres."\n'
            "param = { max_completion_tokens = 2000 }\n*/\n"
            "SELECT 'A shy baker' AS overview\n"
        )
        monkeypatch.setenv("SQLBATCH_BASE_URL", server.base_url)
        known: dict[str, Any] = {}
        exec(dag, known)  # noqa: S102 (it is our page)
    assert sqlbatch.find("film_genres", db=tmp_path / "films.duckdb").status().status == "done"
