"""Schemas from types and from JSON Schema: names, mistakes, and the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from llm_router.errors import ConfigurationError
from llm_router.operations.structured.schema import MismatchError, Schema, SchemaCache
from tests.operations.structured.cases import Invoice, Line, Page, Tags


class NotAType:
    pass


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (Invoice, "Invoice"),
        (Page[int], "Page_int"),
        (Tags, "Tags"),
        (int, "int"),
        (list[int], "answer"),
        (int | str, "answer"),
        ({"type": "object", "title": "A person, briefly!"}, "A_person_briefly"),
        ({"type": "object", "title": "é" * 3}, "answer"),
        ({"type": "object", "title": "x" * 99}, "x" * 64),
    ],
)
def test_a_schema_has_a_name_the_wire_takes(schema: Any, name: str) -> None:
    assert Schema.of(schema).name == name


class Raising:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise KeyError("a defect of the type's")


@pytest.mark.parametrize("schema", [NotAType, 7, lambda x: x, None.__class__.mro, "int", Raising])
def test_what_is_no_schema_is_a_type_error(schema: Any) -> None:
    with pytest.raises(TypeError, match="neither a type that pydantic validates nor a JSON Schema"):
        Schema.of(schema)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, "not a valid JSON Schema at type"),
        ({"type": "object", "properties": {"a": {"minimum": "1"}}}, "at properties.a.minimum"),
        ({"$ref": "#/$defs/a"}, "'#/\\$defs/a' is not in this schema"),
        ({"$ref": "https://example.com/a.json"}, "nothing is fetched: put it under \\$defs"),
        ({"enum": [object()]}, "not JSON data"),
    ],
)
def test_an_invalid_json_schema_is_a_value_error_that_says_where(schema: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema.of(schema)


def test_a_json_schema_is_a_copy() -> None:
    given: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    schema = Schema.of(given)
    given["properties"]["a"]["type"] = "string"
    assert schema.validate('{"a": 1}') == {"a": 1}
    assert schema.json_schema["properties"]["a"]["type"] == "integer"


def test_formats_are_checked_for_a_json_schema() -> None:
    schema = Schema.of({"type": "string", "format": "date"})
    assert schema.validate('"2026-01-01"') == "2026-01-01"
    with pytest.raises(MismatchError, match="is not a 'date'"):
        schema.validate('"soon"')


def test_a_draft_is_honoured() -> None:
    tuple_of_draft_7 = {"type": "array", "items": [{"type": "integer"}], "additionalItems": False}
    schema = Schema.of({"$schema": "http://json-schema.org/draft-07/schema#", **tuple_of_draft_7})
    assert schema.validate("[1]") == [1]
    with pytest.raises(MismatchError):
        schema.validate("[1, 2]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"value": ["a"]}', "value.0: Input should be a valid integer"),
        ('["a"]', "0: Input should be a valid integer"),
        ('{"other": 1}', "the answer: Input should be a valid array"),
    ],
)
def test_problems_speak_of_the_form_that_was_written(text: str, problem: str) -> None:
    with pytest.raises(MismatchError) as caught:
        Schema.of(list[int]).validate(text)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"value": ["a"]}', "0: 'a' is not of type 'integer'"),
        ('["a"]', "0: 'a' is not of type 'integer'"),
        ('{"other": 1}', "the answer: {'other': 1} is not of type 'array'"),
    ],
)
def test_problems_of_a_json_schema_too(text: str, problem: str) -> None:
    with pytest.raises(MismatchError) as caught:
        Schema.of({"type": "array", "items": {"type": "integer"}}).validate(text)
    assert str(caught.value) == problem


def test_a_bare_object_with_the_wrapping_key_is_read_as_what_it_is() -> None:
    schema = Schema.of({"anyOf": [{"type": "object", "required": ["value"]}, {"type": "null"}]})
    assert schema.validate('{"value": 1}') == {"value": 1}


def test_a_choice_of_objects_is_shown_in_the_wrapper_since_strict_mode_wants_one_object() -> None:
    choice = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    for schema in ({"type": "object", **choice}, {"type": "object", "allOf": [choice]}):
        assert Schema.of(schema).wrapped
        assert Schema.of(schema).validate('{"a": 1}') == {"a": 1}


class Lenient(BaseModel):
    """Every field has a default, so that any object fits."""

    x: int = 0


class Other(BaseModel):
    y: int = 0


class Keyed(BaseModel):
    value: int = 0


OPEN_OBJECT = {"properties": {"x": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "text", "problem"),
    [
        (Lenient | None, '{"value": {"x": "many"}}', "value.x: Input should be a valid integer"),
        (Lenient | None, '{"value": {"x": "many"}, "note": 1}', "value.x: Input should be a valid"),
        (Lenient | Other, '{"value": {"x": "many", "y": "many"}}', "value.Lenient.x: Input"),
        (dict[str, int] | None, '{"value": 3}', "value: Input should be an object"),
        (OPEN_OBJECT, '{"value": {"x": "many"}}', "x: 'many' is not of type 'integer'"),
        (OPEN_OBJECT, '{"value": {"x": 1}, "note": 1}', "the answer: give it as the only thing"),
    ],
)
def test_an_answer_in_the_wrapper_that_does_not_fit_is_not_read_bare(
    schema: Any, text: str, problem: str
) -> None:
    with pytest.raises(MismatchError) as caught:
        Schema.of(schema).validate(text)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (Keyed | None, '{"value": 3}', Keyed(value=3)),
        (Keyed | None, '{"value": {"value": 3}}', Keyed(value=3)),
        (Lenient | None, '{"x": 3}', Lenient(x=3)),
        (OPEN_OBJECT, '{"x": 3}', {"x": 3}),
        (OPEN_OBJECT, '{"value": {"x": 3}}', {"x": 3}),
    ],
)
def test_a_bare_answer_is_read_when_the_key_of_the_wrapper_is_its_own_or_not_there(
    schema: Any, text: str, value: Any
) -> None:
    assert Schema.of(schema).validate(text) == value


def test_long_values_are_shortened_in_problems() -> None:
    with pytest.raises(MismatchError) as caught:
        Schema.of(Line).validate(f'{{"what": {["x" * 500]}, "price": 1}}'.replace("'", '"'))
    assert len(str(caught.value)) < 150


def test_mistakes_are_counted_when_there_are_too_many_to_list() -> None:
    with pytest.raises(MismatchError, match="the answer: 20000 values in it do not fit"):
        Schema.of(list[int]).validate(f"[{','.join(['true, 1.5'] * 20_000)}]")


def test_the_cache_gives_the_same_schema_again() -> None:
    cache = SchemaCache()
    as_dict = {"type": "object", "title": "A"}
    for schema in (Invoice, list[Invoice], int | str, as_dict):
        assert cache.get(schema) is cache.get(schema)
    assert cache.get(dict(as_dict)) is cache.get(as_dict)


def test_the_cache_tells_apart_what_python_holds_equal() -> None:
    cache = SchemaCache()
    assert cache.get(int | str) is not cache.get(str | int)
    assert cache.get(Literal["a", "b"]) is not cache.get(Literal["b", "a"])


def test_the_cache_sees_a_json_schema_that_was_changed() -> None:
    cache = SchemaCache()
    schema: dict[str, Any] = {"type": "object", "title": "A"}
    first = cache.get(schema)
    schema["title"] = "B"
    assert (first.name, cache.get(schema).name) == ("A", "B")


def test_the_cache_is_bounded_and_forgets_the_least_used() -> None:
    cache = SchemaCache(size=2)
    kept, lost = cache.get(Invoice), cache.get(Line)
    cache.get(Invoice)
    cache.get(int)
    assert cache.get(Invoice) is kept
    assert cache.get(Line) is not lost


def test_a_type_that_cannot_be_a_key_is_built_each_time() -> None:
    @dataclass
    class Mark:
        words: list[str]

    assert SchemaCache().get(Annotated[int, Mark(["x"])]).validate("1") == 1


def test_a_type_that_describes_itself_by_what_is_no_schema_is_a_mistake_of_the_set_up() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(json_schema_extra={"properties": 5})

    with pytest.raises(ConfigurationError, match="The JSON Schema of 'Odd' cannot be read"):
        _ = Schema.of(Odd).strict


def test_a_model_that_refuses_the_strict_form_still_has_its_schema() -> None:
    class Free(BaseModel):
        data: dict[str, int]

    schema = Schema.of(Free)
    assert schema.strict is None
    assert "keys that are not named" in (schema.why_not_strict or "")
    assert schema.validate_strict('{"data": {"null": 1}}') == Free(data={"null": 1})
