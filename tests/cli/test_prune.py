"""prune says what goes before it goes, and asks; load takes files as well as a job."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.query.support import content, database, enrich

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Command

QUERY = "SELECT 'a' AS x UNION ALL SELECT 'b'"
ASK = ("enrich", QUERY, "--provider", "local", "--instructions", "Say it.", "--into", "t")


def test_prune_asks_first_and_says_what_is_gone(here: Command) -> None:
    assert here(*ASK).code == 0
    assert here("prune", "--dry-run").err.startswith("would be deleted: the inputs of 2 requests (")
    assert "there is no terminal to ask on: add --yes to delete" in here("prune").error
    planned = json.loads(here("prune", "--dry-run", "--json").out)
    assert (planned["inputs"], planned["provider_files"], planned["problems"]) == (2, 2, [])
    gone = here("prune", "--yes", "--job", "t")
    assert (gone.code, gone.err.startswith("deleted: the inputs of 2 requests")) == (0, True)
    assert "nothing to prune" in here("prune").err
    again = here(*ASK)
    assert "to send        nothing" in again.err
    assert here("prune", "--job", "7").error.startswith("there is no job 7")


def test_in_a_terminal_it_says_what_would_go_before_it_asks(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    enrich(database("enriched.duckdb"), QUERY, content, into="t")
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sqlbatch.cli.follow.sys", terminal)
    kept = here("prune", "--quiet", stdin="n\n")
    assert kept.code == 1
    assert kept.err.index("would be deleted: the inputs of 2 requests") < kept.err.index("Delete it? [y/N]")
    gone = here("prune", stdin="y\n")
    assert (gone.code, "deleted: the inputs of 2 requests" in gone.err) == (0, True)


def test_prune_of_results_says_what_it_costs_to_ask_again(here: Command) -> None:
    db = database("enriched.duckdb")
    for number, instructions in enumerate(("An earlier prompt.", "A better one.")):
        enrich(db, QUERY, content, into="t", instructions=instructions)
        with db.session() as session:
            session.sql(f"UPDATE sqlbatch.results SET tokens_in = {number + 1}, tokens_out = 1 WHERE tokens_in IS NULL")
    assert (
        "2 results that no target shows any more (asking again costs again)"
        in here("prune", "--dry-run", "--results").err
    )
    assert "results that" not in here("prune", "--dry-run").err
    gone = json.loads(here("prune", "--yes", "--results", "--json").out)
    assert (gone["results"], gone["problems"]) == (2, [])
    costs = here("query", "SELECT sum(results) AS n, sum(tokens_in) AS tokens FROM sqlbatch.costs", "--format", "csv")
    assert costs.out == "n,tokens\n4,6\n"


def test_load_takes_a_job_files_or_both(here: Command, tmp_path: Path) -> None:
    enrich(database("enriched.duckdb"), QUERY, content, into="t")
    row = json.loads(here("query", "FROM sqlbatch.results", "--json").out)[0]
    known, said = row["custom_id"], row["content"]
    answer = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": None}
    (tmp_path / "out.jsonl").write_text(
        "".join(
            json.dumps({"custom_id": each, "response": {"status_code": 200, "body": answer}, "error": None}) + "\n"
            for each in (known, "00000000-0000-0000-0000-000000000000")
        )
    )
    for words in (("t", "out.jsonl"), ("1", "out.jsonl"), ("out.jsonl",)):
        ran = here("load", *words)
        assert ran.code == 0, ran.err
        assert "2 lines: 0 answered, 1 known before" in ran.err
        assert "1 line without a request in this database: kept in sqlbatch.quarantine" in ran.err
    found = json.loads(here("load", "out.jsonl", "--json").out)
    assert (found["answered"], found["files"]["foreign"], found["files"]["lines"]) == (2, 1, 2)
    assert json.loads(here("load", "--json").out)["rows"] == 2
    assert here("load", "t", "nothing.jsonl").error == "nothing.jsonl cannot be read: No such file or directory"
    (tmp_path / "in.jsonl").write_text('{"custom_id":"x","body":{}}\n')
    assert "no line is a result of the Batch API" in here("load", "in.jsonl").error


def test_load_says_that_it_cannot_replace_a_table_whose_rows_are_no_longer_kept(here: Command) -> None:
    assert here(*ASK).code == 0
    with database("enriched.duckdb").session() as session:
        session.sql("UPDATE t SET response = 'mine'")
    ran = here("load", "t", "--replace")
    assert (ran.code, "t stays as it is, because the rows of job 1 are no longer kept" in ran.err) == (0, True)
    assert here("query", "SELECT DISTINCT response FROM t", "--format", "csv").out == "response\nmine\n"
    assert "stays as it is" not in here("load", "t").err
    assert here(*ASK, "--replace").code == 0
    assert here("query", "FROM t WHERE response = 'mine'", "--format", "csv").out.count("\n") == 1
