"""The fault rules of a server: which fault happens, where, and how often."""

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

    `on` is an endpoint (`POST /v1/batches`) for replies, a custom_id for lines, or a batch or file id for objects; `*`
    matches anything. The first `skip` occasions pass. Of the others, the fault happens on a share (0 to 1), at most
    `count` times. Which ones depends only on the key of the occasion, so that a line fails each time or never. The
    fault happens at most `times` times for one key.
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
        """Return the rule of an entry in a faults file or a request to the control endpoint; raises ServerError."""
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ServerError("a fault must be a table with a name")
        name = entry["name"]
        if name not in NAMES:
            raise ServerError(f"there is no fault named {name}; {did_you_mean(name, sorted(NAMES))}")
        common = {key: value for key, value in entry.items() if key in _KINDS}
        for key, value in common.items():
            if not isinstance(value, _KINDS[key]):
                raise ServerError(f"the {key} of the fault {name} has the wrong type")
        common.setdefault("on", shapes.DEFAULT_ENDPOINTS.get(name, "*"))
        if common.pop("once", False):
            common["times"] = 1
        options = {key: value for key, value in entry.items() if key not in _KINDS and key != "name"}
        return cls(name, **common, options=options)

    def happens(self, subject: str, key: str) -> bool:
        """Count an occasion for `subject`, and return whether the fault happens."""
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

    def as_json(self) -> dict[str, Any]:
        """Return the rule as JSON, with the number of its occasions and how often it fired."""
        common = {"name": self.name, "on": self.on, "count": self.count, "share": self.share, "skip": self.skip}
        return {**common, "times": self.times, **self.options, "occasions": self.occasions, "fired": self.fired}


class Faults:
    """The rules of one server. All methods may be called from any thread."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = list(rules)
        self._lock = threading.Lock()

    def take(self, name: str, subject: str = "", key: str | None = None) -> Rule | None:
        """Count an occasion of the fault `name`; return the rule by which it happens, or None.

        `key` decides which occasions belong to a share; by default, each occasion has its own key.
        """
        with self._lock:
            for rule in self._rules:
                if rule.name == name and rule.happens(subject, str(rule.occasions) if key is None else key):
                    return rule
        return None

    def firing(self, names: Collection[str], subject: str, key: str | None = None) -> list[Rule]:
        """Count an occasion of each fault in `names`; return the rules of those that happen, in the same order."""
        present = {rule.name for rule in self._rules}
        taken = (self.take(name, subject, key) for name in names if name in present)
        return [rule for rule in taken if rule]

    def has_rule(self, name: str, subject: str) -> bool:
        """Return whether there is a rule for the fault `name` and `subject`."""
        with self._lock:
            return any(rule.name == name and fnmatch.fnmatchcase(subject, rule.on) for rule in self._rules)

    def any_of(self, names: Collection[str]) -> bool:
        """Return whether there is a rule for any of the faults."""
        with self._lock:
            return any(rule.name in names for rule in self._rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Replace all rules."""
        with self._lock:
            self._rules = list(rules)

    def add(self, rules: Iterable[Rule]) -> None:
        """Add rules."""
        with self._lock:
            self._rules = [*self._rules, *rules]

    def as_json(self) -> list[dict[str, Any]]:
        """Return all rules as JSON."""
        with self._lock:
            return [rule.as_json() for rule in self._rules]


def read_rules(found: object) -> list[Rule]:
    """Return the rules of `{"fault": [...]}`; raises ServerError."""
    entries = found.get("fault", []) if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ServerError("the faults must be a list of tables named fault")
    return [Rule.read(entry) for entry in entries]


def load(path: Path) -> Faults:
    """Return the faults of a TOML (or .json) file; raises ServerError."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ServerError(f"the faults file {path} cannot be read: {error}") from error
    return Faults(read_rules(found))
