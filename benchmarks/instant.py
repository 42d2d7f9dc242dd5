"""A server of the Batch API that answers at once, in a process of its own: what is measured beside it is the client.

python -m benchmarks.instant FOLDER      prints its base URL
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from benchmarks.ground import make_results

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
_numbers = itertools.count(1)
_files: dict[str, dict[str, Any]] = {}
_batches: dict[str, dict[str, Any]] = {}


async def upload(request: Request) -> Response:
    """Keep an input file."""
    async with request.form() as form:
        sent = form["file"]
        assert not isinstance(sent, str)
        name = f"file-{next(_numbers):08}"
        with (FOLDER / name).open("wb") as kept:
            await asyncio.to_thread(shutil.copyfileobj, sent.file, kept, 1 << 20)
        _files[name] = _file(name, str(sent.filename))
    return JSONResponse(_files[name])


async def files(_: Request) -> Response:
    """List the files."""
    return JSONResponse({"object": "list", "data": list(reversed(_files.values())), "has_more": False})


async def file(request: Request) -> Response:
    """Return or delete a file."""
    name = request.path_params["name"]
    if request.method == "DELETE":
        _files.pop(name, None)
        (FOLDER / name).unlink(missing_ok=True)
        return JSONResponse({"id": name, "object": "file", "deleted": True})
    return JSONResponse(_files[name]) if name in _files else Response(status_code=404)


async def content(request: Request) -> Response:
    """Return a file's content."""
    return FileResponse(FOLDER / request.path_params["name"])


async def create(request: Request) -> Response:
    """Make a batch, and answer all of it before the reply."""
    asked = await request.json()
    number, source = next(_numbers), asked["input_file_id"]
    output = f"file-{number:08}-output"
    await asyncio.to_thread(_answer, FOLDER / source, FOLDER / output)
    _files[output] = _file(output, output)
    now = int(time.time())
    batch = {
        "id": f"batch_{number:08}", "object": "batch", "endpoint": asked["endpoint"], "input_file_id": source,
        "completion_window": "24h", "status": "completed", "output_file_id": output, "error_file_id": None,
        "created_at": now, "completed_at": now, "metadata": asked.get("metadata"),
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
    }  # fmt: skip
    _batches[batch["id"]] = batch
    return JSONResponse(batch)


async def batches(request: Request) -> Response:
    """List the batches, newest first, a page at a time."""
    listed = list(reversed(_batches.values()))
    after, limit = request.query_params.get("after"), int(request.query_params.get("limit", 20))
    start = next((i + 1 for i, batch in enumerate(listed) if batch["id"] == after), 0)
    page = listed[start : start + limit]
    return JSONResponse({"object": "list", "data": page, "has_more": start + limit < len(listed)})


async def batch(request: Request) -> Response:
    """Return one batch."""
    return JSONResponse(_batches[request.path_params["name"]])


def _file(name: str, filename: str) -> dict[str, Any]:
    size = (FOLDER / name).stat().st_size
    return {"id": name, "object": "file", "bytes": size, "created_at": int(time.time()), "filename": filename,
            "purpose": "batch", "status": "processed"}  # fmt: skip


def _answer(source: Path, output: Path) -> None:
    with duckdb.connect() as con:
        make_results(source, output, con)


app = Starlette(
    routes=[
        Route("/v1/files", upload, methods=["POST"]),
        Route("/v1/files", files),
        Route("/v1/files/{name}", file, methods=["GET", "DELETE"]),
        Route("/v1/files/{name}/content", content),
        Route("/v1/batches", create, methods=["POST"]),
        Route("/v1/batches", batches),
        Route("/v1/batches/{name}", batch),
    ]
)


def main() -> None:
    """Serve on a free port of loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
