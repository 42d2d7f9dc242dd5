"""What each endpoint is asked, and what cannot be asked of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sqlbatch import options
from sqlbatch.errors import InvalidEnrichment
from sqlbatch.source import Source

from .support import begin, bodies, database, rows

ROW = "SELECT 'Alien' AS title, 'A crew wakes.' AS overview"
PAID: dict[str, Any] = {"provider": "openai", "model": "gpt-6-luna", "instructions": None}


def body(**options: Any) -> Any:
    """Return the one body that an ask makes."""
    db = database()
    ((made),) = bodies(db, begin(db, ROW, **(PAID | options))).values()
    return made


def refused(**options: Any) -> str:
    """Return why an ask is refused."""
    with pytest.raises(InvalidEnrichment) as error:
        begin(database(), ROW, **(PAID | options))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_responses_api_is_asked_in_its_own_words() -> None:
    made = body(endpoint="responses", instructions="Name it.", input=["overview"], returns="genre VARCHAR",
                param=["max_output_tokens=50", 'reasoning={"effort": "low"}', "verbosity=low"])  # fmt: skip
    schema = made["text"]["format"].pop("schema")
    assert schema["required"] == ["genre"]
    assert made == {
        "model": "gpt-6-luna",
        "input": [{"role": "system", "content": "Name it."}, {"role": "user", "content": "A crew wakes."}],
        "text": {"format": {"type": "json_schema", "name": "row", "strict": True}, "verbosity": "low"},
        "max_output_tokens": 50,
        "reasoning": {"effort": "low"},
        "prompt_cache_options": {"mode": "explicit"},
    }


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_json_mode_always_says_the_word_that_the_provider_asks_for(endpoint: str) -> None:
    made = body(endpoint=endpoint, prompt="Say {{ title }}", returns="JSON")
    assert "JSON" in json.dumps(made["messages" if endpoint == "chat" else "input"])


def test_an_embedding_is_asked_for_in_numbers() -> None:
    made = body(endpoint="embeddings", model="text-embedding-3-small", input=["overview"], param=["dimensions=64"])
    assert made == {
        "model": "text-embedding-3-small", "dimensions": 64, "encoding_format": "float", "input": "A crew wakes.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [("moderations", "input"), ("completions", "prompt"), ("images/generations", "prompt"), ("videos", "prompt")],
)
def test_an_endpoint_without_conversation_sees_one_text(endpoint: str, field: str) -> None:
    assert body(endpoint=endpoint, prompt="Of {{ title }}") == {"model": "gpt-6-luna", field: "Of Alien"}


@pytest.mark.parametrize("name", ["chat", "chat/completions", "/v1/chat/completions", "v1/chat/completions"])
def test_an_endpoint_has_a_short_name_and_makes_the_same_requests(name: str) -> None:
    one, other = (
        options.enrich_options(Source(ROW, {}, None), {"model": "m", "instructions": "x", **more})
        for more in ({}, {"endpoint": name})
    )
    assert one == other


@pytest.mark.parametrize(
    ("model", "more", "length"),
    [
        ("text-embedding-3-small", {}, 1536),
        ("text-embedding-3-large", {}, 3072),
        ("text-embedding-ada-002", {}, 1536),
        ("text-embedding-3-large", {"param": ["dimensions=256"]}, 256),
        ("some-model", {"returns": "embedding FLOAT[1024]"}, 1024),
    ],
)
def test_the_length_of_vectors_is_known_before_anything_is_sent(model: str, more: dict[str, Any], length: int) -> None:
    asked = options.enrich_options(Source(ROW, {}, None), {"endpoint": "embeddings", "model": model, **more})
    assert asked.enrichment.returns == f"embedding FLOAT[{length}]"


def test_what_has_no_embedding_is_skipped_and_told() -> None:
    db = database()
    query = "SELECT unnest(['', NULL, ' ', repeat('word ', 9_900)]) AS overview"
    job_id = begin(db, query, **PAID | {"endpoint": "embeddings", "model": "text-embedding-3-small"})
    found = rows(db, f"SELECT skipped FROM work.sqlbatch.asks_{job_id} ORDER BY sqlbatch_row")
    assert [why and why.split(";")[0] for (why,) in found] == [
        "overview is empty, and an empty text has no embedding",
        "overview is NULL",
        None,
        "overview is longer than 8,192 tokens",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "embedings"}, "did you mean embeddings?"),
        ({"endpoint": "/v1/audio"}, "known are: chat/completions"),
        ({"endpoint": "embeddings", "input": ["title"], "returns": "genre VARCHAR"}, "leave it out"),
        ({"endpoint": "embeddings", "input": ["title"]}, "--param dimensions=1024"),
        ({"endpoint": "embeddings", "input": ["title"], "param": ["dimensions=big"]}, "whole number above 0"),
        ({"endpoint": "embeddings", "model": "text-embedding-3-small"}, "name it with --input"),
        ({"endpoint": "moderations", "input": ["title"], "returns": "x INTEGER"}, "response JSON"),
        ({"endpoint": "completions", "input": ["title"], "returns": "JSON"}, "response VARCHAR"),
        ({"endpoint": "moderations", "input": ["title"], "instructions": "Be kind."}, "takes no system message"),
        ({"instructions": "x", "param": ["max_output_tokens=9"]}, "max_completion_tokens=9"),
        ({"instructions": "x", "param": ["max_tokens=9"]}, "max_completion_tokens=9"),
        ({"instructions": "x", "param": ['reasoning={"effort":"low"}']}, "reasoning_effort"),
        ({"instructions": "x", "param": ["n=2"]}, "one answer"),
        ({"endpoint": "responses", "instructions": "x", "param": ["max_tokens=9"]}, "max_output_tokens=9"),
        ({"endpoint": "responses", "instructions": "x", "param": ["max_completion_tokens=9"]}, "max_output_tokens=9"),
        ({"endpoint": "responses", "instructions": "x", "param": ["reasoning_effort=low"]}, '{"effort": "low"}'),
    ],
)
def test_what_an_endpoint_cannot_do_is_said_with_what_to_write_instead(options: dict[str, Any], message: str) -> None:
    assert message in refused(**options)
