"""Schema: what an answer must be, from a type or a JSON Schema, and the validation of it."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from inspect import isroutine
from itertools import islice
from math import isinf
from reprlib import Repr
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError

from llm_router.errors import ConfigurationError
from llm_router.operations.structured.json_schema import (
    JSON_STRING,
    REFERENCES,
    Node,
    is_object,
    names_key,
    rebuilt,
)
from llm_router.operations.structured.nulls import without_placeholders
from llm_router.operations.structured.strict import InexpressibleError, Strict, derive
from llm_router.operations.structured.validation import MAX_PROBLEMS, place, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

WRAP_KEY = "value"
_MAX_PROBLEM_CHARS = 300
_MAX_LISTED = 10_000
"""pydantic lists all mistakes or none, 500 a millisecond."""
_CACHED_SCHEMAS = 256
_DEFINITIONS = ("$schema", "$defs", "definitions")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_LONG_NUMBER = re.compile(r"\d[\d.]{15}")
_LITERAL = re.compile(rf"{JSON_STRING}|-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?", re.S)
_NOT_ALONE = f"the answer: give it as the only thing under {WRAP_KEY!r}"
# A value is shown with the mistake in it: of a large one, only the beginning is written out.
_REPR = Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 80


class MismatchError(ValueError):
    """A text that does not fit the schema; `problems` says why, one line each, bounded."""

    def __init__(self, problems: Iterable[str]) -> None:
        few = islice(problems, MAX_PROBLEMS)
        self.problems = tuple(line[:_MAX_PROBLEM_CHARS] for line in few)
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
        self.name = _NOT_IN_NAMES.sub("_", name).strip("_")[:64] or "answer"
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
        except Exception as error:  # a type wrote into its JSON Schema what is none
            raise ConfigurationError(
                f"The JSON Schema of {self.name!r} cannot be read: {error}",
                hint="Look at what the type adds to it (json_schema_extra and the like).",
            ) from error

    @property
    def strict(self) -> Node | None:
        """The schema for strict mode; None when that cannot say it (`why_not_strict`)."""
        return self._strict.schema if isinstance(self._strict, Strict) else None

    @property
    def why_not_strict(self) -> str | None:
        return None if isinstance(self._strict, Strict) else str(self._strict)

    @property
    def nulls_are_values(self) -> bool:
        """Whether a null in an answer to `strict` never stands for "left out"."""
        try:
            return isinstance(self._strict, Strict) and not self._strict.adds_nulls
        except ConfigurationError:
            return False

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
            pruned = self.without_placeholders(text)
            if pruned is not None:
                try:
                    return self._validate(pruned)
                except MismatchError:
                    pass  # then they may be meant as they stand
        return self._validate(text)

    def without_placeholders(self, text: str) -> str | None:
        """Return *text* without nulls that stand for "left out"; None when there are none."""
        return without_placeholders(text, self.json_schema)


class SchemaCache:
    """The schemas a Router has met, the least recently used forgotten first.

    Building one costs milliseconds; `await prepare(schema)` first. Types are kept by identity and
    spelling (`int | str` equals `str | int`, yet reads differently), dicts by content.
    """

    def __init__(self, size: int = _CACHED_SCHEMAS) -> None:
        self._size = size
        self._held: OrderedDict[Any, Schema[Any]] = OrderedDict()

    async def prepare(self, schema: Any) -> None:
        """Import jsonschema for a JSON Schema, in a thread: it takes a tenth of a second."""
        if isinstance(schema, Mapping) and "jsonschema" not in sys.modules:
            await asyncio.to_thread(importlib.import_module, "jsonschema")

    @overload
    def get(self, schema: type[T]) -> Schema[T]: ...

    @overload
    def get(self, schema: Any) -> Schema[Any]: ...

    def get(self, schema: Any) -> Schema[Any]:
        """Return `Schema.of(schema)`, built now or before."""
        try:
            key = _cache_key(schema)
            found = self._held.get(key)
        except (
            TypeError,
            ValueError,
            RecursionError,
        ):  # unhashable metadata, a dict that is no JSON
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
        has_own_key = names_key(shown, WRAP_KEY, shown)
        read = _wrapped_reader(TypeAdapter(wrapper), adapter, has_own_key)
        return Schema(_name_of(tp, shown), wrapper.model_json_schema(), True, read)
    except Exception as error:  # also of what a type does to describe itself
        raise TypeError(
            f"schema: {tp!r} is neither a type that pydantic validates nor a JSON Schema dict: "
            f"{getattr(error, 'message', error)}"
        ) from error


def element_type(schema: Any) -> Any:
    """Return what the elements of a list are, as `Schema.of` takes it.

    Raises TypeError for a *schema* that is none of a list.
    """
    if get_origin(schema) is Annotated:
        schema = get_args(schema)[0]
    if isinstance(schema, Mapping) and isinstance(schema.get("items"), Mapping):
        shared = {word: schema[word] for word in _DEFINITIONS if word in schema}
        return {**shared, **schema["items"]}
    origin, inner = get_origin(schema), get_args(schema)
    is_list = isinstance(origin, type) and issubclass(origin, Sequence)
    if is_list and (origin is not tuple or inner[1:] == (...,)):
        return inner[0]
    raise TypeError(f"items are those of a list (schema=list[Item]), and {schema!r} is none")


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


def _wrapped_reader(
    wrapper: TypeAdapter[Any], bare: TypeAdapter[Any], has_own_key: bool
) -> Callable[[str], Any]:
    """Return the reader of a type whose root is no object: in our wrapper, or else bare.

    *has_own_key*: the type itself may have the key of the wrapper. Of any other, an answer that
    has it is in the wrapper, and wrong when that does not fit: read bare, a type whose fields all
    have defaults would take it for an object with none of them.
    """
    validate_wrapped, validate_bare = _json_reader(wrapper), _json_reader(bare)

    def read(text: str) -> Any:
        try:
            return validate_wrapped(text).value
        except ValidationError as error:
            first = error
        wrapped = _was_wrapped(first)
        if wrapped and not has_own_key:
            raise MismatchError(_pydantic_problems(first))
        try:
            return validate_bare(text)
        except ValidationError as error:
            raise MismatchError(_pydantic_problems(first if wrapped else error)) from None

    return read


def _was_wrapped(error: ValidationError) -> bool:
    """Return whether what does not fit the wrapper has its key."""
    if error.error_count() > 1:  # its own key alone is missing, or all is of another type
        return True
    (problem,) = error.errors(include_url=False, include_context=False)
    where = problem["loc"]
    return where[:1] == (WRAP_KEY,) and (len(where) > 1 or problem["type"] != "missing")


def _pydantic_problems(error: ValidationError) -> Iterator[str]:
    if error.error_count() > _MAX_LISTED:
        yield f"the answer: {error.error_count()} values in it do not fit"
        return
    for item in error.errors(include_url=False, include_context=False)[:MAX_PROBLEMS]:
        given = "" if item["type"] in ("missing", "json_invalid") else f" (got {_shown(item)})"
        yield f"{place(item['loc'])}: {item['msg']}{given}"


def _shown(item: Any) -> str:
    text = _REPR.repr(item["input"])
    return text if len(text) <= 80 else f"{text[:77]}..."


def _from_dict(given: Mapping[str, Any]) -> Schema[Any]:
    schema, errors_of = served(given)
    wrapped = not is_object(schema, schema)
    has_own_key = wrapped and names_key(schema, WRAP_KEY, schema)

    def read(text: str) -> Any:
        data = _loads(text)
        problems: list[str] = []
        if wrapped and isinstance(data, dict) and WRAP_KEY in data:
            problems = errors_of(data[WRAP_KEY]) if len(data) == 1 else [_NOT_ALONE]
            if not problems:
                return data[WRAP_KEY]
            if not has_own_key:
                raise MismatchError(problems)
        bare = errors_of(data)
        if bare:
            raise MismatchError(problems or bare)
        return data

    return Schema(
        str(schema.get("title", "answer")), _wrap(schema) if wrapped else schema, wrapped, read
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MismatchError([f"the answer: not JSON: {error}"]) from None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if isinf(value):
        raise ValueError(f"{number[:40]} is more than a float can hold")
    return value


def _wrap(schema: Node) -> Node:
    return {
        "type": "object",
        "properties": {WRAP_KEY: rebuilt(schema, _moved)},
        "required": [WRAP_KEY],
        "additionalProperties": False,
    }


def _moved(node: Node) -> Node:
    """Return *node* with pointers that find their targets from below the wrapping object."""
    pointers = {
        word: f"#/properties/{WRAP_KEY}{node[word][1:]}"
        for word in REFERENCES
        if isinstance(node.get(word), str) and node[word][1:2] in ("", "/")
    }
    return {**node, **pointers}
