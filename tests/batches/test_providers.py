"""Each provider is spoken to in its own spelling, read in its own dialect, and kept within its own limits."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from sqlbatch.batches.client import BatchAPI
from sqlbatch.batches.providers import KNOWN, find_provider
from sqlbatch.errors import InvalidSettings

from .bench import KEY, numbered
from .dialects import DIALECTS, Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .bench import Bench

LOST = {"name": "drop_after", "on": "POST /v1/batches", "count": 1}


@pytest.fixture(params=sorted(DIALECTS))
def spoken(request: pytest.FixtureRequest, bench: Bench, tmp_path: Path) -> Iterator[Bench]:
    """Return a bench whose provider is another one, behind a gateway that speaks only its dialect."""
    gateway = Gateway(bench.base_url, DIALECTS[request.param])
    (tmp_path / "sqlbatch.toml").write_text(
        "[providers.mine]\nbase_url = 'http://127.0.0.1:1/v1'\nendpoint_prefix = '/v4'\nline_prefix = ''"
    )
    provider = replace(find_provider(request.param, gateway.base_url), first_poll=0.1)
    bench.monkeypatch.setitem(KNOWN, request.param, provider)
    if provider.key_variable:
        bench.monkeypatch.setenv(provider.key_variable, KEY)
    yield replace(bench, provider=provider)
    gateway.close()


def test_every_provider_is_understood_also_where_a_reply_is_lost(spoken: Bench) -> None:
    spoken.control.faults(LOST, {"name": "no_line_id"}, {"name": "empty_error_file_id"})
    spoken.enrich(8, provider=spoken.provider.name)
    spoken.check(8)
    assert [each.adopted for each in spoken.submitted] == [True]


def test_groq_pages_are_followed_to_their_end(bench: Bench) -> None:
    gateway = Gateway(bench.base_url, DIALECTS["groq"])
    try:
        small = replace(KNOWN["groq"], base_url=gateway.base_url, max_requests=1, first_poll=0.1)
        bench.monkeypatch.setitem(KNOWN, "groq", small)
        bench.monkeypatch.setenv("GROQ_API_KEY", KEY)
        groq = replace(bench, provider=small)
        groq.enrich(7)
        groq.check(7)
        assert groq.control.calls("GET", "/v1/batches/") == 0
    finally:
        gateway.close()


def test_no_more_batches_are_made_in_an_hour_than_the_provider_makes(bench: Bench) -> None:
    bench.monkeypatch.setenv("SQLBATCH_CLOCK_SPEED", "1")
    few = bench.within(max_requests=1, batches_per_hour=3)
    job = few.begin(5)
    few.sync(job)
    few.sync(job)
    assert len(few.control.batches()) == 3


@pytest.mark.parametrize("by", ["provider", "variable"])
def test_what_waits_at_the_provider_stays_within_a_configured_limit_over_all_jobs(bench: Bench, by: str) -> None:
    bench.control.faults({"name": "stuck_in_progress"})
    probe = bench.within(max_requests=1)
    jobs = [probe.begin(5), probe.begin(numbered(5, 5), "others")]
    tokens = probe.sql("SELECT max(tokens) FROM sqlbatch.requests")[0][0]
    if by == "variable":
        bench.monkeypatch.setenv("SQLBATCH_MAX_ENQUEUED_TOKENS", str(2 * tokens))
    else:
        probe.within(max_requests=1, max_enqueued_tokens=2 * tokens)
    for job in 2 * jobs:
        probe.sync(job)
    assert len(probe.control.batches()) == 2


def test_of_the_limit_told_and_the_one_configured_the_smaller_holds(bench: Bench) -> None:
    bench.control.faults({"name": "token_limit", "count": 1})
    job = bench.begin(6)
    tokens = bench.sql("SELECT max(tokens) FROM sqlbatch.requests")[0][0]
    bench.until_ended(job)
    bench.monkeypatch.setenv("SQLBATCH_MAX_ENQUEUED_TOKENS", str(2 * tokens))
    bench.wait(job)
    told = "SELECT count(*) FROM sqlbatch.batches WHERE error LIKE '%Limit: 900,000 %'"
    assert bench.sql(told) == [(1,)]
    assert [batch["request_counts"]["total"] for batch in bench.control.batches()] == [2, 2, 2, 0]
    bench.check(6)


def test_a_provider_of_ones_own_says_what_its_requests_carry(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "sqlbatch.toml").write_text(
        f"""
        [providers.gateway]
        base_url = "{bench.base_url}"
        completion_window = "24h"
        headers = {{ X-Team = "films" }}
        upload_fields = {{ project = "p-{{name}}" }}
        create_query = {{ "api-version" = "7" }}
        create_fields = {{ priority = 1 }}
        """
    )
    provider = replace(find_provider("gateway"), first_poll=0.1)
    seen: list[httpx2.Request] = []
    send = httpx2.Client.send

    def sending(client: httpx2.Client, request: httpx2.Request, **more: Any) -> httpx2.Response:
        if client.headers.get("user-agent", "").startswith("python-httpx2") and request.method == "POST":
            request.read()
            seen.append(request)
        return send(client, request, **more)

    bench.monkeypatch.setattr(httpx2.Client, "send", sending)
    api = BatchAPI(provider.base_url, None, provider.name, provider, loopback=True)
    file = tmp_path / "sqlbatch-x.jsonl"
    file.write_text('{"custom_id": "1"}\n')
    file_id = api.upload(file, lambda _: None)
    api.create(file_id, "/v1/chat/completions", "x")
    api.close()
    upload, create = seen[-2:]
    assert b'name="project"\r\n\r\np-sqlbatch-x.jsonl' in upload.content
    assert (upload.headers["x-team"], create.headers["x-team"]) == ("films", "films")
    assert create.url.params["api-version"] == "7"
    assert json.loads(create.content)["priority"] == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('headers = { Authorization = "Bearer sk-1" }', "cannot set the header Authorization: the key comes from"),
        ("headers = { X-Team = 7 }", "X-Team in headers of [providers.gateway] must be a text"),
        ('headers = "X-Team"', "headers must be a table, such as"),
        ('create_fields = { metadata = "x" }', "cannot set metadata: sqlbatch sets it itself"),
        ('upload_path = "https://elsewhere.example"', "upload_path of [providers.gateway] must be a path"),
    ],
)
def test_a_provider_cannot_carry_a_key_or_break_what_sqlbatch_says(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "sqlbatch.toml").write_text(f'[providers.gateway]\nbase_url = "http://127.0.0.1:1/v1"\n{line}\n')
    with pytest.raises(InvalidSettings, match=re.escape(told)):
        find_provider("gateway")
