"""The commands of the pages about other databases run as they stand, at a Postgres and a DuckLake of the tests."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import duckdb

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

    from .conftest import Place

TICKETS = "SELECT 1 AS id, 'It does not print.' AS body, now() AS created_at"


def commands(page: str, **instead: str) -> list[list[str]]:
    """Return the commands of a page, the free model in place of the paid one, and other texts replaced."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\\\n", " ", "\n".join(blocks)).replace("--model gpt-6-luna", "--provider local")
    for old, new in instead.items():
        lines = lines.replace(old, new)
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("sqlbatch ")]


def test_the_page_of_postgres(pg: Place, here: Command) -> None:
    pg.rows(f"CREATE TABLE pg.public.tickets AS {TICKETS}")
    server = pg.attach.removeprefix("postgres:").removesuffix(" AS pg")
    asked, again = commands("postgres", **{"host=db.example.com dbname=crm": server})
    for command in (asked, again):
        ran = here(*command)
        assert ran.code == 0, ran.err
    assert pg.rows("SELECT id, ai_status FROM pg.marts.ticket_topics") == [(1, "answered")]
    pg.rows("DROP TABLE pg.public.tickets")


def test_the_page_of_ducklake(tmp_path: Path, here: Command) -> None:
    (asked,) = commands("ducklake")
    attach = asked[asked.index("--attach") + 1].partition(" AS lake ")
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{attach[0]}' AS lake {attach[2]}; CREATE TABLE lake.main.tickets AS {TICKETS}")
    ran = here(*asked)
    assert ran.code == 0, ran.err
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{attach[0]}' AS lake {attach[2]}")
        assert con.execute("SELECT id, ai_status FROM lake.main.ticket_topics").fetchall() == [(1, "answered")]
    assert (tmp_path / "lake_files").is_dir()


def test_the_pages_of_files_in_a_bucket_with_a_folder_in_its_place(tmp_path: Path, here: Command) -> None:
    for page, folder in (("s3", "store"), ("snowflake-bigquery", "stage")):
        bucket = tmp_path / folder
        (bucket / "tickets").mkdir(parents=True)
        (bucket / "topics").mkdir()
        with duckdb.connect() as con:
            con.execute(f"COPY ({TICKETS}) TO '{bucket}/tickets/a.parquet'")
        found = commands(page, **{"s3://my-bucket": str(bucket)})
        for command in (each for each in found if "SECRET" not in each[1] and "--attach" not in each):
            ran = here(*command, "--db", f"{folder}.duckdb")
            assert ran.code == 0, ran.err
        with duckdb.connect() as con:
            rows = con.execute(f"SELECT id, ai_status FROM '{bucket}/topics/topics.parquet'").fetchall()
        assert rows == [(1, "answered")]
