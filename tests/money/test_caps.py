"""A limit of tokens, a tier or a label of its user's changes no finished answer, and so makes nobody pay again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import prepare, previews
from sqlbatch.batches.plan import pack
from tests.query.support import lines

if TYPE_CHECKING:
    from sqlbatch.query.quote import Quote
    from tests.batches.bench import Bench

LONG = "SELECT 'row ' || n || ' of many, and a long one at that, longer than the cap is' AS text FROM range({}) r(n)"
NO_IDENTITY = {
    "max_completion_tokens": 4000, "max_tokens": 4000, "service_tier": "flex", "store": False, "metadata": {"a": "b"},
    "user": "me", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit"},
}  # fmt: skip


def params(**values: object) -> tuple[tuple[str, str], ...]:
    return tuple((name, json.dumps(value)) for name, value in values.items())


def quote(bench: Bench, rows: int | str, **more: Any) -> Quote:
    enrichment, options = bench.ask(rows, **more)
    with prepare.prepared(bench.database, enrichment, bench.provider, "answers", **options) as prepared:
        return prepared.quote


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", NO_IDENTITY)
def test_a_parameter_that_changes_no_finished_answer_is_sent_and_asks_nothing_again(name: str, bench: Bench) -> None:
    given = params(**{name: NO_IDENTITY[name]})
    job_id = bench.begin(3, params=given)
    pack(bench.database, job_id, bench.provider)
    bodies = [json.loads(line)["body"] for batch in lines(bench.database, job_id).values() for line in batch]
    assert [body[name] for body in bodies] == [NO_IDENTITY[name]] * 3
    bench.wait(job_id)
    for other in ((), given, params(max_completion_tokens=5000, user="somebody")):
        again = quote(bench, 4, params=other)
        assert (again.answered, again.to_send) == (3, 1), other
    assert quote(bench, 3, params=params(temperature=0.5)).to_send == 3


def test_an_answer_that_was_cut_is_asked_again_only_with_a_larger_limit(bench: Bench) -> None:
    rows = LONG.format(3)
    bench.enrich(rows, params=params(max_completion_tokens=5))
    assert bench.sql("SELECT DISTINCT code, cap FROM sqlbatch.results") == [("length", 5)]
    for cap in (3, 5):
        same = quote(bench, rows, params=params(max_completion_tokens=cap))
        assert (same.failed_before, same.to_send) == (3, 0), cap
    job_id = bench.enrich(rows, params=params(max_completion_tokens=8))
    assert bench.job(job_id).failed == 3
    assert bench.sql("SELECT cap, count(*) FROM sqlbatch.results GROUP BY ALL ORDER BY ALL") == [(5, 3), (8, 3)]
    job_id = bench.enrich(rows)
    assert bench.job(job_id).answered == 3
    # What is answered stays so, with whatever limit.
    assert quote(bench, rows, params=params(max_completion_tokens=5)).answered == 3
    assert bench.sql("SELECT sent, balanced FROM sqlbatch.audit") == [(3, True)] * 3


def test_a_preview_that_was_cut_is_asked_again_with_a_larger_limit(bench: Bench) -> None:
    rows = LONG.format(2)
    enrichment, _ = bench.ask(rows, params=params(max_completion_tokens=5))
    with previews.prepared(bench.database, enrichment, bench.provider) as ready:
        list(previews.ask(bench.database, ready))
        assert previews.result(bench.database, ready).of("failed") == 2
    assert quote(bench, rows, params=params(max_completion_tokens=5)).failed_before == 2
    assert quote(bench, rows, params=params(max_completion_tokens=50)).to_send == 2
    job_id = bench.enrich(rows)
    assert bench.job(job_id).answered == 2


def test_a_batch_keeps_the_limit_of_the_job_that_planned_it_whoever_sends_it(bench: Bench) -> None:
    """Else a job with a small limit, and a budget by it, would send the file that another has written without one."""
    bench.sql("INSERT INTO sqlbatch.prices (model, input, output, batch_factor) VALUES ('offline', 2, 10, 0.5)")
    first = bench.begin(3)
    pack(bench.database, first, bench.provider)
    second = bench.begin(3, "second", params=params(max_completion_tokens=2), max_cost=1.0)
    bench.sync(second)
    assert "no token limit" in bench.held
    bench.wait(first)
    assert bench.sql("SELECT DISTINCT outcome FROM sqlbatch.results") == [("answered",)]


def test_the_bytes_of_a_batch_are_those_of_its_file(bench: Bench) -> None:
    """A file that was written is uploaded again after a crash where it has just so many bytes."""
    for cap in (2, 2000, None):
        job_id = bench.begin(LONG.format(4), fresh=not cap, params=params(max_completion_tokens=cap) if cap else ())
        pack(bench.database, job_id, bench.provider)
        planned = f"SELECT batch_id::VARCHAR, bytes FROM sqlbatch.batches WHERE job_id = {job_id}"
        ((batch_id, size),) = bench.sql(planned)
        assert sum(len(line) + 1 for line in lines(bench.database, job_id)[batch_id]) == size
        bench.wait(job_id)


def test_the_quote_says_what_was_paid_before_and_is_not_used_again(bench: Bench) -> None:
    bench.enrich(7)
    (note,) = quote(bench, 7, params=params(temperature=0.5, max_completion_tokens=90)).notes
    assert note == "temperature differs: 7 paid answers of job 1 are not reused"


WRITES = "INSERT INTO sqlbatch.prices (model, input, cached, cache_write, output, batch_factor) VALUES ('offline', 2, 0.2, 2.5, 10, 1)"  # fmt: skip  # noqa: E501
SHARED = "Repeat the text. " * 400


def sent(bench: Bench, **more: Any) -> tuple[dict[str, Any], str]:
    """Return a body of a job as it is sent, and its request's id."""
    job_id = bench.begin(1, fresh=True, **more)
    pack(bench.database, job_id, bench.provider)
    ((line,),) = lines(bench.database, job_id).values()
    bench.wait(job_id)
    return json.loads(line)["body"], json.loads(line)["custom_id"]


def test_a_model_that_bills_cache_writes_writes_only_what_all_rows_share(bench: Bench) -> None:
    before, first = sent(bench)
    bench = bench.within(cache_options=True)
    assert sent(bench)[0] == before, "no rate for writes is known"
    bench.sql(WRITES)
    body, second = sent(bench)
    assert body == before | {"prompt_cache_options": {"mode": "explicit"}}
    assert second == first
    long, _ = sent(bench, instructions=SHARED)
    (part,) = long["messages"][0]["content"]
    assert part == {"type": "text", "text": SHARED, "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert bench.sql("SELECT DISTINCT outcome FROM sqlbatch.results") == [("answered",)]
    # Whoever says otherwise is heard.
    asked, _ = sent(bench, params=params(prompt_cache_options={"mode": "implicit"}))
    assert asked["prompt_cache_options"] == {"mode": "implicit"}


def test_the_quote_and_the_reservation_count_cache_writes_only_where_they_can_happen(bench: Bench) -> None:
    bench = bench.within(cache_options=True)
    bench.enrich(1, "first")
    bench.sql(WRITES)
    cap = {"max_completion_tokens": 20}
    explicit = quote(bench, 5, params=params(**cap)).cost
    implicit = quote(bench, 5, params=params(**cap, prompt_cache_options={"mode": "implicit"})).cost
    output = 4 * 20 * 10 / 1e6
    assert explicit.dollars_largest is not None
    assert implicit.dollars_largest is not None
    assert explicit.dollars_largest - output == pytest.approx(explicit.tokens_largest * 2 / 1e6)
    assert implicit.dollars_largest - output == pytest.approx(explicit.tokens_largest * 2.5 / 1e6)
    assert implicit.dollars == explicit.dollars
    # What the quote says that it costs at most is enough.
    job_id = bench.enrich(5, params=params(**cap), max_cost=explicit.dollars_largest)
    ((reserved,),) = bench.sql(f"SELECT reserved FROM sqlbatch.batches WHERE job_id = {job_id}")
    assert reserved == pytest.approx(explicit.dollars_largest)
