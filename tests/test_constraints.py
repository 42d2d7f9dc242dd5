"""What CI runs: one release for every dependency, within its bounds, and tests that are there."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PINNED = [
    line for line in (ROOT / "tests" / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")
]


def test_a_constraint_is_a_name_and_a_version() -> None:
    assert [line for line in PINNED if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


def test_every_dependency_has_a_constraint_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in PINNED)}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(text)
        version = pinned.get(canonicalize_name(wanted.name))
        assert version, f"write the release of {wanted.name} into tests/constraints.txt; its first lines say how"
        assert wanted.specifier.contains(version), (text, version)


def test_the_tests_of_the_short_runs_are_there() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    paths = re.findall(r"tests/[\w/]+\.py", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
