"""Every bad ask: one line that says what to do, exit code 1, nothing sent, nothing changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pytest

from sqlbatch.batches import providers

from .conftest import Unchanged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Command

MOVIES = "SELECT title, overview FROM movies"
FREE = ("--provider", "local", "--instructions", "Say it.")


class Case(NamedTuple):
    """Arguments of enrich or plan, and what their error line must say."""

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    pointer: str = ""
    code: int = 1


def case(name: str, query: str, *options: str, says: str | tuple[str, ...], pointer: str = "") -> Case:
    return Case(name, (query, *options), (says,) if isinstance(says, str) else says, pointer)


def usage(name: str, query: str, *options: str, says: str | tuple[str, ...]) -> Case:
    """Return a case of an option whose value it cannot have."""
    return case(name, query, *options, says=says)._replace(code=2)


# What DuckDB 1.5 does not know, and so refuses in words of its own.
UNKNOWN = (
    {f"{write} in a WITH" for write in ("INSERT", "UPDATE", "DELETE", "COPY")}
    | {"INSERT in a nested WITH", "PRAGMA", "SELECT INTO"}
    if duckdb.__version__ < "2"
    else set()
)
QUERIES = [
    case("no SQL", "SELEC title FROM movies", says='syntax error at or near "SELEC"', pointer="SELEC"),
    case("an English sentence", "all movies, please", says="syntax error", pointer="all"),
    case("nothing", "", says="the query is empty: give one SELECT"),
    case("a comment alone", "/* hi */", says="the query is empty: give one SELECT"),
    case("two statements", "SELECT 1 a; SELECT 2 b", says="one SELECT, not 2 statements"),
    case("a SELECT and a DROP", "SELECT 1 a; DROP TABLE mine", says="one SELECT, not 2 statements"),
    case(
        "INSERT", "INSERT INTO mine VALUES (2)", says=("must be a SELECT, not INSERT", "sqlbatch query runs other SQL")
    ),
    case("UPDATE", "UPDATE mine SET x = 2", says="must be a SELECT, not UPDATE"),
    case("DELETE", "DELETE FROM mine", says="must be a SELECT, not DELETE"),
    case("CREATE", "CREATE TABLE other (x INT)", says="must be a SELECT, not CREATE"),
    case("CREATE AS", "CREATE TABLE other AS SELECT 1 a", says="must be a SELECT, not CREATE"),
    case("DROP", "DROP TABLE mine", says="must be a SELECT, not DROP"),
    case("ALTER", "ALTER TABLE mine ADD COLUMN y INT", says="must be a SELECT, not ALTER"),
    case("TRUNCATE", "TRUNCATE mine", says="must be a SELECT, not"),
    case("COPY", "COPY mine TO 'out.csv'", says="must be a SELECT, not COPY"),
    case("COPY FROM", "COPY mine FROM 'in.csv'", says="must be a SELECT, not COPY"),
    case("EXPORT", "EXPORT DATABASE 'out'", says="must be a SELECT, not EXPORT"),
    case("ATTACH", "ATTACH 'other.duckdb'", says=("must be a SELECT, not ATTACH", "--attach names other databases")),
    case("SET", "SET threads = 1", says="must be a SELECT, not SET"),
    case("PRAGMA", "PRAGMA database_list", says="must be a SELECT, not PRAGMA"),
    case("CALL", "CALL pragma_version()", says="must be a SELECT, not CALL"),
    case("EXPLAIN", "EXPLAIN SELECT 1", says="must be a SELECT, not EXPLAIN"),
    case("EXPLAIN ANALYZE", "EXPLAIN ANALYZE INSERT INTO mine VALUES (2)", says="must be a SELECT, not EXPLAIN"),
    case("BEGIN", "BEGIN", says="must be a SELECT, not TRANSACTION"),
    case("SELECT INTO", "SELECT 1 a INTO other", says="syntax error", pointer="INTO"),
    case("INSERT in a WITH", "WITH a AS (INSERT INTO mine VALUES (2) RETURNING x) FROM a", says="the query writes"),
    case("UPDATE in a WITH", "WITH a AS (UPDATE mine SET x = 2 RETURNING x) FROM a", says="the query writes"),
    case("DELETE in a WITH", "WITH a AS (DELETE FROM mine RETURNING x) SELECT * FROM a", says="the query writes"),
    case(
        "INSERT in a nested WITH",
        "SELECT * FROM (WITH a AS (DELETE FROM mine RETURNING x) FROM a)",
        says="data-modifying",
    ),
    case("a sequence", "SELECT nextval('numbers') AS n", says="the query writes"),
    case("COPY in a WITH", "WITH a AS (COPY mine TO 'out.csv') FROM a", says="the query writes (it contains a COPY)"),
    case(
        "COPY in a deep WITH", "SELECT * FROM query('WITH a AS (COPY mine TO ''o.csv'') FROM mine')", says="the query"
    ),
    case("PIVOT without IN", "PIVOT movies ON year USING count(*)", says="PIVOT without IN: list the values"),
    case("parameters", "SELECT $name AS a", says="the query has parameters (name): write the values"),
    case("question marks", "SELECT ? AS a", says="the query has parameters (1): write the values"),
    case(
        "an unknown table",
        "SELECT title FROM moveis",
        says=("moveis does not exist", 'Did you mean "movies"?'),
        pointer="moveis",
    ),
    case("an unknown column", "SELECT titel FROM movies", says=('"titel" not found', '"title"'), pointer="titel"),
    case(
        "an unknown function",
        "SELECT uper(title) AS a FROM movies",
        says=("uper does not exist", '"upper"'),
        pointer="uper(title)",
    ),
    case("an unknown schema", "SELECT * FROM nowhere.movies", says="the query: ", pointer="nowhere.movies"),
    case("a missing file", "SELECT * FROM 'missing.csv'", says='No files found that match the pattern "missing.csv"'),
    case("the third line", "SELECT\n  title,\n  nope\nFROM movies", says='"nope" not found', pointer="nope"),
    case("behind Unicode", "SELECT 'größe' AS a, nope FROM movies", says='"nope" not found', pointer="nope"),
    case("a value that casts not", "SELECT title::INT AS a FROM movies", says="Could not convert string '…' to INT32"),
    case(
        "the same name twice", "SELECT title, overview AS Title FROM movies", says="two columns named title: rename one"
    ),
    case(
        "the row number's name", "SELECT 1 AS sqlbatch_row", says="sqlbatch_row has the name of sqlbatch's row number"
    ),
    case(
        "a name that sqlbatch adds",
        "SELECT 1 AS AI_Status, 2 AS x",
        says=("a column that sqlbatch adds", "EXCLUDE (AI_Status)"),
    ),
    case(
        "two names, one quoted",
        'SELECT 1 AS custom_id, 2 AS "a b"',
        "--returns",
        '"A B" INT',
        says='EXCLUDE (custom_id, "a b")',
    ),
    case("bytes that are no text", "SELECT '\udcff' AS a", says="the query is not UTF-8 text"),
]
OPTIONS = [
    case(
        "--input",
        MOVIES,
        "--input",
        "overwiev",
        says="--input: the query has no column overwiev; did you mean overview?",
    ),
    case("--input, nothing near", MOVIES, "--input", "zzz", says="no column zzz; the query has: title, overview"),
    case("--input twice", MOVIES, "--input", "title", "--input", "TITLE", says="--input names title twice"),
    case("--prompt's column", MOVIES, "--prompt", "Say {{ titel }}", says=("{{ titel }}", "did you mean title?")),
    case("--prompt without a column", MOVIES, "--prompt", "Say {title}", says="--prompt names no column"),
    case("--prompt empty", MOVIES, "--prompt", " ", says="--prompt is empty"),
    case("--prompt and --input", MOVIES, "--prompt", "{{ title }}", "--input", "title", says="give one of them"),
    case("--instructions empty", MOVIES, "--instructions", " \n", says="--instructions is empty"),
    case(
        "messages that are none", "SELECT 'hello' AS messages", says=("row 1: messages is not a JSON array", "fix it")
    ),
    case("messages that are empty", "SELECT unnest(['[{}]', '[]', '{']) AS messages", says=("row 2:", "(2 such rows)")),
    case("--returns of no type", MOVIES, "--returns", "genre FOO", says="DuckDB has no type FOO"),
    case("--returns twice", MOVIES, "--returns", "genre VARCHAR, Genre INT", says="the name occurs twice"),
    case("--returns that is no list", MOVIES, "--returns", "genre VARCHAR,, x", says="--returns"),
    case(
        "--returns a query's column",
        MOVIES,
        "--returns",
        "Title VARCHAR",
        says=("title has the name of a returned column", "EXCLUDE (title)"),
    ),
    case("--returns the text's name", "SELECT 1 AS response", says="response has the name of a returned column"),
    case(
        "--returns what sqlbatch adds",
        MOVIES,
        "--returns",
        "ai_error VARCHAR",
        says="ai_error is a column that sqlbatch adds",
    ),
    usage("--param", MOVIES, "--param", "temperature", says="write it as name=value"),
    case("--param of ours", MOVIES, "--param", "model=x", says="sqlbatch sets model itself"),
    case("--param NaN", MOVIES, "--param", "temperature=NaN", says="--param temperature: JSON cannot write nan"),
    usage("--limit", MOVIES, "--limit", "0", says="--limit 0: it must be 1 or more"),
    usage("--max-attempts", MOVIES, "--max-attempts", "0", says="--max-attempts 0: it must be 1 or more"),
    case("--endpoint", MOVIES, "--endpoint", "/v1/nowhere", says="--endpoint /v1/nowhere"),
    case(
        "--endpoint of others", MOVIES, "--endpoint", "moderations", says="the offline model answers chat/completions"
    ),
    usage("--provider", MOVIES, "--provider", "nobody", says="--provider nobody: unknown; known are: azure"),
    case("--model", MOVIES, "--model", "gpt-6-luna", says="the local provider has one model, offline"),
    usage(
        "--base-url of the local",
        MOVIES,
        "--base-url",
        "http://127.0.0.1/v1",
        says="--base-url cannot be combined with",
    ),
    case("--attach", MOVIES, "--attach", "missing.duckdb", says="missing.duckdb"),
    case("@file", MOVIES, "--instructions", "@missing.txt", says="@missing.txt: the file cannot be read: No such file"),
    case("--into empty", MOVIES, "--into", "", says="--into is empty"),
    case(
        "--into a table of theirs",
        MOVIES,
        "--into",
        "mine",
        says=("mine exists and was not made by sqlbatch", "--replace"),
    ),
    case("--into, in capitals", MOVIES, "--into", "MINE", says="exists and was not made by sqlbatch"),
    case("--into a view", MOVIES, "--into", "seen", "--replace", says="seen is a view, and sqlbatch never replaces"),
    case("--into our schema", MOVIES, "--into", "sqlbatch.jobs", says="the schema sqlbatch is reserved"),
    case("--into our schema, quoted", MOVIES, "--into", '"SQLBatch" . x', says="is reserved"),
    case("--into DuckDB's schema", MOVIES, "--into", "pg_catalog.x", says="the schema pg_catalog is reserved"),
    case(
        "--into no schema",
        MOVIES,
        "--into",
        "nowhere.x",
        says=("the schema nowhere of --into does not exist", "CREATE SCHEMA nowhere"),
    ),
    case("--into another database", MOVIES, "--into", "other.main.x", says="no database of --attach is called other"),
    case("--db a folder", MOVIES, "--db", ".", says="--db . is a folder"),
    case("--db in no folder", MOVIES, "--db", "nowhere/x.duckdb", says="the folder nowhere does not exist"),
    case("a missing .sql file", "missing.sql", says="missing.sql cannot be read: No such file or directory"),
]


@pytest.mark.usefixtures("theirs", "nothing_sent")
@pytest.mark.parametrize("command", ["plan", "enrich"])
@pytest.mark.parametrize("each", [*QUERIES, *OPTIONS], ids=lambda each: each.name)
def test_a_bad_ask_is_told_in_one_line_and_changes_nothing(
    each: Case, command: str, here: Command, tmp_path: Path
) -> None:
    before = Unchanged(tmp_path)
    query, *options = each.arguments
    chosen = [] if "--provider" in options else ["--provider", "local"]
    # A template, a messages column and instructions of the case's own are what it is about.
    told = {"--instructions", "--prompt"} & set(options) or "AS messages" in query
    ran = here(command, *chosen, *([] if told else ["--instructions", "Say it."]), *options, "--", query)
    assert ran.code == each.code, ran
    assert ran.out == ""
    for part in each.says if each.name not in UNKNOWN else ():
        assert part in ran.error
    assert len(ran.error) < 400
    _check_pointer(ran.err, each.pointer if each.name not in UNKNOWN else "")
    before.check()


def _check_pointer(err: str, pointer: str) -> None:
    """Check that the lines below the error point at this text, or that there are none."""
    below = err.partition("error: ")[2].splitlines()[1:]
    if not pointer:
        return
    shown, marks = below
    assert shown.startswith("  line ")
    start = marks.index("^")
    # DuckDB 1.5 marks where it begins alone.
    assert shown[start:].startswith(pointer)
    assert marks.strip() in {"^", "^" + "~" * (len(pointer) - 1), "^" * len(pointer)}


@pytest.mark.parametrize("command", ["plan", "enrich"])
@pytest.mark.usefixtures("nothing_sent")
def test_a_database_that_is_not_there_is_not_made_by_a_bad_ask(command: str, here: Command, tmp_path: Path) -> None:
    ran = here(command, "SELECT title FROM movies", *FREE, "--db", "new.duckdb")
    assert ran.code == 1
    assert "movies does not exist" in ran.error
    assert "pg_" not in ran.error
    assert "there is no database file yet" in ran.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_nothing_that_says_what_to_do_names_the_ways(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    ran = here("enrich", MOVIES, "--provider", "local")
    assert ran.code == 1
    for way in ("--prompt", "{{ column }}", "--instructions", "a column named prompt"):
        assert way in ran.error
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_a_query_without_rows_is_done_at_once(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    ran = here("enrich", f"{MOVIES} WHERE false", *FREE, "--into", "tags")
    assert ran.code == 0
    assert "the query has no rows" in ran.err
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_rows_that_are_all_skipped_are_an_error_that_says_why(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    ran = here("enrich", "SELECT overview FROM movies WHERE title = 'Cube'", *FREE)
    assert ran.code == 1
    assert "every row is skipped" in ran.error
    assert "1 skipped: overview is NULL" in ran.err
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_a_row_above_the_size_limit_is_named_before_anything_is_sent(
    here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(providers.KNOWN, "local", replace(providers.KNOWN["local"], max_bytes=1_000))
    before = Unchanged(tmp_path)
    ran = here("enrich", "SELECT repeat('é', i * 300) AS text FROM range(1, 4) AS r(i)", *FREE)
    assert ran.code == 1
    assert "row 2 makes a request of 1," in ran.error
    assert "above the provider's limit of 1,000" in ran.error
    assert "left(column" in ran.error
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_no_model_offers_the_local_provider(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    ran = here("enrich", MOVIES, "--instructions", "Say it.")
    assert ran.code == 1
    assert ran.error.startswith("no model: name one with --model")
    assert "--provider local" in ran.error
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
@pytest.mark.parametrize("key", [None, "", "  "])
def test_no_key_names_the_variable_and_offers_the_local_provider(
    key: str | None, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    before = Unchanged(tmp_path)
    ran = here("enrich", MOVIES, "--instructions", "Say it.", "--model", "gpt-6-luna", "--yes")
    assert ran.code == 1
    assert ran.error.startswith("no API key for openai: set OPENAI_API_KEY")
    assert "--provider local" in ran.error
    before.check()


@pytest.mark.usefixtures("theirs", "nothing_sent")
def test_a_plan_needs_no_key(here: Command, tmp_path: Path) -> None:
    before = Unchanged(tmp_path)
    ran = here("plan", MOVIES, "--instructions", "Say it.", "--model", "gpt-6-luna", "--input", "title")
    assert ran.code == 0
    assert "3 requests in 1 batch" in ran.out
    before.check()
    # A name that looks mistyped is said, not refused: the model may be newer than the list of prices.
    typo = here("plan", MOVIES, "--instructions", "Say it.", "--model", "gpt-6-lunna")
    assert (typo.code, "note: no price is known for gpt-6-lunna: did you mean gpt-6-luna?" in typo.err) == (0, True)
    wrong = here("plan", MOVIES, "--instructions", "Say it.", "--model", "gpt-6-luna", "--param", "temprature=1")
    assert wrong.error == "--param temprature: did you mean temperature?"
    assert here("plan", MOVIES, "--instructions", "x", "--model", "m", "--param", "top_n_sigma=1").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["enrich"], "Missing argument"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["enrich", "SELECT 1 a", "--intoo", "x"], "enrich has no option --intoo: did you mean --into?"),
        (["enrich", "SELECT 1 a", "--limit", "many"], "--limit"),
        (
            ["enrich", "SELECT 1 a", "--threads", "x"],
            "--threads: it must be a whole number (see sqlbatch enrich ",
        ),
        (["show", "--limit", "0"], "--limit: it must be 1 or more"),
        (["retry", "1", "--model", "gpt-6"], "retry asks as the job asked: for another --model, run enrich"),
        (["query", "SELECT 1", "--format", "xml"], "--format"),
        (["plan", "-- a comment\nSELECT 1 a"], "a comment looks like an option: write a lone -- before it"),
        (["wait", "--poll", "0"], "--poll"),
    ],
)
def test_words_that_are_not_understood_exit_with_2(
    arguments: list[str], says: str, here: Command, tmp_path: Path
) -> None:
    ran = here(*arguments)
    assert ran.code == 2
    assert says in ran.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_sent")
def test_a_query_may_begin_with_a_comment_behind_a_lone_dash_dash(here: Command) -> None:
    assert here("plan", *FREE, "--", "-- a comment\nSELECT 1 AS a").code == 0
