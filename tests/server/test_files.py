"""The Files API."""

from __future__ import annotations

import asyncio
import io
import stat
from typing import TYPE_CHECKING, Any, cast

import httpx2
import openai
import pytest

from .helpers import jsonl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlbatch.server import EmbeddedServer

LINE = jsonl([{"custom_id": "a"}])


def test_a_file_comes_back_byte_for_byte(client: openai.OpenAI) -> None:
    data = LINE + b'{"text":"\xe2\x80\xa8 and \\u2028"}\r\n\n{"no newline":1}'
    made = client.files.create(file=("a.jsonl", data), purpose="batch")
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(data), "a.jsonl", "batch", "processed")
    assert made.expires_at == made.created_at + 2_592_000
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == data


def test_content_is_streamed_and_ranges_are_honoured(client: openai.OpenAI, tmp_path: Path) -> None:
    data = LINE * 100_000
    made = client.files.create(file=("a.jsonl", data), purpose="batch")
    with client.files.with_streaming_response.content(made.id) as response:
        assert response.headers["content-length"] == str(len(data))
        response.stream_to_file(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    part = client.files.content(made.id, extra_headers={"Range": "bytes=5-14"})
    assert part.content == data[5:15]


def test_other_purposes_take_any_file_and_keep_it(client: openai.OpenAI) -> None:
    made = client.files.create(file=("photo.png", b"\x89PNG"), purpose="vision")
    assert made.expires_at is None


def test_a_file_may_be_asked_to_expire(client: openai.OpenAI) -> None:
    made = client.files.create(
        file=("a.jsonl", LINE), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600
    for seconds in (3599, 2_592_001):
        with pytest.raises(openai.BadRequestError, match=r"expires_after\.seconds"):
            client.files.create(
                file=("a.jsonl", LINE), purpose="batch", expires_after={"anchor": "created_at", "seconds": seconds}
            )


def test_an_expired_file_is_gone(faulty_client: openai.OpenAI, control: Any) -> None:
    made = faulty_client.files.create(
        file=("a.jsonl", LINE), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    control.advance(3601)
    with pytest.raises(openai.NotFoundError):
        faulty_client.files.content(made.id)
    assert not list(faulty_client.files.list())


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.json", LINE), ("a.jsonl", b""), ("a.jsonl", b"not json\n"), ("upload", b"not json\n"), ("a.jsonl", b"\xff\n")],
)
def test_what_is_no_json_lines_file_is_refused_with_the_extra_detail(
    shared_client: openai.OpenAI, name: str, data: bytes
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        shared_client.files.create(file=(name, data), purpose="batch")
    message = "Invalid file format for Batch API. Must be .jsonl"
    assert refused.value.response.json() == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None},
        "detail": {"message": message, "code": None},
    }
    assert refused.value.request_id


def test_a_batch_file_beyond_200_mb_is_refused(client: openai.OpenAI) -> None:
    class Endless(io.RawIOBase):
        """So many bytes without having them."""

        def __init__(self, size: int) -> None:
            self.left = size

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            given = min(self.left, 1 << 20 if size < 0 else size)
            self.left -= given
            return b" " * given

    with pytest.raises(openai.APIStatusError, match="209715200") as refused:
        client.files.create(file=("a.jsonl", cast("Any", Endless(209_715_201))), purpose="batch")
    assert refused.value.status_code == 413


@pytest.mark.parametrize(
    ("fields", "files", "param"),
    [
        ({"purpose": "batch"}, {"other": ("a.jsonl", LINE)}, "file"),
        ({}, {"file": ("a.jsonl", LINE)}, "purpose"),
        ({"purpose": "nonsense"}, {"file": ("a.jsonl", LINE)}, "purpose"),
    ],
)
def test_missing_or_unknown_parameters_are_named(
    shared_server: EmbeddedServer, fields: dict[str, str], files: dict[str, tuple[str, bytes]], param: str
) -> None:
    reply = httpx2.post(f"{shared_server.base_url}/files", data=fields, files=files)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off'),
        ("multipart/form-data; boundary=b", b"\x00\x01garbage" * 50),
    ],
)
def test_a_broken_upload_is_refused_and_leaves_nothing(
    server: EmbeddedServer, tmp_path: Path, content_type: str, body: bytes
) -> None:
    reply = httpx2.post(f"{server.base_url}/files", content=body, headers={"content-type": content_type})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert not list((tmp_path / "data" / "uploads").iterdir())


def test_a_clients_file_name_never_becomes_a_path(client: openai.OpenAI, tmp_path: Path) -> None:
    name = "../../../escape.jsonl"
    made = client.files.create(file=(name, LINE), purpose="batch")
    assert client.files.retrieve(made.id).filename.endswith("escape.jsonl")
    assert [path.name for path in (tmp_path / "data" / "files").iterdir()] == [made.id]
    assert not [path for path in tmp_path.parent.rglob("*escape*") if path.is_file()]
    for odd in ("%2e%2e%2fstate.sqlite", "..%2Fstate.sqlite", "%2e%2e", "%00"):
        for rest in ("", "/content"):
            assert httpx2.get(f"{client.base_url}files/{odd}{rest}").status_code == 404


def test_the_folder_can_be_read_by_its_owner_only(client: openai.OpenAI, tmp_path: Path) -> None:
    client.files.create(file=("a.jsonl", LINE), purpose="batch")
    data = tmp_path / "data"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*"))}
    assert {mode & 0o077 for mode in modes.values()} == {0}, modes


def test_files_are_listed_in_the_asked_for_order_page_by_page(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", LINE), purpose="batch").id for n in range(7)]
    other = client.files.create(file=("x.txt", b"x"), purpose="user_data").id
    assert [one.id for one in client.files.list(limit=3)] == [other, *made[::-1]]
    assert [one.id for one in client.files.list(limit=2, order="asc", purpose="batch")] == made
    page = client.files.list(limit=3, purpose="batch")
    assert (page.has_more, [one.id for one in page.data]) == (True, made[:3:-1])
    client.files.delete(made[4])
    assert [one.id for one in client.files.list(after=made[4], purpose="batch")] == made[3::-1]


def test_a_deleted_file_is_gone_and_its_bytes_with_it(client: openai.OpenAI, tmp_path: Path) -> None:
    made = client.files.create(file=("a.jsonl", LINE), purpose="batch")
    deleted = client.files.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "file", True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            call(made.id)
        assert refused.value.body == {
            "message": f"No such File object: {made.id}",
            "type": "invalid_request_error",
            "param": "id",
            "code": None,
        }
    assert not list((tmp_path / "data" / "files").iterdir())


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=up", "after=file-unknown"])
def test_a_listing_refuses_what_it_cannot_do(shared_server: EmbeddedServer, query: str) -> None:
    reply = httpx2.get(f"{shared_server.base_url}/files?{query}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == query.split("=", maxsplit=1)[0]


def test_the_asynchronous_client_works_as_well(server: EmbeddedServer, connect: Callable[..., openai.OpenAI]) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client:
            made = [await client.files.create(file=("a.jsonl", LINE), purpose="batch") for _ in range(3)]
            assert [one.id async for one in client.files.list(limit=1)] == [one.id for one in made[::-1]]
            assert (await client.files.content(made[0].id)).content == LINE
            async with client.files.with_streaming_response.content(made[0].id) as response:
                assert b"".join([part async for part in response.iter_bytes()]) == LINE
            batch = await client.batches.create(
                input_file_id=made[0].id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert [one.id async for one in client.batches.list(limit=1)] == [batch.id]
            await client.files.delete(made[0].id)

    asyncio.run(use())
