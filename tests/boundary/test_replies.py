"""Whatever a field of a provider's reply has become: nothing is paid twice, lost, or taken for what it is not.

A part of the changes, the same each time, of which most are long; `python -m tests.boundary` acts out all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.long import one_of

from .bench import Scene
from .changes import changes, groups

if TYPE_CHECKING:
    from pathlib import Path

    from .changes import Change

# Every so-many-th change is acted out here; no divisor of how many there are of a field, so that all kinds come.
EVERY = 5


def _named(group: list[Change]) -> str:
    return f"{group[0].name} to {group[-1].name}" if len(group) > 1 else group[0].name


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Stand in for a provider, in this process and on a fast clock."""
    return Scene(tmp_path, monkeypatch)


@pytest.mark.parametrize("group", one_of(8, groups(changes()[::EVERY])), ids=_named)
def test_whatever_a_reply_has_become_nothing_is_paid_twice_lost_or_mistaken(scene: Scene, group: list[Change]) -> None:
    assert scene.play(group) == {}
