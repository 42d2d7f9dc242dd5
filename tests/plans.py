"""Generated queries through the oracle, by hand: `python -m tests.plans --minutes N [--seed S]`."""

from __future__ import annotations

import argparse
import sys
import time

from sqlbatch.functions.collect import Policy
from tests.functions.generate import generated
from tests.functions.oracle import Direct, Model, connect, plan_of, run_plan


def main() -> int:
    """Run generated queries for some minutes; print each that gives another table than direct calls, and its seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1_000)
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    direct, con = Direct(), connect()
    wrong = run = 0
    seed = given.seed
    while time.monotonic() < until:
        query = generated(seed)
        expected = direct.run(query, Model(seed, failing=10))
        for policy in Policy:
            found = run_plan(con, plan_of(con, query, policy), Model(seed, failing=10))
            run += 1
            if (found.names, found.types, found.sorted()) != (expected.names, expected.types, expected.sorted()):
                wrong += 1
                sys.stdout.write(f"seed {seed}, {policy}: {query}\n")
        seed += 1
    sys.stdout.write(f"{seed - given.seed} queries, {run} runs, {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
