"""JSON Schemas that the caller wrote: what is served of them, and whether an answer fits."""
# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from llm_router.operations.structured.schema import MismatchError, Schema

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def nested(word: str, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {word: schema}
    return schema


CIRCLE: dict[str, Any] = {}
CIRCLE["not"] = CIRCLE


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#/a", "a": {"$ref": "#/a"}}, "leads back to where it stands"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "leads back to where it stands"),
        ({"$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}}, "leads back to where it stands"),
        ({"$ref": "#/properties", "properties": {"type": {}}}, "leads to what is no schema"),
        ({"$ref": "#/required", "required": ["a"]}, "leads to what is no schema"),
        ({"$ref": "#/x-parts/a", "x-parts": {"a": {"type": "objekt"}}}, "not a valid JSON Schema"),
        ({"$schema": DRAFT_4, "$ref": 5}, "\\$ref 5 is not in this schema"),
        ({"$schema": DRAFT_4, "patternProperties": {"(": {}}}, "is not a 'regex'"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "draft 3 is not served"),
        ({"$schema": 7}, "\\$schema is a URI, not 7"),
        (nested("not", 3_000), "not JSON data"),
        (nested("not", 500), "nested too deeply"),
        (CIRCLE, "not JSON data: Circular"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_a_value_error_before_anything_is_sent(
    schema: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Schema.of(schema)


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ({"properties": {"a": {"$ref": "#/$defs/t"}}, "$defs": {"t": True}}, {"a": 1}, None),
        ({"properties": {"a": {"$ref": "#/$defs/f"}}, "$defs": {"f": False}}, {}, {"a": 1}),
        ({"allOf": [True, {"required": ["a"]}]}, {"a": 1}, {}),
        ({"allOf": [False]}, None, {}),
        ({"properties": {"a": {"enum": [{"$ref": "#/no"}]}}}, {"a": {"$ref": "#/no"}}, {"a": 1}),
        ({"properties": {"$ref": {"type": "integer"}}}, {"$ref": 1}, {"$ref": "#"}),
        ({"properties": {"$id": {"type": "integer"}}}, {"$id": 1}, {"$id": "x"}),
        (
            {"allOf": [{"$ref": "#/components/schemas/A"}],
             "components": {"schemas": {"A": {"required": ["a"]}}}},
            {"a": 1}, {},
        ),
        ({"properties": {"a": {"$id": "https://example.com/a", "type": "null"}}}, {"a": None}, {"a": 1}),
        ({"properties": {"a": {"properties": {"a": {"$ref": "#"}}}}}, {"a": {"a": {}}}, {"a": {"a": 1}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_unusual_schema_is_served(schema: Any, fits: Any, fails: Any, wrapped: bool) -> None:
    if not wrapped:
        schema = {"type": "object", **schema}
    served = Schema.of({"title": "T", **schema, "type": ["object"] if wrapped else "object"})
    assert served.wrapped is wrapped
    for data in (fits, fails):
        if data is None:
            continue
        text = json.dumps({"value": data} if wrapped else data)
        if data is fits:
            assert served.validate(text) == data
        else:
            with pytest.raises(MismatchError):
                served.validate(text)
    assert served.strict or served.why_not_strict


def test_what_stands_beside_a_reference_counts_since_draft_2019() -> None:
    beside = {"$ref": "#/definitions/s", "maxLength": 1}
    schema = {
        "type": "object",
        "properties": {"a": beside},
        "definitions": {"s": {"type": "string"}},
    }
    said = {"a": "long"}
    assert Schema.of({"$schema": DRAFT_7, **schema}).validate(json.dumps(said)) == said
    with pytest.raises(MismatchError, match="a: 'long' is too long"):
        Schema.of(schema).validate(json.dumps(said))


@pytest.mark.parametrize(
    ("name", "fits", "fails"),
    [
        ("date-time", "2026-01-02T03:04:05.678Z 2026-01-02t03:04:05-08:30 2016-12-31T23:59:60Z",
         "soon 2026-01-02 2026-02-30T00:00:00Z 2026-01-02T03:04:05 2026-01-02T24:00:00Z"),
        ("time", "03:04:05Z 03:04:05.6+01:00 23:59:60Z", "03:04 03:04:05 25:00:00Z 03:04:05+1"),
        ("duration", "P1Y2M3D P4W PT1H30M PT5S P1DT2H", "1D P PT P1W2D P1S PT1H5"),
        ("hostname", f"example.com a-b.c {'a' * 63}", f"-a.b a_b a..b {'a' * 64} {'a.' * 127}a"),
        ("date", "2026-01-02", "2026-1-2 2026-02-30"),
        ("email", "ada@example.com", "ada"),
        ("uuid", "12345678-1234-5678-1234-567812345678", "12345678"),
        ("ipv4", "127.0.0.1", "127.0.0 256.0.0.1"),
        ("ipv6", "::1", "1 :::"),
        ("uri", "no-uri-at-all", ""),
    ],
)  # fmt: skip
def test_every_format_that_is_sent_is_checked(name: str, fits: str, fails: str) -> None:
    schema = Schema.of({"type": "object", "properties": {"s": {"type": "string", "format": name}}})
    for text in fits.split():
        assert schema.validate(json.dumps({"s": text})) == {"s": text}
    for text in fails.split():
        with pytest.raises(MismatchError, match=f"is not a '{name}'"):
            schema.validate(json.dumps({"s": text}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"n": 1' + "0" * 400 + ".25}", "more than a float can hold"),
        ('{"n": 1e400}', "more than a float can hold"),
        ('{"a":' * 400 + "{}" + "}" * 400, "nested too deeply"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_an_answer_that_no_validator_can_take_is_a_mismatch(text: str, problem: str) -> None:
    properties = {"n": {"multipleOf": 0.5}, "a": {"$ref": "#"}}
    with pytest.raises(MismatchError, match=problem):
        Schema.of({"type": "object", "properties": properties}).validate(text)


UNIQUE = {"type": "object", "properties": {"v": {"uniqueItems": True}}}


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True, "1", [1], {"a": 1}, None, 0, False, [], {}], True),
        ([1, 1.0], False),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ([[1], [True]], True),
        ([[{"a": []}], [{"a": {}}]], True),
        (["ab", ["a", "b"]], True),
    ],
)
def test_items_are_equal_as_json_has_it(items: list[Any], unique: bool) -> None:
    schema, text = Schema.of(UNIQUE), json.dumps({"v": items})
    if unique:
        assert schema.validate(text) == {"v": items}
    else:
        with pytest.raises(MismatchError, match="v: .* has non-unique elements"):
            schema.validate(text)


def test_many_objects_are_told_apart_in_no_time() -> None:
    text = json.dumps({"v": [{"a": n, "b": [str(n)]} for n in range(20_000)]})
    begun = time.process_time()
    assert len(Schema.of(UNIQUE).validate(text)["v"]) == 20_000
    assert time.process_time() - begun < 1
