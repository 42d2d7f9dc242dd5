"""The offline model: deterministic, sensible, and valid against any strict schema."""

from __future__ import annotations

import array
import base64
import io
import json
import math
import os
import re
import subprocess
import sys
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sqlbatch.server.endpoints import answer
from sqlbatch.server.offline.patterns import Pattern

CASABLANCA = (
    "In 1942 a cynical nightclub owner in Casablanca, Dr. Rick Blaine, meets a former lover who is married to a "
    "resistance fighter. The war is near, and the army is looking for them. She was 27.5 years old on 3 December 1941."
)


def chat(text: object, schema: Any = None, *, strict: bool = True, **more: Any) -> dict[str, Any]:
    """Ask the model; return the body of a successful reply."""
    body: dict[str, Any] = {"model": "offline", "messages": [{"role": "user", "content": text}], **more}
    if schema is not None:
        form = {"name": "row", "strict": strict, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    status, reply = answer("/v1/chat/completions", body)
    assert status == 200, reply
    return reply


def content(*args: Any, **more: Any) -> str:
    return str(chat(*args, **more)["choices"][0]["message"]["content"])


def row(text: object, properties: dict[str, Any]) -> dict[str, Any]:
    """Ask for an object with these properties; return it, having checked it."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    found: dict[str, Any] = json.loads(content(text, schema))
    check(found, schema)
    assert list(found) == list(properties)
    return found


FORMATS = jsonschema.FormatChecker(["date", "email", "ipv4", "ipv6", "uuid"])
for form, shape in {
    "time": r"\d\d:\d\d:\d\dZ",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "duration": r"P(\d+[YMWD])?(T\d+[HMS])?",
    "hostname": r"[\w-]+(\.[\w-]+)+",
}.items():
    FORMATS.checks(form)(lambda value, shape=shape: not isinstance(value, str) or bool(re.fullmatch(shape, value)))


def check(found: object, schema: dict[str, Any]) -> None:
    """Check a value against a schema, formats included."""
    jsonschema.Draft202012Validator(schema, format_checker=FORMATS).validate(found)


def refused(**body: Any) -> dict[str, Any]:
    status, reply = answer("/v1/chat/completions", {"model": "offline", **body})
    assert status == 400
    error: dict[str, Any] = reply["error"]
    return error


TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}


def test_a_film_gets_its_topics_and_its_first_sentence() -> None:
    found = row(CASABLANCA, {"categories": TEXTS, "summary": TEXT})
    assert "war" in found["categories"]
    assert found["summary"].startswith("In 1942 a cynical nightclub owner in Casablanca, Dr. Rick Blaine, meets")
    assert found["summary"].endswith("fighter.")


def test_keywords_are_lower_case_words_of_the_text_without_stopwords() -> None:
    found = row("The quick chair. A chair is comfortable, and the cushion is soft.", {"keywords": TEXTS})
    assert found["keywords"][0] == "chair"
    assert all(word == word.lower() and word not in {"the", "and", "is"} for word in found["keywords"])


def test_values_of_several_kinds_are_found_in_the_text() -> None:
    found = row(
        CASABLANCA,
        {
            "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
            "age": {"type": "number", "maximum": 100},
            "born": {"type": "string", "format": "date"},
            "is_war": {"type": "boolean"},
            "is_comedy": {"type": "boolean"},
            "genre": {"type": "string", "enum": ["romantic comedy", "war", "western"]},
        },
    )
    assert found == {
        "year": 1942,
        "age": 27.5,
        "born": "1942-01-01",
        "is_war": True,
        "is_comedy": False,
        "genre": "war",
    }


def test_sentiment_follows_the_words() -> None:
    mood = {"mood": {"type": "string", "enum": ["positive", "neutral", "negative"]}, "tone": TEXT}
    assert row("I love this wonderful lamp.", mood) == {"mood": "positive", "tone": "positive"}
    assert row("Broken, and a terrible waste.", mood) == {"mood": "negative", "tone": "negative"}
    assert row("It has four legs.", mood) == {"mood": "neutral", "tone": "neutral"}


def test_named_parts_of_the_text_answer_properties_of_their_name() -> None:
    for text in (json.dumps({"title": "Oak chair", "price": 120.5, "note": None}), "Title: Oak chair\nPrice: 120.5"):
        found = row(text, {"title": TEXT, "price": {"type": "number"}})
        assert found == {"title": "Oak chair", "price": 120.5}


def test_what_the_text_does_not_say_is_null_where_null_is_allowed() -> None:
    nullable = {
        "year": {"type": ["integer", "null"]},
        "released": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "genre": {"type": ["string", "null"], "enum": ["western", "war", None]},
    }
    assert row("A plain sentence.", nullable) == {"year": None, "released": None, "genre": None}
    assert row("A western of 1950.", nullable) == {"year": 1950, "released": "1950-01-01", "genre": "western"}


@pytest.mark.parametrize(
    ("text", "schema", "expected"),
    [
        ("It costs 12.5 dollars", {"type": "string", "pattern": r"^-?\d{1,16}\.\d{2}$"}, "12.50"),
        ("no number", {"type": "string", "pattern": r"^-?\d{1,16}\.\d{2}$"}, None),
        ("Item AB-1234 is late", {"type": "string", "pattern": r"^[A-Z]{2}-\d{4}$"}, "AB-1234"),
        ("At 21:05:00Z", {"type": "string", "format": "time"}, "21:05:00Z"),
        ("On 2024-02-28T14:30:00Z", {"type": "string", "format": "date-time"}, "2024-02-28T14:30:00Z"),
        ("On 2020-05-05", {"type": "string", "format": "date"}, "2020-05-05"),
        ("It took P3W", {"type": "string", "format": "duration"}, "P3W"),
        ("Write to a.b@c.org", {"type": "string", "format": "email"}, "a.b@c.org"),
        ("See www.example.org!", {"type": "string", "format": "hostname"}, "www.example.org"),
        ("From 10.0.0.1", {"type": "string", "format": "ipv4"}, "10.0.0.1"),
        ("Take 1,234 of them", {"type": "integer"}, 1234),
        ("Take 17 of them", {"type": "integer", "multipleOf": 5}, 0),
        ("Take 15 of them", {"type": "integer", "multipleOf": 5}, 15),
        ("Take 5", {"type": "integer", "exclusiveMinimum": 5, "maximum": 6}, 6),
        ("Take 5", {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.2}, None),
        ("Choose 3", {"type": "integer", "enum": [1, 2, 3]}, 3),
        ("x", {"const": "fixed"}, "fixed"),
        ("x", {"type": "null"}, None),
    ],
)
def test_one_value_of_each_kind(text: str, schema: dict[str, Any], expected: object) -> None:
    found = row(text, {"value": schema})["value"]
    if expected is not None:
        assert found == expected


PATTERNS = [
    r"^\d{4}-\d{2}-\d{2}$",
    r"^[+-]?\d+$",
    r"^(?:0[1-9]|1[0-2])/\d{2}$",
    r"^(x|y)+$",
    r"^(?P<a>[a-c]{2,3})-\1$",
    r"[A-Z]{3}",
    r"^[^\s,]+@[^\s@]+\.[a-z]{2,}$",
    r"^\w+( \w+){0,4}$",
    r"^(?=.*\d)[a-z0-9]{3,}$",
    r"^(?!a)[a-z]$",
    r"^$",
    r"^\u0041\x42\.\/\-$",
    r"^.{3,10}$",
    r"^[\w.-]{1,64}$",
    r"^\$\d{1,3}(,\d{3})*(\.\d\d)?$",
    r"^(yes|no|maybe)$",
    r"^#[0-9a-fA-F]{6}$",
    r"^P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$",
    r"^[0-9a-f]{128}$",
    r"^[^\d\s]{2}\W\D$",
    r"^(?:[a-z]{2}-)?\d{200,}$",
    r"^(a+)+$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_that_matches_a_pattern_is_made(pattern: str) -> None:
    assert re.search(pattern, Pattern(pattern).made)
    assert row("Nothing of the kind, it seems.", {"value": {"type": "string", "pattern": pattern}})


def test_a_named_group_may_be_written_as_javascript_does() -> None:
    assert re.fullmatch(r"([a-c]{2})-\1", Pattern(r"^(?<a>[a-c]{2})-\1$").made)


NODE = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "children": {"type": "array", "items": {"$ref": "#"}},
        "next": {"anyOf": [{"$ref": "#/$defs/link"}, {"type": "null"}]},
    },
    "required": ["name", "children", "next"],
    "additionalProperties": False,
    "$defs": {
        "link": {
            "type": "object",
            "properties": {"to": {"$ref": "#"}, "label": TEXT},
            "required": ["to", "label"],
            "additionalProperties": False,
        }
    },
}


def test_a_recursive_schema_ends() -> None:
    found = json.loads(content(CASABLANCA, NODE))
    jsonschema.validate(found, NODE)
    assert len(json.dumps(found)) < 20_000


def strict_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def bounds(draw: Any, *, whole: bool) -> dict[str, Any]:
    number = st.integers(-1000, 1000) if whole else st.integers(-1000, 1000).map(lambda n: n / 4)
    low, span = draw(number), draw(st.integers(2, 500))
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        found[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + span
    if draw(st.booleans()):
        found["multipleOf"] = 1 if whole else 0.25
    return found


@st.composite
def leaves(draw: Any) -> dict[str, Any]:
    """One schema without others inside."""
    kind = draw(st.sampled_from(["text", "pattern", "format", "enum", "const", "number", "integer", "boolean", "null"]))
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS[:-1]))}
    if kind == "format":
        forms = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
        return {"type": "string", "format": draw(st.sampled_from(forms))}
    if kind == "enum":
        return {
            "enum": draw(st.lists(st.one_of(st.text(max_size=5), st.integers(), st.none()), min_size=1, max_size=4))
        }
    if kind == "const":
        return {"const": draw(st.one_of(st.text(max_size=5), st.integers()))}
    if kind in {"number", "integer"}:
        return {"type": kind, **bounds(draw, whole=kind == "integer")}
    return {"type": "string" if kind == "text" else kind}


NAMES = st.sampled_from(
    ["title", "summary", "keywords", "year", "price", "isGood", "release_date", "mood", "cast", "reason", "x", "país"]
)


def extend(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.dictionaries(NAMES, children, max_size=4).map(strict_object)
    sizes = st.sampled_from([{}, {"minItems": 2}, {"maxItems": 1}, {"minItems": 1, "maxItems": 5}, {"maxItems": 0}])
    arrays = st.builds(lambda item, size: {"type": "array", "items": item, **size}, children, sizes)
    unions = st.lists(children, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    nullable = children.map(lambda option: {"anyOf": [option, {"type": "null"}]})
    return st.one_of(objects, arrays, unions, nullable)


SCHEMAS = st.dictionaries(NAMES, st.recursive(leaves(), extend, max_leaves=12), min_size=1, max_size=5).map(
    strict_object
)


@settings(max_examples=250, deadline=None)
@given(schema=SCHEMAS, text=st.one_of(st.just(CASABLANCA), st.text(max_size=200)))
def test_every_answer_is_valid_against_its_schema(schema: dict[str, Any], text: str) -> None:
    found = json.loads(content(text, schema))
    check(found, schema)
    assert json.loads(content(text, schema)) == found


def test_answers_depend_on_the_text_alone_not_on_the_process() -> None:
    code = (
        "import json, sys; from sqlbatch.server.endpoints import answer; "
        "print(answer('/v1/chat/completions', json.loads(sys.argv[1]))[1]['choices'][0]['message']['content'])"
    )
    form = {
        "name": "row",
        "strict": True,
        "schema": strict_object(
            {
                "categories": TEXTS,
                "keywords": TEXTS,
                "id": {"type": "string", "format": "uuid"},
                "code": {"type": "string", "pattern": r"^\W\D\S[^a-y]{5}\w+$"},
                "n": {"type": "integer", "minimum": 2000, "maximum": 3000},
            }
        ),
    }
    body = {
        "model": "offline",
        "messages": [{"role": "user", "content": CASABLANCA}],
        "response_format": {"type": "json_schema", "json_schema": form},
    }
    said = {
        subprocess.run(
            [sys.executable, "-c", code, json.dumps(body)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(3)
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array", "items": TEXT}, "got 'type: \"array\"'"),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, "'additionalProperties' is required"),
        ({**strict_object({"a": TEXT}), "required": []}, "Missing 'a'"),
        (strict_object({"a": {"allOf": [TEXT]}}), "'allOf' is not permitted"),
        (strict_object({"a": {"type": "string", "default": "x"}}), "'default' is not permitted"),
        (strict_object({"a": {"$ref": "#/$defs/none"}}), "leads nowhere"),
        (strict_object({"a": {"$ref": "#"}}), "no finite value"),
        (strict_object({"a": {"type": "string", "pattern": "^(?"}}), "pattern"),
        (strict_object({"a": {"enum": [str(n) for n in range(1001)]}}), "exceeds the limit of 1000"),
        (strict_object({str(n): TEXT for n in range(5001)}), "exceeds the limit of 5000"),
        (strict_object({"a": {"type": "array"}}), "missing items"),
        (strict_object({"a": {"type": "integer", "minimum": 2, "maximum": 1}}), "no number"),
    ],
)
def test_a_schema_outside_the_strict_subset_is_refused(schema: dict[str, Any], words: str) -> None:
    form = {"name": "row", "strict": True, "schema": schema}
    error = refused(
        messages=[{"role": "user", "content": "text"}],
        response_format={"type": "json_schema", "json_schema": form},
    )
    assert words in error["message"]
    assert error["message"].startswith("Invalid schema for response_format 'row': ")
    assert error["param"] == "response_format"


def test_a_loose_schema_may_leave_things_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 3}, "b": {"type": "string", "minLength": 500}},
    }
    found = json.loads(content(CASABLANCA, schema, strict=False))
    jsonschema.validate(found, schema)


def test_json_mode_wants_the_word_json() -> None:
    form = {"type": "json_object"}
    error = refused(messages=[{"role": "user", "content": "text"}], response_format=form)
    assert error["message"] == (
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    )
    assert isinstance(json.loads(content("Some text, as JSON.", response_format=form)), dict)
    body = {"model": "offline", "instructions": "json", "input": "text", "text": {"format": form}}
    status, reply = answer("/v1/responses", body)
    assert (status, reply["error"]["param"]) == (400, "text.format")


def test_the_last_user_message_is_answered() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Old text."},
        {"role": "assistant", "content": "Reply."},
        {"role": "user", "content": [{"type": "text", "text": "New text. Rest."}]},
    ]
    _, reply = answer("/v1/chat/completions", {"model": "offline", "messages": messages})
    assert reply["choices"][0]["message"]["content"] == "New text."
    assert reply["system_fingerprint"] == "offline"


def test_too_few_tokens_cut_the_answer() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        limits: dict[str, Any] = {name: 2}
        reply = chat("One two three four. Five.", **limits)
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["choices"][0]["message"]["content"] == "One two"
        assert reply["usage"]["completion_tokens"] == 2
    body = {"model": "offline", "input": "One two three four. Five.", "max_output_tokens": 2}
    _, response = answer("/v1/responses", body)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_tokens_grow_with_the_text() -> None:
    used = [chat("word " * count)["usage"]["prompt_tokens"] for count in (1, 10, 100)]
    # A message takes 4 tokens besides its text, the answer's beginning 3.
    assert [tokens - 7 for tokens in used] == [1, 10, 100]


def test_the_schema_of_the_answer_is_billed_as_the_model_is_shown_it() -> None:
    free = chat("Alien.")["usage"]["prompt_tokens"]
    properties = {"mood": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["mood"], "additionalProperties": False}
    # 107 bytes of compact JSON: real tokenizers make 20 to 35 tokens of it.
    assert 20 <= chat("Alien.", schema)["usage"]["prompt_tokens"] - free <= 40


def picture(kind: str, width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_is_described_by_its_type_its_bytes_and_its_name(kind: str) -> None:
    data = picture(kind, 321, 123)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    said = content([part])
    assert said == f"A {kind} picture of {len(data):,} bytes."
    assert row([{"type": "text", "text": "What is it?"}, part], {"caption": TEXT})["caption"] == said
    named = {"type": "image_url", "image_url": {"url": "https://example.com/shop/oak%20chair.png?x=1"}}
    assert content([named]) == "A PNG picture named oak chair.png."


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/png;base64,!!!", "invalid_base64_image"),
        ("data:image/png,abc", "invalid_base64_image"),
        ("data:text/plain;base64,aGVsbG8=", "unsupported_image_media_type"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("", "invalid_image_url"),
    ],
)
def test_what_is_no_picture_is_refused(url: str, code: str) -> None:
    error = refused(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert error["code"] == code


def embedding(text: object, **more: Any) -> Any:
    status, reply = answer("/v1/embeddings", {"model": "offline", "input": text, **more})
    assert status == 200
    return reply["data"][0]["embedding"]


def near(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_embeddings_are_unit_vectors_of_the_asked_for_dimensions() -> None:
    for dimensions in (1, 3, 256, 1536):
        vector = embedding("An oak chair.", dimensions=dimensions)
        assert len(vector) == dimensions
        assert math.isclose(near(vector, vector), 1, abs_tol=1e-6)
    assert len(embedding("x")) == 256
    assert embedding("…") == embedding("…")
    assert embedding([1, 2, 3]) != embedding([3, 4])


def test_near_texts_have_near_embeddings() -> None:
    chair, chairs, war = map(embedding, ("a wooden chair", "wooden chairs with arms", "the army went to battle"))
    assert near(chair, chairs) > near(chair, war) + 0.2


def test_embeddings_as_base64_are_the_same_vector() -> None:
    floats = array.array("f", base64.b64decode(embedding("An oak chair.", encoding_format="base64")))
    assert list(floats) == pytest.approx(embedding("An oak chair."), abs=1e-6)


@pytest.mark.parametrize(
    "body", [{"input": ""}, {"input": []}, {"input": ["a"] * 2049}, {"input": 5}, {"input": "x", "dimensions": 0}, {}]
)
def test_embeddings_refuse_what_has_no_meaning(body: dict[str, Any]) -> None:
    assert answer("/v1/embeddings", {"model": "offline", **body})[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "text"},
        {"messages": [5]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "nonsense"}]}]},
        {"messages": [{"role": "user", "content": "x"}], "response_format": "json"},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "xml"}},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
    ],
)
def test_a_request_that_cannot_be_read_is_refused(body: dict[str, Any]) -> None:
    assert refused(**body)["message"]
