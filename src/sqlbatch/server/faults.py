"""Failures to act out on demand: which there are, when each happens, and how they are written down (docs/server.md)."""

from __future__ import annotations

import difflib
import fnmatch
import json
import threading
import tomllib
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlbatch.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HTTP = frozenset(
    {
        "content_502",
        "content_gone",
        "cut",
        "cut_silently",
        "drop_after",
        "drop_before",
        "error",
        "error_after",
        "hold",
        "quota",
        "retry_after",
        "upload_breaks",
    }
)
LISTS = frozenset(
    {
        "endless_list",
        "list_lags",
    }
)
OBJECTS = frozenset(
    {
        "empty_error_file_id",
        "errors_as_list",
        "extra_fields",
        "lying_counts",
        "no_metadata",
        "null_counts",
        "uppercase_status",
    }
)
BATCHES = frozenset(
    {
        "billing_limit",
        "expires",
        "model_retired",
        "stuck_cancelling",
        "stuck_finalizing",
        "stuck_in_progress",
        "stuck_validating",
        "token_limit",
    }
)
LINES = frozenset(
    {
        "content_filter",
        "empty_content",
        "invalid_json",
        "length",
        "line_error",
        "refusal",
        "status_zero",
        "wrong_shape",
    }
)
FILES = frozenset(
    {
        "blank_lines",
        "bom",
        "conflicting_line",
        "crlf",
        "duplicate_line",
        "foreign_line",
        "invalid_utf8",
        "malformed_line",
        "missing_line",
        "no_custom_id",
        "no_final_newline",
        "no_line_id",
        "not_an_object",
        "separators",
    }
)
NAMES = HTTP | LISTS | OBJECTS | BATCHES | LINES | FILES
_ENDPOINTS = {  # where a failure of the HTTP layer happens unless the rule says
    "quota": "POST /v1/batches",
    "content_502": "GET /v1/files/*/content",
    "content_gone": "GET /v1/files/*/content",
    "cut": "GET /v1/files/*/content",
    "cut_silently": "GET /v1/files/*/content",
    "upload_breaks": "POST /v1/files",
}
_COMMON = frozenset({"name", "on", "count", "share", "skip", "once"})


@dataclass
class Rule:
    """One failure: its name, where and how often it happens, and its own options.

    `on` is an endpoint (`POST /v1/batches`, with `*`) for failures of the HTTP layer, a custom_id (with `*`) for those
    of lines, a batch id for those of batches. The first `skip` occasions pass, then `share` (0 to 1) of them fail, at
    most `count`; the choice depends on the occasion's key alone, so that a line fails each time or never. With `once`
    a key fails only the first time.
    """

    name: str
    on: str = "*"
    count: int | None = None
    share: float = 1.0
    skip: int = 0
    once: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    occasions: int = 0
    fired: int = 0
    keys: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, entry: object) -> Rule:
        """Return a rule as a faults file or the control endpoint writes it; raises ServerError."""
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ServerError("a fault must be a table with a name")
        name = entry["name"]
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(NAMES))}"
            raise ServerError(f"there is no fault named {name}{hint}")
        common = {key: value for key, value in entry.items() if key in _COMMON}
        common.setdefault("on", _ENDPOINTS.get(name, "*"))
        kinds = {"on": str, "count": int, "share": int | float, "skip": int, "once": bool}
        for key, kind in kinds.items():
            if key in common and not isinstance(common[key], kind):
                raise ServerError(f"the fault {name} has a {key} of the wrong type")
        return cls(**common, options={key: value for key, value in entry.items() if key not in _COMMON})

    def happens(self, subject: str, key: str) -> bool:
        """Count an occasion on `subject`, and return whether the failure happens."""
        if not fnmatch.fnmatchcase(subject, self.on):
            return False
        self.occasions += 1
        if self.occasions <= self.skip or (self.count is not None and self.fired >= self.count):
            return False
        if self.once and key in self.keys:
            return False
        if (
            self.share < 1
            and zlib.crc32(f"{self.name}/{key}".encode("utf-8", "replace")) % 10_000 >= self.share * 10_000
        ):
            return False
        self.fired += 1
        if self.once:
            self.keys.add(key)
        return True

    def shown(self) -> dict[str, Any]:
        """Return the rule as JSON, with how often it had occasion to happen and did."""
        common = {"name": self.name, "on": self.on, "count": self.count, "share": self.share, "skip": self.skip}
        return {**common, "once": self.once, **self.options, "occasions": self.occasions, "fired": self.fired}


class Faults:
    """The failures of one server; may be asked from any thread."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = list(rules)
        self._lock = threading.Lock()

    def take(self, name: str, subject: str = "", key: str | None = None) -> Rule | None:
        """Return the rule by which the failure `name` happens on this occasion, or None.

        `key` decides for a share; by default each occasion has its own.
        """
        with self._lock:
            for rule in self._rules:
                if rule.name == name and rule.happens(subject, str(rule.occasions) if key is None else key):
                    return rule
        return None

    def remains(self, name: str, subject: str) -> bool:
        """Whether a failure that has happened to `subject` goes on: while there is a rule of that name for it."""
        with self._lock:
            return any(rule.name == name and fnmatch.fnmatchcase(subject, rule.on) for rule in self._rules)

    def any_of(self, names: frozenset[str]) -> bool:
        """Whether one of some failures can happen at all."""
        with self._lock:
            return any(rule.name in names for rule in self._rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Forget all rules and take others."""
        with self._lock:
            self._rules = list(rules)

    def add(self, rules: Iterable[Rule]) -> None:
        """Take further rules."""
        with self._lock:
            self._rules.extend(rules)

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
    """Return the failures of a TOML (or .json) file; raises ServerError."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ServerError(f"the faults file {path} cannot be read: {error}") from error
    return Faults(read_rules(found))
