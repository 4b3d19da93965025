"""Nulls that stand for "left out" are taken away, and no others."""
# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_router.operations.structured.nulls import without_placeholders
from llm_router.operations.structured.strict import InexpressibleError, derive

INTEGER: dict[str, Any] = {"type": "integer"}
WORD: dict[str, Any] = {"type": "string"}
ROW = {"properties": {"a": INTEGER, "b": INTEGER}, "required": ["a"]}
CAT = {"properties": {"kind": {"const": "cat"}, "lives": INTEGER}, "required": ["kind"]}
DOG = {"properties": {"kind": {"const": "dog"}, "lives": {"type": ["null", "integer"]}}}
OTHER_ROW = {"properties": {"a": WORD, "c": INTEGER}, "required": ["a"]}
LISTS = [
    {"properties": {"rows": {"items": ROW}}},
    {"properties": {"rows": {"items": {**OTHER_ROW, "additionalProperties": False}}}},
]
BESIDE = {
    "properties": {"p": {"$ref": "#/$defs/P", "properties": {"zip": WORD}, "required": ["city"]}},
    "$defs": {"P": {"properties": {"city": WORD, "street": WORD}}},
}


@pytest.mark.parametrize(
    ("schema", "said", "kept"),
    [
        (ROW, {"a": 1, "b": None}, {"a": 1}),
        (ROW, {"a": None, "b": 1}, None),
        (ROW, {"a": 1, "c": None}, None),
        ({"properties": {"a": {}, "b": {"type": ["integer", "null"]}}}, {"a": None, "b": None}, None),
        ({"items": ROW}, [{"a": 1, "b": None}, None], [{"a": 1}, None]),
        ({"prefixItems": [ROW], "items": {}}, [{"a": 1, "b": None}] * 2, [{"a": 1}, {"a": 1, "b": None}]),
        ({"items": [ROW]}, [{"a": 1, "b": None}] * 2, [{"a": 1}, {"a": 1, "b": None}]),
        ({"additionalProperties": ROW}, {"x": {"a": 1, "b": None}}, {"x": {"a": 1}}),
        ({"allOf": [True, ROW, {"properties": {"c": WORD}}]}, {"a": 1, "b": None, "c": None}, {"a": 1}),
        ({"allOf": [ROW, {"required": ["b"]}]}, {"a": 1, "b": None}, None),
        (BESIDE, {"p": {"zip": None, "street": None, "city": "x"}}, {"p": {"city": "x"}}),
        (BESIDE, {"p": {"zip": "1", "street": "x", "city": None}}, None),
        # Of a union, the branch that was written.
        ({"anyOf": [CAT, DOG]}, {"kind": "cat", "lives": None}, {"kind": "cat"}),
        ({"anyOf": [CAT, DOG]}, {"kind": "dog", "lives": None}, None),
        ({"oneOf": [ROW, OTHER_ROW]}, {"a": "x", "c": None}, {"a": "x"}),
        ({"anyOf": [{"items": ROW}, ROW]}, {"a": 1, "b": None}, {"a": 1}),
        ({"anyOf": [ROW, {"type": "array", "items": ROW}]}, [{"a": 1, "b": None}], [{"a": 1}]),
        ({"anyOf": LISTS}, {"rows": [{"a": "x", "c": None}]}, {"rows": [{"a": "x"}]}),
        ({"anyOf": LISTS[::-1]}, {"rows": [{"a": 1, "b": None}]}, {"rows": [{"a": 1}]}),
        (
            {"anyOf": [
                {"properties": {"a": WORD, "b": INTEGER}},
                {"properties": {"a": INTEGER, "b": {}, "c": INTEGER, "d": INTEGER}},
            ]},
            {"a": 1, "b": None}, None,
        ),
        (
            {"anyOf": [
                {"properties": {"k": {"enum": [0.2]}, "b": {}}},
                {"properties": {"k": {"const": 0.1}, "b": INTEGER}},
            ]},
            {"k": 0.1, "b": None}, {"k": 0.1},
        ),
        (
            {"properties": {"mail": WORD, "phone": WORD},
             "anyOf": [{"required": ["mail"]}, {"required": ["phone"]}]},
            {"mail": None, "phone": "1"}, {"phone": "1"},
        ),
        ({"anyOf": [{"type": "null"}, {"properties": {"rows": {"items": ROW}}}]},
         {"rows": [{"a": 7, "b": None}]}, {"rows": [{"a": 7}]}),
    ],
)  # fmt: skip
def test_a_null_is_taken_away_where_its_branch_has_it_left_out(
    schema: Any, said: Any, kept: Any
) -> None:
    pruned = without_placeholders(json.dumps(said), schema)
    assert (None if pruned is None else json.loads(pruned)) == kept


def test_a_recursive_choice_is_read_in_a_time_that_grows_with_the_text() -> None:
    node = {"properties": {"k": {"const": "n"}, "l": {"$ref": "#/$defs/N"}, "v": INTEGER}}
    leaf = {"properties": {"k": {"const": "l"}, "l": {"$ref": "#/$defs/N"}, "w": INTEGER}}
    schema = {"$ref": "#/$defs/N", "$defs": {"N": {"anyOf": [node, leaf]}}}
    text = '{"k": "l", "v": null, "l": ' * 60 + "null" + "}" * 60
    assert without_placeholders(text, schema) is not None


def test_nothing_is_taken_away_where_too_many_branches_would_have_to_be_tried() -> None:
    schema = {
        "allOf": [{"anyOf": [{"required": [name]} for name in "xyz"]} for _ in range(12)],
        **ROW,
    }
    assert without_placeholders('{"a": 1, "b": null}', schema) is None


def test_every_digit_is_kept() -> None:
    text = '{"a": 0.10000000000000000000000000000001, "b": null}'
    assert without_placeholders(text, ROW) == '{"a":0.10000000000000000000000000000001}'


@pytest.mark.parametrize("text", ["", "nul", '{"a": nul}', "[" * 100_000, '{"a": 1}'])
def test_there_is_nothing_to_take_away_from_what_is_no_json_or_has_no_null(text: str) -> None:
    assert without_placeholders(text, ROW) is None


def branch(kind: str, x: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    properties = {"kind": {"const": kind}, "x": x, **more}
    return {"type": "object", "properties": properties, "required": ["kind", *required]}


NUMBER, NULLABLE = {"type": "integer"}, {"type": ["integer", "null"]}
UNION = {"anyOf": [branch("a", NUMBER), branch("b", NULLABLE)]}


def read(data: Any, schema: dict[str, Any]) -> Any:
    kept = without_placeholders(json.dumps(data), schema)
    return data if kept is None else json.loads(kept)


@pytest.mark.parametrize("union", [UNION, {"anyOf": UNION["anyOf"][::-1]}])
def test_a_fixed_value_says_which_branch_is_meant_wherever_it_stands(union: Any) -> None:
    assert read({"kind": "a", "x": None}, union) == {"kind": "a"}
    assert read({"kind": "b", "x": None}, union) == {"kind": "b", "x": None}


@pytest.mark.parametrize("turned", [False, True])
def test_the_branch_with_the_very_keys_is_meant_when_no_value_is_fixed(turned: bool) -> None:
    small = {"type": "object", "properties": {"x": NULLABLE, "y": NUMBER}}
    large = {"type": "object", "properties": {"x": NUMBER, "y": NUMBER, "z": NUMBER}}
    branches = [large, small] if turned else [small, large]
    assert read({"x": None, "y": 1}, {"anyOf": branches}) == {"x": None, "y": 1}
    assert read({"x": None, "y": 1, "z": 2}, {"anyOf": branches}) == {"y": 1, "z": 2}


@pytest.mark.parametrize("turned", [False, True])
def test_a_list_is_read_by_the_branch_that_has_items(turned: bool) -> None:
    item = {"type": "object", "properties": {"x": NUMBER}}
    listed, single = {"type": "array", "items": item}, branch("a", NULLABLE)
    branches = [single, listed] if turned else [listed, single]
    assert read([{"x": None}], {"anyOf": branches}) == [{}]


def nested(objects: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(objects):
        schema = {"type": "object", "properties": {"inner": schema}, "required": ["inner"]}
    return schema


def test_ten_objects_inside_each_other_are_the_most_that_strict_mode_takes() -> None:
    assert derive(nested(10)).schema["type"] == "object"
    with pytest.raises(InexpressibleError, match="more than 10 objects inside each other"):
        derive(nested(11))
