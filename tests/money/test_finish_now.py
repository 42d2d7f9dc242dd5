"""What is left of a job can be asked at once, at the flex price, and nothing that a batch has is sent twice."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import finish_now, prepare
from sqlbatch.batches.events import Waiting
from sqlbatch.batches.plan import pack
from sqlbatch.leases import new_owner

if TYPE_CHECKING:
    from tests.batches.bench import Bench
    from tests.conftest import Command

PRICES = """INSERT INTO sqlbatch.prices (model, tier, input, output)
VALUES ('offline', 'default', 2, 10), ('offline', 'flex', 1, 5), ('offline', 'batch', 0.5, 2)"""
CHAT = "/v1/chat/completions"
CAPPED: dict[str, Any] = {"params": (("max_completion_tokens", "20"), ("service_tier", '"auto"'))}


@pytest.fixture
def priced(bench: Bench) -> Bench:
    bench = bench.within(max_requests=4)
    bench.enrich("SELECT 'another' AS text", "first")
    bench.sql(PRICES)
    return bench


def ask(bench: Bench, job_id: int) -> list[Any]:
    return list(finish_now.ask(bench.database, finish_now.remainder(bench.database, job_id)))


def test_what_no_batch_has_is_asked_now_and_what_one_has_stays_there(priced: Bench) -> None:
    job_id = priced.begin(10, **CAPPED)
    # Of three planned batches one is on its way to the provider.
    pack(priced.database, job_id, priced.provider)
    mine = "batch_id = (SELECT min(batch_id) FROM sqlbatch.batches WHERE state = 'planned' AND requests = 4)"
    lease = "lease_owner = 'elsewhere:1:0', lease_until = TIMESTAMP '2100-01-01'"
    priced.sql(f"UPDATE sqlbatch.batches SET {lease} WHERE {mine}")
    quoted = finish_now.remainder(priced.database, job_id)
    assert (quoted.requests, quoted.elsewhere, quoted.flex) == (6, 4, True)
    # Half the input's and output's ordinary price.
    assert quoted.cost.dollars is not None
    calls = priced.control.calls("POST", CHAT)
    ask(priced, job_id)
    assert priced.control.calls("POST", CHAT) == calls + 6
    job = priced.job(job_id)
    assert (job.answered, job.pending) == (6, 4)
    ran = "SELECT state, requests FROM sqlbatch.batches WHERE provider_id IS NULL AND state <> 'planned' ORDER BY ALL"
    assert priced.sql(ran) == [("abandoned", 2), ("abandoned", 4), ("loaded", 6)]
    priced.check_audit()
    # Its cost is the job's; this server does not say that it was processed as flex, so it counts as ordinary.
    spent = "SELECT sum(dollars), sum((tokens_in * 2 + tokens_out * 10) / 1e6) FROM sqlbatch.costs WHERE job_id = 2"
    ((dollars, expected),) = priced.sql(spent)
    assert dollars == pytest.approx(expected)
    priced.sql("UPDATE sqlbatch.results SET tier = 'flex' WHERE source = 'preview'")
    assert priced.sql(spent)[0][0] == pytest.approx(expected / 2)
    priced.sql("UPDATE sqlbatch.batches SET lease_owner = NULL, lease_until = NULL WHERE state = 'planned'")
    priced.wait(job_id)
    priced.check(10, once=False)


def test_a_request_says_flex_and_keeps_the_jobs_other_parameters(priced: Bench) -> None:
    job_id = priced.begin(2, **CAPPED)
    (call,) = finish_now.remainder(priced.database, job_id).calls
    assert call.tail.endswith(',"max_completion_tokens":20,"service_tier":"flex"}')
    assert call.cap == 20
    # A model without a flex price is asked as an ordinary request.
    priced.sql("DELETE FROM sqlbatch.prices WHERE tier = 'flex'")
    (call,) = finish_now.remainder(priced.database, job_id).calls
    assert (call.flex, call.tail.endswith('"service_tier":"auto"}')) == (False, True)


def test_no_room_at_the_flex_price_is_waited_for_and_costs_nothing(
    priced: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On the clock of the tests, the patience of users is shorter than a busy machine may be silent.
    monkeypatch.setattr("sqlbatch.batches.preview.FLEX_PATIENCE", 90_000.0)
    job_id = priced.begin(3, **CAPPED)
    # Five times "resource unavailable": more often than an ordinary preview asks.
    priced.control.faults({"name": "retry_after", "on": f"POST {CHAT}", "count": 5, "retry_after": 20})
    events = ask(priced, job_id)
    assert any(isinstance(event, Waiting) and "no room at the flex price" in event.reason for event in events)
    assert priced.job(job_id).answered == 3
    assert priced.sql("SELECT count(*) FROM sqlbatch.costs WHERE job_id = 2") == [(3,)]
    priced.wait(job_id)
    priced.check(3, once=False)


def test_while_a_run_asks_no_other_process_sends_the_same_and_a_killed_one_frees_it(priced: Bench) -> None:
    job_id = priced.begin(9, **CAPPED)
    quoted = finish_now.remainder(priced.database, job_id)
    with closing(finish_now.ask(priced.database, quoted)) as events:  # type: ignore[type-var]
        next(events)
        assert priced.sql("SELECT requests, reserved > 0 FROM sqlbatch.batches WHERE state = 'asking'") == [(9, True)]
        assert list(finish_now.ask(priced.database, replace(quoted, owner=new_owner(), received=[]))) == []
        assert finish_now.remainder(priced.database, job_id).requests == 0
        assert pack(priced.database, job_id, priced.provider) == (0, 0)
    priced.wait(job_id)
    priced.check(9, once=False)


def test_a_run_that_was_killed_leaves_its_answers_and_its_requests_to_the_next(priced: Bench) -> None:
    job_id = priced.begin(3, **CAPPED)
    quoted = finish_now.remainder(priced.database, job_id)
    priced.database.write(lambda session: finish_now._hold(session, quoted))
    # As after a kill: its process is no more.
    priced.sql("UPDATE sqlbatch.batches SET lease_owner = 'elsewhere:1:0', lease_until = TIMESTAMP '2026-01-01' WHERE state = 'asking'")  # fmt: skip  # noqa: E501
    priced.wait(job_id)
    priced.check(3, once=False)


def test_a_budget_bounds_it_and_so_does_the_number_of_requests(
    priced: Bench, monkeypatch: pytest.MonkeyPatch, here: Command
) -> None:
    job_id = priced.begin(4, max_cost=0.0000001, **CAPPED)
    over = finish_now.remainder(priced.database, job_id).over()
    assert over is not None
    assert "above --max-cost" in over
    monkeypatch.setattr(finish_now, "AT_MOST", 3)
    monkeypatch.setenv("OPENAI_BASE_URL", priced.provider.base_url)
    refused = here("wait", str(job_id), "--finish-now", "--db", str(priced.path))
    assert refused.code == 1
    assert "4 requests of job 2 are not answered, and --finish-now asks 3 at most" in refused.error
    assert priced.control.calls("POST", CHAT) == 0


def test_the_command_quotes_asks_and_writes_the_target(
    priced: Bench, monkeypatch: pytest.MonkeyPatch, here: Command
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", priced.provider.base_url)
    job_id = priced.begin(4, **CAPPED)
    ran = here("wait", str(job_id), "--finish-now", "--db", str(priced.path))
    assert ran.code == 0, ran.err
    assert "4 requests now at the flex price" in ran.err
    assert "4 answers of 4 requests kept" in ran.err
    assert priced.job(job_id).status == "done"
    priced.check(4, once=False)
    assert here("wait", str(job_id), "--finish-now", "--db", str(priced.path)).code == 1


def test_a_preview_at_the_flex_price_is_quoted_and_billed_at_it(
    priced: Bench, monkeypatch: pytest.MonkeyPatch, here: Command
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", priced.provider.base_url)
    given = ("SELECT 'hello' AS text", "--instructions", "Repeat.", "--model", "offline", "--db", str(priced.path))
    shown = here("preview", *given, "--tier", "flex")
    assert shown.code == 0, shown.err
    assert "1 request now at the flex price" in shown.err
    assert "--tier slow: known are: default, flex" in here("preview", *given, "--tier", "slow").error
    assert prepare.recover_interrupted(priced.database) == 0
    embeddings = (*given[:1], "--endpoint", "embeddings", *given[3:])
    assert "not served at the flex price" in here("preview", *embeddings, "--tier", "flex").error
