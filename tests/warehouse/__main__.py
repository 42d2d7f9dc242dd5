"""The group by hand, in an environment with tests/warehouse/requirements.txt: `python -m tests.warehouse`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([str(Path(__file__).parent), *sys.argv[1:]]))
