"""What was measured, kept as JSON, and the page that is written from it."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plot import plot

if TYPE_CHECKING:
    from benchmarks.measure import Measured

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).parent / "measured.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"
BEGIN, END = "<!-- measured: written by python -m benchmarks -->", "<!-- end of what was measured -->"
ORDER = ["1k", "10k", "50k", "100k", "1m", "10m"]
CONTENDERS = ("cookbook", "batch-openai", "duckdb", "sqlbatch")


@dataclass
class Findings:
    """Measurements by size, what and contender; facts by size and name."""

    measured: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = copy.deepcopy(self.measured)
        self._noted: list[tuple[str, str]] = []

    @classmethod
    def read(cls) -> Findings:
        """Return what earlier runs have kept."""
        return cls(**json.loads(KEPT.read_text())) if KEPT.exists() else cls()

    def note(self, size: str, what: str, who: str, measured: Measured) -> None:
        """Keep a measurement, and print it with its ratio to what was measured before."""
        at = self.measured.setdefault(size, {}).setdefault(what, {})
        at[who] = asdict(measured)
        if who == "sqlbatch":
            self._noted.append((size, what))
        ratio = f"   {self.ratio(size, what):.2f} x DuckDB" if who == "sqlbatch" and "duckdb" in at else ""
        print(f"{size:>5} {what:<11} {who:<9} {measured}{ratio}", flush=True)
        self._keep()

    def fact(self, size: str, name: str, value: Any) -> None:
        """Keep and print another fact."""
        self.facts.setdefault(size, {})[name] = value
        print(f"{size:>5} {name}: {value}", flush=True)
        self._keep()

    def moved(self) -> list[str]:
        """Return by how much each ratio of CPU that this run measured has moved from what was kept before it.

        CPU and not time, and ratios to others in the same run: so it says the same on a busy or a slower machine.
        """
        lines = []
        for size, what in self._noted:
            at, before = self.measured[size][what], self._before.get(size, {}).get(what, {})
            for who in set(at) & set(before) & set(CONTENDERS) - {"sqlbatch"}:
                if "sqlbatch" in before:
                    now = at["sqlbatch"]["cpu"] / at[who]["cpu"]
                    then = before["sqlbatch"]["cpu"] / before[who]["cpu"]
                    lines.append(
                        f"{size:>5} {what:<11} CPU, {who} = 1: {now:.2f}, was {then:.2f}: {now / then - 1:+.0%}"
                    )
        return sorted(lines)

    def machine(self, text: str) -> None:
        """Keep what it was measured on."""
        self.facts.setdefault("all", {})["machine"] = text

    def ratio(self, size: str, what: str, to: str = "duckdb", of: str = "seconds") -> float:
        """Return how many times as much sqlbatch takes as another."""
        at = self.measured[size][what]
        return at["sqlbatch"][of] / at[to][of]

    def write(self) -> None:
        """Write the measured part of the page anew, and the plot."""
        self._keep()
        PICTURE.write_text(plot(self.measured, self.facts.get("scale", {})))
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{self._table()}\n{END}{after}")

    def _keep(self) -> None:
        KEPT.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def _table(self) -> str:
        lines = [
            f"Measured on: {self.facts['all']['machine']}.",
            "",
            "| rows | what | who | time | CPU | peak memory | time, DuckDB = 1 | CPU, DuckDB = 1 |",
            "|---|---|---|---:|---:|---:|---:|---:|",
        ]
        for size in ORDER:
            for what, at in self.measured.get(size, {}).items():
                for who in CONTENDERS:
                    if who in at:
                        lines.append(self._row(size, what, who))  # noqa: PERF401
        steps = self.facts.get("scale", {}).get("steps", {})
        if steps:
            lines += [
                "",
                "A step of a job with nothing to do, beside what the database holds; *counting* where something has",
                "changed since the step before, else *after*:",
                "",
                "| batches | requests | counting | after |",
                "|---:|---:|---:|---:|",
            ]
            lines += [
                f"| {int(batches):,} | {at['requests']:,.0f} | {at['counting']:.2f} s | {at['after']:.2f} s |"
                for batches, at in steps.items()
            ]
        history = self.facts.get("scale", {}).get("history", {})
        if history:
            lines += [
                "",
                "Beside the jobs of years, each of 100 requests and done: CPU seconds of a step of nothing to do, and",
                "of commands that list them all or show one, without their start.",
                "",
                "| jobs | a step | `jobs` | `show` | `costs` |",
                "|---:|---:|---:|---:|---:|",
            ]
            lines += [
                f"| {int(count):,} | "
                + " | ".join(f"{at[name]:.2f} s" for name in ("step", "jobs", "show", "costs"))
                + " |"
                for count, at in history.items()
            ]
        start = self.facts.get("start", {})
        if start:
            lines += ["", f"{'; '.join(f'{name}: {value} s' for name, value in start.items())}."]
        for name, value in self.facts.get("serve", {}).items():
            lines += ["", f"The local server, 50,000 requests of 600 bytes to the offline model: {value:,} {name}."]
        return "\n".join(lines) + "\n"

    def _row(self, size: str, what: str, who: str) -> str:
        at = self.measured[size][what]
        one, base = at[who], at.get("duckdb")
        ratios = [f"{one[of] / base[of]:.2f}" if base else "" for of in ("seconds", "cpu")]
        return (
            f"| {size} | {what} | {who} | {one['seconds']:.1f} s | {one['cpu']:.1f} s | {one['peak']:,.0f} MB "
            f"| {ratios[0]} | {ratios[1]} |"
        )
