"""sqlbatch beside the cookbook's loop and raw DuckDB, on the same rows; needs the extra `bench`.

    python -m benchmarks                            1k to 1m rows, end to end, state: half an hour
    python -m benchmarks --only end,start           1,000 and 50,000 rows beside other clients, and the start: minutes
    python -m benchmarks --only serve               what the local server answers in a second of its CPU: a minute
    python -m benchmarks --rows 10m                 10 million rows, for DuckDB and sqlbatch: an hour, 60 GB of disk
    python -m benchmarks --quick                    10k rows and nothing else: a minute

Every contender runs in a process of its own, the compared ones one after the other. What was measured is kept in
benchmarks/measured.json, and docs/benchmarks.md is written anew from it.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks import measure, report, scale, server
from benchmarks.server import Process

SIZES = {"1k": 1_000, "10k": 10_000, "50k": 50_000, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
# Beyond it the cookbook's loop is not run: it would want 77 GB.
COOKBOOK_AT_MOST = 1_000_000
# How many rows go the whole way, and how many times each contender is measured; the medians count.
END_TO_END = {"1k": 5, "50k": 3}


def main() -> None:
    """Run what the command line names, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1k,10k,100k,1m", help="a list of 1k, 10k, 100k, 1m, 10m")
    parser.add_argument(
        "--only", default="build,end,start,serve,scale", help="a list of build, end, start, serve, scale"
    )
    parser.add_argument("--quick", action="store_true", help="10k rows and nothing else")
    parser.add_argument("--folder", type=Path, help="where the rows and files go; by default a temporary folder")
    options = parser.parse_args()
    sizes = ["10k"] if options.quick else options.rows.split(",")
    parts = ["build"] if options.quick else options.only.split(",")
    found = report.Findings.read()
    found.machine(_machine())
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=options.folder) as name:
        base = Path(name)
        if "build" in parts:
            for size in sizes:
                build(base / size, size, found)
        if "end" in parts:
            for size, runs in END_TO_END.items():
                end_to_end(base / size, size, runs, found)
        if "start" in parts:
            scale.start(base, found)
        if "serve" in parts:
            found.fact("serve", "requests in a CPU second", round(server.offline(50_000, 600)))
        if "scale" in parts:
            scale.state(base / "scale", found)
            scale.history(base / "history", found)
    found.write()
    for line in found.moved():
        print(line)


def build(folder: Path, size: str, found: report.Findings) -> None:
    """Measure prepare, load, and a second run of which one row of a hundred is new."""
    rows = SIZES[size]
    folder.mkdir()
    measure.call("ground.make_rows", folder / "rows.parquet", rows)
    compare = rows <= COOKBOOK_AT_MOST
    if compare:
        found.note(size, "prepare", "cookbook", measure.call("cookbook.prepare", folder))
        shutil.rmtree(folder / "cookbook")
    found.note(size, "prepare", "duckdb", measure.call("raw.prepare", folder))
    (folder / "plain").mkdir()
    measure.call("ground.answer", folder / "raw", folder / "plain")
    found.note(size, "prepare", "sqlbatch", measure.call("ours.prepare", folder))
    measure.call("ground.answer", folder / "ours", folder / "ours")
    measure.call("ours.end_all", folder)
    if compare:
        # First, for it takes so much memory that what it read is all that the machine still has at hand.
        found.note(size, "load", "cookbook", measure.call("cookbook.load", folder))
    found.note(size, "load", "duckdb", measure.call("raw.load", folder))
    shutil.rmtree(folder / "plain")
    found.note(size, "load", "sqlbatch", measure.call("ours.load", folder))
    for path in (folder / "ours").iterdir():
        path.unlink()
    state = folder / "ours.duckdb"
    found.fact(size, "bytes in the database file", state.stat().st_size)
    measure.call("ground.make_rows", folder / "changed.parquet", rows, 100)
    found.note(size, "again", "sqlbatch", measure.call("ours.again", folder))
    found.fact(size, "requests of the second run", _lines(folder / "ours"))
    found.fact(size, "bytes by table", scale.bytes_by_table(state))
    shutil.rmtree(folder)


def end_to_end(folder: Path, size: str, runs: int, found: report.Findings) -> None:
    """Measure the whole way over HTTP, the bare way, and other clients; the server's work is not counted."""
    folder.mkdir()
    measure.call("ground.make_rows", folder / "rows.parquet", SIZES[size])
    (folder / "server").mkdir()
    contenders = {
        "cookbook": "peers.cookbook",
        "batch-openai": "peers.batch_openai",
        "duckdb": "bare.end_to_end",
        "sqlbatch": "ours.end_to_end",
    }
    with Process([sys.executable, "-m", "benchmarks.instant", str(folder / "server")]) as instant:
        # batch-openai keeps a registry in the home folder, where it is asked to.
        environment = {"BENCHMARK_URL": instant.said, "HOME": str(folder)}
        for who, function in contenders.items():
            found.note(size, "end to end", who, measure.median(runs, function, folder, **environment))
    shutil.rmtree(folder)


def _lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("requests-*.jsonl"))


def _machine() -> str:
    cpu = "".join(
        line.partition(":")[2].strip() + ", "
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ).split(", ")[0] if Path("/proc/cpuinfo").exists() else platform.processor()  # fmt: skip
    memory = next(
        (int(line.split()[1]) / 2**20 for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line),
        0.0,
    ) if Path("/proc/meminfo").exists() else 0.0  # fmt: skip
    packages = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "openai", "pandas"))
    python = platform.python_version()
    return f"{measure.cores()} cores ({cpu}), {memory:.0f} GiB, {platform.system()}, Python {python}, {packages}"


if __name__ == "__main__":
    main()
