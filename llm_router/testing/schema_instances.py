"""One valid instance of a JSON Schema, always the same: what the sandbox answers when asked for it.

It serves what pydantic and strict mode say, and not all of JSON Schema: types, enum, const, local
$ref, unions, formats, bounds, patterns, prefixItems, uniqueItems, additionalProperties, and an
allOf of objects. Like a model it reads a description as well: keywords that strict mode has not
stand there (`(minLength: 10; uniqueItems: true)`). Recursion is cut where the schema allows.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import operator
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Schema = dict[str, Any]

# By format, encoding or media type; the number tells the items of a set apart.
_FORMATS = {
    "date-time": "2026-01-02T03:04:{:02}Z",
    "date": "2026-01-{:02}",
    "time": "03:04:{:02}Z",
    "duration": "PT{}H",
    "email": "ada{}@example.com",
    "hostname": "host{}.example.com",
    **dict.fromkeys(("ipv4", "ipvanyaddress"), "192.0.2.{}"),
    **dict.fromkeys(("ipv4network", "ipvanynetwork"), "192.0.{}.0/24"),
    **dict.fromkeys(("ipv4interface", "ipvanyinterface"), "192.0.2.{}/24"),
    "ipv6": "2001:db8::{}",
    "ipv6network": "2001:db8:{}::/48",
    "ipv6interface": "2001:db8::{}/64",
    "uri": "https://example.com/{}",
    "multi-host-uri": "postgresql://host{}.example.com/app",
    "uuid": "00000000-0000-4000-8000-{:012}",
    **{f"uuid{v}": f"00000000-0000-{v}000-8000-{{:012}}" for v in range(1, 9)},
    **dict.fromkeys(("base64", "base64url"), "YWF{}"),
    **dict.fromkeys(("application/json", "json-string"), "{}"),
}
_BOUNDS = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
_CLASSES = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
_DESCRIBED = (
    "pattern", "format", "minLength", "maxLength", "contentEncoding", "contentMediaType",
    "multipleOf", *_BOUNDS, "minItems", "maxItems", "uniqueItems", "minProperties",
)  # fmt: skip
_TOLD = re.compile(rf"\b({'|'.join(_DESCRIBED)}|items by position): ")
_SHAPES = {"properties", "items", "anyOf", "oneOf", "allOf", "$ref"}
_DEEPEST = 12


class NoInstanceError(ValueError):
    """The schema has no instance that this module can find."""


def instance(schema: Schema | bool) -> Any:
    """Return an instance of *schema*; raises `NoInstanceError` when none is found."""
    try:
        return _Builder(schema).build(schema, ())
    except NoInstanceError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise NoInstanceError(f"not a JSON Schema: {error!r}") from None


def find_schema(text: str) -> Schema | None:
    """Return the first JSON Schema of an object, array or union that stands in *text*."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r"\{", text):
        with contextlib.suppress(ValueError):
            value: Schema = decoder.raw_decode(text, found.start())[0]
            if _SHAPES & value.keys() or value.get("type") in ("object", "array"):
                return value
    return None


class _Builder:
    def __init__(self, root: Schema | bool) -> None:
        self._root = root
        self._variant = 0
        """Which of several instances: the items of a set must differ."""

    def build(self, schema: Schema | bool, refs: tuple[str, ...]) -> Any:
        """Build an instance; *refs* are the references we are inside of."""
        schema, refs = self._flat(schema, refs)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            if not schema["enum"]:
                raise NoInstanceError("an empty enum has no instance")
            return schema["enum"][self._variant % len(schema["enum"])]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._branch(schema, key, refs)
        return self._typed(schema, refs)

    def _flat(self, schema: Schema | bool, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Resolve `$ref` and fold `allOf` into one schema, with what descriptions tell."""
        schema = _told(schema)
        while "$ref" in schema:
            name = schema["$ref"]
            if refs.count(name) > 2 or len(refs) > _DEEPEST:
                raise NoInstanceError(f"{name} recurses without an end")
            refs = (*refs, name)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = _merged(self._resolve(name), rest)
        for part in schema.get("allOf", ()):
            flat, refs = self._flat(part, refs)
            schema = _merged({k: v for k, v in schema.items() if k != "allOf"}, flat)
        return schema, refs

    def _resolve(self, reference: str) -> Schema:
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        return _told(target)

    def _branch(self, schema: Schema, key: str, refs: tuple[str, ...]) -> Any:
        branches = list(schema[key])
        if _recursing(refs):  # Inside a recursion the way out is the branch without references.
            branches.sort(key=lambda branch: "$ref" in json.dumps(branch))
        base = {name: value for name, value in schema.items() if name != key}
        for branch in branches:
            try:
                flat, inner = self._flat(branch, refs)
                return self.build(_merged(base, flat), inner)
            except NoInstanceError:
                continue
        raise NoInstanceError(f"no branch of {key} has an instance")

    def _typed(self, schema: Schema, refs: tuple[str, ...]) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        if kind == "object":
            return self._object(schema, refs)
        if kind == "array":
            return self._array(schema, refs)
        if kind == "string":
            return _string(schema, self._variant)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer", step=self._variant)
        if kind == "boolean":
            return self._variant % 2 == 0
        if kind != "null":
            raise NoInstanceError(f"there is no type {kind!r}")
        return None

    def _object(self, schema: Schema, refs: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        other = schema.get("additionalProperties", True)
        built: dict[str, Any] = {}
        for name in dict.fromkeys([*properties, *required]):
            if name not in required and _recursing(refs):
                continue
            try:
                built[name] = self.build(properties.get(name, other), refs)
            except NoInstanceError:
                if name in required:
                    raise
        while len(built) < schema.get("minProperties", 0):
            built[f"key{len(built) + 1}"] = self.build(other, refs)
        return built

    def _array(self, schema: Schema, refs: tuple[str, ...]) -> list[Any]:
        parts = list(schema.get("prefixItems", ()))
        rest = schema.get("items", True)
        least = 0 if parts or rest is False or _recursing(refs) else 1
        most = schema.get("maxItems", math.inf)
        wanted = min(max(schema.get("minItems", least), len(parts)), most)
        parts += [rest] * (wanted - len(parts))
        outer, items = self._variant, []
        for index, part in enumerate(parts):
            # Items differ only where they must: a plain list stays easy to read.
            self._variant = outer + index if schema.get("uniqueItems") else outer
            items.append(self.build(part, refs))
        self._variant = outer
        return items


def _told(schema: Schema | bool) -> Schema:
    """Return *schema* as an object, with the keywords that stand in its description."""
    if schema is False:
        raise NoInstanceError("the schema false has no instance")
    if schema is True:
        return {}
    text, at, told = schema.get("description", ""), 0, {}
    while found := _TOLD.search(text, at):
        at = found.end()
        with contextlib.suppress(ValueError):
            value, at = json.JSONDecoder().raw_decode(text, at)
            told["prefixItems" if " " in found[1] else found[1]] = value
    return {**told, **schema}


def _recursing(refs: tuple[str, ...]) -> bool:
    return len(refs) != len(set(refs))


def _merged(first: Schema, second: Schema) -> Schema:
    """Return a schema that asks for both: all properties, and of other keywords the second's."""
    properties = {**first.get("properties", {}), **second.get("properties", {})}
    required = [*first.get("required", ()), *second.get("required", ())]
    both = {"properties": properties, "required": required}
    return first | second | {key: value for key, value in both.items() if value}


def _number(schema: Schema, *, whole: bool, step: int) -> int | float:
    """Return the fitting number nearest to 1 (or to a bound), *step* places further."""
    bounds = {key: Fraction(str(schema[key])) for key in _BOUNDS if key in schema}
    unit = Fraction(str(schema.get("multipleOf", 1)))
    starts = [math.ceil(start / unit) * unit for start in (Fraction(1), *bounds.values())]
    candidates = [start + unit * way for start in starts for way in (step, 1 + step, -1 - step)]
    if not whole and bounds and "multipleOf" not in schema:
        low, middle = min(bounds.values()), sum(bounds.values(), Fraction(0)) / len(bounds)
        candidates.append(low + (middle - low) / (1 + step))
    for value in candidates:
        if all(_BOUNDS[key](value, bound) for key, bound in bounds.items()):
            return int(value) if value.denominator == 1 else float(value)
    raise NoInstanceError("no number fits the bounds")


def _string(schema: Schema, variant: int) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    for key in ("format", "contentEncoding", "contentMediaType"):
        if schema.get(key) in _FORMATS:
            return _FORMATS[schema[key]].format(variant + 1)
    text = f"text{variant or ''}".ljust(least, "x")
    text = text if len(text) <= most else text[len(text) - most :]
    pattern = schema.get("pattern", "")
    try:
        spelled = _matching(pattern, least + variant) if pattern else []
        fitting = [
            candidate
            for candidate in (text, *spelled)
            if least <= len(candidate) <= most and re.search(pattern, candidate)
        ]
        if fitting:
            return fitting[variant % len(fitting)]
    except re.error as error:
        raise NoInstanceError(f"unreadable pattern {pattern!r}") from error
    raise NoInstanceError(f"no text found for the pattern {pattern!r}")


def _matching(pattern: str, least: int) -> list[str]:
    """Return texts that the regular expression may find, the shortest first; best effort."""
    # The standard library's own parser of patterns; there is no public one.
    tree = importlib.import_module("re._parser").parse(pattern)
    return [_spelled(tree, extra) for extra in range(max(least, 1) + 1)]


def _spelled(tree: Any, extra: int) -> str:
    """Spell a parsed pattern, with *extra* turns of what repeats; anchors are nothing."""
    spelled = ((_SPELLING.get(str(kind)), value) for kind, value in tree)
    return "".join(spell(value, extra) for spell, value in spelled if spell)


_SPELLING: dict[str, Callable[[Any, int], str]] = {
    "LITERAL": lambda value, _: chr(value),
    "NOT_LITERAL": lambda _value, _extra: "~",  # seldom what is excluded
    "ANY": lambda _value, _extra: "~",
    "RANGE": lambda value, extra: chr(min(value[0] + extra, value[1])),
    "CATEGORY": lambda value, _: _CLASSES.get(str(value), "-"),
    "NEGATE": lambda _value, _extra: "~",
    "IN": lambda value, extra: _spelled(value[:1], extra),
    "MAX_REPEAT": lambda value, extra: _spelled(value[2], extra) * min(value[0] + extra, value[1]),
    "MIN_REPEAT": lambda value, extra: _spelled(value[2], extra) * min(value[0] + extra, value[1]),
    "SUBPATTERN": lambda value, extra: _spelled(value[-1], extra),
    "BRANCH": lambda value, extra: _spelled(value[1][0], extra),
}
