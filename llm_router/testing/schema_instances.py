"""One valid instance of a JSON Schema, always the same: what the sandbox answers when asked for it.

Served: types, enum, const, local $ref, allOf, anyOf, oneOf, formats, bounds, multipleOf, patterns,
prefixItems, contains, uniqueItems, additionalProperties. Recursion is cut where the schema allows.
"""

from __future__ import annotations

import importlib
import json
import math
import operator
import re
from fractions import Fraction
from typing import Any

Schema = dict[str, Any]

_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/path",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "regex": "^a$",
    "json-pointer": "/a",
}
_LARGER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
_SMALLER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_HINTS = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_BOUNDS = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
_SHAPES = {"properties", "items", "anyOf", "oneOf", "allOf", "$ref"}
_DEEPEST = 12


class NoInstanceError(ValueError):
    """The schema has no instance that this module can find."""


def instance(schema: Schema | bool) -> Any:
    """Return an instance of *schema*; raises `NoInstanceError` when none is found."""
    return _Builder(schema).build(schema, ())


def find_schema(text: str) -> Schema | None:
    """Return the first JSON Schema of an object, array or union that stands in *text*."""
    if '"type"' not in text and '"anyOf"' not in text and '"properties"' not in text:
        return None
    decoder = json.JSONDecoder()
    for found in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, found.start())
        except ValueError:
            continue
        if isinstance(value, dict) and (
            _SHAPES & value.keys() or value.get("type") in ("object", "array")
        ):
            return value
    return None


class _Builder:
    def __init__(self, root: Schema | bool) -> None:
        self._root = root
        self._variant = 0

    def build(self, schema: Schema | bool, refs: tuple[str, ...]) -> Any:
        """Build an instance; *refs* are the references we are inside of."""
        if schema is False:
            raise NoInstanceError("the schema false has no instance")
        if schema is True:
            return "text"
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

    def _flat(self, schema: Schema, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Resolve `$ref` and fold `allOf` (and `if`/`then`) into one schema."""
        while "$ref" in schema:
            name = schema["$ref"]
            if refs.count(name) > 2 or len(refs) > _DEEPEST:
                raise NoInstanceError(f"{name} recurses without an end")
            refs = (*refs, name)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = _merged(self._resolve(name), rest)
        for part in self._conjuncts(schema):
            flat, refs = self._flat(part, refs)
            schema = _merged({k: v for k, v in schema.items() if k not in ("allOf", "if")}, flat)
        return schema, refs

    @staticmethod
    def _conjuncts(schema: Schema) -> list[Schema]:
        conditional = [schema["if"], schema.get("then", {})] if "if" in schema else []
        return [part for part in [*schema.get("allOf", ()), *conditional] if isinstance(part, dict)]

    def _resolve(self, reference: str) -> Schema:
        target: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        return target if isinstance(target, dict) else {}

    def _branch(self, schema: Schema, key: str, refs: tuple[str, ...]) -> Any:
        branches = [branch for branch in schema[key] if branch is not False]
        if _recursing(refs):  # Inside a recursion the way out is the branch without references.
            branches.sort(key=lambda branch: "$ref" in json.dumps(branch))
        base = {name: value for name, value in schema.items() if name != key}
        for branch in branches:
            try:
                flat, inner = self._flat({} if branch is True else branch, refs)
                value = self.build(_merged(base, flat), inner)
            except NoInstanceError:
                continue
            if key == "anyOf" or self._matches_once(value, schema[key]):
                return value
        raise NoInstanceError(f"no branch of {key} has an instance")

    def _matches_once(self, value: Any, branches: list[Any]) -> bool:
        from jsonschema import Draft202012Validator

        root = self._root if isinstance(self._root, dict) else {}
        definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
        checks = (
            Draft202012Validator({"allOf": [branch], **definitions}).is_valid(value)
            for branch in branches
        )
        return sum(checks) == 1

    def _typed(self, schema: Schema, refs: tuple[str, ...]) -> Any:
        kind = _type_of(schema)
        if kind == "object":
            return self._object(schema, refs)
        if kind == "array":
            return self._array(schema, refs)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer", step=self._variant)
        return {"boolean": self._variant % 2 == 0, "null": None}.get(kind, "text")

    def _object(self, schema: Schema, refs: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        built: dict[str, Any] = {}
        for name, part in properties.items():
            if name not in required and (_recursing(refs) or part is False):
                continue
            try:
                built[name] = self.build(part, refs)
            except NoInstanceError:
                if name in required:
                    raise
        other = schema.get("additionalProperties", True)
        for name in required:
            if name not in built:
                built[name] = self.build(other, refs)
        while len(built) < schema.get("minProperties", 0):
            built[f"key{len(built) + 1}"] = self.build(other, refs)
        return built

    def _array(self, schema: Schema, refs: tuple[str, ...]) -> list[Any]:
        parts = list(schema.get("prefixItems", ()))
        rest = schema.get("items", True)
        if "contains" in schema:
            parts += [schema["contains"]] * schema.get("minContains", 1)
        wanted = schema.get("minItems", 0)
        if not parts and not wanted and rest is not False and not _recursing(refs):
            wanted = 1
        wanted = min(max(wanted, len(parts)), schema.get("maxItems", wanted + len(parts)))
        parts += [rest] * (wanted - len(parts))
        outer, items = self._variant, []
        for index, part in enumerate(parts[:wanted]):
            # Items differ only where they must: a plain list stays easy to read.
            self._variant = outer + index if schema.get("uniqueItems") else outer
            items.append(self.build(part, refs))
        self._variant = outer
        return items

    def _string(self, schema: Schema) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if "pattern" in schema:
            return _matching(schema["pattern"], least, most)
        known = _FORMATS.get(schema.get("format", ""))
        if known is not None:
            return known
        text = "text" if not self._variant else f"text{self._variant}"
        text += "x" * (least - len(text))
        return text if most is None else text[-most:] if most else ""


def _recursing(refs: tuple[str, ...]) -> bool:
    return len(refs) != len(set(refs))


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        if not kind:
            raise NoInstanceError("no type fits")
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = next((name for name, keys in _HINTS.items() if any(k in schema for k in keys)), "")
    return str(kind)


def _merged(first: Schema, second: Schema) -> Schema:
    """Return a schema that asks for both: tighter bounds, all properties, common types."""
    merged = {**first}
    for key, value in second.items():
        merged[key] = _both(key, merged[key], value) if key in merged else value
    return merged


def _both(key: str, a: Any, b: Any) -> Any:
    if key in _LARGER:
        return max(a, b)
    if key in _SMALLER:
        return min(a, b)
    if key == "properties":
        return {name: _conjunction(a.get(name), b.get(name)) for name in {**a, **b}}
    if key == "required":
        return list(dict.fromkeys([*a, *b]))
    if key == "enum":
        return [value for value in a if value in b]
    if key == "allOf":
        return [*a, *b]
    if key in ("anyOf", "oneOf"):
        return [{"allOf": [x, y]} for x in a for y in b]
    if key == "type":
        return _common_types(a, b)
    if key in ("items", "additionalProperties"):
        return _conjunction(a, b)
    return b


def _conjunction(a: Any, b: Any) -> Any:
    if a is None or a is True:
        return True if b is None else b
    if b is None or b is True:
        return a
    return False if False in (a, b) else {"allOf": [a, b]}


def _common_types(a: Any, b: Any) -> list[str]:
    first, second = ([x] if isinstance(x, str) else x for x in (a, b))
    if "number" in second and "integer" in first:
        second = [*second, "integer"]
    if "number" in first and "integer" in second:
        first = [*first, "integer"]
    return [name for name in first if name in second]


def _number(schema: Schema, *, whole: bool, step: int) -> int | float:
    """Return the fitting number nearest to 1 (or to a bound), *step* places further."""
    bounds = [Fraction(str(schema[key])) for key in _BOUNDS if key in schema]
    unit = Fraction(str(schema.get("multipleOf", 1)))
    if whole:
        unit = Fraction(unit.numerator)
    starts = [Fraction(1), *bounds]
    steps = [math.ceil(start / unit) * unit for start in starts]
    candidates = [value + unit * shift for value in steps for shift in (step, 1 + step, -1 - step)]
    if not whole and "multipleOf" not in schema and bounds:
        candidates.append(sum(bounds, Fraction(0)) / len(bounds))
    for value in candidates:
        if all(fits(value, Fraction(str(schema[k]))) for k, fits in _BOUNDS.items() if k in schema):
            return int(value) if value.denominator == 1 else float(value)
    raise NoInstanceError("no number fits the bounds")


def _matching(pattern: str, least: int, most: int | None) -> str:
    """Return a text that the regular expression finds, of a fitting length; best effort."""
    try:
        # The standard library's own parser of patterns; there is no public one.
        tree = importlib.import_module("re._parser").parse(pattern)
    except re.error as error:
        raise NoInstanceError(f"unreadable pattern {pattern!r}") from error
    for extra in range(max(least, 1) + 1):
        text = _spelled(tree, extra)
        for candidate in (text, text + "x" * (least - len(text))):
            fits = len(candidate) >= least and (most is None or len(candidate) <= most)
            if fits and re.search(pattern, candidate):
                return candidate
    raise NoInstanceError(f"no text found for the pattern {pattern!r}")


def _spelled(tree: Any, extra: int) -> str:
    return "".join(_spell(str(kind), value, extra) for kind, value in tree)


def _spell(kind: str, value: Any, extra: int) -> str:
    """Spell one node of a parsed pattern."""
    if kind == "LITERAL":
        return chr(value)
    if kind == "IN":
        return _one_of(value)
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = value
        return "".join(_spelled(body, extra) for _ in range(min(least + extra, int(most))))
    if kind == "SUBPATTERN":
        return _spelled(value[-1], extra)
    if kind == "BRANCH":
        return _spelled(value[1][0], extra)
    if kind == "ANY":
        return "x"
    if kind == "NOT_LITERAL":
        return "x" if value != ord("x") else "y"
    return ""  # Anchors and look-arounds: whether they hold is tried afterwards.


def _one_of(items: Any) -> str:
    """Return a character of a class such as `[a-z0-9_]`; letters and digits first."""
    accepted = re.compile(_class_source(items))
    return next(
        (c for c in "a1A0 -_.é/" + "".join(map(chr, range(33, 127))) if accepted.match(c)), "x"
    )


def _class_source(items: Any) -> str:
    categories = {
        "CATEGORY_DIGIT": r"\d",
        "CATEGORY_NOT_DIGIT": r"\D",
        "CATEGORY_SPACE": r"\s",
        "CATEGORY_NOT_SPACE": r"\S",
        "CATEGORY_WORD": r"\w",
        "CATEGORY_NOT_WORD": r"\W",
    }
    source = ""
    for kind, value in items:
        name = str(kind)
        if name == "NEGATE":
            source = "^" + source
        elif name == "LITERAL":
            source += re.escape(chr(value))
        elif name == "RANGE":
            source += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        elif name == "CATEGORY":
            source += categories[str(value)]
    return f"[{source}]"
