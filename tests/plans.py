"""The whole oracle, by hand: `python -m tests.plans --minutes N [--seed S]`.

First the written queries, under all policies and sets of answers, which takes about two minutes; then generated ones.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from tests.functions.generate import generated
from tests.functions.oracle import Direct, Model, connect, plans_of, run_plan
from tests.functions.test_oracle import QUERIES


def main() -> int:
    """Run queries for some minutes; print each that gives another table than direct calls."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="only generated queries, from this one on")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    direct, con = Direct(), connect()
    seeds = itertools.count(given.seed or 1_000)
    generated_queries = ((f"seed {seed}", generated(seed), Model(seed, failing=10)) for seed in seeds)
    written = ((name, query, model) for name, query in QUERIES.items() for model in (Model(), Model(1, failing=15)))
    queries = wrong = run = 0
    for name, query, model in itertools.chain(() if given.seed else written, generated_queries):
        if time.monotonic() > until:
            break
        queries += 1
        expected = direct.run(query, Model(model.seed, model.failing))
        for plan in plans_of(con, query):
            found = run_plan(con, plan, Model(model.seed, model.failing))
            run += 1
            if (found.names, found.types, found.sorted()) != (expected.names, expected.types, expected.sorted()):
                wrong += 1
                sys.stdout.write(f"{name}, {plan.policy}: {query}\n")
    sys.stdout.write(
        f"{queries} queries with their answers, {run} runs, {wrong} wrong; the next seed is {next(seeds)}\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
