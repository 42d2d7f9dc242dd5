"""The rules of a server with faults: which fault happens, where and how often."""

from __future__ import annotations

import fnmatch
import json
import threading
import tomllib
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import ServerError, did_you_mean
from sqlbatch.server.testing import lines, shapes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

NAMES = shapes.NAMES | lines.NAMES
_KINDS = {"on": str, "count": int, "share": int | float, "skip": int, "once": bool, "times": int}


@dataclass
class Rule:
    """One fault: its name, where and how often it happens, and its own options.

    `on` is an endpoint (`POST /v1/batches`) for replies, a custom_id for lines, a batch or file id for objects, with
    `*` for anything. The first `skip` occasions pass, then `share` (0 to 1) of them fail, at most `count`; the choice
    depends on the occasion's key alone, so that a line fails each time or never. One key fails at most `times`.
    """

    name: str
    on: str = "*"
    count: int | None = None
    share: float = 1.0
    skip: int = 0
    times: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    occasions: int = 0
    fired: int = 0
    keys: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, entry: object) -> Rule:
        """Return a rule as a faults file or the control endpoint writes it; raises ServerError."""
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ServerError("a fault must be a table with a name")
        name = entry["name"]
        if name not in NAMES:
            raise ServerError(f"there is no fault named {name}; {did_you_mean(name, sorted(NAMES))}")
        common = {key: value for key, value in entry.items() if key in _KINDS}
        for key, value in common.items():
            if not isinstance(value, _KINDS[key]):
                raise ServerError(f"the fault {name} has a {key} of the wrong type")
        common.setdefault("on", shapes.PLACES.get(name, "*"))
        if common.pop("once", False):
            common["times"] = 1
        options = {key: value for key, value in entry.items() if key not in _KINDS and key != "name"}
        return cls(name, **common, options=options)

    def happens(self, subject: str, key: str) -> bool:
        """Count an occasion on `subject`, and return whether the fault happens."""
        if not fnmatch.fnmatchcase(subject, self.on):
            return False
        self.occasions += 1
        if self.occasions <= self.skip or (self.count is not None and self.fired >= self.count):
            return False
        if self.times is not None and self.keys[key] >= self.times:
            return False
        choice = zlib.crc32(f"{self.name}/{key}".encode("utf-8", "replace")) % 10_000 if self.share < 1 else 0
        if choice >= self.share * 10_000:
            return False
        self.fired += 1
        if self.times is not None:
            self.keys[key] += 1
        return True

    def shown(self) -> dict[str, Any]:
        """Return the rule as JSON, with how often it had occasion to happen and did."""
        common = {"name": self.name, "on": self.on, "count": self.count, "share": self.share, "skip": self.skip}
        return {**common, "times": self.times, **self.options, "occasions": self.occasions, "fired": self.fired}


class Faults:
    """The rules of one server; may be asked from any thread."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = list(rules)
        self._lock = threading.Lock()

    def take(self, name: str, subject: str = "", key: str | None = None) -> Rule | None:
        """Return the rule that makes the fault `name` happen on this occasion, or None.

        `key` decides for a share; by default each occasion has its own.
        """
        with self._lock:
            for rule in self._rules:
                if rule.name == name and rule.happens(subject, str(rule.occasions) if key is None else key):
                    return rule
        return None

    def firing(self, names: Collection[str], subject: str, key: str | None = None) -> list[Rule]:
        """Return the rules by which any of `names` happens on this occasion, in the order of `names`."""
        present = {rule.name for rule in self._rules}
        taken = (self.take(name, subject, key) for name in names if name in present)
        return [rule for rule in taken if rule]

    def remains(self, name: str, subject: str) -> bool:
        """Return whether there is still a rule of that name for `subject`; removing it ends a fault that lasts."""
        with self._lock:
            return any(rule.name == name and fnmatch.fnmatchcase(subject, rule.on) for rule in self._rules)

    def any_of(self, names: Collection[str]) -> bool:
        """Return whether one of some faults can happen at all."""
        with self._lock:
            return any(rule.name in names for rule in self._rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Forget all rules and take others."""
        with self._lock:
            self._rules = list(rules)

    def add(self, rules: Iterable[Rule]) -> None:
        """Take further rules."""
        with self._lock:
            self._rules = [*self._rules, *rules]

    def shown(self) -> list[dict[str, Any]]:
        """Return all rules as JSON."""
        with self._lock:
            return [rule.shown() for rule in self._rules]


def read_rules(found: object) -> list[Rule]:
    """Return the rules of `{"fault": [...]}`; raises ServerError."""
    entries = found.get("fault", []) if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ServerError("faults are written as a list of tables named fault")
    return [Rule.read(entry) for entry in entries]


def load(path: Path) -> Faults:
    """Return the faults of a TOML (or .json) file; raises ServerError."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ServerError(f"the faults file {path} cannot be read: {error}") from error
    return Faults(read_rules(found))
