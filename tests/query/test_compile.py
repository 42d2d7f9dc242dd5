"""Compiler cases: a `.sql` ask beside the requests it makes, row by row. To add a case is to add its files.

`NAME.sql` is the ask, `NAME.setup.sql` what its user did before, `NAME.expected.jsonl` a line for each row:
its request's id and body, byte for byte, or why it is skipped. `pytest tests/query --regenerate` writes these anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sqlbatch import options, prepare
from sqlbatch.source import Source, read_source
from tests.conftest import ROOT

from .support import database, lines, rows

if TYPE_CHECKING:
    from pathlib import Path

CASES = ROOT / "tests" / "fixtures" / "compile"
ASKS = sorted(path for path in CASES.glob("*.sql") if not path.name.endswith(".setup.sql"))


@pytest.mark.parametrize("path", ASKS, ids=lambda path: path.stem)
def test_an_ask_makes_exactly_these_requests(path: Path, request: pytest.FixtureRequest) -> None:
    setup = path.with_suffix(".setup.sql")
    expected = path.with_suffix(".expected.jsonl")
    made = _compiled(path, setup.read_text(encoding="utf-8") if setup.exists() else "")
    if request.config.getoption("--regenerate"):
        expected.write_bytes(made)
    assert made.decode() == expected.read_bytes().decode(), "to change an id is to make every user pay again"


def test_every_expected_file_has_its_ask() -> None:
    names = {path.stem for path in ASKS}
    assert {path.name.partition(".")[0] for path in CASES.iterdir()} == names
    assert len(names) >= 30


def test_a_custom_id_is_the_hash_of_its_content_as_every_paid_answer_has_it() -> None:
    """To change these ids is to make every user pay for every answer again: do not, or say so in the release."""
    db = database()
    asked = options.enrich_options(
        Source("SELECT 'A crew wakes.' AS overview", {}, None),
        {"model": "gpt-6-luna", "instructions": "Name the genres.", "returns": "genres VARCHAR[]"},
    )
    with prepare.prepared(db, asked.enrichment, asked.provider, None) as ask:
        job_id = prepare.start(db, ask)
    ((line,),) = lines(db, job_id).values()
    assert json.loads(line)["custom_id"] == "70d14161-cbcb-c2d4-bda3-73bc059a5856"


def _compiled(path: Path, setup: str) -> bytes:
    """Return the rows of an ask, each with its request, through the file that would be uploaded."""
    db = database(setup=setup)
    source = read_source(str(path))
    asked = options.enrich_options(source, {})
    with prepare.prepared(db, asked.enrichment, asked.provider, "answers") as ask:
        job_id = prepare.start(db, ask)
    sent = {}
    for batch in lines(db, job_id).values():
        for line in batch:
            custom_id = json.loads(line)["custom_id"]
            head = f'{{"custom_id":"{custom_id}","method":"POST","url":"/v1/chat/completions","body":'.encode()
            assert line.startswith(head)
            assert custom_id not in sent
            sent[custom_id] = line.removeprefix(head).removesuffix(b"}")
    made = []
    asks = rows(db, f"SELECT sqlbatch_row, custom_id::VARCHAR, skipped FROM work.sqlbatch.asks_{job_id} ORDER BY 1")
    for number, custom_id, skipped in asks:
        if custom_id is None:
            why = json.dumps(skipped, ensure_ascii=False)
            made.append(f'{{"row":{number},"skipped":{why}}}\n'.encode())
        else:
            made.append(f'{{"row":{number},"custom_id":"{custom_id}","body":'.encode() + sent[custom_id] + b"}\n")
    assert {custom_id for _, custom_id, _ in asks} - {None} == set(sent)
    return b"".join(made)
