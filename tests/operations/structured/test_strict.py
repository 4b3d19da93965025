"""Strict schemas: what is rewritten, what moves into words, and what cannot be said."""
# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

from typing import Any

import pytest

from llm_router.operations.structured.json_schema import accepts_null
from llm_router.operations.structured.strict import InexpressibleError, derive


def derived(part: Any, *, required: bool = True) -> Any:
    root = {"type": "object", "properties": {"x": part}, "required": ["x"] if required else []}
    return derive(root).schema["properties"]["x"]


@pytest.mark.parametrize(
    ("part", "strict"),
    [
        ({"type": "string", "maxLength": 5}, {"type": "string", "description": "(maxLength: 5)"}),
        (
            {"type": "string", "minLength": 1, "description": "A name"},
            {"type": "string", "description": "A name (minLength: 1)"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "uri"}, {"type": "string", "description": '(format: "uri")'}),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a"}),
        (
            {"type": "string", "pattern": "^(?=a)"},
            {"type": "string", "description": '(pattern: "^(?=a)")'},
        ),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 0}),
        (
            {"type": "number", "exclusiveMinimum": True, "minimum": 0},
            {"type": "number", "minimum": 0, "description": "(exclusiveMinimum: true)"},
        ),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": [1, None]}, {"type": ["integer", "null"], "enum": [1, None]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"title": "T", "type": "boolean", "x-own": 1}, {"type": "boolean"}),
        ({"allOf": [True, {"type": "string"}]}, {"type": "string"}),
        ({"enum": [1, None, "a"], "type": "integer"}, {"type": "integer", "enum": [1]}),
        ({"enum": ["a", "b"], "const": "b"}, {"type": "string", "enum": ["b"]}),
        ({"type": "string", "default": "a"}, {"type": "string"}),
        (
            {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "maxItems": 3},
            {
                "type": "array",
                "items": {"type": "integer"},
                "maxItems": 3,
                "description": "(uniqueItems: true)",
            },
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "integer"}},
            {
                "type": "array",
                "items": {"type": "integer"},
                "description": '(first items by position: [{"type": "integer"}], '
                'then {"type": "integer"})',
            },
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "string", "title": "S"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        (
            {"allOf": [{"type": "integer", "description": "a"}], "description": "b"},
            {"type": "integer", "description": "b a"},
        ),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}}], "properties": {"a": {"maxLength": 1}}},
            {
                "type": "object",
                "properties": {
                    "a": {"type": ["string", "null"], "description": "(maxLength: 1) (null means left out)"}
                },
                "required": ["a"],
                "additionalProperties": False,
            },
        ),
    ],
)  # fmt: skip
def test_a_part_is_rewritten_with_its_meaning_kept(part: Any, strict: Any) -> None:
    assert derived(part) == strict


@pytest.mark.parametrize(
    ("part", "strict"),
    [
        (
            {"type": "integer", "default": 5},
            {"type": ["integer", "null"], "description": "(null means the default, 5)"},
        ),
        (
            {"enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None], "description": "(null means left out)"},
        ),
        (
            {"type": "array", "items": {"type": "integer"}},
            {
                "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
                "description": "(null means left out)",
            },
        ),
        (
            {"properties": {"a": {"type": "null"}}},
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"a": {"type": "null"}},
                        "required": ["a"],
                        "additionalProperties": False,
                    },
                    {"type": "null"},
                ],
                "description": "(null means left out)",
            },
        ),
        (
            {"items": {"type": "integer"}},
            {
                "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
                "description": "(null means left out)",
            },
        ),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        ),
        (
            {"type": ["integer", "null"], "default": 1},
            {"type": ["integer", "null"], "description": "(default: 1)"},
        ),
    ],
)  # fmt: skip
def test_an_optional_property_becomes_nullable(part: Any, strict: Any) -> None:
    assert derived(part, required=False) == strict


def test_a_reference_stands_alone_when_words_were_beside_it() -> None:
    root = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/D", "description": "d"}, "y": {"$ref": "#/$defs/D"}},
        "$defs": {"D": {"type": "integer"}, "Unused": {"type": "string"}},
    }
    strict = derive(root).schema
    assert strict["properties"]["x"] == {
        "anyOf": [{"$ref": "#/$defs/D"}, {"type": "null"}],
        "description": "d (null means left out)",
    }
    assert strict["$defs"] == {"D": {"type": "integer"}}


def test_two_definitions_of_one_name_are_kept_apart() -> None:
    part = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/B/$defs/A"}},
    }
    root = {**part, "$defs": {"A": {"type": "integer"}, "B": {"$defs": {"A": {"type": "string"}}}}}
    assert derive(root).schema["$defs"] == {"A": {"type": "integer"}, "A_": {"type": "string"}}  # fmt: skip


OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (True, "anything or nothing"),
        ({"allOf": [False]}, "nothing is allowed"),
        ({"enum": ["a"], "type": "integer"}, "choice of objects"),
        ({}, "any type"),
        ({"type": "object"}, "any keys"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "not named beforehand"),
        ({**OBJECT, "additionalProperties": True}, "not named beforehand"),
        ({**OBJECT, "unevaluatedProperties": {"type": "integer"}}, "not named beforehand"),
        ({**OBJECT, "patternProperties": {"^a": {}}}, "patternProperties"),
        ({**OBJECT, "required": ["b"]}, "required keys"),
        ({"type": "array"}, "items of any type"),
        ({"type": "array", "items": [{"type": "integer"}]}, "items of any type"),
        ({"type": "array", "prefixItems": []}, "items of no type"),
        ({"enum": [{"a": 1}]}, "choice of objects"),
        ({"enum": [[1]]}, "choice of objects"),
        ({"anyOf": [{"type": "integer"}], "oneOf": [{"type": "integer"}]}, "anyOf beside oneOf"),
        ({"anyOf": [{"type": "integer"}, {}]}, "any type"),
        ({"allOf": [{"type": "integer"}, {"type": "string"}]}, "two different 'type'"),
        ({"allOf": [{**OBJECT, "additionalProperties": False}, {"properties": {"b": {}}}]}, "extended"),
        ({"allOf": [{"$ref": "#/properties/x"}]}, "contains itself"),
        ({"$ref": "#/$defs/nowhere"}, "unresolvable"),
        ({"$ref": "other.json"}, "unresolvable"),
        ({"type": "integer", "if": {}, "then": {}}, "'if'"),
    ],
)  # fmt: skip
def test_what_strict_mode_cannot_say_is_refused_with_the_reason(part: Any, why: str) -> None:
    with pytest.raises(InexpressibleError, match=why):
        derived(part)


def test_a_schema_beyond_the_limits_is_refused() -> None:
    with pytest.raises(InexpressibleError, match="more properties or enum values"):
        derived({"enum": list(range(1001))})
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(11):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(InexpressibleError, match="inside each other"):
        derived(deep)


def test_a_recursion_ends_where_its_optional_part_names_no_type() -> None:
    node = {
        "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/n"}},
        "required": ["v"],
    }
    root = {"type": "object", "properties": {"first": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    strict = derive(root)
    assert strict.adds_nulls
    ends = {
        "anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}],
        "description": "(null means left out)",
    }
    assert strict.schema["properties"]["first"] == ends
    assert strict.schema["$defs"]["n"]["properties"]["next"] == ends


def test_what_stands_beside_a_reference_at_the_root_is_kept() -> None:
    root = {
        "$ref": "#/$defs/A",
        "properties": {"b": {"type": "string"}},
        "allOf": [{"$ref": "#/$defs/A", "description": "Both"}],
        "required": ["b"],
        "$defs": {
            "A": {"$ref": "#/$defs/B", "required": ["a"]},
            "B": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
    }
    strict = derive(root).schema
    assert strict["properties"] == {"a": {"type": "integer"}, "b": {"type": "string"}}
    assert strict["required"] == ["a", "b"]
    assert strict["description"] == "Both"


def test_a_root_that_is_not_one_object_is_refused() -> None:
    with pytest.raises(InexpressibleError, match="not one object"):
        derive({"type": "integer"})


@pytest.mark.parametrize(
    ("schema", "null"),
    [
        ({}, True), (True, True), (False, False), ({"type": "null"}, True), ({"type": "string"}, False),
        ({"enum": [1, None]}, True), ({"const": None}, True), ({"const": 1}, False),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, True), ({"$ref": "#/$defs/a"}, True),
        ({"allOf": [{}, {"type": "string"}]}, False), ({"type": ["a", "null"]}, True),
        ({"$ref": "#/$defs/a", "type": "string"}, False), ({"allOf": [False]}, False),
        ({"properties": {}}, False), ({"items": {}}, False), ({"enum": [None], "const": 1}, False),
        ({"anyOf": [{}], "oneOf": [{"type": "string"}]}, False),
    ],
)  # fmt: skip
def test_whether_null_fits(schema: Any, null: bool) -> None:
    assert accepts_null(schema, {"$defs": {"a": {"type": "null"}}}) is null
