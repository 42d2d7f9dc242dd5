"""What `config` tells, and how much every command tells: nothing but data, as usual, or all that is done."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

ROW = "CREATE TABLE t AS SELECT 'secret ' || 'row' AS x"
KEY = "sk-never-shown-0123456789"
ASK = ("enrich", "SELECT x FROM t", "--provider", "local", "--instructions", "Say it.", "--into", "said")


def test_config_tells_where_each_value_comes_from(
    here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sqlbatch.toml").write_text(
        "model = 'm'\n[providers.mine]\nbase_url = 'https://x.example/v1'\nkey_variable = 'X_API_KEY'\n"
        "[prices.m]\ninput = 2"
    )
    monkeypatch.setenv("SQLBATCH_POLL", "7")
    monkeypatch.setenv("X_API_KEY", KEY)
    ran = here("config", "--json")
    found = json.loads(ran.out)
    held = {each["option"]: (each["value"], each["from"]) for each in found["options"]}
    assert held["model"] == ("m", "sqlbatch.toml, line 1")
    assert held["poll"] == (7.0, "SQLBATCH_POLL")
    assert held["provider"] == ("openai", "default")
    providers = {each["provider"]: each for each in found["providers"]}
    assert (providers["mine"]["key_set"], providers["openai"]["key_set"]) == (True, False)
    assert providers["mine"]["from"] == "sqlbatch.toml, line 2"
    assert found["prices"] == [{"model": "m", "input": 2, "from": "sqlbatch.toml, line 5"}]
    plain = here("config")
    assert "X_API_KEY: set" in plain.out
    assert KEY not in ran.out + ran.err + plain.out + plain.err


def test_config_without_a_file_says_where_one_would_be_read(here: Command) -> None:
    assert "no configuration file: put sqlbatch.toml here, or" in here("config").err


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_leaves_the_data_and_the_errors(here: Command, place: str) -> None:
    here("query", ROW)
    ran = here("-q", *ASK) if place == "before" else here(*ASK, "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert "secret row" in ran.out
    assert here("--quiet", "show", "nothing").error.startswith("no job has the target")


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose_tells_each_statement_and_call_with_its_time(
    here: Command, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    here("query", ROW)
    ran = here("--verbose", *ASK) if place == "before" else here(*ASK, "-v")
    assert ran.code == 0
    assert re.search(r"^sql +[\d.]+ ms  plan\.manifest: INSERT INTO", ran.err, re.MULTILINE)
    assert re.search(r"^http +[\d.]+ ms  POST http://127\.0\.0\.1:\d+/v1/batches 200$", ran.err, re.MULTILINE)
    told = [line for line in ran.err.splitlines() if line.startswith(("sql ", "http "))]
    assert not [line for line in told if "secret row" in line]
    assert KEY not in ran.err
    assert "sql " not in here("jobs").err


def test_verbose_keeps_the_password_of_an_attached_database(here: Command) -> None:
    ran = here("query", "SELECT 1", "--attach", "gone/password=hunter2 AS theirs", "-v")
    assert ran.code == 1
    told = [line for line in ran.err.splitlines() if line.startswith("sql")]
    assert any("ATTACH" in line for line in told)
    assert "hunter2" not in "".join(told)


def test_quiet_and_verbose_contradict(here: Command) -> None:
    assert here("-q", "jobs", "-v").error == "--quiet and --verbose: choose one"


def test_debug_shows_the_traceback(here: Command) -> None:
    with pytest.raises(Exception, match="there is no database"):
        here("jobs", "--debug")
    with pytest.raises(Exception, match="there is no database"):
        here("--debug", "jobs")
    assert "Traceback" not in here("jobs").err


def test_verbose_can_be_configured(here: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SQLBATCH_QUIET", "perhaps")
    assert here("config").error == "SQLBATCH_QUIET=perhaps: it must be true or false"
    monkeypatch.delenv("SQLBATCH_QUIET")
    (tmp_path / "sqlbatch.toml").write_text("verbose = true")
    assert "sql " in here("query", "SELECT 1").err
