"""From a JSON Schema to the part of it that strict mode takes, with the meaning kept.

Strict mode (OpenAI's rules, which other upstreams follow) wants every object closed and every
property required, and knows few keywords. So:

- an optional property becomes a nullable one; its null is read back as "left out" (`nulls`);
- `oneOf` becomes `anyOf`, `const` an `enum` of one, `allOf` and keys beside `$ref` are merged;
- keywords it does not know move into the description, and are still validated on this side;
- what would lose values (`dict[str, X]`, untyped parts) is `InexpressibleError`: the mode steps
  down instead.

A derived schema may be narrower than the original, never wider in what is finally accepted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.operations.structured.json_schema import (
    Node,
    UnresolvedReferenceError,
    accepts_null,
    has_type,
    implied_type,
    resolve,
)
from llm_router.operations.structured.validation import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://platform.openai.com/docs/guides/structured-outputs: all but `regex`, which it has not.
_FORMATS = FORMATS - {"regex"}
_NUMBER = ("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_KEPT: Mapping[str, tuple[str, ...]] = {
    "string": ("pattern", "format"),
    "number": _NUMBER,
    "integer": _NUMBER,
    "array": ("minItems", "maxItems"),
}
_DESCRIBED = (
    "pattern", "format", "minLength", "maxLength", "contentEncoding", "contentMediaType",
    *_NUMBER, "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains",
    "minProperties", "maxProperties", "propertyNames", "dependentRequired", "not", "examples",
)  # fmt: skip
_REFUSED = (
    "patternProperties", "unevaluatedItems", "additionalItems", "if", "then", "else",
    "dependentSchemas", "dependencies", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_NOTES = frozenset({
    "title", "default", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$id",
    "$defs", "definitions", "discriminator",
})  # fmt: skip
# Look-around and back-references: the grammars behind strict mode are regular.
_NOT_IN_NAMES = re.compile(r"\W")
_IRREGULAR = re.compile(r"\(\?[=!<]|\\[1-9]|\\k<")
_MAX_PROPERTIES, _MAX_ENUM_VALUES, _MAX_NAME_CHARS, _MAX_DEPTH = 5000, 1000, 120_000, 10
_MAX_INLINING = 40


class InexpressibleError(ValueError):
    """Strict mode cannot say this without losing values; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Strict:
    """A schema for strict mode."""

    schema: Node
    adds_nulls: bool
    """Whether a null may stand for an optional property that is left out."""


def derive(schema: Node) -> Strict:
    """Return the strict form of *schema*, whose root is an object; InexpressibleError if none."""
    deriver = _Deriver(schema)
    try:
        out = deriver.node(deriver.inlined(schema, "$"), "$")
    except (UnresolvedReferenceError, RecursionError) as error:
        raise InexpressibleError(f"unresolvable: {error}") from None
    if out.get("type") != "object":
        raise InexpressibleError("$: the root is not one object")
    if deriver.definitions:
        out["$defs"] = deriver.definitions
    _check_limits(out)
    return Strict(out, deriver.adds_nulls)


class _Deriver:
    def __init__(self, root: Node) -> None:
        self.root = root
        self.definitions: dict[str, Node] = {}
        self.adds_nulls = False
        self._names: dict[str, str] = {}
        self._inlined = 0

    def node(self, schema: Any, at: str) -> Node:
        """Return the strict form of any part of the schema."""
        if not isinstance(schema, dict):
            raise InexpressibleError(f"{at}: anything or nothing is allowed there")
        schema = self.flatten(schema, at)
        if "$ref" in schema:
            return self._reference(schema, at)
        for word in _REFUSED:
            if schema.get(word, False) is not False:
                raise InexpressibleError(f"{at}: strict mode has no {word!r}")
        if "anyOf" in schema or "oneOf" in schema:
            return self._union(schema, at)
        if "enum" in schema or "const" in schema:
            return _choice(schema, at)
        kind = schema.get("type") or implied_type(schema)
        if isinstance(kind, list):
            return self._several_types(schema, kind, at)
        if kind == "object":
            return self._object(schema, at)
        if kind == "array":
            return self._array(schema, at)
        if kind not in ("string", "number", "integer", "boolean", "null"):
            raise InexpressibleError(f"{at}: any type is allowed there")
        return _with_constraints(schema, {"type": kind}, kind)

    def flatten(self, schema: Node, at: str) -> Node:
        """Merge `allOf`, and keys beside a `$ref`, into one schema; a bare reference stays."""
        own = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
        words = own.keys() - _NOTES - {"description"}
        parts = list(schema.get("allOf", ()))
        if "$ref" in schema:
            if not words and not parts:
                return schema
            parts.insert(0, {"$ref": schema["$ref"]})
        for part in parts:
            own = _merge(own, self.inlined(part, at), at)
        return own

    def inlined(self, part: Any, at: str) -> Node:
        """Return *part* flattened, with no reference left at its top."""
        if part is True:
            return {}
        if part is False:
            raise InexpressibleError(f"{at}: nothing is allowed there")
        flat = self.flatten(part, at)
        if "$ref" not in flat:
            return flat
        self._inlined += 1
        if self._inlined > _MAX_INLINING:
            raise InexpressibleError(f"{at}: a part of it contains itself")
        notes = {word: note for word, note in flat.items() if word != "$ref"}
        return _merge(notes, self.inlined(resolve(flat["$ref"], self.root), at), at)

    def _reference(self, schema: Node, at: str) -> Node:
        out = {"$ref": self._define(schema["$ref"], at)}
        if "description" in schema:
            # Strict mode wants a reference alone.
            return {"anyOf": [out], "description": schema["description"]}
        return out

    def _define(self, reference: str, at: str) -> str:
        if reference == "#":
            return reference
        if reference not in self._names:
            base = _NOT_IN_NAMES.sub("_", reference.rpartition("/")[2]) or "part"
            name = base
            while name in self.definitions:
                name += "_"
            self._names[reference] = name
            self.definitions[name] = {}  # a place for it, since it may refer to itself
            self.definitions[name] = self.node(resolve(reference, self.root), at)
        return f"#/$defs/{self._names[reference]}"

    def _union(self, schema: Node, at: str) -> Node:
        if "anyOf" in schema and "oneOf" in schema:
            raise InexpressibleError(f"{at}: anyOf beside oneOf")
        branches: list[Any] = schema["anyOf" if "anyOf" in schema else "oneOf"]
        shared = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf", "description")}
        if shared.keys() - _NOTES:
            branches = [_merge(shared, self.inlined(b, at), at) for b in branches]
        out: list[Node] = []
        for number, branch in enumerate(branches):
            derived = self.node(branch, f"{at}|{number}")
            if derived not in out:
                out.append(derived)
        return _described(schema, {"anyOf": out})

    def _several_types(self, schema: Node, kinds: list[str], at: str) -> Node:
        if not {"object", "array"} & set(kinds):
            return _with_constraints(schema, {"type": kinds}, *kinds)
        branches = [{**schema, "type": kind} for kind in kinds]
        for branch in branches:
            branch.pop("description", None)
        return _described(schema, {"anyOf": [self.node(b, at) for b in branches]})

    def _object(self, schema: Node, at: str) -> Node:
        if schema.get("additionalProperties", False) is not False:
            raise InexpressibleError(f"{at}: keys that are not named beforehand")
        if schema.get("unevaluatedProperties", False) is not False:
            raise InexpressibleError(f"{at}: keys that are not named beforehand")
        if "properties" not in schema and "additionalProperties" not in schema:
            raise InexpressibleError(f"{at}: an object of any keys")
        properties: Node = schema.get("properties", {})
        required = set(schema.get("required", ()))
        if required - properties.keys():
            raise InexpressibleError(f"{at}: required keys without a schema")
        out: Node = {
            "type": "object",
            "properties": {
                name: self._property(part, name in required, f"{at}.{name}")
                for name, part in properties.items()
            },
            "required": list(properties),
            "additionalProperties": False,
        }
        return _with_constraints(schema, out, "object")

    def _property(self, schema: Any, required: bool, at: str) -> Node:
        node = self.node(schema, at)
        if required:
            return node
        default = schema.get("default")
        if accepts_null(schema, self.root):
            return node if default is None else _noted(node, f"default: {_text(default)}")
        self.adds_nulls = True
        meaning = f"the default, {_text(default)}" if "default" in schema else "left out"
        return _noted(_nullable(node), f"null means {meaning}")

    def _array(self, schema: Node, at: str) -> Node:
        if "prefixItems" in schema:
            return self._tuple(schema, at)
        if not isinstance(schema.get("items"), dict):
            raise InexpressibleError(f"{at}: items of any type")
        out = {"type": "array", "items": self.node(schema["items"], f"{at}[]")}
        return _with_constraints(schema, out, "array")

    def _tuple(self, schema: Node, at: str) -> Node:
        prefix = [self.node(part, f"{at}[{n}]") for n, part in enumerate(schema["prefixItems"])]
        options = [part for n, part in enumerate(prefix) if part not in prefix[:n]]
        bounds = dict(schema)
        note = f"items by position: {_text(prefix)}" if len(options) > 1 else None
        if isinstance(schema.get("items"), dict):
            rest = self.node(schema["items"], f"{at}[]")
            options += [] if rest in options else [rest]
            note = f"first items by position: {_text(prefix)}, then {_text(rest)}"
        else:
            bounds["maxItems"] = min(schema.get("maxItems", len(prefix)), len(prefix))
        if not options:
            raise InexpressibleError(f"{at}: items of no type")
        items = options[0] if len(options) == 1 else {"anyOf": options}
        out = _with_constraints(bounds, {"type": "array", "items": items}, "array")
        return _noted(out, note) if note else out


def _merge(one: Node, two: Node, at: str) -> Node:
    """Return the schema of values that fit both; InexpressibleError where that is not plain."""
    out = {**two, **one}
    for key in one.keys() & two.keys():
        left, right = one[key], two[key]
        if left == right or key in _NOTES:
            continue
        if key == "description":
            out[key] = f"{left} {right}"
        elif key == "required":
            out[key] = list(dict.fromkeys([*left, *right]))
        elif key == "properties":
            out[key] = {**right, **left}
            for name in left.keys() & right.keys():
                if left[name] != right[name]:
                    out[key][name] = {"allOf": [left[name], right[name]]}
        else:
            raise InexpressibleError(f"{at}: two different {key!r} at once")
    for closed, other in ((one, two), (two, one)):
        foreign = other.get("properties", {}).keys() - closed.get("properties", {}).keys()
        if closed.get("additionalProperties") is False and foreign:
            raise InexpressibleError(f"{at}: a closed object that is extended")
    return out


def _choice(schema: Node, at: str) -> Node:
    values = list(schema["enum"]) if "enum" in schema else [schema["const"]]
    if "const" in schema:
        values = [value for value in values if value == schema["const"]]
    if "type" in schema:
        values = [value for value in values if has_type(value, schema["type"])]
    kinds = list(dict.fromkeys(_type_of(value) for value in values))
    if "object" in kinds or "array" in kinds or not kinds:
        raise InexpressibleError(f"{at}: a choice of objects or arrays")
    kind = kinds[0] if len(kinds) == 1 else kinds
    return _with_constraints(schema, {"type": kind, "enum": values})


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def _with_constraints(schema: Node, out: Node, *kinds: str) -> Node:
    """Add to *out* the constraints strict mode knows, and the others to its description."""
    known = {word for kind in kinds for word in _KEPT.get(kind, ())}
    moved = []
    for word in _DESCRIBED:
        if word not in schema:
            continue
        if word in known and _is_known(word, schema[word]):
            out[word] = schema[word]
        elif schema[word] is not False:
            moved.append(f"{word}: {_text(schema[word])}")
    out = _described(schema, out)
    return _noted(out, "; ".join(moved)) if moved else out


def _is_known(word: str, value: Any) -> bool:
    if word == "format":
        return value in _FORMATS
    if word == "pattern":
        return not _IRREGULAR.search(value)
    return not isinstance(value, bool)  # draft 4 wrote exclusiveMinimum: true


def _nullable(node: Node) -> Node:
    kind = node.get("type")
    if kind is not None and kind not in ("object", "array"):
        kinds = [kind] if isinstance(kind, str) else list(kind)
        out = {**node, "type": [*kinds, "null"]}
        if "enum" in node:
            out["enum"] = [*node["enum"], None]
        return out
    inner = {k: v for k, v in node.items() if k != "description"}
    branches = inner.get("anyOf", [inner])
    return _described(node, {"anyOf": [*branches, {"type": "null"}]})


def _described(schema: Node, out: Node) -> Node:
    if schema.get("description"):
        out["description"] = schema["description"]
    return out


def _noted(node: Node, note: str) -> Node:
    if "$ref" in node:
        return {"anyOf": [node], "description": f"({note})"}
    text = node.get("description")
    return {**node, "description": f"{text} ({note})" if text else f"({note})"}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _check_limits(out: Node) -> None:
    properties = enum_values = chars = 0
    pending: list[tuple[Any, int]] = [(out, 0), *((d, 0) for d in out.get("$defs", {}).values())]
    while pending:
        node, depth = pending.pop()
        names = node.get("properties", {})
        depth += "properties" in node
        values = [str(value) for value in node.get("enum", ())]
        properties, enum_values = properties + len(names), enum_values + len(values)
        chars += sum(map(len, names)) + sum(map(len, values))
        if depth > _MAX_DEPTH:
            raise InexpressibleError(f"more than {_MAX_DEPTH} objects inside each other")
        inner = [*names.values(), *node.get("anyOf", ())]
        pending += [
            (part, depth) for part in (*inner, *([node["items"]] if "items" in node else []))
        ]
    if properties > _MAX_PROPERTIES or enum_values > _MAX_ENUM_VALUES or chars > _MAX_NAME_CHARS:
        raise InexpressibleError("more properties or enum values than strict mode takes")
