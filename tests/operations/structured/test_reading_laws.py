"""Laws of reading, over random schemas, instances, noise and damage."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llm_router.operations.structured.reading import read_text
from llm_router.operations.structured.schema import MismatchError, Schema

NAMES = st.sampled_from(["name", "size", "items", "value", "title", "a b", "ä", "type"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["{", "}", '"', "```", "</think>", "<think>", "\\", "//", ",]", "[1]", '{"name": 1}', "null"]
)
INTEGERS = st.integers(-(10**20), 10**20)
LEAVES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.sampled_from(
    [
        ({"type": "string"}, TEXTS),
        ({"type": "integer"}, INTEGERS),
        ({"type": "number"}, INTEGERS | st.floats(allow_nan=False, allow_infinity=False)),
        ({"type": "boolean"}, st.booleans()),
        ({"type": ["string", "null"]}, st.none() | TEXTS),
        ({"enum": ["x", 1, None]}, st.sampled_from(["x", 1, None])),
        ({"const": "}"}, st.just("}")),
    ]
)


def _array(inner: tuple[Any, st.SearchStrategy[Any]]) -> tuple[Any, st.SearchStrategy[Any]]:
    return {"type": "array", "items": inner[0]}, st.lists(inner[1], max_size=3)


def _object(fields: dict[str, tuple[bool, Any]]) -> tuple[Any, st.SearchStrategy[Any]]:
    schema = {
        "type": "object",
        "properties": {name: part[0] for name, (_, part) in fields.items()},
        "required": [name for name, (required, _) in fields.items() if required],
        "additionalProperties": False,
    }
    present = {name: part[1] for name, (required, part) in fields.items() if required}
    optional = {name: part[1] for name, (required, part) in fields.items() if not required}
    return schema, st.fixed_dictionaries(present, optional=optional)


def _fields(parts: Any) -> Any:
    return st.dictionaries(NAMES, st.tuples(st.booleans(), parts), min_size=1, max_size=4)


PARTS = st.recursive(
    LEAVES, lambda parts: parts.map(_array) | _fields(parts).map(_object), max_leaves=6
)
OBJECTS = _fields(PARTS).filter(lambda f: any(required for required, _ in f.values())).map(_object)
CASES = OBJECTS.flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))
STYLES = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
BEFORE = st.sampled_from(
    ["", "\ufeff", "Sure! ", "Use {braces} or { or }. It is: ", "A list [see 1] of {}: ", "\n \n",
     "<think>what about {\"name\": 1}? [</think>", "{x} is meant.\n```json\n", "**Answer**: ",
     "reasoning {\"size\": 2}</think>\n"]
)  # fmt: skip
AFTER = st.sampled_from(
    ["", "\n", " Is that {right}?", "\n```", "\n```\nNote } and ] above.", "}", " {}"]
)


def write(instance: Any, style: Any) -> str:
    return json.dumps(instance, **style)


@settings(max_examples=60, deadline=None)
@given(CASES, STYLES, BEFORE, AFTER)
def test_an_instance_in_noise_comes_back(case: Any, style: Any, before: str, after: str) -> None:
    schema, instance = case
    reading = read_text(before + write(instance, style) + after, Schema.of(schema))
    assert reading.value == instance


@settings(max_examples=60, deadline=None)
@given(CASES, STYLES, BEFORE, st.data())
def test_a_prefix_never_parses_as_the_whole(
    case: Any, style: Any, before: str, data: st.DataObject
) -> None:
    schema, instance = case
    text = write(instance, style).rstrip()
    cut = data.draw(st.integers(0, len(text) - 1))
    try:
        reading = read_text(before + text[:cut], Schema.of(schema))
    except MismatchError:
        return
    raise AssertionError(f"{before + text[:cut]!r} was read as {reading.value!r}")


@settings(max_examples=80, deadline=None)
@given(CASES, STYLES, st.data())
def test_damage_is_an_error_unless_the_instance_survived(
    case: Any, style: Any, data: st.DataObject
) -> None:
    schema, instance = case
    text = write(instance, style)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = data.draw(
        st.sampled_from(
            [text[:at] + text[at + 1 :], *(text[:at] + c + text[at:] for c in '{}[]",:\\x')]
        )
    )
    try:
        reading = read_text(damaged, Schema.of(schema))
    except MismatchError:
        return
    try:
        said = json.loads(damaged)  # still JSON: that is what the model said
    except ValueError:
        said = instance
    assert reading.value in (said, instance)
    assert Draft202012Validator(schema).is_valid(reading.value)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60) | st.text('{}[]",:\\ \n1atrue<>/`', max_size=60))
@example("[" * 2000)
@example("{" * 5000 + '"')
def test_any_text_is_read_or_refused_by_our_error(text: str) -> None:
    for shown in ({"type": "object"}, {"type": "array"}, {}):
        try:
            read_text(text, Schema.of(shown))
        except MismatchError:
            continue
