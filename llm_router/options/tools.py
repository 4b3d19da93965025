"""Tools: what a model may call, which it must call, and what the call gave.

A tool is a pydantic model, a function with type hints, or a raw definition that is sent as it
is (OpenAI's shape, or a server tool such as `{"type": "openrouter:web_search"}`). What cannot
be a tool is a TypeError; a wrong name, a name given twice or an unknown choice a ValueError.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json

from llm_router.options.messages import content_list
from llm_router.options.parts import Part
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from llm_router.answers.completion import ToolCall

ToolLike = type[BaseModel] | Callable[..., Any] | Mapping[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ARGUMENTS = re.compile(r"^Arg(?:ument)?s:\n((?:[ \t]++.*+\n?|\n)++)", re.M)
_ARGUMENT = re.compile(r"^[^\w\n]*+(\w++)(?: \(.*?\))?: (.*(?:\n[ \t]++.*)*)", re.M)
_CHOICES = ("none", "auto", "required")
# An argument may be called like an attribute of BaseModel (`schema`, `copy`), a field may not.
_FIELD_PREFIX = "arg_"


def tool_definitions(tools: Sequence[ToolLike]) -> list[dict[str, Any]]:
    """Return *tools* as the wire's `tools`. They are shared or the caller's: never change them."""
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise TypeError(f"tools is a list of tools, not {type(tools).__name__}")
    definitions = [_definition(tool) for tool in tools]
    seen: set[str] = set()
    for name in filter(None, map(_name_of, definitions)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a tool: 1 to 64 letters, digits, _ and -")
        if name in seen:
            raise ValueError(f"two tools have the name {name!r}")
        seen.add(name)
    return definitions


def tool_choice(
    choice: str | ToolLike, definitions: Sequence[Mapping[str, Any]] | None = None
) -> str | dict[str, Any]:
    """Return *choice* as the wire's `tool_choice`.

    It is "none", "auto" or "required", or names a tool: by its name, or by the function or model
    itself. The wire's own shape passes through. A name that is none of *definitions* (what
    `tool_definitions` returned; None leaves it unchecked) is a ValueError.
    """
    if isinstance(choice, Mapping):
        return dict(choice)
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    name = choice if isinstance(choice, str) else _name_of(_definition(choice))
    if definitions is not None:
        _check_choice(str(name), definitions)
    # Only server tools have a colon in their name, and they are chosen by their type.
    if ":" in str(name):
        return {"type": name}
    return {"type": "function", "function": {"name": name}}


def _check_choice(name: str, definitions: Sequence[Mapping[str, Any]]) -> None:
    known = [_name_of(definition) or str(definition["type"]) for definition in definitions]
    if name not in known:
        words = [*_CHOICES, *known]
        listed = f"{did_you_mean(name, words)} (one of {', '.join(words)})"
        raise ValueError(f"tool_choice {name!r} is none of the tools{listed}")


def tool_result(call: ToolCall, value: Any) -> dict[str, Any]:
    """Return the message that answers *call* with *value*.

    A str is sent as it is, an exception as its text, parts (an image the tool made) as parts, and
    anything else as JSON. Raises ValueError for a call that was cut by the answer's length (it must
    not be executed) or has no id, and for a value that is not JSON.
    """
    _refuse_cut(call)
    if not call.id:
        raise ValueError(f"the call of {call.name!r} has no id, so no result can refer to it")
    return {"role": "tool", "tool_call_id": call.id, "content": _result_content(value)}


def arguments_for(call: ToolCall, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of *call*, validated and converted: `function(**arguments)`.

    Raises ValueError when the call was cut, is not one JSON object, or does not fit the hints of
    *function* (pydantic's ValidationError, whose text tells the model what to mend).
    """
    _refuse_cut(call)
    if call.arguments is None:
        raise ValueError(f"the arguments of {call.name!r} are not one JSON object")
    model = _cached(_arguments_model, function)
    values = model.model_validate(call.arguments)
    return {name.removeprefix(_FIELD_PREFIX): getattr(values, name) for name in model.model_fields}


def _refuse_cut(call: ToolCall) -> None:
    if not call.complete:
        raise ValueError(f"the call of {call.name!r} was cut by the token limit: raise max_tokens")


def _result_content(value: Any) -> str | list[Any]:
    if isinstance(value, str):
        return value
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    parts = [value] if isinstance(value, Part) else value
    if isinstance(parts, list | tuple) and any(isinstance(item, Part) for item in parts):
        return content_list(parts)
    return to_json(value).decode()


def _definition(tool: Any) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return _checked_raw(tool)
    if not callable(tool):
        kind = type(tool).__name__
        raise TypeError(f"a tool is a function, a pydantic model or a definition, not {kind}")
    try:
        definition: dict[str, Any] = _cached(_described, tool)
    except (NameError, PydanticUserError) as error:
        raise TypeError(f"no schema can be made of {tool!r}: {error}") from error
    return definition


def _checked_raw(tool: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(tool.get("type"), str):
        raise TypeError(
            "a raw tool has a `type`: {'type': 'function', 'function': {'name': …, …}}, "
            "or {'type': 'openrouter:web_search'}"
        )
    if tool["type"] == "function" and not _name_of(tool):
        raise TypeError("a raw function tool has a `function` with a `name`")
    return tool if isinstance(tool, dict) else dict(tool)


def _name_of(definition: Mapping[str, Any]) -> str | None:
    function = definition.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _cached(make: Callable[[Any], Any], tool: Any) -> Any:
    try:
        return _made(make, tool)
    except TypeError:
        # A method of an unhashable object; or a refusal, which is then raised again.
        return make(tool)


@lru_cache(maxsize=512)
def _made(make: Callable[[Any], Any], tool: Any) -> Any:
    """Keep what was made of a tool: building a schema costs more than the rest of a call.

    What is returned is shared, so nobody changes it.
    """
    return make(tool)


def _described(tool: Any) -> dict[str, Any]:
    """Return the definition of a model or a function."""
    if isinstance(tool, type):
        if not issubclass(tool, BaseModel):
            raise TypeError(f"{tool.__name__} is not a pydantic model, so it is no tool")
        name, schema = tool.__name__, _schema(tool)
        description = schema.pop("description", "")
    else:
        name, schema = _function_name(tool), _schema(_cached(_arguments_model, tool))
        schema.pop("description", None)
        description, arguments = _read_docstring(inspect.getdoc(tool) or "")
        for argument, text in arguments.items():
            if argument in schema["properties"]:
                schema["properties"][argument].setdefault("description", text)
    function = {"name": name, "description": description, "parameters": schema}
    if not description:
        del function["description"]
    return {"type": "function", "function": function}


def _function_name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise TypeError(f"{function!r} has no name a model could call it by: use `def`")
    return name


class _WithoutTitles(GenerateJsonSchema):
    """JSON Schema without the titles pydantic derives from names: they tell a model nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_WithoutTitles)
    definitions = schema.get("$defs", {})
    for part in (schema, *definitions.values()):
        part.pop("title", None)
    if "$ref" in schema:
        # A model that contains itself: providers want the object itself at the top.
        schema = definitions[schema.pop("$ref").rpartition("/")[2]] | schema
    if schema.get("type") != "object":
        raise TypeError(f"{model.__name__} is no tool: arguments are an object with names")
    return {"properties": {}, **schema}


def _arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return a model with one field for each argument of *function*."""
    name = _function_name(function)
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for argument in inspect.signature(function).parameters.values():
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise TypeError(f"{name}() takes {argument}: a model passes arguments by name only")
        if argument.name not in hints:
            raise TypeError(f"{name}() has no type hint for {argument.name!r}")
        default = ... if argument.default is argument.empty else argument.default
        fields[_FIELD_PREFIX + argument.name] = (hints[argument.name], default)
    config = ConfigDict(
        extra="forbid",
        arbitrary_types_allowed=False,
        alias_generator=lambda field: field.removeprefix(_FIELD_PREFIX),
    )
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    return model


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the first paragraph, and what an `Args:` section (Google style) says of each."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    section = _ARGUMENTS.search(text)
    arguments: dict[str, str] = {}
    if section:
        for name, said in _ARGUMENT.findall(inspect.cleandoc(section[1])):
            arguments[name] = " ".join(said.split())
    return paragraph, arguments
