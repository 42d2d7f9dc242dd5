"""Each failure that providers are known for, each outcome a request can have: a job run to its end, its account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sqlbatch.errors import JobError, SqlbatchError
from tests.batches.bench import HTTP, PATIENCE, empty

from .ground import SPEED, Ground, Row, account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.batches.bench import Bench

ROWS = 10
_CREATE, _UPLOAD = "POST /v1/batches", "POST /v1/files"
# Real seconds of a batch that is stuck: more than an hour of the client's clock.
_LONG = 1.6


@dataclass(frozen=True)
class Failure:
    """A failure, as the server acts it out, and what the job must come to.

    `failed` rows fail, with `code` (of any result, where none failed), or as many as there are (None); `executed`
    requests reach the model, where that is certain. `late` failures begin once the job is submitted; what `blocks` the
    job is mended before its user goes on. `speed` is that of the clock where what happens needs real time of a grace.
    """

    name: str
    faults: tuple[dict[str, Any], ...]
    done: str
    failed: int | None = 0
    code: str | None = None
    executed: int | None = ROWS
    rows: int = ROWS
    late: bool = False
    returns: str = ""
    revoked: bool = False
    blocks: bool = False
    speed: str = SPEED


def _fault(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def _some(name: str, **more: Any) -> dict[str, Any]:
    """Act on the first three lines that come by."""
    return {"name": name, "count": 3, **more}


_ADOPTED, _AGAIN = "looked up, adopted", "sent again"

# The failure modes by their numbers, as docs of the provider, its forum and other tools' issues tell of them.
MODES = [
    Failure("1 in_progress for more than an hour", (_fault("stuck_in_progress", seconds=_LONG),), "waited, sent once"),
    Failure("2 finalizing for more than an hour", (_fault("stuck_finalizing", seconds=_LONG),), "waited, sent once"),
    Failure("3 expired, half of it answered", (_fault("expires", count=1),), "half loaded, half sent again"),
    Failure(
        "4 all lines failed, no output file",
        (_fault("line_error", status=400, code="too_long"),),
        "error file read, final",
        failed=ROWS,
        code="too_long",
    ),
    Failure("5 error_file_id is empty", (_fault("empty_error_file_id"),), "taken for none"),
    Failure(
        "6 counts say all well, lines have status 0",
        (_fault("lying_counts"), _some("status_zero")),
        f"lines believed, 3 {_AGAIN}",
        code="http_0",
        executed=None,
    ),
    Failure(
        "7 lines in neither file", (_some("missing_line"),), f"found missing, 3 {_AGAIN}", code="missing", executed=13
    ),
    Failure("8 a line twice", (_fault("duplicate_line"),), "one kept"),
    Failure(
        "8 two different lines for one request", (_fault("conflicting_line"),), "the first kept, the second put aside"
    ),
    Failure(
        "9 token_limit_exceeded",
        (_fault("token_limit", count=2),),
        "waited, no attempt counted",
        code="token_limit_exceeded",
    ),
    Failure("10 502 on file content", (_fault("content_502", count=4),), "downloaded again"),
    Failure("11 download cut", (_fault("cut", bytes=700, count=2),), "noticed, downloaded again"),
    Failure("11 download cut in silence", (_fault("cut_silently", bytes=700, count=2),), "noticed, downloaded again"),
    Failure("12 upload broken", (_fault("upload_breaks", bytes=100, count=2),), "uploaded again"),
    Failure("12 upload's reply lost", (_fault("drop_after", on=_UPLOAD, count=1),), "found, not repeated"),
    Failure("13 create's reply lost", (_fault("drop_after", on=_CREATE, count=1),), _ADOPTED),
    Failure("13 create answered 500 after the deed", (_fault("error_after", on=_CREATE, count=1),), _ADOPTED),
    Failure("13 create lost before the deed", (_fault("drop_before", on=_CREATE, count=1),), "fenced, sent anew"),
    Failure(
        "14 error 400 in the body of a line",
        (_some("line_error", status=400, code="bad_input"),),
        "failed with its code",
        failed=3,
        code="bad_input",
    ),
    Failure(
        "15 failures only in the error file",
        (_some("line_error", status=404, code="no_such_thing"),),
        "both files read",
        failed=3,
        code="no_such_thing",
    ),
    Failure("16 U+2028, U+2029, U+0085 within lines", (_fault("separators"),), "lines end at line feeds only"),
    Failure(
        "17 CR LF, blank lines, no final newline",
        (_fault("crlf"), _fault("blank_lines"), _fault("no_final_newline")),
        "read",
    ),
    Failure("18 a byte order mark", (_fault("bom"),), "read"),
    Failure(
        "19 unknown fields, nulls in counts, upper-case status",
        (_fault("extra_fields"), _fault("null_counts"), _fault("uppercase_status")),
        "read",
    ),
    Failure(
        "19 errors as a bare list",
        (_fault("errors_as_list"), _fault("model_retired")),
        "read",
        failed=ROWS,
        code="model_not_found",
        executed=0,
    ),
    Failure(
        "20 a list without an end",
        (_fault("endless_list"), _fault("drop_after", on=_CREATE, count=1)),
        f"read once, {_ADOPTED}",
    ),
    Failure(
        "21 result file gone", (_fault("content_gone"),), "final until `retry`", failed=ROWS, code="results_expired"
    ),
    Failure("22 refusal", (_some("refusal"),), "failed, kept", failed=3, code="refusal"),
    Failure("22 length", (_some("length"),), "failed, kept", failed=3, code="length"),
    Failure("22 content_filter", (_some("content_filter"),), "failed, kept", failed=3, code="content_filter"),
    Failure("22 empty content", (_some("empty_content"),), "failed, kept", failed=3, code="no_content"),
    Failure(
        "22 invalid JSON",
        (_some("invalid_json"),),
        "failed, kept",
        failed=3,
        code="bad_shape",
        returns="summary VARCHAR",
    ),
    Failure(
        "22 wrong shape", (_some("wrong_shape"),), "failed, kept", failed=3, code="bad_shape", returns="summary VARCHAR"
    ),
    Failure("23 half a line", (_some("malformed_line"),), "kept, not paid again", failed=3, code="unreadable_results"),
    Failure("23 a line that is no UTF-8", (_some("invalid_utf8"),), "read, wrong bytes as U+FFFD"),
    Failure(
        "23 no custom_id", (_some("no_custom_id"),), "put aside, not paid again", failed=3, code="unreadable_results"
    ),
    Failure(
        "23 a line that is a list",
        (_some("not_an_object"),),
        "put aside, not paid again",
        failed=3,
        code="unreadable_results",
    ),
    Failure(
        "24 model retired",
        (_fault("model_retired"),),
        "failed with its code",
        failed=ROWS,
        code="model_not_found",
        executed=0,
    ),
    Failure(
        "25 line error 429",
        (_some("line_error", status=429),),
        f"3 {_AGAIN}",
        code="rate_limit_exceeded",
        executed=None,
    ),
    Failure("25 line error 503", (_some("line_error", status=503),), f"3 {_AGAIN}", executed=None),
    Failure("26 insufficient_quota at create", (_fault("quota", count=2),), "paused, no attempt counted"),
    Failure(
        "26 billing limit in the middle",
        (_fault("billing_limit", count=1),),
        "released, no attempt counted",
        code="billing_hard_limit_reached",
    ),
    Failure("27 Retry-After 300 at create", (_fault("retry_after", on=_CREATE, count=1),), "waited for 300 s"),
    Failure(
        "27 Retry-After 300 at a look",
        (_fault("retry_after", on="GET /v1/batches/*", count=2),),
        "waited for 300 s",
        late=True,
    ),
]

# The rows of the table of outcomes that are not in the list above, and replies that are lost or late elsewhere.
OUTCOMES = [
    Failure("answered", (), "answered"),
    Failure(
        "line error 500, three times",
        (_fault("line_error", status=500),),
        "failed after three attempts",
        failed=ROWS,
        code="server_error",
        executed=None,
    ),
    Failure(
        "batch_expired, all of it", (_fault("expires", answered=0, count=1),), f"all {_AGAIN}", code="batch_expired"
    ),
    Failure(
        "cancelled by the provider",
        (_fault("stuck_in_progress", count=1),),
        f"all {_AGAIN}",
        code="batch_cancelled",
        revoked=True,
    ),
    Failure(
        "quota in the lines",
        (_some("line_error", status=429, code="insufficient_quota"),),
        "released",
        code="insufficient_quota",
        executed=None,
    ),
    Failure(
        "key revoked for a while",
        (_fault("error", on="GET /v1/*", status=401, code="invalid_api_key", count=3),),
        "waited",
        late=True,
    ),
    Failure(
        "create refused for good (404)",
        (_fault("error", on=_CREATE, status=404, code="model_not_found"),),
        "blocked, wait",
        blocks=True,
    ),
    Failure("upload refused for good (413)", (_fault("error", on=_UPLOAD, status=413),), "blocked, wait", blocks=True),
    Failure("create answered 409", (_fault("error", on=_CREATE, status=409, count=1),), "fenced, sent again"),
    Failure("an id that was never sent", (_fault("foreign_line"),), "put aside"),
    Failure("no id of the line's own", (_fault("no_line_id"),), "read"),
    Failure("looks answered 503", (_fault("error", on="GET /v1/*", status=503, count=6),), "waited", late=True),
    Failure("looks dropped", (_fault("drop_before", on="GET /v1/*", count=6),), "waited", late=True),
    Failure(
        "a list that lags within the grace",
        # The grace is then 37 real seconds, in which also a machine that is all but asleep reads three lists.
        (_fault("drop_after", on=_CREATE, count=1), _fault("list_lags", seconds=3600, count=2)),
        _ADOPTED,
        speed="24",
    ),
    Failure(
        "metadata dropped, create's reply lost",
        (_fault("no_metadata"), _fault("drop_after", on=_CREATE, count=1)),
        "found by its file",
    ),
    Failure("create answered late", (_fault("hold", on=_CREATE, seconds=0.5, count=1),), "waited"),
    Failure("validating for more than an hour", (_fault("stuck_validating", seconds=_LONG),), "waited, sent once"),
    Failure(
        "half of the first thousand unusable",
        (_fault("refusal", count=600),),
        "blocked, --keep-going",
        failed=600,
        code="refusal",
        executed=1200,
        rows=1200,
    ),
]


def failures(ground: Ground, cases: list[Failure]) -> Iterator[Row]:
    """Run a job through each failure, and account."""
    for case in cases:
        try:
            yield _through(ground, case)
        except (AssertionError, SqlbatchError) as error:
            yield Row(case.name, case.done, 0, 0, 0, str(error).partition("\n")[0] or "it is not as expected")


def _through(ground: Ground, case: Failure) -> Row:
    bench = ground.bench()
    try:
        bench.path.write_bytes(empty())
        with bench.monkeypatch.context() as patch, duckdb.connect(str(bench.path)) as con:
            patch.setenv("SQLBATCH_CLOCK_SPEED", case.speed)
            con.execute("SET threads = 1")
            return _acted(bench, case)
    finally:
        bench.control.faults()


def _acted(bench: Bench, case: Failure) -> Row:
    if case.rows > 1_000:
        bench = bench.within(max_requests=1_000)
    query = f"SELECT n, '{bench.path.parent.name} row ' || n AS text FROM range({case.rows}) r(n)"
    job_id = bench.begin(query, returns=case.returns)
    if case.late or case.revoked:
        bench.control.faults(*(case.faults if case.revoked else ()))
        # A lease is less than a second of real time here: on a busy machine it may end before the create is sent.
        for _ in range(PATIENCE):
            if bench.of_state("open"):
                break
            bench.sync(job_id)
    if case.revoked:
        (provider_id,) = bench.sql("SELECT provider_id FROM sqlbatch.batches WHERE state = 'open'")[0]
        HTTP.post(f"{bench.base_url}/batches/{provider_id}/cancel").raise_for_status()
    else:
        bench.control.faults(*case.faults)
    try:
        bench.wait(job_id)
    except JobError:
        assert case.rows > 1_000 or case.blocks, "the job ended without its target"
    fired = bench.control.fired() if case.faults else 1
    if case.blocks:
        assert bench.job(job_id).refused, "it is not blocked"
        bench.control.faults()
    if bench.job(job_id).open:
        bench.wait(job_id, keep_going=True)
    executed, twice, lost, problem = account(bench, case.rows, failed=case.failed, untyped=not case.returns)
    if not fired:
        problem = "the failure did not happen"
    if case.executed is not None and executed != case.executed:
        problem = problem or f"{executed} executed, not {case.executed}"
    codes = {code for _, code, _ in bench.outcomes()}
    if case.code and case.code not in codes:
        problem = problem or f"no {case.code}, but {', '.join(sorted(str(code) for code in codes))}"
    return Row(case.name, case.done, executed, twice, lost, problem)
