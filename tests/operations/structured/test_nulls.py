"""Nulls that stand for "left out" are taken away by the schema of the branch that was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_router.operations.structured.nulls import without_placeholders
from llm_router.operations.structured.strict import InexpressibleError, derive


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
