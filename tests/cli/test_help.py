"""Help, completion and the reference: each command has an example, Tab knows jobs, docs/commands.md is as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch.api import AskOptions
from sqlbatch.cli.app import ORDER
from sqlbatch.cli.help import reference
from sqlbatch.settings import ASK
from tests.conftest import ROOT
from tests.query.support import begin, database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

# Lines and columns of a terminal as it is opened, less the line of the prompt.
LINES, COLUMNS = 23, 80
# The list of all commands, a line each, is longer than the help of one.
LINES_OF_ALL = LINES + 5


def test_the_command_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == reference(), "python -m sqlbatch.cli.help > docs/commands.md"


@pytest.mark.parametrize("command", ORDER)
def test_help_fits_a_screen_with_an_example_and_has_all_for_the_asking(command: str, here: Command) -> None:
    told, all_told = here(command, "--help").out, here(command, "--help-all").out
    assert re.search(rf"Example: sqlbatch {command}\b", told)
    assert len(told.splitlines()) <= LINES
    assert max(map(len, (told + all_told).splitlines())) <= COLUMNS
    section = reference().partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    assert [name for name in re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE) if name not in all_told] == []
    assert ("--help-all" in told) == (len(all_told) > len(told))


def test_the_help_of_all_fits_a_screen_and_names_every_command(here: Command) -> None:
    told = here("--help").out
    assert len(told.splitlines()) <= LINES_OF_ALL
    assert [command for command in ORDER if f"\n  {command} " not in told] == []


def test_an_example_is_pasted_as_it_is_shown(here: Command) -> None:
    told = re.search(r"Example: (sqlbatch enrich .*?)\n\n", here("enrich", "--help").out, re.DOTALL)
    assert told is not None
    words = shlex.split(told[1].replace("\\\n", " "))
    assert words[2:5] == ["SELECT title, overview FROM 'movies.csv'", "--input", "overview"]


def test_help_has_no_colours_in_a_pipe(here: Command) -> None:
    assert "\x1b" not in here("--help").out + here("config").out + here("nothing").err


def test_without_arguments_it_says_what_to_try_and_that_runs(cli: Command, tmp_path: Path) -> None:
    told = cli()
    assert told.code == 0
    assert len((told.out + told.err).splitlines()) <= LINES_OF_ALL
    example = told.err.partition("Try it without a key: ")[2]
    (tmp_path / "try.sh").write_text(example.replace("sqlbatch ", f"{sys.executable} -m sqlbatch ", 1))
    ran = subprocess.run(["sh", "try.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "baker" in ran.stdout


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sqlbatch show ", {"films", "1"}),
        ("sqlbatch wait f", {"films"}),
        ("sqlbatch prune --job ", {"films", "1"}),
        ("sqlbatch enrich x --provider gr", {"groq"}),
        ("sqlbatch enrich x --model gpt-6-l", {"gpt-6-luna"}),
        ("sqlbatch enrich x --endpoint emb", {"embeddings"}),
        ("sqlbatch query x --format c", {"csv"}),
        ("sqlbatch load films out", {"out.jsonl"}),
        ("sqlbatch pru", {"prune"}),
        ("sqlbatch show --db nothing.duckdb ", set()),
    ],
)
def test_tab_offers_what_fits(
    line: str, offered: set[str], here: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl").write_text("")
    if "films" in offered:
        begin(database("enriched.duckdb"), "SELECT 'a' AS x", into="films")
    monkeypatch.setenv("_SQLBATCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    code = (
        "import sys; sys.argv = ['sqlbatch']; from sqlbatch.__main__ import main\ntry:\n main()\n"
        "finally:\n assert 'openai' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert set(ran.stdout.split()) == offered


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (
            ["--help"],
            {"duckdb", "sqlglot", "openai", "starlette", "sqlbatch.run", "sqlbatch.prepare", "sqlbatch.options"},
        ),
        (
            ["jobs"],
            {
                "sqlglot",
                "openai",
                "starlette",
                "sqlbatch.run",
                "sqlbatch.inspection",
                "sqlbatch.prune",
                "rich.progress",
            },
        ),
    ],
    ids=["help", "jobs"],
)
def test_a_command_starts_without_what_it_does_not_need(
    arguments: list[str], unneeded: set[str], tmp_path: Path
) -> None:
    """Imports take longer than the work of these two; to import them at the top of a module is easily done."""
    duckdb.connect(str(tmp_path / "enriched.duckdb")).close()
    code = (
        f"import sys; sys.argv = ['sqlbatch', *{arguments}]; from sqlbatch.__main__ import main\n"
        "try:\n main()\nexcept SystemExit:\n sys.stderr.write(' '.join(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = set(ran.stderr.split())
    assert "sqlbatch.cli.app" in imported
    assert imported & unneeded == set()


def test_python_has_the_options_of_the_command_line() -> None:
    spelled = {"param": "params", "lean": "policy", "fuse": "policy"}
    # Python names its connection, and Spark, in its own way; two are of enrich alone.
    own = {"threads", "memory_limit", "engine", "shared", "max_attempts", "replace"}
    assert set(AskOptions.__annotations__) == {spelled.get(name, name) for name in ASK} - own
