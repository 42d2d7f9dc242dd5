"""Where options come from: what wins, what is told of a wrong file, and where a key may never go by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch import config, connection, options
from sqlbatch.batches.providers import KNOWN, find_provider
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command


@pytest.mark.parametrize(("name", "value"), [("THREADS", "0"), ("MEMORY_LIMIT", "much"), ("MEMORY_LIMIT", "0MB")])
def test_what_duckdb_may_take_is_checked(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SQLBATCH_{name}", value)
    with pytest.raises(InvalidSettings, match=value):
        options.database(None)


@pytest.mark.parametrize(
    "said",
    ["max_attempts = 0", "max_cost = -1.0", "threads = 0", "memory_limit = 'much'", "poll = 0", "provider = 'nobody'"],
)
def test_a_value_that_cannot_hold_is_told_with_its_place(said: str, tmp_path: Path, here: Command) -> None:
    (tmp_path / "sqlbatch.toml").write_text(f"\n{said}\n")
    ran = here("plan", "SELECT 'x' AS a", "--instructions", "Say it.", "--provider", "local")
    assert ran.code != 0
    assert f"sqlbatch.toml, line 2: {said.partition(' ')[0]}" in ran.err


def test_a_provider_that_a_variable_names_and_nobody_knows_is_told_so(
    here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLBATCH_PROVIDER", "grok")
    ran = here("plan", "SELECT 'x' AS a", "--instructions", "Say it.", "--model", "m")
    assert (ran.code, ran.error) == (2, "SQLBATCH_PROVIDER=grok: unknown; did you mean groq?")


def test_a_folder_of_the_configuration_s_name_is_told(tmp_path: Path, here: Command) -> None:
    (tmp_path / "sqlbatch.toml").mkdir()
    assert "sqlbatch.toml cannot be read: Is a directory" in here("config").err


def test_duckdb_takes_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLBATCH_THREADS", "1")
    monkeypatch.setenv("SQLBATCH_MEMORY_LIMIT", "300MiB")
    asked = "SELECT current_setting('threads')::INTEGER, current_setting('memory_limit')"
    assert options.database(None).read(lambda session: session.sql(asked)) == [(1, "300.0 MiB")]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--threads", "0"), "--threads 0: it must be 1 or more"),
        (("--memory-limit", "much"), "--memory-limit much: write a size with its unit, as 800MB or 2GB"),
        (("--max-enqueued-tokens", "0"), "--max-enqueued-tokens 0: it must be 1 or more"),
        (("--max-cost", "0"), "--max-cost 0: it must be a number of dollars above 0"),
    ],
)
def test_a_limit_that_is_none_is_a_wrong_use(option: tuple[str, str], told: str, here: Command, tmp_path: Path) -> None:
    ran = here("enrich", "SELECT 'x' AS a", "--instructions", "Say it.", "--provider", "local", *option)
    assert (ran.code, ran.error) == (2, told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_of(2)
@pytest.mark.parametrize("by", ["option", "variable"])
def test_no_more_tokens_wait_than_are_allowed(by: str, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    option = ("--max-enqueued-tokens", "60") if by == "option" else ()
    if by == "variable":
        monkeypatch.setenv("SQLBATCH_MAX_ENQUEUED_TOKENS", "60")
    ran = here("enrich", "SELECT 'row ' || i AS a FROM range(6) r(i)", "--instructions", "Say it.", "--provider",
               "local", "--into", "t", "--threads", "1", *option)  # fmt: skip
    assert ran.code == 0, ran.err
    counted = here("query", "SELECT count(*) > 1 AS several, max(tokens) <= 60 AS small FROM sqlbatch.batches").out
    assert counted.splitlines()[1] == "true,true"


def test_the_nearer_file_wins_and_a_variable_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nobody").mkdir()
    (tmp_path / "nobody" / "sqlbatch.toml").write_text("model = 'own'\nprovider = 'groq'\npoll = 3")
    (tmp_path / "sqlbatch.toml").write_text("model = 'shared'\nmax_attempts = 5")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert [config.configured(name) for name in ("model", "provider", "max_attempts")] == ["shared", "groq", 5]
    monkeypatch.setenv("SQLBATCH_MODEL", "told")
    assert config.configured("model") == "told"
    assert config.configured("model", "given") == "given"
    assert config.poll(None) == 3.0


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_the_command_to_come_back_with_leads_to_an_address_that_only_the_command_line_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(str(KNOWN[name].key_variable), "sk-test")
    provider = find_provider(name, "https://else.example/v1")
    assert connection.address_variable(provider) == "SQLBATCH_BASE_URL=https://else.example/v1 "
    monkeypatch.setenv("SQLBATCH_BASE_URL", "https://else.example/v1")
    assert connection.address_variable(provider) == ""
    assert connection.address_variable(KNOWN["openai"]) == ""
    assert connection.address_variable(KNOWN["local"]) == ""


def test_a_path_counts_from_the_folder_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlbatch.toml").write_text("db = 'films.duckdb'")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert options.database(None).path == tmp_path / "films.duckdb"


def test_the_file_beside_a_query_of_somebody_elses_is_not_read(tmp_path: Path, here: Command) -> None:
    theirs = tmp_path / "downloads"
    theirs.mkdir()
    (theirs / "sqlbatch.toml").write_text("provider = 'nobody'")
    (theirs / "films.sql").write_text("SELECT 'x' AS a")
    ran = here("plan", str(theirs / "films.sql"), "--instructions", "Say it.", "--provider", "local")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("db = 'x'\nmodle = 'y'", "sqlbatch.toml, line 2: unknown option modle; did you mean model?"),
        ("[provider.x]\nbase_url = 'https://x/v1'", "line 1: provider is not a table; did you mean providers?"),
        ("[providers]\nx = 1", "line 1: write each of its providers as a table, [providers.NAME]"),
        (
            "[providers.x]\nbase_ur = 'https://x/v1'",
            "line 2: unknown key base_ur in [providers.x]; did you mean base_url?",
        ),
        ("[providers.x]\npaid = 1", "line 2: paid must be true or false"),
        ("[providers.x]\npaid = false", "[providers.x] has no base_url"),
        ("[providers.x]\nbase_url = 'x'", "base_url x: write it with its scheme"),
        ("[providers.groq]\nmax_requests = 0", "line 2: max_requests 0: it must be a number above 0"),
        ("[providers.local]\nmax_requests = 1", "the local provider is sqlbatch's own"),
        ("[prices.x]\ninput = 'much'", "line 2: input must be a number"),
        ("base_url = 'https://evil.example/v1'", "line 1: base_url belongs under [providers.NAME]"),
        (
            "[providers.openai]\nbase_url = 'https://evil.example/v1'",
            "sends to evil.example: say which key it may have",
        ),
        (
            "[providers.x]\nbase_url = 'https://evil.example/v1'\nkey_variable = 'AWS_SECRET_ACCESS_KEY'",
            "AWS_SECRET_ACCESS_KEY cannot be the variable of a key: a project's file names one that ends in _API_KEY",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, says: str, here: Command, tmp_path: Path) -> None:
    (tmp_path / "sqlbatch.toml").write_text(text)
    ran = here("plan", "SELECT 1 AS x", "--provider", "local", "--instructions", "Say it.")
    assert ran.code == 1
    assert says in ran.error


def test_no_key_follows_a_shared_file_to_another_host(tmp_path: Path) -> None:
    (tmp_path / "sqlbatch.toml").write_text("[providers.openai]\nbase_url = 'http://127.0.0.1:9/v1'")
    assert find_provider("openai").key_variable is None
    (tmp_path / "sqlbatch.toml").write_text(
        "[providers.openai]\nbase_url = 'https://gate.example/v1'\nkey_variable = 'GATE_API_KEY'"
    )
    assert find_provider("openai").key_variable == "GATE_API_KEY"


def test_the_users_own_file_may_name_any_variable(tmp_path: Path) -> None:
    config.own_file().parent.mkdir()
    config.own_file().write_text("[providers.x]\nbase_url = 'https://x.example/v1'\nkey_variable = 'HF_TOKEN'")
    found = find_provider("x")
    assert (found.base_url, found.key_variable, found.paid) == ("https://x.example/v1", "HF_TOKEN", True)


def test_azure_needs_an_address_and_takes_it_as_azure_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettings, match=r"--base-url https://RESOURCE.* or set AZURE_OPENAI_ENDPOINT"):
        find_provider("azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://Films.openai.azure.com/")
    assert find_provider("azure").base_url == "https://films.openai.azure.com/openai/v1"
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://films.openai.azure.com/openai/v1/")
    assert find_provider("azure").base_url == "https://films.openai.azure.com/openai/v1"


def test_each_provider_spells_an_endpoint_its_own_way() -> None:
    chat = "/v1/chat/completions"
    assert KNOWN["azure"].endpoint(chat) == KNOWN["azure"].line_url(chat) == "/chat/completions"
    assert KNOWN["groq"].endpoint(chat) == KNOWN["openai"].line_url(chat) == chat
