"""What all tests share: a clean environment in a folder of its own, the command line, the audit of every database."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import duckdb
import hypothesis
import pytest

from sqlbatch import connection
from sqlbatch import run as runs
from sqlbatch.cli import main
from sqlbatch.display import verbosity

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples at each run, so that a failure is the change's; --hypothesis-profile=default draws new ones.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")
ROOT = Path(__file__).parent.parent
# Who starts the tests in the background of a script has interrupts ignored, in them and in all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Processes that tests start compile our modules once, and not each again, whatever whoever runs the tests says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Variables that would make a test depend on the machine it runs on.
_STRANGE = ("OPENAI_", "SQLBATCH_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")


# Databases whose audit was checked while they were open.
_CHECKED: set[Path] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call the cases long that their test's `one_of` leaves to `pytest -m long`."""
    cases: Counter[str] = Counter()
    for item in items:
        found = item.get_closest_marker("one_of")
        if found is not None:
            test = item.nodeid.partition("[")[0]
            if cases[test] % found.args[0]:
                item.add_marker(pytest.mark.long)
            cases[test] += 1


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line that tells the error, without the lines that point at a place."""
        found = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(found) == 1, self.err
        return found[0].removeprefix("error: ")


class Command(Protocol):
    """Runs `sqlbatch` with arguments, in the test's folder."""

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Ran:
        """Return what it printed, and its exit code."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that writes the compiler's expected files anew."""
    parser.addoption("--regenerate", action="store_true", help="write the expected files of tests/fixtures anew")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Stand in an empty folder, with none of the user's options and keys; put back what a command sets for itself."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_STRANGE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    verbosity.set(quiet=False, verbose=False, debug=False)


@pytest.fixture(autouse=True)
def _audited(tmp_path: Path) -> Iterator[None]:
    """Check, after every test, that no database it leaves behind has lost a request."""
    yield
    for path in set(tmp_path.rglob("*.duckdb")) - _CHECKED:
        with contextlib.suppress(duckdb.IOException), duckdb.connect(str(path)) as con:
            check_audit(con, path)


def check_audit(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Check that every batch of a database is accounted for: sent = answered + failed + released + open."""
    _CHECKED.add(path)
    catalog = con.execute("SELECT current_catalog()").fetchall()[0][0]
    if con.execute("FROM duckdb_views() WHERE schema_name = 'sqlbatch' AND view_name = 'audit'").fetchall():
        unbalanced = con.execute(f'FROM "{catalog}".sqlbatch.audit WHERE NOT balanced').fetchall()
        assert unbalanced == [], f"{path.name}: {unbalanced}"


@pytest.fixture
def cli(tmp_path: Path) -> Command:
    """Run the real command in a process of its own."""

    def ran(*arguments: str, stdin: str | bytes = "") -> Ran:
        told = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "sqlbatch", *arguments], input=told, capture_output=True, cwd=tmp_path, check=False
        )
        return Ran(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode())

    return ran


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in this process: fifty times as fast, for the many cases."""

    def ran(*arguments: str, stdin: str | bytes = "") -> Ran:
        told = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(told), encoding="utf-8"))
        capfd.readouterr()
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return ran


@pytest.fixture
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test at the first attempt to reach any provider."""

    def reached(*_: object) -> None:
        raise AssertionError("a provider was reached")

    for room in (runs, connection):
        monkeypatch.setattr(room, "connect", reached)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its bytes, every folder with None: what must not change."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


class Refusing:
    """A provider that answers everything with one status and one error, and keeps what it was asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        asked: list[tuple[str, str, str]] = []
        body = f'{{"error": {{"message": "{message}", "type": "x", "param": null, "code": "{code}"}}}}'.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.command, self.path, self.headers.get("Authorization", "")))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 (likewise)

            def log_message(self, *_: object) -> None:
                """Keep stderr for what is tested."""

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    """Serve a provider that takes no key."""
    server = Refusing(401, "invalid_api_key", "Incorrect API key provided: sk-secr****word.")
    yield server
    server.close()
