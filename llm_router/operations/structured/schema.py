"""Schema: what an answer must be, from a type or a JSON Schema, and the validation of it."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from inspect import isroutine
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from llm_router.operations.structured.json_schema import (
    Node,
    UnresolvedReferenceError,
    is_object,
    resolve,
)
from llm_router.operations.structured.nulls import without_placeholders
from llm_router.operations.structured.strict import InexpressibleError, Strict, derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

WRAP_KEY = "value"
_MAX_PROBLEMS, _MAX_PROBLEM_CHARS = 20, 300
_CACHED_SCHEMAS = 256
_LONG_NUMBER = re.compile(r"\d[\d.]{15}")
_LITERAL = re.compile(r'"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')


class MismatchError(ValueError):
    """A text that does not fit the schema; `problems` says why, one line each, bounded."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(line[:_MAX_PROBLEM_CHARS] for line in problems)[:_MAX_PROBLEMS]
        super().__init__("\n".join(self.problems))


class Schema(Generic[T]):
    """What an answer must be. Build it with `Schema.of`; it never changes."""

    name: str
    """A name the wire takes: letters, digits, `_` and `-`, at most 64."""
    json_schema: Node
    """What the model is shown: always an object, see `wrapped`."""
    wrapped: bool
    """Whether the value stands under the key `value`, because its own root is no object."""

    def __init__(
        self, name: str, json_schema: Node, wrapped: bool, validate: Callable[[str], T]
    ) -> None:
        self.name = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")[:64] or "answer"
        self.json_schema = json_schema
        self.wrapped = wrapped
        self._validate = validate

    @overload
    @classmethod
    def of(cls, schema: type[T]) -> Schema[T]: ...

    @overload
    @classmethod
    def of(cls, schema: Any) -> Schema[Any]: ...

    @classmethod
    def of(cls, schema: Any) -> Schema[Any]:
        """Return the Schema of a type, any that pydantic validates, or of a JSON Schema dict.

        Raises TypeError for what is neither, ValueError for a JSON Schema that is not valid.
        """
        return _from_dict(schema) if isinstance(schema, Mapping) else _from_type(schema)

    @cached_property
    def _strict(self) -> Strict | InexpressibleError:
        try:
            return derive(self.json_schema)
        except InexpressibleError as error:
            return error

    @property
    def strict(self) -> Node | None:
        """The schema for strict mode; None when that cannot say it (`why_not_strict`)."""
        return self._strict.schema if isinstance(self._strict, Strict) else None

    @property
    def why_not_strict(self) -> str | None:
        return None if isinstance(self._strict, Strict) else str(self._strict)

    @cached_property
    def text(self) -> str:
        """The JSON Schema as compact JSON, for prompts."""
        return json.dumps(self.json_schema, ensure_ascii=False, separators=(",", ":"))

    def validate(self, text: str) -> T:
        """Return the object that the JSON *text* is, wrapped or bare; MismatchError if none."""
        return self._validate(text)

    def validate_strict(self, text: str) -> T:
        """Like `validate`, for an answer to `strict`: a null may mean "left out"."""
        strict = self._strict
        if isinstance(strict, Strict) and strict.adds_nulls and "null" in text:
            text = self.without_placeholders(text) or text
        return self._validate(text)

    def without_placeholders(self, text: str) -> str | None:
        """Return *text* without nulls that stand for "left out"; None when there are none."""
        return without_placeholders(text, self.json_schema)


class SchemaCache:
    """The schemas a Router has met, the least recently used forgotten first.

    Building one costs milliseconds. Types are kept by identity and spelling (`int | str` equals
    `str | int`, yet reads differently), dicts by content.
    """

    def __init__(self, size: int = _CACHED_SCHEMAS) -> None:
        self._size = size
        self._held: OrderedDict[Any, Schema[Any]] = OrderedDict()

    @overload
    def get(self, schema: type[T]) -> Schema[T]: ...

    @overload
    def get(self, schema: Any) -> Schema[Any]: ...

    def get(self, schema: Any) -> Schema[Any]:
        """Return `Schema.of(schema)`, built now or before."""
        try:
            key = _cache_key(schema)
            found = self._held.get(key)
        except (TypeError, ValueError):  # unhashable metadata, or a dict that is no JSON
            return Schema.of(schema)
        if found is None:
            found = self._held[key] = Schema.of(schema)
            if len(self._held) > self._size:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(key)
        return found


def _cache_key(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return json.dumps(schema)
    return schema if type(schema) is type else (schema, repr(schema))


def _from_type(tp: Any) -> Schema[Any]:
    try:
        if isinstance(tp, str) or isroutine(tp):  # pydantic would look the one up, call the other
            raise PydanticUserError("it is a name or a function", code=None)
        adapter: TypeAdapter[Any] = TypeAdapter(tp)
        shown = adapter.json_schema()
        if is_object(shown, shown):
            return Schema(_name_of(tp, shown), shown, False, _reader(adapter))
        wrapper = create_model("Answer", value=(tp, ...))
        read = _wrapped_reader(TypeAdapter(wrapper), adapter)
        return Schema(_name_of(tp, shown), wrapper.model_json_schema(), True, read)
    except PydanticUserError as error:
        raise TypeError(
            f"schema: {tp!r} is neither a type that pydantic validates nor a JSON Schema dict: "
            f"{error.message}"
        ) from None


def _name_of(tp: Any, shown: Node) -> str:
    name = getattr(tp, "__name__", "") if isinstance(tp, type) else ""
    return str(shown.get("title") or name or "answer")


def _json_reader(adapter: TypeAdapter[Any]) -> Callable[[str], Any]:
    """Return the adapter's `validate_json`, that of a type with Decimals keeping every digit.

    pydantic reads a JSON number as a float before it makes a Decimal of it; a string it does not.
    """
    if not _has_decimals(adapter.core_schema):
        return adapter.validate_json

    def validate(text: str) -> Any:
        if _LONG_NUMBER.search(text):
            try:
                return adapter.validate_json(_LITERAL.sub(_quote_lossy, text))
            except ValidationError:
                pass  # a number of a field that takes no string: read as it is
        return adapter.validate_json(text)

    return validate


def _has_decimals(core: Any) -> bool:
    if isinstance(core, dict):
        return core.get("type") == "decimal" or any(map(_has_decimals, core.values()))
    return isinstance(core, list | tuple) and any(map(_has_decimals, core))


def _quote_lossy(literal: re.Match[str]) -> str:
    text = literal.group()
    if text.startswith('"') or not _LONG_NUMBER.search(text):
        return text
    return text if Decimal(text) == Decimal(repr(float(text))) else f'"{text}"'


def _reader(adapter: TypeAdapter[Any]) -> Callable[[str], Any]:
    validate = _json_reader(adapter)

    def read(text: str) -> Any:
        try:
            return validate(text)
        except ValidationError as error:
            raise MismatchError(_pydantic_problems(error)) from None

    return read


def _wrapped_reader(wrapper: TypeAdapter[Any], bare: TypeAdapter[Any]) -> Callable[[str], Any]:
    validate_wrapped, validate_bare = _json_reader(wrapper), _json_reader(bare)

    def read(text: str) -> Any:
        try:
            return validate_wrapped(text).value
        except ValidationError as error:
            first = error
        try:
            return validate_bare(text)
        except ValidationError as error:
            problem = first.errors(include_url=False, include_context=False)[0]
            was_wrapped = problem["loc"][:1] == (WRAP_KEY,) and problem["type"] != "missing"
            shown = first if was_wrapped else error
            raise MismatchError(_pydantic_problems(shown)) from None

    return read


def _pydantic_problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False, include_context=False):
        given = "" if item["type"] in ("missing", "json_invalid") else f" (got {_shown(item)})"
        yield f"{_place(item['loc'])}: {item['msg']}{given}"


def _shown(item: Any) -> str:
    text = repr(item["input"])
    return text if len(text) <= 80 else f"{text[:77]}..."


def _place(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path)) or "the answer"


def _from_dict(given: Mapping[str, Any]) -> Schema[Any]:
    try:
        schema: Node = json.loads(json.dumps(given))  # a copy that no caller can change
    except (TypeError, ValueError) as error:
        raise ValueError(f"schema: not JSON data: {error}") from None
    _check_references(schema)
    errors_of = _json_schema_validator(schema)
    wrapped = not is_object(schema, schema)
    shown = _wrap(schema) if wrapped else schema

    def read(text: str) -> Any:
        data = _loads(text)
        if wrapped and isinstance(data, dict) and list(data) == [WRAP_KEY]:
            problems = errors_of(data[WRAP_KEY])
            if not problems:
                return data[WRAP_KEY]
            if errors_of(data):
                raise MismatchError(problems)
        problems = errors_of(data)
        if problems:
            raise MismatchError(problems)
        return data

    return Schema(str(schema.get("title", "answer")), shown, wrapped, read)


def _json_schema_validator(schema: Node) -> Callable[[Any], list[str]]:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        where = error.json_path.removeprefix("$").lstrip(".") or "the root"
        raise ValueError(f"schema: not a valid JSON Schema at {where}: {error.message}") from None
    # The empty registry keeps jsonschema from fetching references over the network.
    validator = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)

    def errors_of(data: Any) -> list[str]:
        found = sorted(validator.iter_errors(data), key=lambda error: error.json_path)
        return [f"{_place(error.absolute_path)}: {error.message}" for error in found]

    return errors_of


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MismatchError([f"the answer: not JSON: {error}"]) from None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _check_references(schema: Node) -> None:
    for reference in _references(schema):
        try:
            resolve(reference, schema)
        except UnresolvedReferenceError:
            hint = "" if reference.startswith("#") else "; nothing is fetched: put it under $defs"
            message = f"schema: $ref {reference!r} is not in this schema{hint}"
            raise ValueError(message) from None


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _references(part)


def _wrap(schema: Node) -> Node:
    inner = _moved(schema)
    out: Node = {
        "type": "object",
        "properties": {WRAP_KEY: inner},
        "required": [WRAP_KEY],
        "additionalProperties": False,
    }
    return out


def _moved(node: Any) -> Any:
    """Return a schema whose references find their targets from below the wrapping object."""
    if isinstance(node, list):
        return [_moved(part) for part in node]
    if not isinstance(node, dict):
        return node
    out = {key: _moved(part) for key, part in node.items() if key not in ("$id", "$schema")}
    if isinstance(out.get("$ref"), str):
        out["$ref"] = f"#/properties/{WRAP_KEY}{out['$ref'][1:]}"
    return out
