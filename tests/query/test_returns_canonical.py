"""The canonical text and schema of column lists, recorded: both are part of a request's custom_id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sqlbatch.returns import parse_returns

RECORDED = Path(__file__).parents[1] / "fixtures" / "returns.jsonl"


def test_a_column_list_keeps_the_text_and_the_schema_it_was_paid_for_with() -> None:
    changed = []
    for line in RECORDED.read_text(encoding="utf-8").split("\n")[:-1]:
        recorded = json.loads(line)
        returns = parse_returns(recorded["returns"])
        schema = json.dumps(returns.json_schema(), ensure_ascii=False).encode()
        same_schema = recorded["schema"] in (None, hashlib.sha256(schema).hexdigest()[:16])
        if returns.text != recorded["text"] or not same_schema:
            changed.append((recorded["returns"], recorded["text"], returns.text))
    assert changed == []
