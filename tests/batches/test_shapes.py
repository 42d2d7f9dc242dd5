"""Whatever shape a provider's replies have: nothing is lost, nothing is paid twice, nothing is misread."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch import connection
from sqlbatch.batches import replies
from sqlbatch.batches.client import BatchAPI
from sqlbatch.batches.providers import KNOWN
from sqlbatch.db import jobs
from sqlbatch.errors import JobError, ProviderRefused

from .bench import HTTP

if TYPE_CHECKING:
    from .bench import Bench

CREATE = "POST /v1/batches"
UPLOAD = "POST /v1/files"
LOST = {"name": "drop_after", "on": CREATE, "count": 1}


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    "faults",
    [
        [{"name": "wrapped_upload"}],
        [{"name": "upload_without_id"}],
        [{"name": "wrapped_batch"}],
        [{"name": "no_list"}],
        [{"name": "list_as_array"}, LOST],
        [{"name": "list_as_array"}, {"name": "iso_dates"}, {"name": "metadata_as_text"}, LOST],
        [{"name": "edit_reply", "on": "GET /v1/batches", "rename": {"data": "results"}, "drop": ["has_more"]}, LOST],
        [{"name": "edit_reply", "on": "GET /v1/batches", "wrap": "page"}, LOST],
        [{"name": "edit_batch", "set": {"metadata": 7, "created_at": "yesterday"}}, LOST],
        [{"name": "no_file_metadata"}, LOST],
        [{"name": "counts_as_text"}, {"name": "odd_ids"}, LOST],
        [{"name": "malformed_reply", "on": CREATE, "count": 1}],
        [{"name": "html_reply", "on": CREATE, "count": 1}],
        [{"name": "empty_reply", "on": "GET /v1/batches/*", "count": 2}],
        [{"name": "queued_first", "times": 2}],
        [{"name": "error_file_nowhere"}],
        [{"name": "edit_batch", "set": {"errors": "none", "usage": [], "request_counts": "full"}}],
    ],
    ids=lambda faults: " ".join(str(each["name"]) for each in faults),
)
def test_a_reply_of_another_shape_costs_nothing(bench: Bench, faults: list[dict[str, Any]]) -> None:
    bench.control.faults(*faults)
    bench.enrich(6)
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(6)


def test_a_result_file_that_is_named_some_looks_late_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A quarter of an hour is then 4 real seconds, in which also a busy machine looks three times.
    monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "240")
    bench.control.faults({"name": "late_output_file", "times": 2})
    bench.enrich(6)
    bench.check(6)


@pytest.mark.parametrize("status", ["complete", "ended", "partiallyCompleted"])
def test_a_status_that_is_not_known_is_told_and_its_results_are_loaded(bench: Bench, status: str) -> None:
    bench.control.faults({"name": "renamed_status", "to": status})
    bench.enrich(6)
    assert f"has the status '{status.lower()}', which sqlbatch does not know: it has a result file" in bench.notes
    bench.check(6)


def test_an_upload_without_an_id_ends_at_once_where_no_list_has_it(bench: Bench) -> None:
    bench.control.faults({"name": "upload_without_id"}, {"name": "error", "on": "GET /v1/files", "status": 404})
    with pytest.raises(JobError, match="gave no file id in its reply to the upload"):
        bench.enrich(6)
    assert bench.control.calls("POST", "/v1/batches") == 0


@pytest.mark.parametrize("envelope", ["object", "detail", "message", "text", "html", "plain"])
def test_the_words_of_an_error_reach_the_user_whatever_the_envelope(bench: Bench, envelope: str) -> None:
    words = "The model llama-9 is not for batches."
    bench.control.faults({"name": "error", "on": CREATE, "status": 400, "message": words, "envelope": envelope})
    with pytest.raises(JobError, match="The model llama-9 is not for batches"):
        bench.enrich(3)


@pytest.mark.parametrize("shape", ["errors_as_list", "errors_as_text", "reason_in_error"])
def test_why_a_batch_failed_is_in_every_row(bench: Bench, shape: str) -> None:
    bench.control.faults({"name": "batch_fails", "message": "No such deployment here."}, {"name": shape})
    bench.enrich(3, max_attempts=1)
    assert all("No such deployment here." in str(error) for _, _, _, error in bench.target())


def test_a_passing_refusal_of_a_create_uses_the_uploaded_file_again(bench: Bench) -> None:
    bench.control.faults({"name": "error", "on": CREATE, "status": 429, "count": 3})
    bench.enrich(6)
    assert bench.control.calls("POST", "/v1/files") == 1
    bench.check(6)


def test_a_reply_about_another_batch_says_nothing_of_ours(bench: Bench) -> None:
    """A cache on the way has the reply to an earlier question, about a batch that failed."""
    other = {"metadata": {"sqlbatch_batch_id": "of an earlier one"}, "status": "failed", "errors": None}
    bench.control.faults({"name": "edit_reply", "on": "GET /v1/batches/*", "set": other, "count": 2})
    bench.enrich(6)
    assert "answered with another batch than" in bench.held
    assert bench.control.calls("POST", "/v1/batches") == 1
    bench.check(6)


def test_the_job_whose_batch_was_refused_pauses_not_the_one_that_looks(bench: Bench) -> None:
    bench.control.faults({"name": "token_limit", "count": 1})
    ours, other = bench.begin(3), bench.begin("SELECT n, 'other ' || n AS text FROM range(3) r(n)", "others")
    bench.until_ended(ours)
    bench.sync(other)
    assert bench.sql("SELECT job_id FROM sqlbatch.jobs WHERE pause_seconds IS NOT NULL") == [(ours,)]


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "error", "status": 503},
        {"name": "error", "status": 429},
        {"name": "html_reply"},
        {"name": "malformed_reply"},
        {"name": "no_list"},
        {"name": "error", "status": 404},
    ],
    ids=lambda fault: f"{fault['name']} {fault.get('status', '')}",
)
def test_the_first_look_ends_nothing_that_passes_by_itself(bench: Bench, fault: dict[str, Any]) -> None:
    bench.control.faults({"on": "GET /v1/batches"} | fault)
    connection.trust(bench.provider)
    connection.check_provider(bench.database, bench.provider)


@pytest.mark.parametrize("status", [401, 403])
def test_the_first_look_tells_of_a_refused_key(bench: Bench, status: int) -> None:
    bench.control.faults({"name": "error", "on": "GET /v1/batches", "status": status})
    connection.trust(bench.provider)
    with pytest.raises(ProviderRefused):
        connection.check_provider(bench.database, bench.provider)


def test_one_step_is_one_step_also_at_a_provider_that_is_free(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    free = bench.within(paid=False)
    job_id = free.begin(3)
    free.sync(job_id)
    free.sync(job_id)
    assert free.job(job_id).status == "running"


def test_an_upload_is_found_again_behind_the_first_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlbatch.batches.client._FILES_PAGE", 2)
    for number in range(5):
        HTTP.post(
            f"{bench.base_url}/files",
            data={"purpose": "batch"},
            files={"file": (f"{number}.jsonl", b'{"custom_id":"1"}\n')},
        ).raise_for_status()
    api = BatchAPI(bench.base_url, None, "the provider", bench.provider, loopback=True)
    assert api.find_upload("0.jsonl", 18) is not None
    assert api.find_upload("0.jsonl", 17) is None
    api.close()


def test_a_fenced_batch_is_shown_to_wait_for_as_long_as_it_does(bench: Bench) -> None:
    bench.monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1")
    bench.control.faults({"name": "drop_before", "on": CREATE, "count": 1})
    job_id = bench.begin(3)
    bench.sync(job_id)
    # A process that was killed has not noted how long to wait.
    bench.sql("UPDATE sqlbatch.batches SET grace_seconds = NULL")
    bench.sync(job_id)
    shown = bench.database.read(lambda session: jobs.batches(session, job_id))[0]
    (fenced_at,) = bench.sql("SELECT fenced_at FROM sqlbatch.batches")[0]
    assert shown.fenced_until == fenced_at + timedelta(seconds=bench.provider.silence_grace)


def test_a_short_key_is_removed_where_it_stands_alone() -> None:
    api = BatchAPI("http://127.0.0.1:9/v1", "xce", "the provider", KNOWN["openai"], loopback=True)
    assert api._scrubbed("limit exceeded for xce") == "limit exceeded for (the key)"
    api.close()


@pytest.mark.parametrize("status", ["processing", "PREPARING_INPUT", "Not started", "progress"])
def test_a_batch_at_work_has_not_ended_whatever_its_files_and_counts_say(status: str) -> None:
    counts = {"total": 2, "completed": 2, "failed": 0}
    batch = replies.read_batch({"id": "b", "status": status, "output_file_id": "f", "request_counts": counts})
    assert batch.known
    assert not batch.ended


@pytest.mark.parametrize(
    "given", ["file-1", ["file-1"], {"id": "file-1"}, {"data": "file-1"}, [{"data": {"id": "file-1"}}]]
)
def test_the_id_of_a_result_file_is_found_also_where_it_is_wrapped(given: object) -> None:
    assert replies.read_batch({"id": "b", "output_file_id": given}).output_file_id == "file-1"


ODD: list[Any] = [
    None,
    7,
    -1,
    2.5,
    True,
    "",
    "text",
    "7",
    [],
    [None],
    [{}],
    {},
    {"id": {}},
    10**40,
    "\ud83d",
    {"data": None},
]


def test_any_value_in_any_field_of_a_batch_is_survived() -> None:
    whole = {
        "id": "batch_1", "status": "completed", "input_file_id": "f", "output_file_id": "o", "error_file_id": None,
        "created_at": 1_700_000_000, "metadata": {}, "errors": None, "error": None, "completed_at": 1_700_000_000,
        "request_counts": {"total": 1, "completed": 1, "failed": 0},
    }  # fmt: skip
    for name in whole:
        for value in ODD:
            try:
                batch = replies.read_batch(whole | {name: value})
            except replies.NotUnderstood:
                assert name == "id"
                continue
            assert isinstance(batch.ended, bool)
            repr(batch).encode()
            assert all(isinstance(each, int) for each in (batch.total, batch.completed, batch.failed))
    for value in ODD:
        for body in (
            value,
            [value],
            {"data": value},
            {"job": value},
            {"data": [value], "has_more": value, "paging": value},
        ):
            for read in (replies.read_batch, replies.read_file, replies.read_page):
                with_words = json.dumps(body).encode()
                try:
                    read(body)
                except replies.NotUnderstood as error:
                    str(error).encode()
                replies.error_words(with_words)[0].encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1_700_000_000, 1_700_000_000), ("1700000000", 1_700_000_000), (1_700_000_000_000, 1_700_000_000),
     ("2023-11-14T22:13:20Z", 1_700_000_000), ("2023-11-14T23:13:20+01:00", 1_700_000_000),
     ("2023-11-14 22:13:20", 1_700_000_000), ("soon", None), (None, None), (True, None), (10**30, None)],
)  # fmt: skip
def test_a_time_is_read_however_it_is_written(value: object, seconds: int | None) -> None:
    assert replies.moment(value) == seconds
