"""Every example of README and docs runs as written, and prints what the page shows.

`python -m pytest tests/docs --regenerate` writes what is printed into the pages.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sqlbatch.cli  # noqa: F401 (it puts the commands on the application)
from sqlbatch.batches import client
from sqlbatch.batches.providers import KNOWN
from sqlbatch.cli import app
from sqlbatch.server import EmbeddedServer, ServerConfig
from tests.conftest import ROOT
from tests.long import one_of

from .pages import ANY, NOT_RUN, Block, blocks, differs, examples
from .reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Its examples are the commands' own, one a command and each on its own: they are understood here, and not run.
REFERENCE = ROOT / "docs" / "commands.md"
KEY = "sk-test-0123456789abcdef"
# Names of OpenAI's models that pages use; the server that stands for OpenAI answers to them.
MODELS = ("gpt-6-luna", "gpt-6", "text-embedding-3-small")
LANGUAGES = {"sh", "console", "sql", "python", "toml", "text", "json", "csv", "yaml"}


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve what stands for OpenAI: our server, whose offline model answers under OpenAI's names."""
    folder = tmp_path_factory.mktemp("openai")
    with EmbeddedServer(folder, config=ServerConfig(folder, models=MODELS)) as server:
        yield server.base_url


@pytest.fixture
def reader(tmp_path: Path, openai: str, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Sit down at a terminal in a copy of what the pages name, with a key, on a clock that does not dawdle."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copytree(ROOT / "sql" / "examples", tmp_path / "sql" / "examples")
    real = client.BatchAPI

    def redirected(base_url: str, *given: Any, **more: Any) -> client.BatchAPI:
        return real(openai if base_url == KNOWN["openai"].base_url else base_url, *given, **more)

    # All else is as with OpenAI: its name, its prices, the ids of requests.
    monkeypatch.setattr(client, "BatchAPI", redirected)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "100")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return Reader(tmp_path, {})


@pytest.mark.parametrize("page", one_of(4, [page for page in PAGES if page != REFERENCE]), ids=lambda page: page.name)
def test_every_example_of_a_page_runs_and_prints_what_is_shown(
    page: Path, reader: Reader, request: pytest.FixtureRequest
) -> None:
    wrong: list[tuple[int, int, str]] = []
    for block in blocks(page):
        for line, lines, shown, printed in _run(page, block, reader):
            if differs(shown, printed):
                wrong.append((line, lines, printed))
                if not request.config.getoption("--regenerate"):
                    raise AssertionError(f"{page.name}:{line + 1} shows\n{shown}\nbut what is printed is\n{printed}")
    if wrong:
        _rewrite(page, wrong)


def test_every_example_of_the_reference_is_understood() -> None:
    commands = app.commands()
    found = [shlex.split(example.command) for block in blocks(REFERENCE) for example in examples(block)]
    assert {words[1] for words in found} == set(commands)
    for _, name, *arguments in found:
        commands[name].make_context(name, arguments)


def test_a_block_that_is_not_run_says_why() -> None:
    reasons = {block.word("not-run") for page in PAGES for block in blocks(page)} - {None}
    assert reasons == set(NOT_RUN)
    assert {block.language for page in PAGES for block in blocks(page)} <= LANGUAGES


def _run(page: Path, block: Block, reader: Reader) -> Iterator[tuple[int, int, str, str]]:
    """Run a block; yield each output that the page shows, where it stands, and what was printed."""
    needs = block.word("needs")
    if block.word("not-run") or (needs and importlib.util.find_spec(needs) is None):
        return
    where = f"{page.name}:{block.line}"
    name = block.word("file")
    printed = ""
    if name:
        reader.file(name, block.text)
    elif block.language == "python":
        # The lines keep their numbers, so that a traceback names the page's.
        printed = reader.python("\n" * block.line + block.text, str(page))
    elif block.language == "sql":
        code, printed = reader.sql(block.text)
        assert code == block.exit, f"{where} ended with {code}\n{printed}"
    elif block.language in {"sh", "console"}:
        for example in examples(block):
            code, text = reader.command(example.command, example.shown)
            assert code == block.exit, f"{where}: {example.command}\nended with {code}\n{text}"
            if example.shown is not None:
                yield example.line, example.lines, example.shown, text
            printed += text
    else:
        raise AssertionError(f"{where}: {block.language} needs file=NAME, or is not known here")
    if block.output is not None:
        yield block.output.line, block.output.lines, block.output.text, printed


def _rewrite(page: Path, wrong: list[tuple[int, int, str]]) -> None:
    """Put what was printed in the place of what was shown; the first and last lines of what was elided are kept."""
    text = page.read_text(encoding="utf-8").splitlines()
    for line, lines, printed in reversed(wrong):
        told = [each.rstrip() for each in printed.strip("\n").splitlines()]
        shown = text[line : line + lines]
        if ANY in shown:
            head, tail = shown.index(ANY), len(shown) - 1 - shown[::-1].index(ANY)
            told = [*told[:head], ANY, *(told[-(len(shown) - tail - 1) :] if tail < len(shown) - 1 else [])]
        text[line : line + lines] = told
    page.write_text("\n".join(text) + "\n", encoding="utf-8")
