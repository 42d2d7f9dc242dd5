"""Two prompts over the same films: what they agree on, beyond chance, and which is right by a column made by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sqlbatch.compare import ROWS_DRAWN, compare
from sqlbatch.errors import InvalidOption
from tests.conftest import ROOT
from tests.query.support import content, database, enrich, rows

if TYPE_CHECKING:
    from sqlbatch.db.database import Database
    from tests.conftest import Command

# What a person says of the first films of data/movies.csv, who has seen them.
BY_HAND = {
    "A Trip to the Moon": "wonder", "Nosferatu": "wonder", "Sherlock Jr.": "comedy", "The Gold Rush": "comedy",
    "Battleship Potemkin": "war", "Metropolis": "wonder", "Sunrise": "love", "The Passion of Joan of Arc": "drama",
    "Man with a Movie Camera": "drama", "M": "crime", "City Lights": "comedy", "Scarface": "crime",
    "King Kong": "wonder", "Duck Soup": "comedy", "L'Atalante": "love", "It Happened One Night": "comedy",
    "The Thin Man": "crime", "Top Hat": "love", "Modern Times": "comedy", "La Grande Illusion": "war",
    "Bringing Up Baby": "comedy", "The Wizard of Oz": "wonder", "The Rules of the Game": "drama",
    "Gone with the Wind": "love",
}  # fmt: skip
# What the two prompts bring, as a model might: the first sees love everywhere, the second looks for guns.
WORDS = {
    "loose": [("love", "love"), ("girl", "love"), ("heiress", "love"), ("war", "war"), ("kill", "crime")],
    "strict": [("war", "war"), ("gangster", "crime"), ("kill", "crime"), ("love", "love"), ("giant", "wonder"),
               ("tramp", "comedy"), ("widow", "comedy")],
}  # fmt: skip
FILMS = f"SELECT title, overview FROM '{ROOT}/data/movies.csv' LIMIT 24"


def reply(name: str) -> Any:
    def said(body: Any) -> str:
        text = content(body).lower()
        kind = next((kind for word, kind in WORDS[name] if word in text), "drama")
        return json.dumps({"kind": kind, "words": sorted(text.split()[:2], reverse=name == "strict")})

    return said


@pytest.fixture
def films() -> Database:
    db = database("films.duckdb")
    for name in WORDS:
        asked: dict[str, Any] = {"returns": "kind VARCHAR, words VARCHAR[]", "into": name, "input": ["overview"]}
        enrich(db, FILMS, reply(name), instructions=f"A {name} prompt.", **asked)
    hand = ", ".join(f"($${title}$$, '{kind}')" for title, kind in BY_HAND.items())
    rows(db, f"CREATE TABLE checked AS SELECT * FROM (VALUES {hand}) v(title, kind)")
    return db


def labels(db: Database) -> tuple[list[str], list[str]]:
    found = rows(db, "SELECT l.kind, s.kind FROM loose l JOIN strict s ON s.title = l.title ORDER BY l.title")
    return [row[0] for row in found], [row[1] for row in found]


@pytest.mark.long
def test_kappa_and_its_interval_are_those_of_scikit_learn(films: Database) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    np = pytest.importorskip("numpy")
    found = compare(films, "loose", "strict", gold="checked", keys=["title"])
    kind, words = found.columns
    a, b = labels(films)
    assert kind.kappa == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)
    drawn = np.random.default_rng(7).integers(0, len(a), (1000, len(a)))
    first, second = np.array(a), np.array(b)
    kappas = [metrics.cohen_kappa_score(first[sample], second[sample]) for sample in drawn]
    low, high = np.quantile(kappas, [0.025, 0.975])
    assert kind.kappa_low == pytest.approx(low, abs=0.08)
    assert kind.kappa_high == pytest.approx(high, abs=0.08)
    gold = [BY_HAND[title] for (title,) in rows(films, "SELECT title FROM loose ORDER BY title")]
    assert (kind.accuracy_a, kind.accuracy_b) == (metrics.accuracy_score(gold, a), metrics.accuracy_score(gold, b))
    # Lists are compared without their order.
    assert (words.column, words.agreement, words.judged_a) == ("words", 1, 0)


def test_the_interval_of_many_rows_is_that_of_scikit_learn_over_drawn_cells() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    np = pytest.importorskip("numpy")
    cells = {
        ("x", "x"): 9_000,
        ("x", "y"): 1_500,
        ("y", "x"): 800,
        ("y", "y"): 7_000,
        ("z", "z"): 2_500,
        ("z", "x"): 400,
    }
    values = ", ".join(f"('{a}', '{b}', {count})" for (a, b), count in cells.items())
    both = f"FROM (VALUES {values}) v(a, b, n), range(n) r(i)"
    numbered = f"SELECT row_number() OVER (ORDER BY a, b, i) AS id, a, b {both}"
    db = database("many.duckdb", f"CREATE TABLE one AS SELECT id, a AS kind FROM ({numbered})")
    rows(db, f"CREATE TABLE two AS SELECT id, b AS kind FROM ({numbered})")
    total = sum(cells.values())
    assert total > ROWS_DRAWN
    kind = compare(db, "one", "two", keys=["id"]).columns[0]
    a, b = (np.array(side) for side in zip(*cells, strict=True))
    counts = np.array(list(cells.values()))
    assert kind.kappa == pytest.approx(metrics.cohen_kappa_score(a, b, sample_weight=counts), abs=1e-12)
    drawn = np.random.default_rng(7).multinomial(total, counts / total, 120)
    low, high = np.quantile([metrics.cohen_kappa_score(a, b, sample_weight=w) for w in drawn], [0.025, 0.975])
    # Both are estimates from some hundred samples, of an interval 0.015 wide.
    assert kind.kappa_low == pytest.approx(low, abs=0.003)
    assert kind.kappa_high == pytest.approx(high, abs=0.003)


def test_agreement_confusion_and_differences_are_views_that_anyone_can_query(films: Database) -> None:
    found = compare(films, "loose", "strict", keys=["title"])
    a, b = labels(films)
    agreed = sum(x == y for x, y in zip(a, b, strict=True))
    ours = f"comparison_id = {found.comparison_id}"
    agreement = "SELECT agreed, rows FROM films.sqlbatch.agreement WHERE \"column\" = 'kind' AND"
    assert rows(films, f"{agreement} {ours}") == [(agreed, 24)]
    cells = rows(films, f"SELECT a, b, rows FROM films.sqlbatch.confusion WHERE \"column\" = 'kind' AND {ours}")
    assert sum(count for _, _, count in cells) == 24
    assert sum(count for x, y, count in cells if x == y) == agreed
    assert rows(films, f"SELECT count(*) FROM films.sqlbatch.differences WHERE {ours}") == [(24 - agreed,)]
    # The same two again stand in the place of the first comparison.
    assert compare(films, "loose", "strict", keys=["title"], sample=10).rows == 10
    assert rows(films, "SELECT count(*) FROM films.sqlbatch.comparisons") == [(1,)]


def test_reviews_tell_what_is_right_and_costs_stand_beside(films: Database) -> None:
    rows(
        films,
        """
        INSERT INTO films.sqlbatch.reviews BY NAME
        SELECT custom_id, 'kind' AS "column", CASE WHEN kind = 'love' THEN 'approved' ELSE 'corrected' END AS verdict,
          to_json(CASE WHEN kind = 'love' THEN 'love' ELSE 'comedy' END) AS value, 'me' AS reviewer,
          now()::TIMESTAMP AS reviewed_at, 'loose' AS target, '{}' AS source_row
        FROM loose LIMIT 20""",
    )
    rows(films, "UPDATE films.sqlbatch.results SET tokens_in = 1000, tokens_out = 0")
    rows(films, "UPDATE films.sqlbatch.batches SET base_url = 'http://x', batch_factor = NULL")
    rows(films, "INSERT INTO films.sqlbatch.prices (model, input, output) SELECT DISTINCT model, 3, 1 FROM films.sqlbatch.batches")  # fmt: skip  # noqa: E501
    found = compare(films, "loose", "strict")
    assert found.keys == ["title", "overview"]
    kind = next(each for each in found.columns if each.column == "kind")
    loves = rows(films, "SELECT count(*) FILTER (kind = 'love') / 20 FROM (FROM loose LIMIT 20)")[0][0]
    assert (kind.judged_a, kind.judged_b) == (20, 20)
    assert kind.accuracy_a == pytest.approx(loves)
    assert found.dollars_a == pytest.approx(3.0)


def test_the_command_prints_it_and_names_what_cannot_be_compared(films: Database, here: Command) -> None:
    shown = here("compare", "loose", "strict", "--gold", "checked", "--key", "title", "--db", "films.duckdb")
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[0].split()[:4] == ["column", "rows", "agree", "kappa"]
    assert "kind in a" in shown.out
    assert "24 compared by title" in shown.err
    told = json.loads(here("compare", "1", "2", "--json", "--db", "films.duckdb").out)
    assert (told["a"], told["b"], told["rows"]) == ("loose", "strict", 24)
    for a, b, more, says in (
        ("loose", "loose", {}, "are one table"),
        ("loose", "stric", {}, "did you mean strict"),
        ("loose", "strict", {"keys": ["titel"]}, "did you mean title"),
        ("loose", "strict", {"gold": "checked"}, "has no column overview"),
    ):
        with pytest.raises(InvalidOption, match=says):
            compare(films, a, b, **more)
