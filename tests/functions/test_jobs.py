"""Jobs of queries with AI functions: asked stage by stage, paid once, kept through failures, retries and crashes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import sqlbatch
from sqlbatch import job_actions, run
from sqlbatch.batches.plan import pack
from sqlbatch.batches.providers import KNOWN
from sqlbatch.cli import main
from sqlbatch.db import jobs
from sqlbatch.db.database import Database
from sqlbatch.errors import InvalidPrompt, InvalidQuery, JobError
from sqlbatch.functions.jobs import collect_ready, hidden_rows
from tests.long import one_of
from tests.query.support import Failure, answer, begin, content, database, rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")

SETUP = """
CREATE TABLE movies (id INTEGER, title VARCHAR, overview VARCHAR, year INTEGER);
INSERT INTO movies VALUES (1, 'Alien', 'a war in space', 1979), (2, 'Brazil', 'a clerk dreams', 1985),
  (3, 'Cube', NULL, 1997), (4, 'Das Boot', 'a war at sea', 1981), (5, 'Elf', 'a war of elves', 2003);
"""
QUERY = """SELECT title, ai_complete(overview, 'Summarize.') AS s FROM movies
WHERE year > 1978 AND ai_filter(overview, 'war?')"""


def reply(body: Any) -> str | Failure | None:
    """Answer as a model would that finds a war in every text that says so."""
    text = content(body)
    if "response_format" not in body:
        return f"short: {text}"
    return json.dumps({"answer": "war" in text})


def run_through(db: Database, job_id: int, says: Any = reply) -> list[str]:
    """Collect, answer and finish a job; return the texts of the calls in the order that they were collected."""
    collected = []
    for _ in range(20):
        while (call := db.write(lambda session: collect_ready(session, job_id, 10**6))) is not None:
            collected.append(call.text)
        answer(db, job_id, says)
        if run.finish(db, job_id) is not None:
            return collected
    raise AssertionError("the job does not end")


def begun(db: Database, query: str = QUERY, **options: Any) -> int:
    """Begin a job of a query with calls."""
    return begin(db, query, instructions=None, **options)


def test_the_example_of_the_documentation_runs_in_one_call(tmp_path: Path) -> None:
    job = sqlbatch.enrich(
        "SELECT i, ai_classify('film ' || i, ['drama', 'war']) AS genre FROM range(6) t(i) "
        "WHERE ai_filter('film ' || i, 'a question')",
        db=tmp_path / "a.duckdb", into="films", provider="local",
    )  # fmt: skip
    job.wait()
    with duckdb.connect(str(tmp_path / "a.duckdb")) as con:
        assert [row[0] for row in con.execute("DESCRIBE films").fetchall()] == ["i", "genre", "ai_status", "ai_error"]
        assert con.execute("SELECT stages FROM sqlbatch.ai_plans").fetchall() == [(2,)]


def test_only_what_passes_is_asked_further_and_each_request_once() -> None:
    db = database(setup=SETUP)
    job_id = begun(db)
    assert run_through(db, job_id) == ["ai_complete(overview, 'Summarize.')"]
    assert rows(db, "SELECT title, s, ai_status FROM answers") == [
        ("Alien", "short: a war in space", "answered"),
        ("Das Boot", "short: a war at sea", "answered"),
        ("Elf", "short: a war of elves", "answered"),
    ]
    assert rows(db, "SELECT count(*), count(DISTINCT custom_id) FROM sqlbatch.results") == [(7, 7)]
    assert rows(db, 'SELECT requests, "rows" FROM sqlbatch.jobs') == [(7, 3)]
    assert rows(db, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'src_%'") == [(0,)]


def test_a_call_asks_for_the_very_requests_that_the_flags_ask_for() -> None:
    db = database(setup=SETUP)
    flags = begin(db, "SELECT overview FROM movies", instructions="Summarize.", returns="a VARCHAR", into="one")
    call = begun(db, "SELECT ai_complete(overview, 'Summarize.', returns := 'a VARCHAR') AS a FROM movies", into="two")
    asked = "SELECT custom_id FROM sqlbatch.wanted WHERE job_id = {} ORDER BY ALL"
    assert rows(db, asked.format(flags)) == rows(db, asked.format(call))


def test_what_was_answered_before_is_not_asked_again() -> None:
    db = database(setup=SETUP)
    run_through(db, begun(db))
    job_id = begun(db)
    assert run_through(db, job_id, lambda _: pytest.fail("asked again")) == ["ai_complete(overview, 'Summarize.')"]
    assert rows(db, f"SELECT reused FROM sqlbatch.jobs WHERE job_id = {job_id}") == [(4,)]


def test_a_failed_answer_of_a_row_is_named_and_a_failed_condition_says_that_rows_may_be_missing() -> None:
    db = database(setup=SETUP)
    job_id = begun(db)

    def says(body: Any) -> str | Failure | None:
        if "sea" in content(body):
            return Failure("refusal", "no sea")
        if "space" in content(body) and "response_format" not in body:
            return Failure("length", "too long")
        return reply(body)

    run_through(db, job_id, says)
    assert rows(db, "SELECT title, s, ai_status, ai_error FROM answers") == [
        ("Alien", None, "failed", "s: length: too long"),
        ("Elf", "short: a war of elves", "answered", None),
    ]
    failures = "SELECT clause, code, input FROM sqlbatch.ai_failures ORDER BY ALL"
    assert [(clause, code) for clause, code, _ in rows(db, failures)] == [("select", "length"), ("where", "refusal")]
    assert db.read(lambda session: hidden_rows(session, job_id)) == 1


def test_a_retry_asks_also_what_its_answers_make_due() -> None:
    db = database(setup=SETUP)
    job_id = begun(db)
    run_through(db, job_id, lambda body: Failure("refusal") if "sea" in content(body) else reply(body))
    assert rows(db, "SELECT count(*) FROM answers") == [(2,)]
    assert job_actions.retry(db, job_id) == 1
    assert run_through(db, job_id) == ["ai_complete(overview, 'Summarize.')"]
    assert rows(db, "SELECT title, s FROM answers") == [
        ("Alien", "short: a war in space"),
        ("Das Boot", "short: a war at sea"),
        ("Elf", "short: a war of elves"),
    ]
    assert rows(db, "SELECT count(*) FROM sqlbatch.results WHERE outcome = 'answered'") == [(7,)]


def test_on_error_fail_holds_the_target_until_a_retry() -> None:
    db = database(setup=SETUP)
    job_id = begun(db, "SELECT id, ai_complete(overview, 'S.', on_error := 'fail') AS s FROM movies")
    with pytest.raises(JobError, match="on_error is 'fail'"):
        run_through(db, job_id, lambda body: Failure("refusal") if "sea" in content(body) else reply(body))
    assert rows(db, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'answers'") == [(0,)]
    job_actions.retry(db, job_id)
    run_through(db, job_id)
    assert rows(db, "SELECT count(s) FROM answers") == [(4,)]


def test_on_error_capture_gives_value_and_error() -> None:
    db = database(setup=SETUP)
    job_id = begun(db, "SELECT id, ai_complete(overview, 'S.', on_error := 'capture') AS s FROM movies")
    run_through(db, job_id, lambda body: Failure("refusal", "no") if "sea" in content(body) else reply(body))
    assert rows(db, "SELECT s.value, s.error FROM answers WHERE id IN (1, 4)") == [
        ("short: a war in space", None),
        (None, "refusal: no"),
    ]


def test_sources_that_change_between_stages_change_nothing() -> None:
    db = database(setup=SETUP)
    job_id = begun(db)
    answer(db, job_id, reply)
    rows(db, "UPDATE movies SET overview = 'a war of words', title = 'X'")
    run_through(db, job_id)
    assert rows(db, "SELECT title FROM answers") == [("Alien",), ("Das Boot",), ("Elf",)]


@pytest.mark.parametrize("fails", one_of(4, range(12)))
def test_a_crash_at_any_commit_leaves_each_request_executed_once(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    db = database(setup=SETUP)
    job_id = begun(
        db,
        "SELECT title, ai_complete(ai_complete(overview, 'Summarize.'), 'Again.') AS s FROM movies "
        "WHERE ai_filter(overview, 'war?')",
    )
    write, left = Database.write, [fails]

    def killed(self: Database, work: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == -1 and fails % 2:
            raise KeyboardInterrupt

        def half(session: Any) -> Any:
            done = work(session)
            if left[0] == -1:
                raise KeyboardInterrupt
            return done

        return write(self, half, **options)

    monkeypatch.setattr(Database, "write", killed)
    with contextlib.suppress(KeyboardInterrupt):
        run_through(db, job_id)
    monkeypatch.setattr(Database, "write", write)
    with contextlib.suppress(AssertionError):
        run_through(db, job_id)
    assert rows(db, "SELECT count(*) FROM answers") == [(3,)]
    assert rows(db, "SELECT count(*), count(DISTINCT custom_id) FROM sqlbatch.results") == [(10, 10)]
    assert rows(db, "SELECT count(*) FROM sqlbatch.audit WHERE NOT balanced") == [(0,)]


def test_a_quote_has_the_first_stage_exactly_and_later_ones_at_most() -> None:
    db = database(setup=SETUP)
    quote = sqlbatch.plan(QUERY, db=db.path, provider="local")
    assert [(stage.number, stage.requests, stage.calls) for stage in quote.stages] == [
        (1, 4, ("ai_filter(overview, 'war?')",)),
        (2, 4, ("ai_complete(overview, 'Summarize.')",)),
    ]
    assert "stages" in quote.as_dict()
    assert "stage 2" in repr(quote)
    assert (
        "stages"
        not in sqlbatch.plan("SELECT title FROM movies", db=db.path, provider="local", instructions="x").as_dict()
    )


def test_an_option_that_the_query_says_itself_is_refused() -> None:
    db = database(setup=SETUP)
    for options in ({"instructions": "x"}, {"prompt": "{{ title }}"}, {"returns": "a DATE"}, {"limit": 3}):
        with pytest.raises(InvalidPrompt, match="does not go with a query that calls AI functions"):
            sqlbatch.plan(QUERY, db=db.path, provider="local", **options)
    with pytest.raises(InvalidPrompt, match=r"endpoint=embeddings: a query that calls .* ai_embed asks for embeddings"):
        sqlbatch.plan(QUERY, db=db.path, provider="local", endpoint="embeddings")
    with pytest.raises(InvalidQuery, match="has the name of a column that sqlbatch adds"):
        sqlbatch.plan("SELECT ai_complete(title) AS ai_status FROM movies", db=db.path, provider="local")


def test_a_write_hidden_in_a_source_is_refused() -> None:
    db = database(setup=SETUP)
    with pytest.raises(InvalidQuery):
        sqlbatch.plan("WITH x AS (INSERT INTO movies VALUES (6, 'F', 'f', 1) RETURNING *) "
                      "SELECT ai_complete(title) FROM x", db=db.path, provider="local")  # fmt: skip
    assert rows(db, "SELECT count(*) FROM movies") == [(5,)]


def test_installed_macros_run_the_query_in_any_client(capsys: pytest.CaptureFixture[str]) -> None:
    db = database(setup=SETUP)
    run_through(db, begun(db))
    assert main(["functions", "install", "--db", str(db.path)]) == 0
    written = rows(db, "SELECT title, s FROM answers")
    with duckdb.connect(str(db.path)) as con:
        assert con.execute(QUERY).fetchall() == written
        assert con.execute("SELECT count(*) FROM movies WHERE ai_filter(title, 'never asked') IS NULL").fetchall() == [
            (5,)
        ]
    capsys.readouterr()
    assert main(["query", QUERY, "--db", str(db.path), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert [row["title"] for row in json.loads(said.out)] == ["Alien", "Das Boot", "Elf"]
    assert "never asked" not in said.err
    unasked = "SELECT ai_complete(title, 'Never.') AS a, ai_score(title, 'x', on_error := 'capture') AS b FROM movies"
    assert main(["query", unasked, "--db", str(db.path), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0] == {"a": None, "b": {"value": None, "error": "not asked yet"}}
    assert "note: some calls were never asked, and are NULL here" in said.err


def test_the_command_plans_by_each_policy(capsys: pytest.CaptureFixture[str]) -> None:
    db = database(setup=SETUP)
    for policy, stages in (([], 2), (["--fuse"], 1), (["--lean"], 2)):
        assert main(["plan", QUERY, "--db", str(db.path), "--provider", "local", "--json", *policy]) == 0
        assert len(json.loads(capsys.readouterr().out)["stages"]) == stages
    assert main(["plan", QUERY, "--db", str(db.path), "--provider", "local", "--lean", "--fuse"]) != 0


def test_a_file_chooses_the_policy(tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("/* sqlbatch\npolicy = 'fuse'\n*/\n" + QUERY)
    db = database(setup=SETUP)
    quote = sqlbatch.plan(tmp_path / "q.sql", db=db.path, provider="local")
    assert [stage.number for stage in quote.stages] == [1]


def test_a_preview_runs_all_stages_on_a_sample_and_its_answers_are_kept() -> None:
    db = database(setup="CREATE TABLE t AS SELECT 'text ' || i AS a FROM range(50) t(i)")
    query = "SELECT a, ai_complete(ai_complete(a, 'One.'), 'Two.') AS b FROM t"
    shown = sqlbatch.preview(query, db=db.path, rows=3, provider="local")
    assert [(row.status, (row.answer or {})["a"]) for row in shown.rows] == [
        ("answered", f"text {i}") for i in range(3)
    ]
    assert all((row.answer or {})["b"] for row in shown.rows)
    assert shown.sent == 6
    assert sqlbatch.preview(query, db=db.path, rows=3, provider="local").sent == 0
    assert sqlbatch.plan(query, db=db.path, provider="local").answered == 3


def test_answers_that_were_cut_are_asked_again_only_with_a_larger_limit() -> None:
    """Of the first stage and of a later one; the quote counts them."""
    db = database(setup="CREATE TABLE t AS SELECT 'a text of many words, ' || i AS a FROM range(2) t(i)")
    query = "SELECT ai_complete(b, 'Again.') AS c FROM (SELECT ai_complete(a, 'Repeat.') AS b FROM t)"
    ask: dict[str, Any] = {"db": db.path, "provider": "local", "into": "t2"}
    sent = "SELECT count(*) FROM sqlbatch.results"
    sqlbatch.enrich(query, params={"max_completion_tokens": 2}, **ask).wait()
    assert rows(db, sent) == [(2,)]
    for cap in (1, 2):
        assert sqlbatch.plan(query, params={"max_completion_tokens": cap}, **ask).to_send == 0
    assert sqlbatch.plan(query, params={"max_completion_tokens": 500}, **ask).to_send == 2
    sqlbatch.enrich(query, params={"max_completion_tokens": 500}, **ask).wait()
    assert rows(db, "SELECT count(*) FROM t2 WHERE c IS NOT NULL") == [(2,)]


@pytest.mark.long
def test_a_larger_limit_of_one_call_asks_only_that_one_again() -> None:
    """Its inputs are the answers of before."""
    db = database(setup="CREATE TABLE t AS SELECT 'a text of many words, ' || i AS a FROM range(2) t(i)")
    query = """SELECT ai_complete(b, 'Once more.', params := {max_completion_tokens: 2}) AS c
    FROM (SELECT ai_complete(a, 'Repeat.') AS b FROM t)"""
    ask: dict[str, Any] = {"db": db.path, "provider": "local", "into": "t2"}
    sqlbatch.enrich(query, **ask).wait()
    assert rows(db, "SELECT DISTINCT ai_status FROM t2") == [("failed",)]
    sqlbatch.enrich(query.replace(": 2}", ": 500}"), **ask).wait()
    assert rows(db, "SELECT DISTINCT ai_status FROM t2") == [("answered",)]
    assert rows(db, "SELECT count(*) FROM sqlbatch.results") == [(6,)]


def test_a_preview_does_not_send_what_a_batch_has() -> None:
    """Nor what needs its answers; the rows are pending."""
    db = database(setup="CREATE TABLE t AS SELECT 'text ' || i AS a FROM range(3) t(i)")
    query = "SELECT a, ai_complete(coalesce(ai_complete(a, 'One.'), 'none'), 'Two.') AS b FROM t"
    job_id = begun(db, query)
    pack(db, job_id, KNOWN["local"])
    shown = sqlbatch.preview(query, db=db.path, rows=3, provider="local")
    assert (shown.sent, [row.status for row in shown.rows]) == (0, ["pending"] * 3)
    assert "a batch has it already" in str(shown.rows[0].error)
    assert rows(db, "SELECT count(*) FROM sqlbatch.results") == [(0,)]
    again = sqlbatch.preview(query, db=db.path, rows=3, provider="local", fresh=True)
    assert (again.sent, [row.status for row in again.rows]) == (6, ["answered"] * 3)


def test_a_retry_is_quoted_at_the_price_of_each_call_s_own_model() -> None:
    db = database(setup="CREATE TABLE t AS SELECT 'text ' || i AS a FROM range(2) t(i)")
    query = "SELECT ai_complete(a, 'One.') AS one, ai_complete(a, 'Two.', model := 'dear') AS two FROM t"
    job_id = begun(db, query, provider="openai", model="cheap", param=["max_completion_tokens=1000"])
    price = "INSERT INTO sqlbatch.prices (model, input, output, batch_factor) VALUES"
    rows(db, f"{price} ('cheap', 0, 1, 1), ('dear', 0, 1000, 1)")
    run_through(db, job_id, lambda _: Failure("refusal"))
    with db.session() as session:
        failed, cost = job_actions.retry_cost(session, jobs.find(session, str(job_id)), KNOWN["openai"])
    assert failed == 4
    assert cost.dollars_largest == pytest.approx(2 * 0.001 + 2 * 1.0)


def test_a_row_that_another_answer_would_change_is_uncertain() -> None:
    db = database(setup=SETUP)
    job_id = begun(
        db, "SELECT year > 2000 AS late, count(*) AS films FROM movies WHERE ai_filter(overview, 'war?') GROUP BY late"
    )
    run_through(db, job_id, lambda body: Failure("refusal") if "sea" in content(body) else reply(body))
    assert rows(db, "SELECT late, films, ai_status FROM answers ORDER BY late") == [
        (False, 1, "uncertain"),
        (True, 1, "answered"),
    ]


def test_a_view_that_calls_functions_is_refused_and_not_read_as_unknown() -> None:
    db = database(setup=SETUP)
    run_through(db, begun(db))
    assert main(["functions", "install", "--db", str(db.path)]) == 0
    rows(db, "CREATE VIEW wars AS SELECT * FROM movies WHERE ai_filter(overview, 'never asked')")
    rows(db, "CREATE VIEW late_wars AS SELECT * FROM wars WHERE year > 1990")
    with pytest.raises(InvalidQuery, match="late_wars is a view or macro that calls AI functions"):
        sqlbatch.plan("SELECT ai_complete(title) FROM late_wars", db=db.path, provider="local")


def test_what_is_loaded_in_the_middle_of_a_plan_is_pending_and_a_cancelled_one_goes_on_where_it_was() -> None:
    db = database(setup=SETUP)
    run_through(db, begun(db, "SELECT ai_complete(overview, 'Summarize.') AS s FROM movies WHERE id = 4", into="one"))
    job_id = begun(db)
    state = "SELECT title, s, ai_status FROM answers ORDER BY title"
    assert job_actions.load(db, job_id).rows == 0
    answer(db, job_id, reply)
    # The filter has decided which rows there are, and their own answers are not even asked for.
    assert job_actions.load(db, job_id).pending == 3
    assert rows(db, state) == [(title, None, "pending") for title in ("Alien", "Das Boot", "Elf")]
    db.write(lambda session: collect_ready(session, job_id, 10**6))
    assert job_actions.load(db, job_id).pending == 2
    assert rows(db, state)[1] == ("Das Boot", "short: a war at sea", "answered")
    assert job_actions.cancel(db, job_id)
    assert job_actions.load(db, job_id).pending == 2
    with pytest.raises(JobError, match=f"job {job_id} is cancelled: run its enrich again"):
        job_actions.retry(db, job_id)
    asked: list[str] = []

    def says(body: Any) -> str | Failure | None:
        asked.append(content(body))
        return reply(body)

    run_through(db, begun(db), says)
    assert sorted(asked) == ["a war in space", "a war of elves"]
    assert [status for *_, status in rows(db, state)] == ["answered"] * 3


def test_prune_leaves_a_plan_alone_that_is_not_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    db = database(setup=SETUP)
    job_id = begun(db)
    answer(db, job_id, reply)
    assert main(["prune", "--results", "--db", str(db.path)]) == 0
    assert main(["prune", "--job", str(job_id), "--db", str(db.path)]) != 0
    assert "prune deletes only data of finished jobs" in capsys.readouterr().err
    run_through(db, job_id)
    assert rows(db, "SELECT count(*), (SELECT count(*) FROM sqlbatch.results) FROM answers") == [(3, 7)]


def test_a_group_is_pending_while_answers_that_make_it_are_not_there() -> None:
    db = database(setup=SETUP)
    job_id = begun(db, "SELECT ai_filter(overview, 'war?') AS war, count(*) AS films FROM movies GROUP BY war")
    joined = job_actions.load(db, job_id)
    assert (joined.rows, joined.pending) == (1, 1)
    run_through(db, job_id)
    assert rows(db, "SELECT count(*) FILTER (ai_status = 'answered'), count(*) FROM answers") == [(3, 3)]
