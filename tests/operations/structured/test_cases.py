"""Every schema of the table, in every mode: what is sent, and that the instance comes back."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from llm_router.errors import ConfigurationError
from llm_router.operations.structured.modes import LADDER, Capabilities, ModeMemory
from llm_router.operations.structured.parsing import Parse
from llm_router.operations.structured.schema import Schema
from llm_router.options.values import StructuredMode
from tests.operations.structured.cases import CASES, Case
from tests.operations.structured.helpers import DEPLOYMENT, calls, in_strict_form, request, says

ALLOWED = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref",
    "$defs", "description", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
}  # fmt: skip
STRICT = [case for case in CASES if case.strict]


def expected(case: Case) -> Any:
    if isinstance(case.schema, dict):
        return json.loads(case.text)
    if case.schema is Decimal:
        return Decimal(case.text)
    return TypeAdapter(case.schema).validate_json(case.text)


def wrap(schema: Schema[Any], text: str) -> str:
    return f'{{"value":{text}}}' if schema.wrapped else text


def as_strict(schema: Schema[Any], case: Case) -> str:
    if case.schema is Decimal:
        return wrap(schema, case.text)
    shown = schema.json_schema
    return json.dumps(in_strict_form(json.loads(wrap(schema, case.text)), shown, shown))


def parse_in(mode: StructuredMode, schema: Schema[Any]) -> Parse[Any]:
    known = Capabilities()
    return Parse(schema, mode=mode, memory=ModeMemory(), capabilities=lambda _: known)


def test_the_table_is_long_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("mode", LADDER)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_instance_comes_back_in_every_mode(case: Case, mode: StructuredMode) -> None:
    schema = Schema.of(case.schema)
    parse = parse_in(mode, schema)
    if mode == "json_schema" and not case.strict:
        with pytest.raises(ConfigurationError, match="no strict form"):
            parse.prepare(request())
        return
    parse.prepare(request())
    text = as_strict(schema, case) if mode == "json_schema" else wrap(schema, case.text)
    answer = calls(schema.name, text) if mode == "tool" else says(text)
    reading = parse.read(answer, DEPLOYMENT)
    assert reading.value == expected(case)
    assert reading.repairs == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bare_instance_is_read_in_every_mode(case: Case) -> None:
    schema = Schema.of(case.schema)
    for mode in LADDER if case.strict else LADDER[1:]:
        parse = parse_in(mode, schema)
        parse.prepare(request())
        assert parse.read(says(case.text), DEPLOYMENT).value == expected(case)


@pytest.mark.parametrize("case", STRICT, ids=lambda case: case.name)
def test_the_strict_schema_accepts_the_instance(case: Case) -> None:
    schema = Schema.of(case.schema)
    assert schema.strict is not None, schema.why_not_strict
    Draft202012Validator.check_schema(schema.strict)
    Draft202012Validator(schema.strict).validate(json.loads(as_strict(schema, case)))


@pytest.mark.parametrize("case", STRICT, ids=lambda case: case.name)
def test_a_strict_schema_obeys_the_rules_of_strict_mode(case: Case) -> None:
    strict = Schema.of(case.schema).strict
    assert strict is not None
    assert strict["type"] == "object"
    check_rules(strict)
    for definition in strict.get("$defs", {}).values():
        check_rules(definition)
        assert "$defs" not in definition


def check_rules(node: dict[str, Any]) -> None:
    assert node.keys() <= ALLOWED
    if "$ref" in node:
        assert node.keys() == {"$ref"}
        return
    assert ("type" in node) != ("anyOf" in node)
    if node.get("type") == "object":
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    if node.get("type") == "array":
        check_rules(node["items"])
    for part in (*node.get("properties", {}).values(), *node.get("anyOf", ())):
        check_rules(part)


@pytest.mark.parametrize("case", [c for c in CASES if not c.strict], ids=lambda case: case.name)
def test_a_schema_without_strict_form_steps_down_and_says_why(case: Case) -> None:
    schema = Schema.of(case.schema)
    assert schema.strict is None
    assert schema.why_not_strict
    parse = Parse(schema, memory=ModeMemory(), capabilities=lambda _: Capabilities())
    assert parse.mode_for(DEPLOYMENT) == "tool"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_model_is_always_shown_an_object(case: Case) -> None:
    schema = Schema.of(case.schema)
    shown = schema.json_schema
    target = shown
    if "$ref" in shown:
        target = shown["$defs"][shown["$ref"].rpartition("/")[2]]
    assert target["type"] == "object"
    Draft202012Validator.check_schema(shown)
