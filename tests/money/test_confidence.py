"""--confidence: how sure the model was of each value, by a rule; nobody pays again who does not ask for that."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from sqlbatch import prepare, previews
from sqlbatch.batches.parse_results import parse_results
from sqlbatch.batches.plan import pack
from sqlbatch.errors import InvalidPrompt, InvalidSettings
from sqlbatch.options import enrich_options
from sqlbatch.query.endpoints import check_of
from sqlbatch.server import endpoints
from sqlbatch.source import Source
from tests.query.support import database, lines

if TYPE_CHECKING:
    from pathlib import Path

    from sqlbatch.query.quote import Quote
    from tests.batches.bench import Bench

ID = "0b9b0a4e-0000-4000-8000-000000000001"
RETURNS = "genre VARCHAR, tags VARCHAR[], year INTEGER"
ASKED: dict[str, Any] = {"confidence": True, "logprobs": True}
PLAIN: dict[str, Any] = {"confidence": False, "logprobs": False}


def tokens(text: str, size: int = 3) -> list[dict[str, Any]]:
    """Cut a text into tokens of so many bytes, as a tokenizer might: a character may be split between two."""
    data = text.encode()
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [
        {"token": part.decode(errors="replace"), "logprob": -((at * 37) % 11) / 10, "bytes": list(part)}
        for at, part in enumerate(parts)
    ]


def by_hand(text: str, told: list[dict[str, Any]], start: int, end: int) -> float:
    """Return the geometric mean of the tokens that have a byte in text[start:end]."""
    first, last = len(text[:start].encode()), len(text[:end].encode())
    at, logs = 0, []
    for each in told:
        size = len(each["bytes"])
        if at < last and at + size > first:
            logs.append(each["logprob"])
        at += size
    return math.exp(sum(logs) / len(logs))


def measured(folder: Path, text: str, told: object, name: str = "chat/completions") -> dict[str, float] | None:
    """Return the confidence that the reader of result lines gives an answer."""
    if name == "responses":
        part = {"type": "output_text", "text": text, "logprobs": told}
        body: dict[str, Any] = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    else:
        choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": told and {"content": told}}
        body = {"choices": [choice]}
    file = folder / "out.jsonl"
    file.write_text(json.dumps({"custom_id": ID, "response": {"status_code": 200, "body": body}, "error": None}) + "\n")
    with database().session() as session:
        parse_results(session, [file], f"/v1/{name}", check_of(f"/v1/{name}", ""))
        found = session.sql("SELECT content, to_json(confidence)::VARCHAR FROM sqlbatch_parsed_results")
    assert found[0][0] == text
    return json.loads(found[0][1]) if found[0][1] else None


@pytest.mark.parametrize("name", ["chat/completions", "responses"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_number_is_the_geometric_mean_of_the_tokens_of_a_values_text(name: str, size: int, tmp_path: Path) -> None:
    values = {
        "genre": 'cr"ime: \\ { ] é☂',
        "tags": ["a", "b, c", "\n"],
        "year": 1999,
        "none": None,
        "empty": "",
        "deep": {"genre": "not this one", "list": [{"year": 1}]},
        'odd "key": {': True,
    }
    for text in (
        json.dumps(values, ensure_ascii=False),
        json.dumps(values, indent=2),
        json.dumps(values, separators=(",", ":")),
    ):
        told = tokens(text, size)
        found = measured(tmp_path, text, told, name)
        assert found is not None
        assert set(found) == {*values, ""}
        assert found[""] == pytest.approx(by_hand(text, told, 0, len(text)))
        decoder, at = json.JSONDecoder(), 1
        for key, value in values.items():
            at = re.compile(r"[\s,]*").match(text, at).end()  # type: ignore[union-attr]
            _, at = decoder.raw_decode(text, at)
            start = re.compile(r"\s*:\s*").match(text, at).end()  # type: ignore[union-attr]
            _, at = decoder.raw_decode(text, start)
            quote = isinstance(value, str) and value != ""
            assert found[key] == pytest.approx(by_hand(text, told, start + quote, at - quote)), key


def test_a_text_has_one_number_and_what_does_not_add_up_has_none(tmp_path: Path) -> None:
    text = 'Plain words, in which {"no": "JSON"} is asked for.'
    assert set(measured(tmp_path, text, tokens(text)) or {}) == {"", "no"}
    told = tokens(text)
    ended = [*told, {"token": "<|end|>", "logprob": -5.0, "bytes": None}]
    assert measured(tmp_path, text, ended) == measured(tmp_path, text, told)
    unknown = [{**told[0], "logprob": None}, *told[1:]]
    wrongs: list[object] = [None, [], told[1:], told[:-1], unknown, [{}], "?", {"a": 1}, told[::-1]]
    for wrong in wrongs:
        assert measured(tmp_path, text, wrong) is None, wrong
    certain = [{**each, "logprob": 0.5} for each in told]
    assert measured(tmp_path, text, certain) == {"": 1.0, "no": 1.0}
    never = [{**each, "logprob": -9999.0} for each in told]
    assert measured(tmp_path, text, never) == {"": 0.0, "no": 0.0}


def quote(bench: Bench, rows: int, **more: Any) -> Quote:
    enrichment, options = bench.ask(rows, **more)
    with prepare.prepared(bench.database, enrichment, bench.provider, "answers", **options) as prepared:
        return prepared.quote


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/responses"])
def test_the_target_has_a_number_for_each_returned_column(bench: Bench, endpoint: str) -> None:
    job_id = bench.begin(4, endpoint=endpoint, returns=RETURNS, **ASKED)
    pack(bench.database, job_id, bench.provider)
    sent = [json.loads(line)["body"] for batch in lines(bench.database, job_id).values() for line in batch]
    bench.wait(job_id)
    assert bench.sql("SELECT count(*) FROM answers WHERE ai_status = 'answered'") == [(4,)]
    found = dict(bench.sql("SELECT custom_id, ai_confidence FROM answers"))
    expected = []
    for body in sent:
        _, reply = endpoints.answer(endpoint, body)
        if endpoint.endswith("responses"):
            text, told = (reply["output"][0]["content"][0][key] for key in ("text", "logprobs"))
        else:
            choice = reply["choices"][0]
            text, told = choice["message"]["content"], choice["logprobs"]["content"]
        start = text.index('"genre": ') + len('"genre": ')
        _, end = json.JSONDecoder().raw_decode(text, start)
        quoted = text[start] == '"'
        expected.append(by_hand(text, told, start + quoted, end - quoted))
    assert sorted(each["genre"] for each in found.values()) == pytest.approx(sorted(expected))
    assert all(set(each) == {"genre", "tags", "year"} for each in found.values())
    assert all(0 < number <= 1 for each in found.values() for number in each.values())


def test_an_answer_without_them_is_paid_again_only_for_confidence_and_the_quote_says_so(
    bench: Bench,
) -> None:
    bench.enrich(3)
    plain = bench.sql("SELECT custom_id FROM answers ORDER BY ALL")
    again = quote(bench, 5, **ASKED)
    assert (again.answered, again.to_send) == (0, 5)
    said = "--confidence: 3 answers came without log probabilities before, and are requested, and paid for, again"
    assert again.notes[0] == said
    bench.enrich(5, **ASKED)
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(8,)]
    # Its requests are the same, so that nobody pays for them without it either.
    assert set(plain) <= set(bench.sql("SELECT custom_id FROM answers"))
    for asked in (ASKED, PLAIN):
        assert (quote(bench, 5, **asked).answered, quote(bench, 5, **asked).to_send) == (5, 0), asked
    job_id = bench.enrich(5, into="plain")
    assert bench.job(job_id).answered == 5
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(8,)]
    assert "ai_confidence" not in [row[0] for row in bench.sql("DESCRIBE plain")]
    bench.enrich(5, into="sure", **ASKED)
    assert bench.sql("SELECT count(ai_confidence.response), count(*) FROM sure") == [(5, 5)]
    assert bench.sql("SELECT count(*) FROM sqlbatch.results") == [(8,)]


def test_a_request_that_is_on_its_way_without_them_is_not_sent_a_second_time(bench: Bench) -> None:
    bench.control.faults({"name": "stuck_in_progress", "count": 1})
    first = bench.begin(3)
    bench.sync(first)
    assert (quote(bench, 3, **ASKED).in_flight, quote(bench, 3, **ASKED).to_send) == (3, 0)
    second = bench.begin(3, "second", **ASKED)
    bench.control.faults()
    bench.wait(first)
    bench.wait(second)
    assert bench.sql("SELECT count(ai_confidence), count(*) FROM second") == [(0, 3)]
    assert bench.sql("SELECT count(*) FROM sqlbatch.batches") == [(1,)]


def test_a_reply_without_them_is_null_with_a_note_and_is_not_asked_for_again(bench: Bench) -> None:
    bench.control.faults({"name": "edit_line", "count": 2, "set": {"response.body.choices.0.logprobs": None}})
    job_id = bench.enrich(3, **ASKED)
    assert bench.sql("SELECT count(ai_confidence), count(*) FROM answers") == [(1, 3)]
    assert "2 answers of batch" in bench.notes
    assert "their ai_confidence is NULL" in bench.notes
    assert quote(bench, 3, **ASKED).to_send == 0
    assert bench.job(job_id).answered == 3


def test_a_model_that_refuses_them_is_asked_without(bench: Bench) -> None:
    refused = {"name": "line_error", "status": 400, "code": "unsupported_parameter", "message": "logprobs are not supported with this model"}  # fmt: skip  # noqa: E501
    bench.control.faults({**refused, "count": 3})
    bench.enrich(3, **ASKED)
    assert bench.job(1).failed == 3
    assert (quote(bench, 3, **ASKED).failed_before, quote(bench, 3, **ASKED).to_send) == (3, 0)
    assert (quote(bench, 3).failed_before, quote(bench, 3).to_send) == (0, 3)
    job_id = bench.enrich(3)
    assert bench.job(job_id).answered == 3


def test_a_preview_shows_them_and_its_answers_are_not_paid_twice(bench: Bench) -> None:
    enrichment, _ = bench.ask(2, **ASKED)
    with previews.prepared(bench.database, enrichment, bench.provider) as ready:
        list(previews.ask(bench.database, ready))
        shown = previews.result(bench.database, ready)
    assert all(row.answer and 0 < row.answer["ai_confidence"]["response"] <= 1 for row in shown.rows)
    assert (quote(bench, 3, **ASKED).answered, quote(bench, 3, **ASKED).to_send) == (2, 1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"endpoint": "embeddings", "returns": "embedding FLOAT[8]"}, "ai_confidence is NULL: embeddings has no log"),
        ({"provider": "groq"}, "ai_confidence is NULL: groq gives no log probabilities"),
        ({"model": "gpt-5-mini"}, "gpt-5-mini may refuse log probabilities while it thinks"),
        ({"endpoint": "responses", "model": "gpt-4.1"}, None),
    ],
)
def test_what_cannot_have_them_says_so_before_anything_is_sent(given: dict[str, Any], says: str | None) -> None:
    asked = enrich_options(Source("SELECT 'x' AS text", {}, None), {"model": "m", "confidence": True, **given})
    assert asked.enrichment.confidence
    assert asked.enrichment.logprobs == (says is None or "may refuse" in says)
    assert [note for note in asked.notes if says and note.startswith(says)] == ([asked.notes[0]] if says else [])


def test_a_parameter_that_contradicts_it_is_refused() -> None:
    for given in (
        {"param": ["logprobs=false"]},
        {"param": ['include=["file_search_call.results"]'], "endpoint": "responses"},
    ):
        with pytest.raises(InvalidSettings, match="--confidence needs --param"):
            enrich_options(Source("SELECT 1", {}, None), {"model": "m", "confidence": True, **given})


@pytest.mark.skipif(duckdb.__version__ < "2", reason="AI functions need DuckDB 2.0")
def test_a_query_that_calls_ai_functions_is_refused(bench: Bench) -> None:
    asked = {"instructions": None, "inputs": (), **ASKED}
    enrichment, options = bench.ask("SELECT ai_classify('x', ['a', 'b']) AS kind", **asked)
    with (
        pytest.raises(InvalidPrompt, match="--confidence does not go with a query that calls AI functions"),
        prepare.prepared(bench.database, enrichment, bench.provider, "answers", **options),
    ):
        pass
