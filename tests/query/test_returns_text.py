"""How a column list is read, and the canonical text it becomes."""

from __future__ import annotations

import pytest

from sqlbatch.errors import InvalidReturns
from sqlbatch.returns import Column, ReturnsMode, parse_returns
from tests.query.returns_support import dumps, property_of, reason, reasons, typed


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("categories VARCHAR[], summary VARCHAR", '"categories" VARCHAR[], "summary" VARCHAR'),
        ("  a\tint ,\n b   text  ", '"a" INTEGER, "b" VARCHAR'),
        ("a -- the first\n int /* of , two */, b text", '"a" INTEGER, "b" VARCHAR'),
        ("a VARCHAR(20), b CHAR(3), c DOUBLE PRECISION", '"a" VARCHAR, "b" VARCHAR, "c" DOUBLE'),
        ("a numeric, b decimal(4), c dec(4 , 1)", '"a" DECIMAL(18,3), "b" DECIMAL(4,0), "c" DECIMAL(4,1)'),
        ("a timestamptz, b datetime", '"a" TIMESTAMP WITH TIME ZONE, "b" TIMESTAMP'),
        ("a int array, b int[ 3 ][]", '"a" INTEGER[], "b" INTEGER[3][]'),
        ("a enum ( 'x','y''z' )", "\"a\" ENUM('x', 'y''z')"),
        ("a row(x int, Y text)[]", '"a" STRUCT("x" INTEGER, "Y" VARCHAR)[]'),
        ("a int null, b int not null", '"a" INTEGER, "b" INTEGER NOT NULL'),
        ("a int comment 'how many' not null", "\"a\" INTEGER NOT NULL COMMENT 'how many'"),
        ("a int comment $$it's$$", "\"a\" INTEGER COMMENT 'it''s'"),
        ("a int check(a>1 and a<9)", '"a" INTEGER CHECK (a > 1 and a < 9)'),
        ("a int check ( length ( b ) = 2 ), b text", '"a" INTEGER CHECK (length(b) = 2), "b" VARCHAR'),
        ("a int check ((a::double*2) in(1,2))", '"a" INTEGER CHECK ((a::double * 2) in (1, 2))'),
        ("a text check (a ~ '^ x  y$'and a<>$q$z$q$)", "\"a\" VARCHAR CHECK (a ~ '^ x  y$' and a <> $q$z$q$)"),
        ("a int check (a>-1 and a - 1 < +2 and -a<-(3) or a in [-1,2])", None),
        ("a int check (a>-1 and a -1 < +2)", '"a" INTEGER CHECK (a > -1 and a - 1 < +2)'),
        ("a int[] check (a [ 1 ]=-(2))", '"a" INTEGER[] CHECK (a[1] = -(2))'),
        ("a int, b int, check(a<b)", '"a" INTEGER, "b" INTEGER, CHECK (a < b)'),
        (
            "a struct(x int not null comment 'the x' check (x > 0))",
            '"a" STRUCT("x" INTEGER NOT NULL CHECK (x > 0) COMMENT \'the x\')',
        ),
        (
            '"a b" int, "c""d" int, "select" int, "ünï" int',
            '"a b" INTEGER, "c""d" INTEGER, "select" INTEGER, "ünï" INTEGER',
        ),
        ("order int, end text, type text, comment text, check_1 text", None),
    ],
)
def test_a_column_list_becomes_one_canonical_text(written: str, canonical: str | None) -> None:
    returns = parse_returns(written)
    assert returns.mode is ReturnsMode.COLUMNS
    assert canonical is None or returns.text == canonical
    assert parse_returns(returns.text) == returns
    assert parse_returns(returns.text).text == returns.text


def test_a_column_says_what_it_is() -> None:
    returns = parse_returns("g ENUM('a', 'b') NOT NULL COMMENT 'which', s STRUCT(x INT, \"y z\" TEXT[])")
    assert [(c.name, c.sql_type, c.not_null, c.comment, c.check) for c in returns.columns] == [
        ("g", "ENUM('a', 'b')", True, "which", None),
        ("s", 'STRUCT("x" INTEGER, "y z" VARCHAR[])', False, None, None),
    ]
    assert isinstance(returns.columns[0], Column)


def test_a_comment_is_told_to_the_model_as_it_was_written() -> None:
    returns = parse_returns("x STRUCT(y INT COMMENT 'in \"€\"') COMMENT 'it''s; -- all /* of */ it,\n$$ too'")
    assert property_of(returns)["description"] == "it's; -- all /* of */ it,\n$$ too"
    assert property_of(returns)["anyOf"][0]["properties"]["y"]["description"] == 'in "€"'


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "name",
    [
        *[
            "a b",
            "a.b",
            'a"b',
            "a\\b",
            "a'b",
            "a/b",
            "a~b",
            "~1",
            "/",
            "$",
            "$.a",
            "*",
            "#",
            "[0]",
            "0",
            "-",
            "?",
            "{x}",
        ],
        *["é", "名", "😀", "a\nb", "a\tb", "select", "end", "comment", "check", "%s", "a--b", "t", "v"],
        *["sqlbatch_answer", "sqlbatch_row", "sqlbatch_parts_0", "sqlbatch_element_1"],
    ],
)
def test_every_name_works_as_column_and_as_field(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    returns = parse_returns(f"{quoted} INTEGER, other STRUCT({quoted} VARCHAR[])[] CHECK (len({quoted}::VARCHAR) < 5)")
    assert [column.name for column in returns.columns] == [name, "other"]
    assert parse_returns(returns.text) == returns
    answer = {name: 7, "other": [{name: ["x"]}]}
    assert typed(returns, dumps(answer)) == answer
    shown = name if name.isidentifier() else quoted
    wrong = [{name: "7", "other": []}, {name: 7, "other": [{name: [1]}]}, {name: 7, "other": [{}]}]
    assert reasons(returns, *map(dumps, [answer, *wrong, {name: 77777, "other": []}])) == [
        None,
        f'$.{shown}: "7" is not an INTEGER',
        f"$.other[0].{shown}[0]: 1 is not a VARCHAR",
        f"$.other[0].{shown}: missing",
        f"$.other: [] violates CHECK (len({quoted}::VARCHAR) < 5)",
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("summary", "--returns: summary: the type is missing; write for example summary VARCHAR"),
        ('"a b", c INT', '--returns: a b: the type is missing; write for example "a b" VARCHAR'),
        ("VARCHAR", "--returns: VARCHAR: a name is missing before the type; write for example answer VARCHAR"),
        ("a INT, ", "--returns: expected a column name at the end; write names and types, such as summary VARCHAR"),
        (
            "a INT,, b INT",
            "--returns: expected a column name instead of ,; write names and types, such as summary VARCHAR",
        ),
        ("1a INT", "--returns: expected a column name instead of 1; write names and types, such as summary VARCHAR"),
        ("a INT b INT", "--returns: a: unexpected b; a comma ends a column, and names with spaces are quoted"),
        (
            "release year INT",
            "--returns: release: unexpected INT; a comma ends a column, and names with spaces are quoted",
        ),
        ('"" INT', "--returns: a name is empty; give it one"),
        ("a INT, A TEXT", "--returns: A: the name occurs twice; choose another (SQL does not tell capitals apart)"),
        (
            "s STRUCT(a INT, A INT)",
            "--returns: s.A: the name occurs twice; choose another (SQL does not tell capitals apart)",
        ),
        ("a VARCHR", "--returns: a: DuckDB has no type VARCHR; did you mean VARCHAR?"),
        ("a STRUCT(b INTEGR)[]", "--returns: a.b: DuckDB has no type INTEGR; did you mean INTEGER?"),
        (
            "a BLOB",
            "--returns: a: a strict schema cannot say BLOB: JSON carries no bytes; use VARCHAR and decode it in SQL",
        ),
        (
            "a MAP(VARCHAR, INT)",
            "--returns: a: a strict schema cannot say MAP: its keys are open; use STRUCT(key VARCHAR, value ...)[]",
        ),
        (
            "a UNION(x INT)",
            "--returns: a: a strict schema cannot say UNION: use a STRUCT with one nullable field for each case",
        ),
        (
            "a INTERVAL",
            "--returns: a: a strict schema cannot say INTERVAL: use an INTEGER in one unit, such as minutes",
        ),
        ("a YEAR", "--returns: a: DuckDB has no type YEAR; use a type such as VARCHAR, INTEGER or ENUM('a', 'b')"),
        (
            "a JSON('x')",
            """--returns: a: JSON takes a JSON Schema in single quotes, such as JSON('{"type": "object"}')""",
        ),
        ("a BIT", None),
        ("a VARIANT", None),
        ("a TIMESTAMP_NS", None),
        ("a INT(3)", "--returns: a: INTEGER takes no argument; leave the parentheses out"),
        ("a ENUM", "--returns: a: ENUM takes its values in single quotes, such as ENUM('good', 'bad')"),
        ("a ENUM()", "--returns: a: ENUM takes its values in single quotes, such as ENUM('good', 'bad')"),
        ('a ENUM("x")', "--returns: a: ENUM takes its values in single quotes, such as ENUM('good', 'bad')"),
        ("a ENUM('x', 'x')", "--returns: a: the ENUM value 'x' occurs twice; keep one"),
        ("a ENUM('x' 'y')", "--returns: a: ENUM takes its values in single quotes, such as ENUM('good', 'bad')"),
        (
            "a STRUCT",
            "--returns: a: STRUCT takes its fields, such as STRUCT(a VARCHAR, b INTEGER)",
        ),
        (
            "a STRUCT()",
            "--returns: a: expected a column name instead of ); write names and types, such as summary VARCHAR",
        ),
        ("a STRUCT(b INT", "--returns: a.b: expected a closing ) at the end"),
        ("a INT)", "--returns: a: unexpected ); it closes nothing"),
        ("a INT[0]", "--returns: a: a list is written INTEGER[], an array of three INTEGER[3]"),
        ("a INT[x]", "--returns: a: a list is written INTEGER[], an array of three INTEGER[3]"),
        ("a INT[3", "--returns: a: expected a closing ] at the end"),
        ("a INT[100001]", "--returns: a: an array has at most 100,000 elements; use a list, written []"),
        (
            "a DECIMAL(39)",
            "--returns: a: DECIMAL has 1 to 38 digits, and no more of them after the point, such as DECIMAL(10, 2)",
        ),
        (
            "a DECIMAL(3,4)",
            "--returns: a: DECIMAL has 1 to 38 digits, and no more of them after the point, such as DECIMAL(10, 2)",
        ),
        (
            "a DECIMAL(x)",
            "--returns: a: DECIMAL has 1 to 38 digits, and no more of them after the point, such as DECIMAL(10, 2)",
        ),
        ("a INT NOT", "--returns: a: unexpected NOT; a comma ends a column, and names with spaces are quoted"),
        ("a INT NULL NOT NULL", "--returns: a: NULL and NOT NULL at once; keep one"),
        ("a INT COMMENT", "--returns: a: COMMENT takes a text in single quotes, such as COMMENT 'one sentence'"),
        ('a INT COMMENT "x"', "--returns: a: COMMENT takes a text in single quotes, such as COMMENT 'one sentence'"),
        ("a INT COMMENT 'x' COMMENT 'y'", "--returns: a: COMMENT occurs twice; keep one"),
        ("a INT CHECK", "--returns: a: CHECK takes a condition in parentheses, such as CHECK (year > 1900)"),
        ("a INT CHECK ()", "--returns: a: CHECK () says nothing; leave it out"),
        ("a INT CHECK (a > 1", "--returns: a: the parenthesis of CHECK is not closed"),
        (
            "a INT DEFAULT 1",
            "--returns: a: DEFAULT 1 has no meaning here: the model answers each row; leave it out",
        ),
        (
            "a INT PRIMARY KEY",
            "--returns: a: PRIMARY KEY has no meaning here: the model answers each row; leave it out",
        ),
        (
            "a INT, PRIMARY KEY (a)",
            "--returns: PRIMARY has no meaning here: the model answers each row; leave it out",
        ),
        ("a INT, UNIQUE (a)", "--returns: UNIQUE has no meaning here: the model answers each row; leave it out"),
        ("a INT REFERENCES b(c)", None),
        ("a INT GENERATED ALWAYS AS (1)", None),
        (
            "a TEXT COLLATE nocase",
            "--returns: a: COLLATE nocase has no meaning here: the model answers each row; leave it out",
        ),
        ("a TEXT COMMENT 'x", "--returns: a quote is not closed at: 'x"),
        ('"a TEXT', '--returns: a quote is not closed at: "a TEXT'),
        ("a TEXT /* x", "--returns: a quote is not closed at: /* x"),
        ("a \\ TEXT", "--returns: not SQL at: \\ TEXT"),
        ("a TEXT; DROP TABLE b", "--returns: a: unexpected ;; it closes nothing"),
        ("a\0 TEXT", "--returns: it has a NUL character; leave that out"),
        ("a " + "STRUCT(a " * 60 + "INT" + ")" * 60, None),
        (
            "a INT" + "[]" * 11,
            "--returns: 11 levels of STRUCT and lists inside each other, and a strict schema takes 10; flatten them",
        ),
        (
            f"a ENUM({', '.join(repr(str(i)) for i in range(1001))})",
            "--returns: 1,002 ENUM values (NULL counts), and a strict schema takes 1,000; use VARCHAR instead",
        ),
        (
            f"a ENUM({', '.join(repr('x' * 60 + str(i)) for i in range(251))})",
            "--returns: 15,707 characters in one long ENUM, and a strict schema takes 15,000; shorten them",
        ),
        (
            ", ".join(f"c{i} INT" for i in range(5001)),
            "--returns: 5,001 columns and fields, and a strict schema takes 5,000; ask for fewer at once",
        ),
        (
            ", ".join(f"{'x' * 1200}{i} INT" for i in range(100, 200)),
            "--returns: 120,300 characters in names and ENUM values, and a strict schema takes 120,000; shorten them",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line_that_says_what_to_do(
    written: str, message: str | None
) -> None:
    with pytest.raises(InvalidReturns) as caught:
        parse_returns(written)
    text = str(caught.value)
    assert message is None or text == message
    assert text.startswith("--returns: ")
    assert "\n" not in text
    assert len(text) < 250


def test_hundreds_of_columns_work() -> None:
    returns = parse_returns(", ".join(f"c{i} BOOLEAN" for i in range(300)))
    answer = {f"c{i}": True for i in range(300)}
    assert reason(returns, answer) is None
    assert reason(returns, answer | {"c299": 1}) == "$.c299: 1 is not a BOOLEAN"
