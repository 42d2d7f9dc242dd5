"""Our SQL: every block of `sql/` is named, described, and prepares against the migrated schema."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from sqlbatch import options, prepare, run
from sqlbatch.batches.parse_results import places_of
from sqlbatch.db import prices
from sqlbatch.db.database import Database, scratch_name
from sqlbatch.db.sql import quote_identifier, quote_literal, statement
from sqlbatch.named_sql import blocks, read_sql, sql_folder
from sqlbatch.query.confidence import REFUSED
from sqlbatch.source import Source
from tests.query.support import begin, database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.db.session import Session

# schema.sql has no blocks, and server.sql is SQLite's.
FILES = sorted(
    entry.name
    for entry in sql_folder().iterdir()
    if entry.name.endswith(".sql") and entry.name not in {"schema.sql", "server.sql"}
)
BLOCKS = [f"{file.removesuffix('.sql')}.{name}" for file in FILES for name in blocks(file)]
# What stands in the places of the blocks: SQL such as the code fills in.
PLACES = {
    "query": "SELECT 1 AS a", "limit": "LIMIT 1", "skipped": "CAST(NULL AS VARCHAR)", "input": "a::VARCHAR",
    "invalid": "CAST(NULL AS VARCHAR)", "job": "1", "typed": "sqlbatch_content AS response", "begin": "",
    "comment": "'ours'", "asked": "(SELECT custom_id, NULL::BIGINT AS cap FROM sqlbatch.wanted)",
    "check": "CAST(NULL AS VARCHAR)", "blocking": "'insufficient_quota'", "low": "1", "high": "2", "url": "'/v1/x'",
    "batch_id": "'00000000-0000-0000-0000-000000000001'", "path": "'out.jsonl'",
    "which": "r.job_id = 1", "key": "day", "past": "r.batch_id IS NULL",
    "chosen": "r.seq = 1", "column": "sqlbatch_row",
    "decided": "sqlbatch_decided", "row": "struct_pack(a := ai_status)",
    "temporary": "", "schema": "", "number": "1", "table": "sqlbatch.jobs",
    "collection": "SELECT 'x' AS sqlbatch_input",
    "custom_id": "uuid()", "relation": "'t'", "text": "'SELECT 1'", "answers": "sqlbatch_answers_1",
    "value": "sqlbatch_content",
    "columns": "* EXCLUDE (sqlbatch_failed)",
    "extra": "0", "more": "", "look": "",
    "file": "'lines.jsonl'",
    "images": "NULL::VARCHAR[]", "picture_tokens": "0", "joined": "", "rendered": "r.input",
    "values": "[p]", "place": "0",
    "type": "'image/png'", "kept": "j.content", "holds": "true", "unsupported": "'no'",
    "refused": REFUSED, "sure": "NULL::DOUBLE",
    "sample": "1", "shown": "a := 1", "answer": "b := sqlbatch_answer.content",
    **places_of("/v1/responses"),
}  # fmt: skip
# Blocks that make the temporary tables that others read, in this order.
FIRST = (
    "render.needed", "render.kept", "render.inputs",
    "prices.known", "plan.choose", "plan.running", "plan.shards", "results.parsed", "confidence.measured",
    "results.chosen",
    "import_files.theirs", "import_files.new", "import_files.strange", "target.found", "prune.idle",
    "prune.past", "prune.past_batches", "cancel.failed", "cancel.stuck_requests",
    "functions.text", "plan_pictures.name", "functions.image", "functions.answer",
    "functions.value", "functions.counting",
    "functions.first", "functions.keep",
    "functions.collected", "plan_pictures.looked",
    "functions.decided", "functions.no_changes", "judge_again.kept", "preview.remainder", "preview.of_call",
    "compare.pairs",
)  # fmt: skip
# The macros of AI functions, which need DuckDB 2.0.
NEED_DUCKDB_2 = frozenset({"functions.text", "functions.value", "functions.function", "functions.counting"})
VALUES = {
    "given": "'[]'",
    "shipped": "'[]'",
    "above": "[0]",
    "inputs": "[1.0]",
    "outputs": "[1.0]",
    "dearest": "[1.0]",
    "catalog": "'work'",
    "jobs": "[1]",
    "now": "'2026-01-01'",
    "keeping": "[1]",
    "batches": "['00000000-0000-0000-0000-000000000001']",
    "job_id": "1",
    "call_id": "'00000000-0000-0000-0000-000000000001'",
}


_OF_FUNCTIONS = {
    "functions.collected": {"input": "sqlbatch_input"},
    "functions.function": {"function": "ai_x", "parameters": ", y", "given": ", y := y", "spec": "'\"VARCHAR\"'"},
    "functions.lay_down": {"call": "1", "call_id": VALUES["call_id"]},
    "cancel.calls_of": {"table": "sqlbatch.requests"},
    "functions.changes": {"query": "SELECT 'x' AS ai_status"},
    "functions.uncertain": {"target": "uncertain"},
    "functions.write": {"query": "SELECT 1 AS a, NULL::VARCHAR AS sqlbatch_failed"},
    "functions.previewed": {"query": "SELECT 1 AS a, NULL::VARCHAR AS sqlbatch_failed"},
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Open a database with a begun job, a scratch database as the compiler leaves it, and every temporary table."""
    with contextlib.chdir(tmp_path_factory.mktemp("blocks")):
        yield from _session()


def _session() -> Iterator[Session]:
    lines = Path("lines.jsonl").resolve()
    lines.write_text('{"custom_id": "x"}\n')
    PLACES["files"], PLACES["longest"] = f"[{quote_literal(str(lines))}]", "33554432"
    PLACES["lines"] = statement("results.lines", "work", files=PLACES["files"], longest=PLACES["longest"])
    db = database()
    begin(db, "SELECT 1 AS a")
    given = {"provider": "local", "instructions": "x", "image": ["p"]}
    asked = options.enrich_options(Source("SELECT 1 AS a, 'x.png' AS p", {}, None), given)
    with (
        prepare.prepared(db, asked.enrichment, asked.provider, "t") as ask,
        db.session(scratch=ask.scratch) as opened,
    ):
        opened.sql("CREATE TABLE t (custom_id UUID, ai_status VARCHAR, ai_error VARCHAR)")
        opened.sql("CREATE VIEW seen AS SELECT 1 AS a")
        opened.sql("CREATE TABLE seen_rows (a INTEGER)")
        opened.sql(statement("lake.make_marker", "work", marker="marker"))
        PLACES["parquet"] = quote_literal(str(lines.with_name("rows.parquet")))
        opened.sql(f"COPY (SELECT 1 AS a) TO {PLACES['parquet']} (FORMAT parquet)")
        opened.sql("CREATE TABLE uncertain (ai_status VARCHAR, ai_error VARCHAR)")
        rows = f"{scratch_name(ask.scratch)}.main.rows"
        for column in ("name VARCHAR", "ai_image VARCHAR", '"ai_image (BLOB)" BLOB'):
            opened.sql(f"ALTER TABLE {rows} ADD COLUMN {column}")
        opened.sql(prices.rules())
        for name in FIRST:
            if name in NEED_DUCKDB_2 and duckdb.__version__ < "2":
                continue
            for sql in _statements(opened, name, scratch_name(ask.scratch)):
                opened.con.execute(re.sub(r"\$\w+", lambda value: VALUES.get(value[0][1:], "1"), sql))
        opened.sql(f"CREATE MACRO scratch() AS {quote_literal(scratch_name(ask.scratch))}")
        yield opened


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_prepares_against_the_migrated_schema(name: str, session: Session) -> None:
    if name in NEED_DUCKDB_2 and duckdb.__version__ < "2":
        pytest.skip("AI functions need DuckDB 2.0")
    scratch = session.sql("SELECT scratch()")[0][0]
    for number, sql in enumerate(_statements(session, name, scratch)):
        # DuckDB prepares what reads and writes rows; what makes a table of a query is prepared as the query.
        query = re.sub(r"^(--.*\n)*CREATE (OR REPLACE )?(TEMP )?TABLE \S+ AS\s", "", sql)
        if query.startswith(("CREATE", "DROP", "COMMENT", "ALTER")):
            session.con.execute("BEGIN")
            session.con.execute(re.sub("CREATE TABLE (?!IF)", "CREATE OR REPLACE TABLE ", query))
            session.con.execute("ROLLBACK")
        else:
            session.con.execute(f"PREPARE {name.replace('.', '_')}_{number} AS {query}")


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_nothing_but_described_blocks(file: str) -> None:
    assert blocks(file)
    head, _, _ = read_sql(file).partition("\n-- ")
    assert head.startswith("-- ")
    assert ";" not in "\n".join(line for line in head.splitlines()[1:])
    for block in blocks(file).values():
        assert block.description[0].islower() or not block.description[0].isalpha()
        assert block.sql


def test_an_arrow_into_json_stands_in_parentheses_behind_an_operator() -> None:
    """DuckDB 1.5 binds it last: `x AND a->>'$.b' = 'c'` is `(x AND a)->>('$.b' = 'c')` there."""
    loose = re.compile(r"(\b(AND|OR|NOT)|=|<>|\|\||\+)\s*[\w.]+\s*->")
    texts = {name: read_sql(name) for name in FILES}
    assert {name: found[0] for name, text in texts.items() if (found := loose.search(text))} == {}


def test_every_block_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in Path(run.__file__).parent.rglob("*.py"))
    sql = "\n".join(read_sql(file) for file in FILES)
    named = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', code)) | set(re.findall(r"\{([a-z_]+\.[a-z_]+)\}", sql))
    # quote.known and quote.unknown are chosen by name.
    assert set(BLOCKS) - named - {"quote.known", "quote.unknown"} == set()


def test_a_place_is_filled_once_and_what_fills_it_is_left_alone() -> None:
    sql = statement("compile.snapshot", "my db", scratch="s", query="SELECT '{limit} sqlbatch.jobs'", limit="LIMIT 1")
    assert "SELECT '{limit} sqlbatch.jobs'" in sql
    assert 'FROM "my db".sqlbatch.planner_lock' not in sql
    assert '"my db".sqlbatch.planner_lock' in statement("database.planner_lock", "my db")
    with pytest.raises(KeyError):
        statement("compile.snapshot", "db", scratch="s")


@pytest.mark.parametrize(
    "text", ["", "plain", "it's", 'a "b"', "nul \0 in it", "\0", "''\0''", "\u2028 😀", "{x} $y ; --", "\\n"]
)
def test_a_text_comes_back_from_its_literal_and_a_name_from_its_identifier(text: str) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {quote_literal(text)}").fetchall() == [(text,)]
        if text and "\0" not in text:
            assert con.execute(f"SELECT 1 AS {quote_identifier(text)}").description[0][0] == text


def _statements(session: Session, name: str, scratch: str) -> list[str]:
    places = PLACES | {"scratch": scratch, "source": f"{scratch}.main.to_send", "target": f"{session.catalog}.main.t"}
    places["rows"] = f"{scratch}.main.rows"
    if name.startswith("pictures."):
        places["content"] = "value::BLOB" if name == "pictures.held" else "v.value::BLOB"
    if name.startswith("plan_pictures."):
        places |= {
            "pictures": f"{scratch}.main.ai_pictures",
            "collection": "SELECT [{'name': 'a', 'text': 'a', 'content': NULL::BLOB}] AS sqlbatch_input",
        }
        places["rows"] = f"{scratch}.main.rows"
    places |= _OF_FUNCTIONS.get(name, {})
    if name == "functions.first_requests":
        # The compiler's own table has that name here.
        return [statement(name, session.catalog, scratch=scratch).replace("main.requests", "main.requests_of_calls")]
    if name == "database.append_results":
        places["source"] = "SELECT uuid() AS custom_id, 'batch' AS source, 'failed' AS outcome"
    if name.startswith("view."):
        places |= {"table": places["target"], "where": "true", "shown": "ai_status", "ids": "1, 2", "order": ""}
        places |= {"column": "ai_status", "values": "[ai_status]", "number": "length(ai_status)::DOUBLE"}
        places |= {"sample": "", "row": "struct_pack(a := r.a)", "value": "[ai_status::BLOB][1]", "why": "ai_error"}
        places |= {"distinct": "count(DISTINCT sqlbatch_value)"}
    if name.startswith("reviewed."):
        places |= {
            "view": "seen",
            "columns": "t.ai_status",
            "newest": "any_value(verdict) AS v0",
            "column": "ai_status",
        }
        places |= {"verdicts": statement("reviewed.any", session.catalog).split()[3].replace("reviews", "verdicts")}
        places |= {"row": "struct_pack(a := ai_status)", "stratum": "1", "which": "true", "check": "content"}
    if name.startswith("compare."):
        side = "(SELECT 1 AS id, ai_status, custom_id FROM t)"
        places |= {"keys": "id", "a": side, "b": side, "table": "t", "gold_join": ""}
        for each in ("a", "b"):
            places |= {f"{each}_answered": "true", f"{each}_id": "custom_id", f"{each}_values": "v0 := ai_status"}
        places |= dict.fromkeys(("a_text", "b_text", "gold_text"), "'x'") | {"a_right": "true", "b_right": "true"}
    places |= _elsewhere(name)
    if name == "target.drop_source":
        places["source"] = "src_1_1"
    if name == "target.has_snapshot":
        places["rows"] = "rows_1"
    filled = statement(name, session.catalog, **places)
    return [each.query.strip().rstrip(";") for each in duckdb.extract_statements(filled)]


def _elsewhere(name: str) -> dict[str, str]:
    """Return what stands in the places of blocks about targets in other databases, and incremental ones."""
    places: dict[str, str] = {}
    if name.startswith(("incremental.", "lake.", "target.")):
        marker = "(SELECT NULL::VARCHAR AS target, uuid() AS state_id, 1 AS job_id, uuid() AS run_id, 1 AS rows)"
        places |= {"relation": "uncertain", "is_null": "a IS NULL", "keys": "a", "same": "true", "marker": marker}
        places |= {"column": "more", "type": "INTEGER", "assignments": "ai_error = 'x'"}
        places |= {"columns": "ai_status VARCHAR" if name == "lake.create" else "ai_status"}
    if name in {"lake.arriving", "lake.fill", "lake.export"}:
        places |= {"columns": "1 AS a", "path": PLACES["parquet"]}
    if name in {"lake.make_marker", "lake.mark", "lake.unmark"}:
        places["marker"] = "marker"
    if name == "lake.fill":
        places["target"] = "seen_rows"
    if name in {"lake.drop", "incremental.drop", "incremental.create", "incremental.update", "incremental.insert"}:
        places["rows"] = "uncertain"
    if name in {"lake.create", "incremental.create"}:
        places["target"] = "made"
    if name in {"incremental.update", "incremental.insert", "incremental.add_column"}:
        places["target"] = "t"
    if name == "lake.drop_built":
        places["table"] = "built_1"
    return places


def test_a_database_stands_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    db = Database(tmp_path / "none.duckdb")
    with db.session(migrate=False) as opened:
        assert not opened.has_schema()
        assert opened.sql("SELECT 1") == [(1,)]
    assert not db.exists()
