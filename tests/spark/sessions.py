"""Sessions of Spark over Connect, and the Sail server that they are at."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Where the main module has no file, as in a worker of pytest-xdist, pyspark takes it for a doctest.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__
with warnings.catch_warnings():
    # What pyspark thinks of the installed pandas.
    warnings.simplefilter("ignore")
    from pyspark.sql import SparkSession
    from pyspark.sql.connect import session  # noqa: F401 (what the first session would import)

if TYPE_CHECKING:
    from collections.abc import Iterator


def session_of(address: str) -> Any:
    """Return a Spark session at an address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SparkSession.builder.remote(address).create()


@contextmanager
def sail(folder: Path) -> Iterator[str]:
    """Serve Spark Connect for the block, in a process of its own; its tables lie in the folder. Yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("sail")), "spark", "server", "--port", str(port)]
    with (folder / "sail.log").open("wb") as log:
        process = subprocess.Popen([*command, "--directory", str(folder)], stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "sail.log").read_text()
                time.sleep(0.05)
        yield f"sc://127.0.0.1:{port}"
    finally:
        # Its own stop waits for sessions that are open.
        process.kill()
        process.wait()
