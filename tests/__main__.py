"""All checks, one command: `python -m tests`. Arguments go to pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS = {
    "style": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
    "walls": [
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as run; sys.argv = ['lint-imports']; run()",
    ],
}


def main() -> int:
    """Run every check, whatever the others say; return 0 where all are well."""
    failed = [name for name, arguments in CHECKS.items() if not _passes(name, arguments)]
    # Three workers, for two leave the two cores of the smallest machine idle for half of the time; one without work
    # takes tests from the others.
    if not _passes("tests", ["-m", "pytest", "-n", "3", "--dist", "worksteal", *sys.argv[1:]]):
        failed.append("tests")
    groups = sorted(path.parent.name for path in ROOT.glob("tests/*/requirements.txt"))
    others = ", ".join(f"tests/{name}" for name in groups)
    sys.stdout.write(f"skipped: {others} and long cases (pytest -m long), which .ci/run runs\n")
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "all checks passed\n")
    return 1 if failed else 0


def _passes(name: str, arguments: list[str]) -> bool:
    sys.stdout.write(f"== {name}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
