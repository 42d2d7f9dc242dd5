"""How fast the Batch API server is, in how much memory, and what bounds it.

    python -m benchmarks.server offline              50,000 lines in a file of 200 MB on the offline model
    python -m benchmarks.server offline --bytes 600  the same number of small lines
    python -m benchmarks.server upstream             an upstream that answers after 50 ms, beside a bare client loop

The server, and the upstream, run in processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx2
import openai

_SERVE = """
import json, sys
from pathlib import Path
from sqlbatch.server import ServerConfig, serve
options = json.loads(sys.argv[1])
serve(ServerConfig(Path(options.pop("folder")), upstreams=tuple(options.pop("upstreams", ())), **options))
"""
_SENTENCE = (
    "in a small town the owner of the last cinema meets an old friend who is looking for a lost film about the war"
)
_WORDS = _SENTENCE.split()
_SCHEMA = {
    "type": "object",
    "properties": {
        "categories": {"type": "array", "items": {"type": "string"}},
        "summary": {"type": "string"},
    },
    "required": ["categories", "summary"],
    "additionalProperties": False,
}


class Process:
    """A server in a process of its own, and what it uses."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.said = self._process.stdout.readline().strip()

    def status(self, name: str) -> float:
        """Return a line of /proc/PID/status in MB, such as VmHWM; 0 where the system has no such file."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return 0.0
        found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
        return int(found[0]) / 1024 if found else 0.0

    def cpu(self) -> float:
        """Return the seconds of CPU time it has used; 0 where the system does not tell."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def serve(folder: Path, **options: Any) -> Process:
    """Start the server."""
    return Process([sys.executable, "-c", _SERVE, json.dumps({"folder": str(folder), **options})])


def write_lines(path: Path, count: int, size: int, model: str) -> None:
    """Write an input file of `count` lines with about `size` bytes each."""
    form = {"type": "json_schema", "json_schema": {"name": "row", "strict": True, "schema": _SCHEMA}}
    with path.open("w") as file:
        for number in range(count):
            text = f"Film {number}: " + " ".join(_WORDS)
            messages = [{"role": "user", "content": text}]
            body = {"model": model, "messages": messages, "response_format": form}
            line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            missing = size - len(json.dumps(line)) - 1
            repeated = (" " + " ".join(_WORDS) + ".") * (missing // 100 + 1)
            messages[0]["content"] = text + "." + repeated[: max(0, missing - 1)]
            file.write(json.dumps(line) + "\n")


def run_batch(client: openai.OpenAI, path: Path) -> tuple[float, float]:
    """Run a file as a batch; return the seconds of its upload and of the batch itself."""
    begun = time.perf_counter()
    with path.open("rb") as handle:
        file = client.files.create(file=handle, purpose="batch")
    uploaded = time.perf_counter()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status != "completed":
        assert batch.status != "failed", batch.errors
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return uploaded - begun, time.perf_counter() - uploaded


def offline(count: int, size: int) -> float:
    """Run a large batch on the offline model; return how many requests it answers in a second of its CPU."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "input.jsonl"
        write_lines(path, count, size, "offline")
        megabytes = path.stat().st_size / 1e6
        with serve(folder / "data") as server, openai.OpenAI(base_url=server.said, api_key="x") as client:
            idle, worked = server.status("VmRSS"), server.cpu()
            upload, seconds = run_batch(client, path)
            worked = server.cpu() - worked
            print(f"{count:,} lines, {megabytes:.0f} MB, offline model")
            print(f"upload      {upload:8.2f} s   {megabytes / upload:8.0f} MB/s")
            print(f"batch       {seconds:8.2f} s   {count / seconds:8.0f} lines/s, validated, run and made durable")
            print(f"memory      {server.status('VmHWM'):8.0f} MB at most, {idle:.0f} MB before")
            print(f"CPU         {worked:8.2f} s   of {upload + seconds:.2f} s: {bound(worked, upload + seconds)}")
            return count / worked if worked else 0.0


def bound(worked: float, seconds: float) -> str:
    """Return what bounds a server that has worked for so long in so many seconds."""
    return (
        "bound by one core"
        if worked > 0.8 * seconds
        else "bound by waiting (for other processes, the disk or the network)"
    )


def upstream(count: int, concurrency: int, delay: float) -> None:
    """Run a batch on an upstream, beside the same requests sent by a bare loop."""
    with (
        Process([sys.executable, "-m", "benchmarks.upstream", str(delay)]) as there,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        path = folder / "input.jsonl"
        write_lines(path, count, 700, "echo")
        ideal = concurrency / delay
        print(f"{count:,} requests, {concurrency} at once, answered after {delay * 1000:.0f} ms")
        print(f"ideal       {ideal:8.0f} requests/s")
        bare = 0.0
        for pooled in (True, False):
            cpu, begun = time.process_time(), time.perf_counter()
            asyncio.run(bare_loop(there.said, path, concurrency, pooled=pooled))
            seconds = time.perf_counter() - begun
            bare = max(bare, count / seconds)
            cpu = time.process_time() - cpu
            label, rate = "bare loop" if pooled else "unpooled", count / seconds
            print(f"{label:<11} {rate:8.0f} requests/s, {cpu / count * 1e6:.0f} us of CPU each: {bound(cpu, seconds)}")
        options = {"upstreams": [there.said], "concurrency": concurrency}
        with serve(folder / "data", **options) as server, openai.OpenAI(base_url=server.said, api_key="x") as client:
            cpu = server.cpu()
            _, seconds = run_batch(client, path)
            cpu = server.cpu() - cpu
            rate = count / seconds
            print(f"server      {rate:8.0f} requests/s, {cpu / count * 1e6:.0f} us of CPU each: {bound(cpu, seconds)}")
            print(
                f"            {rate / min(ideal, bare):8.0%} of the faster bare loop or the ideal, whichever is lower"
            )
            print(f"memory      {server.status('VmHWM'):8.0f} MB at most")


async def bare_loop(base_url: str, path: Path, concurrency: int, *, pooled: bool) -> None:
    """Send every line of a file, so many at once, with the plain client, and look at nothing but the status.

    One client with a pool of connections is what most would write; a client for each connection is faster, for the pool
    looks through all of its connections for every request.
    """
    with path.open() as file:
        lines = iter(file)

        async def work(client: httpx2.AsyncClient) -> None:
            for line in lines:
                request = json.loads(line)
                reply = await client.post(base_url + "/chat/completions", json=request["body"])
                assert reply.status_code == 200

        async with contextlib.AsyncExitStack() as stack:
            limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
            count = 1 if pooled else concurrency
            clients = [
                await stack.enter_async_context(httpx2.AsyncClient(limits=limits, timeout=60, verify=False))
                for _ in range(count)
            ]
            await asyncio.gather(*(work(clients[number % count]) for number in range(concurrency)))


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["offline", "upstream"])
    parser.add_argument("--lines", type=int)
    parser.add_argument("--bytes", type=int, default=4_190, help="of each line")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds after which the upstream answers")
    options = parser.parse_args()
    if options.what == "offline":
        offline(options.lines or 50_000, options.bytes)
    else:
        upstream(options.lines or 10_000, options.concurrency, options.delay)


if __name__ == "__main__":
    main()
