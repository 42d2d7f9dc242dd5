"""The names of files on their way, here and at the provider."""

from __future__ import annotations

import re
import secrets


def input_name(batch_id: str) -> str:
    """Return the name of a batch's input file."""
    return f"sqlbatch-{batch_id}.jsonl"


def result_name(batch_id: str, kind: str) -> str:
    """Return a name for a download of a batch's `output` or `error` file, that no other download has."""
    return f"sqlbatch-{batch_id}.{secrets.token_hex(4)}.{kind}.jsonl"


def batch_of(name: str) -> str | None:
    """Return the batch that a file in the spool is of; None for a file that is not ours."""
    found = re.match(r"sqlbatch-([0-9a-f-]{36})\.", name)
    return found[1] if found else None
