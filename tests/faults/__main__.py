"""The matrix of crashes and faults, one command: `python -m tests.faults [--mirror] [PART ...]` (as parts begin).

With --mirror processes are killed whose state is mirrored in a shared folder, with their disk lost and with it kept.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from typing import Any

_WIDTHS = (74, 46)
# Parts that are run at a time, for that is how many cores the smallest machine has.
_AT_ONCE = 2


def main() -> int:
    """Run the parts, print their rows as they come, and return 1 where anything was paid twice or lost."""
    if sys.argv[1:2] == ["--part"]:
        from . import matrix  # noqa: PLC0415 (a killed process's sibling need not import all of it)

        return matrix.play(sys.argv[2])
    from . import matrix  # noqa: PLC0415

    mirrored = "--mirror" in sys.argv
    named = tuple(each for each in sys.argv[1:] if each != "--mirror")
    known = matrix.mirrored_parts() if mirrored else matrix.parts()
    parts = [name for name in known if not named or matrix.plain(name).startswith(named)]
    began = time.monotonic()
    _line("point or fault", "what was done", "executed", "paid twice", "lost")
    _line("-" * _WIDTHS[0], "-" * _WIDTHS[1], "--------", "----------", "----")
    rows: list[dict[str, Any]] = []
    # A copy of the state at each step takes its time: one part after the other leaves a machine to others.
    for row in _rows(parts, 1 if mirrored else _AT_ONCE):
        rows.append(row)
        _line(row["point"], row["done"], row["executed"], row["twice"], row["lost"], row["problem"])
    whole = not mirrored and len(parts) == len(known)
    if whole:
        rows.append(_recorded([row["point"] for row in rows if not row["problem"]]))
        _line(rows[-1]["point"], rows[-1]["done"], 0, 0, 0, rows[-1]["problem"])
    totals = [sum(row[name] for row in rows) for name in ("executed", "twice", "lost")]
    wrong = sum(bool(row["twice"] or row["lost"] or row["problem"]) for row in rows)
    _line(f"{len(rows)} rows, {wrong} not right", f"{time.monotonic() - began:.0f} seconds", *totals)
    return 1 if wrong or not rows else 0


def _recorded(points: list[str]) -> dict[str, Any]:
    """Compare what was killed with the steps in the code, and write it down for the tests of every day."""
    from . import steps  # noqa: PLC0415

    killed = steps.of_points(points)
    steps.RECORD.write_text("".join(f"{step}\n" for step in sorted(killed)))
    left = ", ".join(sorted(steps.survived(killed)))
    problem = f"no process was killed at {left}" if left else ""
    done = f"killed at {len(killed)}"
    return {"point": "the steps of the code", "done": done, "executed": 0, "twice": 0, "lost": 0, "problem": problem}


def _rows(parts: list[str], at_once: int) -> Any:
    """Run the parts in processes of their own, so many at a time; yield their rows as they come."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    told: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    for part in parts:
        waiting.put(part)

    def work() -> None:
        while True:
            try:
                part = waiting.get_nowait()
            except queue.Empty:
                told.put(None)
                return
            command = [sys.executable, "-m", "tests.faults", "--part", part]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout or ():
                    told.put(json.loads(line))
            if process.returncode:
                problem = f"exit code {process.returncode}"
                told.put({"point": part, "done": "", "executed": 0, "twice": 0, "lost": 0, "problem": problem})

    for _ in range(at_once):
        threading.Thread(target=work, daemon=True).start()
    left = at_once
    while left:
        row = told.get()
        if row is None:
            left -= 1
        else:
            yield row


def _line(point: str, done: str, executed: object, twice: object, lost: object, problem: str = "") -> None:
    text = f"{point:{_WIDTHS[0]}} | {done:{_WIDTHS[1]}} | {executed:>8} | {twice:>10} | {lost:>4}"
    sys.stdout.write(text + (f"   NOT RIGHT: {problem}" if problem else "") + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
