"""Every change of every reply, one command: `python -m tests.boundary [WORDS]` (those whose names have the words)."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from .bench import Scene
from .changes import changes, groups


def main() -> int:
    """Act the changes out, print what is wrong, and return 1 where anything is."""
    words = " ".join(sys.argv[1:])
    began, wrong = time.monotonic(), 0
    chosen = [change for change in changes() if words in change.name]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith(("OPENAI_", "SQLBATCH_"))]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(folder)
        scene = Scene(Path(folder), monkeypatch)
        for group in groups(chosen):
            for name, problem in scene.play(group).items():
                wrong += 1
                sys.stdout.write(f"{name}: {problem}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} changes, {wrong} problems, {time.monotonic() - began:.0f} seconds\n")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
