"""The page is open to nobody but who has its token, on this computer, and nothing foreign runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sqlbatch.view.security import POLICY
from tests.query.support import database
from tests.view.conftest import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.view.conftest import Browser


@pytest.fixture
def stranger() -> Iterator[Browser]:
    """Serve an empty database to somebody who has no token yet."""
    with database().session():
        pass
    with served(database()) as browser:
        yield browser


def test_without_the_token_there_is_nothing_to_see_not_even_a_style(stranger: Browser) -> None:
    for path in ("/", "/jobs/1", "/static/style.css", "/?token=", "/?token=wrong", "/nowhere"):
        reply = stranger.get(path)
        assert (reply.status, reply.headers["content-type"]) == (403, "text/plain; charset=utf-8")
        assert stranger.token not in reply.html
    assert stranger.cookies == {}


def test_the_token_moves_from_the_address_into_a_cookie_that_no_script_reads(stranger: Browser) -> None:
    reply = stranger.get(f"/jobs?page=2&token={stranger.token}")
    assert (reply.status, reply.headers["location"]) == (303, "/jobs?page=2")
    assert "HttpOnly" in reply.headers["set-cookie"]
    assert "SameSite=lax" in reply.headers["set-cookie"]
    assert stranger.get("/").status == 200


def test_two_pages_on_one_computer_do_not_lock_each_other_out() -> None:
    with served(database("one.duckdb")) as first, served(database("two.duckdb")) as second:
        # A browser sends the cookies of a host to all its ports.
        first.cookies = second.cookies
        assert (first.open().get("/").status, second.open().get("/").status) == (200, 200)
        assert first.get("/").status == 200


def test_the_way_back_from_the_token_leads_to_this_host_only(stranger: Browser) -> None:
    reply = stranger.get(f"//elsewhere.example/?token={stranger.token}")
    assert reply.headers["location"] == "/elsewhere.example/"


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "127.0.0.1", "127.0.0.1:1", "localhost.elsewhere.example:{port}"]
)
def test_a_name_that_leads_here_is_not_answered(stranger: Browser, host: str) -> None:
    stranger.open()
    assert stranger.get("/", Host=host.format(port=stranger.port)).status == 403
    assert stranger.get("/", Host=f"LOCALHOST:{stranger.port}").status == 200


def test_every_reply_forbids_what_is_foreign(stranger: Browser) -> None:
    refused = stranger.get("/")
    stranger.open()
    for reply in (refused, stranger.get("/"), stranger.get("/nowhere"), stranger.get("/static/view.js")):
        assert reply.headers["content-security-policy"] == POLICY
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    html = stranger.get("/").html
    assert "style=" not in html
    assert "<script>" not in html


def test_only_a_page_of_ours_can_write(stranger: Browser) -> None:
    stranger.open()
    for headers in (
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{stranger.port + 1}"},
        {"Origin": ""},
        {"Origin": "", "Sec_Fetch_Site": "same-site"},
    ):
        assert stranger.post("/", {}, **headers).status == 403
    # Past the gate there is nothing to post to here.
    assert stranger.post("/", {}).status == 405
    assert stranger.post("/", {}, Origin="", Sec_Fetch_Site="same-origin").status == 405
