"""What is pruned is not missed: no answer is paid for twice, no cost is forgotten, nothing on its way is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch import connection, job_actions, paths, prune
from sqlbatch.errors import JobError

if TYPE_CHECKING:
    from .bench import Bench

OWN = "INSERT INTO sqlbatch.prices (model, input, output, batch_factor) VALUES ('offline', 2, 10, 0.5)"
BY_JOB = (
    "SELECT job_id, target, model, day, source, sum(results), sum(tokens_in), sum(tokens_out), round(sum(dollars), 12) "
    "FROM sqlbatch.costs GROUP BY ALL ORDER BY ALL"
)
COSTS = "SELECT count(*), sum(tokens_in), sum(tokens_out), sum(dollars) FROM sqlbatch.costs"


def test_a_pruned_query_reuses_its_answers_and_keeps_its_costs(bench: Bench) -> None:
    bench.enrich(6)
    costs, target = bench.sql(COSTS), bench.target()
    found = prune.prunable(bench.database)
    assert (found.jobs, found.snapshots, found.inputs, found.provider_files) == (1, 0, 6, 2)
    done = prune.prune(bench.database)
    assert (done.inputs, done.input_bytes, done.provider_files) == (6, found.input_bytes, 2)
    assert prune.prune(bench.database).nothing
    assert bench.control.files() == bench.control.files("batch_output") == []
    assert bench.sql("SELECT count(*) FROM sqlbatch.requests") == [(0,)]
    assert (bench.sql(COSTS), bench.target()) == (costs, target)
    bench.enrich(8)
    bench.check(8)
    assert len(bench.control.ledger()) == 8


def test_a_pruned_request_can_be_asked_afresh(bench: Bench) -> None:
    bench.enrich(3)
    prune.prune(bench.database)
    bench.enrich(3, fresh=True)
    bench.check(3, once=False)
    assert len(bench.control.ledger()) == 6


def test_what_is_on_its_way_is_not_touched(bench: Bench) -> None:
    bench.enrich(3)
    open_job = bench.begin(5, "others")
    bench.sync(open_job)
    found = prune.prune(bench.database)
    assert found.inputs == 0, "the open job wants the same three"
    assert bench.sql("SELECT count(*) FROM sqlbatch.requests") == [(5,)]
    assert len(bench.control.files()) == 1
    with pytest.raises(JobError, match="is running, or has batches in flight"):
        prune.prunable(bench.database, open_job)
    bench.wait(open_job)
    bench.check(5, name="others")


def test_rows_of_failed_jobs_go_and_retry_says_so(bench: Bench) -> None:
    bench.control.faults({"name": "refusal", "count": 2})
    job_id = bench.enrich(4)
    other = bench.enrich("SELECT 'else' AS text, 9 AS n", "others")
    assert prune.prunable(bench.database, other).inputs == 1
    assert prune.prunable(bench.database, job_id).rows == 4
    assert prune.prune(bench.database, job_id).snapshots == 1
    with pytest.raises(JobError, match="the rows of job 1 are no longer kept"):
        job_actions.retry(bench.database, job_id)
    assert bench.sql("SELECT count(*) FROM sqlbatch.requests") == [(1,)]


def test_a_provider_that_does_not_delete_is_told_and_asked_again(bench: Bench) -> None:
    bench.enrich(2)
    bench.control.faults({"name": "error", "on": "DELETE /v1/files/*", "status": 403})
    done = prune.prune(bench.database)
    assert done.inputs == 2
    assert "2 files at the provider stay for now" in done.problems[0]
    bench.control.faults()
    assert prune.prune(bench.database).provider_files == 2


def test_results_of_earlier_prompts_go_for_the_asking_and_their_costs_stay(bench: Bench) -> None:
    bench.sql(OWN)
    bench.enrich(6, instructions="An earlier prompt.")
    bench.enrich(8)
    bench.enrich(3, "others", instructions="Another.")
    costs, target, audit = bench.sql(BY_JOB), bench.target(), "SELECT count(*) FROM sqlbatch.audit"
    assert prune.prunable(bench.database).results == 0
    assert prune.prunable(bench.database, results=True).results == 6
    assert prune.prune(bench.database).results == 0
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(17,)]
    assert prune.prune(bench.database, results=True).results == 6
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(11,)]
    assert (bench.sql(BY_JOB), bench.target(), bench.sql(audit)) == (costs, target, [(2,)])
    assert prune.prune(bench.database, results=True).nothing
    bench.enrich(8)
    assert len(bench.control.ledger()) == 17, "what the target shows is still known"
    bench.enrich(8, instructions="An earlier prompt.")
    assert len(bench.control.ledger()) == 25
    assert bench.sql(f"SELECT sum(dollars) > {sum(row[-1] for row in costs)} FROM sqlbatch.costs") == [(True,)]


def test_results_stay_whose_files_are_at_the_provider_whose_job_is_open_or_whose_target_is_there(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": "DELETE /v1/files/*", "status": 403})
    bench.enrich(3, instructions="An earlier prompt.")
    bench.enrich(3)
    done = prune.prune(bench.database, results=True)
    assert (done.results, len(done.problems)) == (0, 1)
    bench.control.faults()
    open_job = bench.begin(5, "others", instructions="An earlier prompt.")
    assert prune.prune(bench.database, results=True).results == 0
    job_actions.cancel(bench.database, open_job)
    job_actions.load(bench.database, open_job)
    assert prune.prune(bench.database, results=True).results == 0
    assert bench.sql("SELECT count(*) FROM others WHERE ai_status = 'answered'") == [(3,)]
    job_actions.cancel(bench.database, bench.begin("SELECT 'x' AS text, 1 AS n", "others", replacing=True))
    assert prune.prune(bench.database, results=True).results == 0, "the table is still the first one's"


def test_the_spool_is_emptied_of_what_nobody_needs(bench: Bench) -> None:
    job_id = bench.enrich(2)
    spool = paths.state_dir(bench.database) / "spool"
    batch_id = bench.sql("SELECT batch_id::VARCHAR FROM sqlbatch.batches")[0][0]
    (spool / f"sqlbatch-{batch_id}.jsonl").write_text("left behind")
    (spool / "mine.txt").write_text("not ours")
    assert prune.prunable(bench.database, job_id).spool_bytes == 11
    prune.prune(bench.database)
    assert bench.leftovers() == ["mine.txt"]


def test_without_a_key_everything_but_the_providers_files_goes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enrich(2)

    def no_key(*_: object) -> None:
        raise JobError("no API key")

    monkeypatch.setattr(connection, "key_of", no_key)
    done = prune.prune(bench.database)
    assert (done.inputs, done.provider_files, len(done.problems)) == (2, 0, 1)
