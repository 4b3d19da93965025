"""Each keyword of JSON Schema, draft 7 and 2020-12: what it accepts and what it does not.

The cases are the project's own, from the rules of the drafts; where the second validator is
installed it must agree with each of them.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from llm_router.operations.structured.reading import read_text
from llm_router.operations.structured.schema import MismatchError, Schema
from tests.operations.structured.generated import DRAFT_7, DRAFT_2020

BOTH, OLD, NEW = (DRAFT_7, DRAFT_2020), (DRAFT_7,), (DRAFT_2020,)
HAS_JUDGE = importlib.util.find_spec("jsonschema_rs") is not None
Case = tuple[Any, list[Any], list[Any]]

# By the drafts: the schema, what fits it, what does not.
CASES: dict[tuple[str, ...], list[Case]] = {
    BOTH: [
        (True, [None, 1, "x", {}, []], []),
        (False, [], [None, 1, "x", {}, []]),
        ({}, [None, 0, [[]], {"a": 1}], []),
        ({"type": "null"}, [None], [0, "", False, [], {}]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "integer"}, [0, -3, 10**30, 1.0], [1.5, "1", True, None]),
        ({"type": "number"}, [0, 1.5, -2, 1e300], ["1", True, None, [1]]),
        ({"type": "string"}, ["", "x", "1"], [1, None, ["x"], True]),
        ({"type": "array"}, [[], [1, "x"]], [{}, "[]", None]),
        ({"type": "object"}, [{}, {"a": 1}], [[], "{}", None]),
        ({"type": ["string", "null"]}, ["x", None], [1, [], False]),
        ({"enum": [1, "1", None, [1], {"a": 1}]}, [1, 1.0, "1", None, [1], {"a": 1}],
         [True, 2, [], [1, 1], {"a": 2}, {}]),
        ({"enum": [True]}, [True], [1, "true"]),
        ({"enum": [0]}, [0, 0.0], [False, None, ""]),
        ({"const": {"a": [1]}}, [{"a": [1]}, {"a": [1.0]}], [{"a": [True]}, {"a": 1}, {}]),
        ({"const": None}, [None], [0, False, ""]),
        ({"const": False}, [False], [0, None]),
        ({"multipleOf": 3}, [0, 3, -6, 9.0, "x"], [1, 4.5]),
        ({"multipleOf": 0.1}, [0.3, 1.1, 2], [0.35, 0.05]),
        ({"multipleOf": 0.5}, [10**400], [0.25]),
        ({"multipleOf": 0.01}, [19.99, 4.35, 0.07], [0.075]),
        ({"minimum": 2}, [2, 2.0, 3.5, "1", None], [1.99, -5]),
        ({"maximum": 2}, [2, -10, [5]], [2.01, 3]),
        ({"exclusiveMinimum": 2}, [2.01, 3, "1"], [2, 2.0, 1]),
        ({"exclusiveMaximum": 2}, [1.99, 1, {}], [2, 2.0, 5]),
        ({"minLength": 2}, ["ab", "é🎈", 5, None], ["", "a", "🎈"]),
        ({"maxLength": 2}, ["", "ab", "🎈🎈", 12345], ["abc", "🎈🎈🎈"]),
        ({"pattern": "^a+$"}, ["a", "aaa", 5], ["", "b", "ab"]),
        ({"pattern": "b"}, ["abc", "b"], ["ac", ""]),
        ({"items": {"type": "integer"}}, [[], [1, 2], {"a": "x"}, "x"], [["x"], [1, None]]),
        ({"items": False}, [[], 5], [[1]]),
        ({"minItems": 1}, [[1], [1, 2], "", {}], [[]]),
        ({"maxItems": 1}, [[], [1], "ab"], [[1, 2]]),
        ({"uniqueItems": True}, [[], [1, 2], [1, "1"], [1, True], [0, False], [{"a": 1}, {"a": 2}]],
         [[1, 1], [1, 1.0], [[1], [1]], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [None, None]]),
        ({"uniqueItems": False}, [[1, 1]], []),
        ({"contains": {"type": "integer"}}, [[1], ["x", 1], "x"], [[], ["x"]]),
        ({"properties": {"a": {"type": "integer"}}}, [{}, {"a": 1}, {"b": "x"}, [], "a"],
         [{"a": "x"}, {"a": []}]),
        ({"properties": {"a": False}}, [{}, {"b": 1}], [{"a": 1}]),
        ({"required": ["a", "b"]}, [{"a": 1, "b": None}, [], "x"], [{}, {"a": 1}]),
        ({"additionalProperties": False, "properties": {"a": {}}}, [{}, {"a": 1}], [{"b": 1}]),
        ({"additionalProperties": {"type": "null"}}, [{}, {"a": None}], [{"a": 1}]),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, [{"n_a": 1}, {"x": "y"}],
         [{"n_a": "x"}]),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, [{"n_a": 1}],
         [{"x": 1}]),
        ({"minProperties": 1}, [{"a": 1}, []], [{}]),
        ({"maxProperties": 1}, [{}, {"a": 1}], [{"a": 1, "b": 2}]),
        ({"propertyNames": {"maxLength": 1}}, [{}, {"a": 1}, 5], [{"ab": 1}]),
        ({"propertyNames": False}, [{}], [{"a": 1}]),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [1, 3, "x"], [0, 4]),
        ({"allOf": [True, {"type": "string"}]}, ["x"], [1]),
        ({"allOf": [False]}, [], [1, None]),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["x", 3, None], [1]),
        ({"anyOf": [False, {"const": 1}]}, [1], [2]),
        ({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}, [2, 3, 4], [6, 0, 5]),
        ({"oneOf": [True, True]}, [], [1]),
        ({"not": {"type": "string"}}, [1, None], ["x"]),
        ({"not": {}}, [], [1]),
        ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "null"}},
         ["ab", None], ["a", 1]),
        ({"if": {"type": "string"}}, ["a", 1], []),
        ({"then": False}, [1], []),
        ({"$ref": "#/$defs/small"}, [1, 2], [3, "x"]),
        ({"properties": {"next": {"$ref": "#/$defs/node"}}}, [{"next": {"next": {}}}, {}],
         [{"next": 5}, {"next": {"next": 5}}]),
        ({"properties": {"$ref": {"type": "string"}}}, [{"$ref": "a"}], [{"$ref": 1}]),
        ({"format": "date", "type": "string"}, ["2024-02-29"], ["2023-02-29", "soon"]),
        ({"format": "ipv4"}, ["192.0.2.1", 5], ["256.0.0.1", "1.2.3"]),
        ({"format": "unheard-of"}, ["x", 5], []),
        ({"description": "d", "title": "t", "default": 5, "examples": [1]}, [None, "x"], []),
    ],
    OLD: [
        ({"items": [{"type": "integer"}, {"type": "string"}]}, [[], [1], [1, "x", None]],
         [["x"], [1, 2]]),
        ({"items": [{"type": "integer"}], "additionalItems": {"type": "null"}},
         [[1], [1, None]], [[1, 2], ["x"]]),
        ({"items": [{}], "additionalItems": False}, [[], [1]], [[1, 2]]),
        ({"items": {}, "additionalItems": False}, [[1, 2]], []),
        ({"dependencies": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 2}], [{"a": 1}]),
        ({"dependencies": {"a": {"required": ["b"]}}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({"$ref": "#/$defs/small", "maximum": 1}, [1, 2], [3]),
        ({"minContains": 2, "contains": {"const": 1}}, [[1]], [[]]),
    ],
    NEW: [
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}]}, [[], [1], [1, "x", None]],
         [["x"], [1, 2]]),
        ({"prefixItems": [{}], "items": False}, [[], [1]], [[1, 2]]),
        ({"prefixItems": [{"type": "integer"}], "items": {"type": "null"}}, [[1, None]],
         [[1, 2]]),
        ({"contains": {"const": 1}, "minContains": 2}, [[1, 1], [1, 2, 1]], [[1], []]),
        ({"contains": {"const": 1}, "maxContains": 1}, [[1], [1, 2]], [[1, 1], [2]]),
        ({"contains": {"const": 1}, "minContains": 0}, [[], [2]], []),
        ({"dependentRequired": {"a": ["b"]}}, [{}, {"b": 1}, {"a": 1, "b": 2}], [{"a": 1}]),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{"b": 1}, {"a": 1, "b": 1}],
         [{"a": 1}]),
        ({"$ref": "#/$defs/small", "maximum": 1}, [1], [2, 3]),
        ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": {}}}]}, [{}, {"a": 1}],
         [{"b": 1}]),
        ({"unevaluatedProperties": {"type": "null"}, "properties": {"a": {}}},
         [{"a": 1}, {"a": 1, "b": None}], [{"b": 1}]),
        ({"unevaluatedItems": False, "prefixItems": [{}]}, [[], [1]], [[1, 2]]),
        ({"unevaluatedItems": False, "contains": {"const": 1}}, [[1, 1]], [[1, 2]]),
    ],
}  # fmt: skip
FLAT = [
    (draft, schema, fits, fails)
    for drafts, cases in CASES.items()
    for draft in drafts
    for schema, fits, fails in cases
]


@pytest.mark.parametrize(
    ("draft", "schema", "fits", "fails"),
    FLAT,
    ids=[
        f"{'7' if draft == DRAFT_7 else '2020'} {json.dumps(schema)}" for draft, schema, *_ in FLAT
    ],
)
def test_a_keyword_takes_what_its_draft_says_and_nothing_else(
    draft: str, schema: Any, fits: list[Any], fails: list[Any]
) -> None:
    document = {
        "$schema": draft,
        "type": "object",
        "properties": {"it": schema},
        "required": ["it"],
        "$defs": {
            "small": {"type": "integer", "maximum": 2},
            "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}},
        },
    }
    served = Schema.of(document)
    for it, right in [*((it, True) for it in fits), *((it, False) for it in fails)]:
        try:
            read_text(json.dumps({"it": it}), served)
        except MismatchError:
            assert not right, it
        else:
            assert right, it
        assert not HAS_JUDGE or is_valid(document, {"it": it}) is right, it


def is_valid(document: Any, data: Any) -> bool:
    judge = pytest.importorskip("jsonschema_rs")
    return bool(judge.validator_for(document, validate_formats=True).is_valid(data))
