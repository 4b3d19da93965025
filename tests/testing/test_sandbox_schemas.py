"""The sandbox's instances are valid for the schemas they were made from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llm_router.testing.schema_instances import NoInstanceError, find_schema, instance

TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "next"],
            "additionalProperties": False,
        }
    },
}
PET = {
    "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
    "discriminator": {"propertyName": "kind"},
    "$defs": {
        "Cat": {
            "type": "object",
            "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer", "maximum": 9}},
            "required": ["kind", "lives"],
        },
        "Dog": {
            "type": "object",
            "properties": {"kind": {"const": "dog"}},
            "required": ["kind"],
        },
    },
}
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "string"},
    {"type": "string", "minLength": 9},
    {"type": "string", "maxLength": 2},
    {"type": "string", "maxLength": 0},
    {"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"},
    {"type": "string", "pattern": r"^(foo|bar)+\s[^a-z]?\w*.x{2,}$"},
    {"type": "string", "pattern": r"^a+$", "minLength": 5, "maxLength": 6},
    {"type": "string", "pattern": r"^[^x]y[^y]$"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "email"},
    {"type": "string", "format": "uuid"},
    {"type": "integer", "minimum": 7},
    {"type": "integer", "exclusiveMinimum": 7},
    {"type": "integer", "maximum": -3},
    {"type": "integer", "exclusiveMaximum": -3},
    {"type": "integer", "minimum": 10, "multipleOf": 7},
    {"type": "integer", "minimum": 2, "maximum": 2},
    {"type": "number", "minimum": 0.25, "exclusiveMaximum": 0.5},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.3},
    {"type": "number", "multipleOf": 0.25, "minimum": 0.3},
    {"type": "number", "exclusiveMinimum": 3, "minimum": 1},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["null", "string"]},
    {"type": ["null"]},
    {"enum": ["b", "a"]},
    {"const": {"x": 1}},
    {"minimum": 3},
    {"items": {"type": "integer"}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    {"type": "object", "required": ["free"]},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]},
    {"type": "object", "properties": {"a": False, "b": True}},
    {"anyOf": [{"enum": []}, {"type": "integer"}]},
    {"anyOf": [False, True]},
    {"allOf": [True, {"type": "integer"}]},
    {"$ref": "#/$defs/any", "$defs": {"any": True}},
    {"oneOf": [{"type": "number"}, {"type": "string"}]},
    {"oneOf": [{"type": "integer"}, {"minimum": 5}, {"type": "string"}]},
    {"allOf": [{"type": "number", "minimum": 3}, {"type": "integer", "minimum": 5}]},
    {"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]},
    {
        "allOf": [
            {"properties": {"a": {"type": "string"}, "c": {"minimum": 2}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}, "c": {"maximum": 4}}, "required": ["b", "c"]},
        ]
    },
    {"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 0}]},
    {"$defs": {"a/b": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/a~1b"}}},
    {"properties": {"again": {"$ref": "#"}}, "type": "object"},
    TREE,
    PET,
    {"type": "object", "properties": {"pet": {"$ref": "#/$defs/P"}}, "$defs": {"P": {"enum": [1]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_the_instance_is_valid_for_the_schema(schema: dict[str, Any]) -> None:
    made = instance(schema)

    Draft202012Validator(schema).validate(made)
    assert instance(schema) == made


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("A name (minLength: 10; maxLength: 12)", {"minLength": 10, "maxLength": 12}),
        ('(format: "uri") (null means left out)', {"format": "uri"}),
        ('(pattern: "^(?!x)[a-z]{3}$")', {"pattern": "^[a-z]{3}$"}),
        ("Remember: pattern: any; format: {broken", {}),
    ],
)
def test_keywords_are_read_in_a_description_when_strict_mode_has_none(
    told: str, meant: dict[str, Any]
) -> None:
    made = instance({"type": "string", "description": told})

    Draft202012Validator({"type": "string", **meant}).validate(made)
    assert made == instance({"type": "string", **meant})


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"allOf": [False]},
        {"$ref": "#/$defs/none", "$defs": {"none": False}},
        {"enum": []},
        {"$ref": "#"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "^(?!a)a$"},
        {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"more": {"$ref": "#"}},
            "required": ["more"],
        },
    ],
    ids=str,
)
def test_a_schema_without_an_instance_says_so(schema: Any) -> None:
    with pytest.raises(NoInstanceError):
        instance(schema)


def _grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    objects = properties.map(
        lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)[:1]}
    )
    arrays = st.tuples(inner, st.integers(0, 3)).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
    return objects | arrays | unions


_leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "boolean"}),
    st.integers(-50, 50).map(lambda low: {"type": "integer", "minimum": low}),
    st.integers(-50, 50).map(lambda high: {"type": "number", "exclusiveMaximum": high}),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
        lambda ends: {"type": "string", "minLength": min(ends), "maxLength": max(ends)}
    ),
    st.lists(st.text(max_size=3), min_size=1, max_size=3).map(lambda values: {"enum": values}),
)


@settings(max_examples=200, deadline=None)
@given(st.recursive(_leaves, _grown, max_leaves=8))
def test_random_schemas_have_valid_instances(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(instance(schema))


def test_a_schema_is_found_in_a_prompt() -> None:
    text = 'Answer {like this} as {"type": "object", "properties": {"a": {"type": "null"}}}, please'

    assert find_schema(text) == {"type": "object", "properties": {"a": {"type": "null"}}}


@pytest.mark.parametrize("text", ["no schema", '{"type": "note"}', '{"type": '])
def test_text_without_a_schema_has_none(text: str) -> None:
    assert find_schema(text) is None
