"""Random JSON Schemas, and instances of them: what the laws are tried on."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.operations.structured.helpers import follow

NAMES = st.sampled_from(["a", "b", "c", "type", "$ref", "value"])
STRINGS = st.sampled_from(["", "x", "yy", "2026-01-02", "null", "abc"])
NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 1.0, 1.5, 10**20])
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
Draw = Any
"""What `st.composite` hands to a function."""


# --- any schema of a draft --------------------------------------------------------------------


def any_leaf(draw: Draw) -> Any:
    kinds = ["string", "integer", "number", "boolean", "null"]
    return draw(
        st.booleans()
        | st.sampled_from(kinds).map(lambda kind: {"type": kind})
        | st.lists(st.sampled_from(kinds), min_size=1, max_size=2, unique=True).map(
            lambda some: {"type": some}
        )
        | st.lists(JSON, min_size=1, max_size=3).map(lambda values: {"enum": values})
        | JSON.map(lambda value: {"const": value})
        | st.integers(0, 2).map(lambda n: {"type": "string", "minLength": n, "pattern": "^[a-z]*"})
        | st.integers(0, 2).map(lambda n: {"minimum": n, "multipleOf": 0.5})
        | st.sampled_from([{"type": "string", "format": "date"}, {"format": "date-time"}, {}])
    )


@st.composite
def any_schema(draw: Draw, new: bool, depth: int = 3) -> Any:
    """A schema of draft 2020-12 (*new*) or 7; its references lead to `$defs` A and B."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return any_leaf(draw)
    inner = any_schema(new, depth - 1)
    several = st.lists(inner, min_size=1, max_size=3)
    word = draw(st.sampled_from(["object", "object", "array", "choice", "ref", "odd"]))
    if word == "object":
        return _any_object(draw, inner)
    if word == "array":
        return _any_array(draw, inner, several, new)
    if word == "choice":
        found = {draw(st.sampled_from(["anyOf", "oneOf", "allOf"])): draw(several)}
        return found | draw(st.just({}) | inner.filter(lambda s: isinstance(s, dict)))
    if word == "ref":
        reference = {"$ref": draw(st.sampled_from(["#/$defs/A", "#/$defs/B", "#"]))}
        return reference | draw(st.just({}) | inner.filter(lambda s: isinstance(s, dict)))
    return draw(
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"if": inner, "then": inner}, optional={"else": inner})
        | st.fixed_dictionaries({"propertyNames": inner})
        | st.fixed_dictionaries({"contains": inner})
    )


def _any_object(draw: Draw, inner: Any) -> Any:
    found = {"type": "object"} if draw(st.booleans()) else {}
    found["properties"] = draw(st.dictionaries(NAMES, inner, max_size=3))
    words = {
        "required": st.lists(NAMES, max_size=2, unique=True),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        "maxProperties": st.integers(0, 3),
    }
    return found | draw(st.fixed_dictionaries({}, optional=words))


def _any_array(draw: Draw, inner: Any, several: Any, new: bool) -> Any:
    words = {
        "uniqueItems": st.booleans(),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 3),
        "items": inner if new else inner | several,
        ("prefixItems" if new else "additionalItems"): several if new else inner,
    }
    return {"type": "array"} | draw(st.fixed_dictionaries({}, optional=words))


@st.composite
def any_document(draw: Draw, new: bool) -> Any:
    """A whole schema, its root an object with the key `it`, so that it is shown as it is."""
    inner = any_schema(new)
    return {
        "$schema": DRAFT_2020 if new else DRAFT_7,
        "type": "object",
        "properties": {"it": draw(inner)},
        "required": ["it"],
        "$defs": {"A": draw(any_schema(new, 2)), "B": draw(any_schema(new, 1))},
    }


# --- schemas that strict mode takes without a loss -----------------------------------------


@st.composite
def plain_schema(draw: Draw, depth: int = 3) -> Any:
    """A schema whose every word strict mode knows, or that needs no more than merging."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(
            st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(
                lambda kind: {"type": kind}
            )
            | st.sampled_from([{"type": ["string", "null"]}, {"type": ["integer", "null"]}])
            | st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: {"enum": values})
            | st.sampled_from([{"const": "x"}, {"const": None}, {"type": "integer", "minimum": 2}])
        )
    inner = plain_schema(depth - 1)
    word = draw(st.sampled_from(["object", "object", "object", "array", "anyOf", "ref", "allOf"]))
    if word == "array":
        return {"type": "array", "items": draw(inner)}
    if word == "anyOf":
        return {"anyOf": draw(st.lists(inner, min_size=1, max_size=3))}
    if word == "ref":
        return {"$ref": draw(st.sampled_from(["#/$defs/A", "#/$defs/B", "#"]))}
    found = plain_object(draw, inner)
    return {"allOf": [found, {"description": "noted"}, True]} if word == "allOf" else found


def plain_object(draw: Draw, inner: Any) -> Any:
    properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
    found: dict[str, Any] = {
        "properties": properties,
        "required": draw(st.lists(st.sampled_from(sorted(properties)), max_size=2, unique=True)),
    }
    kind = draw(st.sampled_from([{"type": "object"}, {}]))  # D3: also where no type is named
    closed = draw(st.sampled_from([{"additionalProperties": False}, {}]))
    return found | kind | closed


@st.composite
def plain_document(draw: Draw) -> Any:
    root = plain_object(draw, plain_schema())
    return root | {
        "type": "object",
        "$defs": {"A": draw(plain_schema(2)), "B": draw(plain_schema(1))},
    }


@st.composite
def strict_instance(draw: Draw, schema: Any, root: Any, depth: int = 6) -> Any:
    """An instance of a strict *schema*, as a model that obeys it writes it."""
    schema = follow(schema, root)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "anyOf" in schema:
        branches = sorted(schema["anyOf"], key=lambda b: b != {"type": "null"})
        branch = branches[0] if depth <= 0 else draw(st.sampled_from(branches))
        return draw(strict_instance(branch, root, depth - 1))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = draw(st.sampled_from(kinds))
    if kind == "object":
        properties = schema["properties"].items()
        return {
            name: draw(strict_instance(part, root, depth - 1 if depth > -20 else _endless()))
            for name, part in properties
        }
    if kind == "array":
        items = strict_instance(schema["items"], root, depth - 1)
        return draw(st.lists(items, max_size=2 if depth > 0 else 0))
    known = {
        "string": STRINGS,
        "integer": NUMBERS.filter(lambda n: n % 1 == 0),
        "number": NUMBERS,
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return draw(known[kind])


def _endless() -> int:
    from hypothesis import reject

    reject()
