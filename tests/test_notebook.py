"""What a notebook shows: a quote, a job and its progress as HTML, in which no text of the user's is markup."""

from __future__ import annotations

import contextlib
import signal
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sqlbatch
from sqlbatch import layout
from sqlbatch.batches.events import Loaded, Packed, Progress, Transferring, Waiting
from sqlbatch.display import notebook
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILMS = "SELECT * FROM (VALUES ('Heat', 'A thief.'), ('<b>Up</b>', 'A house.')) f(title, plot)"


class _Read(HTMLParser):
    """The texts and tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 (what a parser is handed)
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def ask(**more: Any) -> dict[str, Any]:
    """Return the arguments of an enrichment by the local provider."""
    return {"input": "plot", "instructions": "Repeat.", "into": "<i>", "provider": "local"} | more


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed the clock up, so that pauses take no time."""
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "600")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for IPython in a kernel: what the cell shows, one picture after the other."""
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython)["get_ipython"] = lambda: SimpleNamespace(kernel=object())
    vars(display).update(HTML=str, display=lambda _, **__: handle)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


@given(st.text())
def test_no_text_is_markup(text: str) -> None:
    for html in (
        layout.html_facts(text, {text: text}, [text]), layout.html_table([text], [[text], [None]]), notebook_of(text),
    ):  # fmt: skip
        assert set(_Read(html).tags) <= {"div", "table", "thead", "tbody", "tr", "td", "th", "b", "br", "span"}
        assert "<script" not in html.lower()


def notebook_of(text: str) -> str:
    """Return the last picture of a job's progress in which every text is the same."""
    shown: list[str] = []
    notebook.follow([Waiting(text), Transferring(text, 1, None)], text, shown.append, back=text)
    return shown[-1]


def test_a_quote_shows_itself_as_html_and_as_text(tmp_path: Path) -> None:
    quote = sqlbatch.plan(FILMS, db=tmp_path / "a.duckdb", **ask())
    html = quote._repr_html_()
    assert "&lt;i&gt;" in html
    assert "<i>" not in html
    assert "2 requests in 1 batch" in "".join(_Read(html).texts)
    assert "to send        2 requests in 1 batch" in str(quote)
    assert quote.to_send == 2


def test_a_preview_shows_itself_as_html(tmp_path: Path) -> None:
    shown = sqlbatch.preview(
        FILMS, db=tmp_path / "a.duckdb", input="plot", instructions="Repeat.", returns="said VARCHAR", provider="local"
    )
    html = shown._repr_html_()
    assert "<td" in html
    assert "&lt;b&gt;Up&lt;/b&gt;" in html
    texts = _Read(html).texts
    assert texts[:6] == ["row", "title", "plot", "→ said", "status", "1"]
    assert texts.count("answered") == 2
    assert texts.count("A thief.") == 2


def test_a_job_shows_itself_wherever_it_stands(tmp_path: Path) -> None:
    job = sqlbatch.enrich(FILMS, db=tmp_path / "a.duckdb", **ask())
    texts = _Read(job._repr_html_()).texts
    assert 'job 1 "<i>"' in texts
    assert any(text.startswith("running") for text in texts)
    job.wait()
    assert "2 distinct: 2 answered, 0 failed, 0 pending" in _Read(job._repr_html_()).texts


def test_a_job_shows_itself_also_where_its_database_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlbatch.db.database.LOCK_PATIENCE", 0.1)
    path = tmp_path / "a.duckdb"
    job = sqlbatch.enrich(FILMS, db=path, **ask()).wait()
    with duckdb.connect(str(path), read_only=True):
        assert "open in this process with other settings" in repr(job)
        assert "open in this process with other settings" in job._repr_html_()


def test_in_a_notebook_wait_shows_its_progress_in_the_cell(tmp_path: Path, kernel: list[str]) -> None:
    job = sqlbatch.enrich(FILMS, db=tmp_path / "a.duckdb", **ask()).wait()
    assert "<progress" in kernel[0]
    assert "<progress" not in kernel[-1]
    assert "2 answered" in kernel[-1]
    count = len(kernel)
    job.wait(progress=False)
    assert len(kernel) == count


def test_outside_of_a_notebook_wait_is_silent_unless_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sqlbatch.enrich(FILMS, db=tmp_path / "a.duckdb", **ask()).wait()
    assert capfd.readouterr() == ("", "")
    sqlbatch.enrich(FILMS, db=tmp_path / "a.duckdb", **ask(), fresh=True).wait(progress=True)
    assert "2 answered" in capfd.readouterr().err


def test_a_picture_shows_how_far_it_is() -> None:
    shown: list[str] = []

    def events() -> Iterator[Packed | Progress | Loaded]:
        yield Packed(1, 4)
        yield Progress(1, 4, 1, 1, (("in_progress", 1),))
        # What happens once is shown at once, with the counts of before.
        yield Packed(1, 4)
        yield Loaded("a", "batch_a", "completed", 4, 0, 0, 0)

    notebook.follow(events(), "job 1", shown.append, back="")
    assert "1 batch in_progress: 2 of 4 requests" in shown[2]
    assert '<progress value="2" max="4"' in shown[2]
    assert "4 answered" in shown[-1]


def test_an_interrupt_is_passed_on_and_says_how_to_come_back() -> None:
    shown: list[str] = []

    def events() -> Iterator[Packed]:
        yield Packed(1, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notebook.follow(events(), "job 1", shown.append, back="job.wait() comes back to it")
    assert "interrupted; job.wait() comes back to it" in shown[-1]
    assert "<progress" not in shown[-1]


def test_an_interrupt_that_is_dropped_on_its_way_is_raised_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sqlbatch.enrich(FILMS, db=tmp_path / "a.duckdb", **ask())
    connect = duckdb.connect

    def dropping(*given: Any, **more: Any) -> duckdb.DuckDBPyConnection:
        # As DuckDB does where it looks for a notebook's widgets: what comes meanwhile is cleared away.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return connect(*given, **more)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(duckdb, "connect", dropping)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) == before
    assert job.wait().status().status == "done"


def test_a_job_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with pytest.raises(JobError, match="no database"):
        sqlbatch.find(db=path)
    sqlbatch.enrich(FILMS, db=path, **ask(into="films")).wait()
    assert sqlbatch.find("films", db=path).job_id == sqlbatch.find(1, db=path).job_id == sqlbatch.find(db=path).job_id
    assert [job.job_id for job in sqlbatch.jobs(db=path)] == [1]
    with pytest.raises(JobError):
        sqlbatch.find("other", db=path)


def test_a_job_is_loaded_cancelled_and_asked_again_from_python(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    job = sqlbatch.enrich(FILMS, db=path, **ask(into="films"))
    with pytest.raises(JobError, match=r"job.load\(\)"):
        job.table()
    assert job.load().table().filter("ai_status = 'pending'").aggregate("count(*)").fetchall() == [(2,)]
    assert job.cancel().status().status == "cancelled"
    done = sqlbatch.enrich(FILMS, db=path, **ask(into="films")).wait()
    with pytest.raises(JobError, match="no request of job 2 failed"):
        done.retry()
