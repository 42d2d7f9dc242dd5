"""Result files that a person fetched: each line counts once, whatever else comes in by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import job_actions
from sqlbatch.errors import InvalidSettings, JobError

if TYPE_CHECKING:
    from pathlib import Path

    from .bench import Bench

GONE = {"name": "error", "on": "GET /v1/files/*/content", "status": 410}
PAID = "SELECT sum(tokens_in), sum(tokens_out), count(*) FROM sqlbatch.billed"


def fetched(bench: Bench, folder: Path, *, error: bool = False) -> Path:
    """Return the newest batch's output (or error) file, as a person would fetch it from the provider's page."""
    path = folder / f"batch_{'error' if error else 'output'}.jsonl"
    file_id = bench.control.batches()[0]["error_file_id" if error else "output_file_id"]
    path.write_text("".join(json.dumps(line) + "\n" for line in bench.control.lines(file_id)))
    return path


def stuck(bench: Bench, rows: int | str = 6, **more: Any) -> int:
    """Begin a job whose batch has ended at the provider, while nothing of it is here."""
    job_id = bench.begin(rows, **more)
    bench.until_ended(job_id)
    return job_id


def test_a_file_fetched_by_hand_ends_the_job_and_its_batch(bench: Bench, tmp_path: Path) -> None:
    job_id = stuck(bench)
    handed, joined = job_actions.import_files(bench.database, job_id, [fetched(bench, tmp_path)])
    assert (handed.lines, handed.answered, handed.known, joined.answered) == (6, 6, 0, 6)
    assert bench.job(job_id).status == "done"
    assert bench.of_state("loaded") == 1
    assert {row[0] for row in bench.sql("SELECT source FROM sqlbatch.results")} == {"load"}
    bench.check(6)


def test_a_file_loaded_twice_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    job_id = stuck(bench)
    path = fetched(bench, tmp_path)
    path.write_text(path.read_text() + '{"custom_id":"stranger","response":{"status_code":200,"body":{}}}\n')
    first, _ = job_actions.import_files(bench.database, job_id, [path])
    facts = "SELECT (SELECT count(*) FROM sqlbatch.results), (SELECT count(*) FROM sqlbatch.quarantine)"
    before, paid = bench.sql(facts), bench.sql(PAID)
    again, joined = job_actions.import_files(bench.database, job_id, [path, path])
    assert (first.foreign, again.foreign) == (1, 2)
    assert (again.answered, again.known, joined.answered) == (0, 6, 6)
    assert (bench.sql(facts), bench.sql(PAID)) == (before, paid)
    assert before == [(6, 1)]


def test_what_was_loaded_already_is_known(bench: Bench, tmp_path: Path) -> None:
    job_id = bench.enrich(6)
    paid = bench.sql(PAID)
    handed, joined = job_actions.import_files(bench.database, job_id, [fetched(bench, tmp_path)])
    assert (handed.answered, handed.known, joined.answered) == (0, 6, 6)
    assert bench.sql(PAID) == paid


def test_a_batch_that_arrives_after_half_its_file_was_loaded_brings_only_the_rest(bench: Bench, tmp_path: Path) -> None:
    bench.control.faults({"name": "refusal", "count": 2})
    job_id = stuck(bench)
    path = fetched(bench, tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    handed, joined = job_actions.import_files(bench.database, job_id, [path])
    assert (handed.answered + handed.failed, joined.pending) == (3, 3)
    bench.check_audit()
    bench.wait(job_id)
    assert bench.sql("SELECT source, count(*) FROM sqlbatch.results GROUP BY ALL ORDER BY ALL") == [
        ("batch", 3),
        ("load", 3),
    ]
    assert bench.sql(PAID)[0][2] == 6
    assert len(bench.control.ledger()) == 6
    bench.check_audit()


def test_files_that_the_provider_no_longer_has_can_be_handed_in(bench: Bench, tmp_path: Path) -> None:
    bench.control.faults({"name": "line_error", "status": 400, "count": 1})
    job_id = stuck(bench)
    files = [fetched(bench, tmp_path), fetched(bench, tmp_path, error=True)]
    bench.control.faults(GONE)
    bench.wait(job_id)
    assert bench.sql("SELECT ai_status, count(*) FROM answers GROUP BY ALL") == [("failed", 6)]
    handed, joined = job_actions.import_files(bench.database, job_id, files)
    assert (handed.answered, handed.failed, joined.answered, joined.failed) == (5, 1, 5, 1)
    assert bench.sql("SELECT count(*), count(DISTINCT custom_id) FROM sqlbatch.results") == [(6, 6)]
    assert len(bench.control.ledger()) == 6
    bench.check_audit()


def test_a_retry_under_way_takes_what_is_handed_in_and_sends_no_more(bench: Bench, tmp_path: Path) -> None:
    job_id = stuck(bench)
    path = fetched(bench, tmp_path)
    bench.control.faults(GONE)
    bench.wait(job_id)
    job_actions.retry(bench.database, job_id)
    _, joined = job_actions.import_files(bench.database, job_id, [path])
    assert joined.answered == 6
    assert bench.job(job_id).status == "done"
    bench.control.faults()
    assert bench.wait(job_id) == []
    bench.check(6)


def test_what_was_only_planned_is_not_sent_for_what_is_handed_in(bench: Bench, tmp_path: Path) -> None:
    done = stuck(bench)
    path = fetched(bench, tmp_path)
    # As a backup that was made before the batch was sent.
    bench.sql("UPDATE sqlbatch.batches SET state = 'planned', provider_id = NULL, lease_until = NULL")
    handed, _ = job_actions.import_files(bench.database, done, [path])
    assert handed.answered == 6
    assert bench.of_state("abandoned") == 1
    assert bench.job(done).status == "done"
    bench.check_audit()


def test_lines_of_other_jobs_and_of_nobody_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    other = stuck(bench, 3, into="others")
    path = fetched(bench, tmp_path)
    mine = stuck(bench, "SELECT 'only mine' AS text, 1 AS n")
    path.write_text(path.read_text() + "{broken\n" + fetched(bench, bench.path.parent).read_text())
    handed, joined = job_actions.import_files(bench.database, mine, [path])
    assert (handed.elsewhere, handed.other_job, handed.foreign, joined.answered) == (3, other, 1, 1)
    assert bench.sql("SELECT batch_id, reason FROM sqlbatch.quarantine") == [(None, "not JSON")]


def test_a_file_with_nothing_for_the_job_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    other = stuck(bench, 3, into="others")
    path = fetched(bench, tmp_path)
    mine = bench.begin("SELECT 'only mine' AS text, 1 AS n")
    with pytest.raises(
        JobError, match=rf"none of 3 lines is a result of job {mine}, .*; 3 belong to job {other}: sqlb"
    ):
        job_actions.import_files(bench.database, mine, [path])
    path.write_text('{"custom_id":"stranger","response":{"status_code":200,"body":{}}}\n')
    with pytest.raises(JobError, match=rf"none of 1 lines is a result of job {mine}, nothing is changed$"):
        job_actions.import_files(bench.database, mine, [path])
    assert bench.sql("FROM duckdb_tables() WHERE table_name IN ('answers', 'others')") == []
    assert bench.sql("FROM sqlbatch.quarantine") == []


def test_what_is_no_result_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    job_id = stuck(bench)
    sent = tmp_path / "input.jsonl"
    file_id = bench.control.batches()[0]["input_file_id"]
    sent.write_text("".join(json.dumps(line) + "\n" for line in bench.control.lines(file_id)))
    with pytest.raises(JobError, match="no line is a result of the Batch API"):
        job_actions.import_files(bench.database, job_id, [sent])
    with pytest.raises(InvalidSettings, match=r"nothing\.jsonl cannot be read: No such file"):
        job_actions.import_files(bench.database, job_id, [tmp_path / "nothing.jsonl"])
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(0,)]
    assert bench.sql("SELECT count(*) FROM sqlbatch.quarantine") == [(0,)]
