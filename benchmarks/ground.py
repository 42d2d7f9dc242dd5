"""What all contenders work on: the same rows, the same instruction, the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

FILMS = Path(__file__).parent.parent / "data" / "movies.csv"
MODEL = "gpt-6-luna"
RETURNS = "categories VARCHAR[], summary VARCHAR"
# About 900 characters, as the instruction of the cookbook's example is.
INSTRUCTIONS = """\
Your goal is to extract movie categories from movie descriptions, as well as a 1-sentence summary for these movies.
You will be provided with a movie description, and you will output a json object containing the following information:

{
    categories: string[] // Array of categories based on the movie description,
    summary: string // 1-sentence summary of the movie based on the movie description
}

Categories refer to the genre or type of the movie, like "action", "romance", "comedy", etc. Keep category names simple
and use only lower case letters. Movies can have several categories, but try to keep it under 3-4. Only mention the
categories that are the most obvious based on the description. Do not invent what the description does not say, do not
name actors or directors, and write the summary in plain words, in the present tense, without giving the ending away.
If a description is too short to tell, give the one category that is the most likely and repeat the description."""
SCHEMA = {
    "type": "object",
    "properties": {
        "categories": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        "summary": {"type": ["string", "null"]},
    },
    "required": ["categories", "summary"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "row", "strict": True, "schema": SCHEMA}}
PER_FILE = 50_000
# How a DuckDB of ours is set up in all contenders that use it by hand.
LINES = "FORMAT CSV, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\\x01', COMPRESSION none"
READ = (
    "columns = {line: 'VARCHAR'}, delim = E'\\x01', quote = '', escape = '', header = false, auto_detect = false, "
    "strict_mode = false, max_line_size = 33554432"
)


def make_rows(path: Path, count: int, changed_every: int | None = None) -> None:
    """Write so many rows: the films again and again, each text with its row number, so that none is like another.

    With `changed_every` every so-manyth text differs from what it is without.
    """
    changed = f"CASE WHEN n % {changed_every} = 0 THEN ' (revised)' ELSE '' END" if changed_every else "''"
    with duckdb.connect() as con:
        con.execute("SET memory_limit = '1GB'; SET preserve_insertion_order = true")
        con.execute(f"""
            CREATE TABLE films AS
            SELECT row_number() OVER () - 1 AS film, title, year, overview FROM read_csv('{FILMS}')
        """)
        con.execute(f"""
            COPY (
              SELECT n, title, year, concat(overview, ' Copy number ', n, {changed}, '.') AS overview
              FROM range({count}) r(n) JOIN films ON film = n % (SELECT count(*) FROM films)
              ORDER BY n
            ) TO '{path}' (FORMAT parquet)
        """)


def make_results(requests: Path, results: Path, con: duckdb.DuckDBPyConnection | None = None) -> None:
    """Write the result file that a provider would give for a file of requests, every one answered in its shape."""
    before = json.dumps({"id": "batch_req_6741d2c9a5e88190b0e8d1d3f4a2b7c6"})[:-1] + ', "custom_id": "'
    middle = (
        '", "response": {"status_code": 200, "request_id": "req_0f2d3c4b5a69788796a5b4c3d2e1f001", "body": {'
        '"id": "chatcmpl-AWxyzABCDEFghijklmNOPQRstuv12", "object": "chat.completion", "created": 1732366025, '
        f'"model": "{MODEL}-2026-08-01", "choices": [{{"index": 0, "message": {{"role": "assistant", "content": '
    )
    after = (
        ', "refusal": null, "annotations": []}, "logprobs": null, "finish_reason": "stop"}], "usage": {'
        '"prompt_tokens": 331, "completion_tokens": 61, "total_tokens": 392, '
        '"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}, '
        '"completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, '
        '"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}, "service_tier": "default", '
        '"system_fingerprint": "fp_0705bf87c0"}}, "error": null}'
    )
    summary = "A quiet person is drawn into a conspiracy and finds that the only way out leads through the past"
    con = con or duckdb.connect()
    con.execute("SET preserve_insertion_order = false; SET memory_limit = '1GB'")
    con.execute(f"""
        COPY (
          SELECT concat('{before}', id, '{middle}',
            to_json(concat('{{"categories": ["drama", "thriller", "mystery"], "summary": "{summary}, ', id, '."}}')),
            '{after}')
          FROM (
            SELECT regexp_extract(line, '"custom_id": ?"([^"]+)"', 1) AS id FROM read_csv('{requests}', {READ})
          )
        ) TO '{results}' ({LINES})
    """)


def answer(requests: Path, results: Path) -> None:
    """Make a result file of each request file of a folder, and delete the request files."""
    for path in sorted(requests.glob("requests-*.jsonl")):
        make_results(path, results / path.name.replace("requests", "results"))
        path.unlink()
