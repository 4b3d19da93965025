"""An answer of any shape and size is read or refused in a time that grows with it, no faster."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import BaseModel

from llm_router.operations.structured.reading import read_text
from llm_router.operations.structured.schema import MismatchError, Schema
from tests.pace import cpu_seconds


class Lenient(BaseModel):
    x: int = 0


SCHEMAS: dict[str, Schema[Any]] = {
    "a type": Schema.of(Lenient),
    "a list": Schema.of(list[int]),
    "a JSON Schema": Schema.of({"type": "object", "properties": {"x": {"type": "integer"}}}),
}
# How a text begins, what comes again and again, and how it ends.
SHAPES = [
    ("```", " ", "x"), ("```json\n", "\n ", "x"), ('{"a":"', '\\"', ""), ("{", "/* ", ""),
    ("", "{", ""), ("", "{ ", ""), ("", "[1] ", ""), ("", "[1],", ""), ("", "{} ", ""),
    ("", "{x} ", ""), ("", "{x: ", ""), ("", "{'a': 1} ", ""), ("{a:1,", "/* */", " }"),
    ("{'a': [", "'b', ", "'c']}"), ('{"a": [', '"b", ', '"c",]}'), ("[", "1,", "1,]"),
    ("[", "[],", "[],]"), ("", "<think>", ""), ("", "</think>", ""), ("", "<think></think>", ""),
    ("", '"', ""), ("{", '"', ""), ("{", "'", ""), ("{", " '", ""), ("{a:", "a ", ""),
    ("{", "a", ""), ("{", " ", ""), ("[", ",", ""), ("[1", ", ", ""), ("[", "1,", "1]"),
    ("[", '"x",', '"x"]'), ("[", "null,", "null,]"), ("[", "True,", "True]"), ("{", "a:", "}"),
    ("", "{\"a\":", ""), ("", "[", ""), ("{", "/", ""), ("{a:", "// ", ""), ("{a:", "//\n", ""),
    ('{"a": "', "\\", ""), ("{'a': '", "\\\n", "'}"), ('{"a": "', "\n", '"}'), ('{"x":', "9", "}"),
    ('{"a": [', "1,]", "}"), ("", '" ', ""), ("", "word word. ", ""), ("", "``` ", ""),
]  # fmt: skip


def text_of(shape: tuple[str, str, str], size: int) -> str:
    start, pump, end = shape
    return start + pump * ((size - len(start) - len(end)) // len(pump)) + end


def seconds(text: str, schema: Schema[Any]) -> float:
    def read() -> None:
        try:
            read_text(text, schema)
        except MismatchError as error:
            assert len(str(error)) < 10_000

    return cpu_seconds(read)


@pytest.fixture(scope="module")
def plain() -> float:
    """Seconds that a plain answer of two megabytes takes to decode, one of many small lists."""
    return cpu_seconds(lambda: json.loads(text_of(("[", "[],", "[]]"), 2_000_000)))


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: repr("".join(shape))[:20])
def test_two_megabytes_of_any_shape_take_no_longer_than_a_plain_answer_of_that_size(
    shape: tuple[str, str, str], name: str, plain: float
) -> None:
    """300 ms where nothing else runs, and what Python's own decoder takes with this heap."""
    schema = SCHEMAS[name]
    for size in (50_000, 900_000, 2_000_000):
        assert min(seconds(text_of(shape, size), schema) for _ in range(2)) < 0.3 + 3 * plain


@pytest.mark.parametrize(
    "text",
    [
        "```" + " " * 1_500 + "x",
        '{"a":"' + '\\"' * 20_000,
        "{" + "/* " * 7_000,
        json.dumps(json.dumps({"x": "y" * 20_000})) + " " * 20_000,
        "<think>" * 3_000 + "{" * 20_000,
    ],
    ids=["fence", "quotes", "comments", "strings", "thoughts"],
)
def test_an_answer_that_once_stood_still_is_refused_within_the_blink_of_an_eye(text: str) -> None:
    assert min(seconds(text, SCHEMAS["a type"]) for _ in range(3)) < 0.05


def test_what_a_large_answer_says_is_still_read() -> None:
    numbers = list(range(130_000))
    for text in (json.dumps(numbers), f"Here it is:\n```json\n{json.dumps(numbers)[:-1]}]\n```"):
        assert 890_000 < len(text) < 1_000_000
        assert read_text(text, SCHEMAS["a list"]).value == numbers


def test_many_nulls_are_taken_away_in_a_time_that_grows_with_them() -> None:
    class Rows(BaseModel):
        rows: list[Lenient]

    schema = Schema.of(Rows)

    def taken(count: int) -> float:
        text = json.dumps({"rows": [{"x": None}] * count})
        begun = time.process_time()
        assert read_text(text, schema, strict=True).value.rows == [Lenient()] * count
        return time.process_time() - begun

    half, whole = (min(taken(n) for _ in range(3)) for n in (10_000, 20_000))
    assert whole < 3 * half
