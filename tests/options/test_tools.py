"""Tools: what may be one, which must be called, and what a call gave."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel, ValidationError

from llm_router.answers.completion import ToolCall
from llm_router.options.parts import ImagePart
from llm_router.options.tools import arguments_for, tool_choice, tool_definitions, tool_result

if TYPE_CHECKING:
    from pathlib import PurePath

SEARCH = {"type": "openrouter:web_search", "parameters": {"max_uses": 1}}
RAW = {"type": "function", "function": {"name": "raw", "parameters": {"type": "object"}}}


class Move(BaseModel):
    """Move the robot."""

    direction: Literal["left", "right"]
    steps: Annotated[int, Field(ge=1, description="How far")] = 1


class Node(BaseModel):
    child: Node | None = None


def get_weather(
    city: str,
    unit: Annotated[
        Literal["celsius", "fahrenheit"], Field(description="Of the answer")
    ] = "celsius",
    *,
    days: int = 3,
) -> str:
    """Get the weather
    of a city.

    It may rain.

    Args:
        city (str): Where: a city's
            name.
        unit: Not this.
        other: Not an argument.

    Returns:
        A sentence.
    """
    return f"{city}: {days} days at 20 {unit}"


def awkward(schema: str, copy: bool = False) -> None: ...


async def later() -> None:
    """Wait."""


class Robot:
    __hash__ = None  # type: ignore[assignment]  # an object whose methods cannot be hashed

    def stop(self) -> None:
        """Stop."""


def call(**fields: Any) -> ToolCall:
    return ToolCall(**{"id": "c1", "name": "get_weather", "raw_arguments": "…"} | fields)


def function(tool: Any) -> dict[str, Any]:
    definition = tool_definitions([tool])[0]
    assert definition["type"] == "function"
    described: dict[str, Any] = definition["function"]
    return described


def test_a_model_is_described_by_its_name_docstring_and_schema() -> None:
    assert function(Move) == {
        "name": "Move",
        "description": "Move the robot.",
        "parameters": {
            "type": "object",
            "properties": {
                "direction": {"enum": ["left", "right"], "type": "string"},
                "steps": {
                    "type": "integer",
                    "minimum": 1,
                    "default": 1,
                    "description": "How far",
                },
            },
            "required": ["direction"],
        },
    }


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    assert function(get_weather) == {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where: a city's name."},
                "unit": {
                    "enum": ["celsius", "fahrenheit"],
                    "type": "string",
                    "default": "celsius",
                    "description": "Of the answer",
                },
                "days": {"type": "integer", "default": 3},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


def test_arguments_may_be_called_like_attributes_of_a_model() -> None:
    assert list(function(awkward)["parameters"]["properties"]) == ["schema", "copy"]
    arguments = {"schema": "x", "copy": True}
    assert arguments_for(call(arguments=arguments), awkward) == arguments


def test_functions_without_arguments_coroutines_and_methods_are_tools() -> None:
    empty = {"type": "object", "properties": {}, "additionalProperties": False}
    assert function(later) == {"name": "later", "description": "Wait.", "parameters": empty}
    assert function(Robot().stop)["name"] == "stop"


def test_a_model_that_contains_itself_is_an_object_at_the_top() -> None:
    parameters = function(Node)["parameters"]
    assert parameters["type"] == "object"
    assert "description" not in function(Node)
    assert "$ref" not in parameters


def test_raw_definitions_are_sent_as_they_are() -> None:
    raw, search = tool_definitions([RAW, SEARCH])
    assert raw is RAW
    assert search is SEARCH


def test_a_definition_is_made_once() -> None:
    assert tool_definitions([get_weather])[0] is tool_definitions([get_weather])[0]


def _unresolved(path: PurePath) -> None: ...


def _unhinted(city) -> None: ...  # type: ignore[no-untyped-def]  # the mistake under test


def _no_schema(value: functools.partial[int]) -> None: ...


def _stars(*cities: str) -> None: ...


def _by_place(city: str, /) -> None: ...


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        (lambda city: city, "has no name"),
        (functools.partial(get_weather, "Rome"), "has no name"),
        (_stars, "by name only"),
        (_by_place, "by name only"),
        (_unhinted, "no type hint for 'city'"),
        (_unresolved, "no schema can be made"),
        (_no_schema, "no schema can be made"),
        (int, "not a pydantic model"),
        (RootModel[list[int]], "an object with names"),
        (3, "not int"),
        ({"name": "x", "input_schema": {}}, "has a `type`"),
        ({"type": "function", "name": "x"}, "with a `name`"),
    ],
)
def test_what_cannot_be_a_tool_is_a_type_error(tool: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        tool_definitions([tool])


@pytest.mark.parametrize("tools", ["get_weather", RAW, 3])
def test_tools_are_a_list(tools: Any) -> None:
    with pytest.raises(TypeError, match="a list of tools"):
        tool_definitions(tools)


def test_names_are_refused_when_they_are_given_twice_or_cannot_be_names() -> None:
    with pytest.raises(ValueError, match="two tools have the name 'raw'"):
        tool_definitions([RAW, RAW])
    for name in ("n" * 65, "get weather", "Box[int]"):
        with pytest.raises(ValueError, match="no name for a tool"):
            tool_definitions([{"type": "function", "function": {"name": name}}])


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ("Move", {"type": "function", "function": {"name": "Move"}}),
        (Move, {"type": "function", "function": {"name": "Move"}}),
        (get_weather, {"type": "function", "function": {"name": "get_weather"}}),
        ("openrouter:web_search", {"type": "openrouter:web_search"}),
        ({"type": "allowed_tools"}, {"type": "allowed_tools"}),
    ],
)
def test_a_choice_is_a_word_or_one_of_the_tools(choice: Any, wire: Any) -> None:
    assert tool_choice(choice, tool_definitions([get_weather, Move, SEARCH])) == wire
    assert tool_choice(choice) == wire


def test_a_choice_is_refused_when_no_tool_has_that_name() -> None:
    definitions = tool_definitions([get_weather, SEARCH])
    with pytest.raises(ValueError, match="did you mean 'get_weather'"):
        tool_choice("get_wether", definitions)
    with pytest.raises(ValueError, match="'Move' is none of the tools"):
        tool_choice(Move, definitions)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("sunny", "sunny"),
        ({"degrees": Decimal("20.5")}, '{"degrees":"20.5"}'),
        (Move(direction="left"), '{"direction":"left","steps":1}'),
        (["a", 1], '["a",1]'),
        (None, "null"),
        (ValueError("no such city"), "ValueError: no such city"),
        (
            ["A map:", ImagePart("https://example.org/map.png")],
            [
                {"type": "text", "text": "A map:"},
                {"type": "image_url", "image_url": {"url": "https://example.org/map.png"}},
            ],
        ),
        (
            ImagePart("https://example.org/map.png"),
            [{"type": "image_url", "image_url": {"url": "https://example.org/map.png"}}],
        ),
    ],
)
def test_a_result_is_sent_as_text_json_or_parts(value: Any, content: Any) -> None:
    message = tool_result(call(), value)
    assert message == {"role": "tool", "tool_call_id": "c1", "content": content}


def test_a_result_is_refused_when_the_call_was_cut_or_has_no_id() -> None:
    with pytest.raises(ValueError, match="cut by the token limit"):
        tool_result(call(complete=False), "sunny")
    with pytest.raises(ValueError, match="has no id"):
        tool_result(call(id=None), "sunny")
    with pytest.raises(ValueError, match=r"[Ss]erialize"):
        tool_result(call(), object())


def test_arguments_are_validated_converted_and_completed() -> None:
    asked = call(arguments={"city": "Rome", "days": "2"})
    arguments = arguments_for(asked, get_weather)
    assert arguments == {"city": "Rome", "unit": "celsius", "days": 2}
    assert get_weather(**arguments) == "Rome: 2 days at 20 celsius"


@pytest.mark.parametrize("arguments", [{}, {"city": "Rome", "unit": "K"}, {"city": "R", "x": 1}])
def test_arguments_are_refused_when_they_do_not_fit(arguments: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        arguments_for(call(arguments=arguments), get_weather)


def test_arguments_are_refused_when_they_were_cut_or_unreadable() -> None:
    with pytest.raises(ValueError, match="cut by the token limit"):
        arguments_for(call(complete=False, arguments={"city": "Rome"}), get_weather)
    with pytest.raises(ValueError, match="not one JSON object"):
        arguments_for(call(arguments=None), get_weather)
