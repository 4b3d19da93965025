"""Reading an answer's text: what is found, in how many steps, and what is never taken."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from llm_router.operations.structured.reading import Reading, read_text
from llm_router.operations.structured.schema import MismatchError, Schema
from tests.operations.structured.cases import Dog, Line, Tree

LINE: Schema[Any] = Schema.of(Line)
TREE: Schema[Any] = Schema.of(Tree)
PEN = '{"what": "pen", "price": "1.10", "count": 2}'
IT = Line(what="pen", price=Decimal("1.10"), count=2)


@pytest.mark.parametrize(
    ("text", "repairs"),
    [
        (PEN, 0),
        (f"\n  {PEN}\n", 0),
        (f"\ufeff{PEN}", 1),
        (f"```json\n{PEN}\n```", 1),
        (f"```\n{PEN}\n```", 1),
        (f"Sure, here it is:\n```json\n{PEN}\n```\nAnything else?", 1),
        (f"Here it is: {PEN} - as you asked.", 1),
        (f"<think>Maybe {{\"what\": \"ink\", \"price\": 9}}?</think>{PEN}", 1),
        (f"<thinking>hm</thinking>\n\n{PEN}", 1),
        (f"I weigh {{\"what\": \"ink\", \"price\": 9}} first.</think>\n{PEN}", 1),
        (f"Braces { '{' } and {{x}} and {{}} and [1] and ]: {PEN} }}", 1),
        (f"{PEN}}}", 1),
        (f"{{{PEN}}}", 1),
        (f"{PEN}{PEN}", 1),
        (f"An example is {{\"what\": \"x\"}}. Mine: {PEN}", 1),
        (json.dumps(PEN), 1),
        (json.dumps(f" {PEN}"), 1),
        ('{"what": "pen", "price": "1.10", "count": 2,}', 2),
        ('{"what": "pen", /* the pen */ "price": "1.10", // Euro\n "count": 2}', 2),
        ('Here: {"what": "pen", "price": "1.10", "count": 2,} so.', 2),
        ("{'what': 'pen', 'price': '1.10', 'count': 2}", 3),
        ("{what: 'pen', price: '1.10', count: 2,}", 3),
        ("```\n{'what': 'pen', 'price': '1.10', 'count': 2}\n```", 3),
        ('{"what": "pen", "price": 1.10, "count": 2}', 0),
        ('{"what": "pen", "price": "1.10", "count": "2"}', 0),
    ],
)  # fmt: skip
def test_an_object_is_found(text: str, repairs: int) -> None:
    reading = read_text(text, LINE)
    assert (reading.value, reading.repairs) == (IT, repairs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        PEN[:-1],
        PEN[:20],
        f"[{PEN}",
        f'{{"line": {PEN}',
        f'{{"line" {PEN}}}',
        f"<think>It is {PEN}",
        f"<think>It is {PEN}</think>",
        '{"what": "pen", "price": "1.10", "count": "two"}',
        '{"what": "pen" "price": "1.10"}',
        '{"what": "p"en", "price": "1.10"}',
        '{"what": pen, "price": "1.10", ]}',
        '"text"',
        "[" * 100_000,
        '{"a":' * 100_000,
        "x" * 3_000_000,
        "{'what': 'pen', 'price': 1e400}",
        "{'what': pen, 'price': '1.10'}",
        """{"what": "pen, "price": "1.10"}""",
        '{"what": "pen", "price": 1.10"}',
    ],
    ids=lambda text: text[:30],
)
def test_no_object_is_taken_when_there_is_no_sound_one(text: str) -> None:
    with pytest.raises(MismatchError):
        read_text(text, LINE)


@pytest.mark.parametrize(
    "text",
    [
        '{"value":1,"children":[{"value":2,"children":[]}',
        '{"value":1,"children":[{"value":2}]',
        '{"value":1,,"children":[{"value":2}]}',
        '{"value":1,"children"x[{"value":2}]}',
        '{value":1,"children":[{"value":2}]}',
        '"value":1,"children":[{"value":2}]}',
        'So: {"value":1,"children":[{"value":2}',
        '```json\n{"value":1,"children":[{"value":2}\n```',
    ],
)
def test_a_part_of_a_broken_object_is_never_the_answer(text: str) -> None:
    with pytest.raises(MismatchError):
        read_text(text, TREE)


def test_an_array_inside_a_broken_array_is_never_the_answer() -> None:
    schema: Schema[Any] = Schema.of(list[int] | list[list[int]])
    with pytest.raises(MismatchError):
        read_text("[1],[2,3]]", schema)


@pytest.mark.parametrize("text", ["[1]0]", "[1],2]", "[1],\n true]", '[1]"2"]'])
def test_a_value_that_goes_on_behind_a_stray_bracket_is_never_the_answer(text: str) -> None:
    with pytest.raises(MismatchError):
        read_text(text, Schema.of(list[int]))


@pytest.mark.parametrize(
    "text",
    [
        '{"count": 1, "what": "a", "price": 1} or {"count": 2, "what": "a", "price": 1}',
        f"{PEN}\n```json\n{PEN.replace('pen', 'ink')}\n```",
        f"{PEN} or {PEN.replace('pen', 'ink')[:-1]},}}",
        f"{PEN[:-1]},}} or {PEN.replace('pen', 'ink')[:-1]},}}",
    ],
)
def test_of_two_objects_that_fit_and_differ_neither_is_the_answer(text: str) -> None:
    with pytest.raises(MismatchError, match="2 objects in it fit, and they differ: give one"):
        read_text(text, LINE)


@pytest.mark.parametrize(
    "text", [f"{PEN} … {PEN}", f"{PEN} ```{PEN.replace(' ', '')}```", f"{PEN} … {PEN[:-1]},}}"]
)
def test_an_object_that_is_said_twice_is_the_answer(text: str) -> None:
    assert read_text(text, LINE) == Reading(IT, 1)


def test_an_object_among_many_notes_is_the_answer() -> None:
    notes = " ".join(f"[{number % 30}] {{x}} {{}}" for number in range(1_000))
    assert read_text(f"{notes} {PEN} {notes}", LINE).value == IT
    with pytest.raises(MismatchError):  # more than are looked through
        read_text(f"{' '.join(f'[{number}]' for number in range(70))} {PEN}", LINE)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_backslash_before_a_raw_line_break_is_no_other_text(quote: str) -> None:
    schema: Schema[Any] = Schema.of({"type": "object", "properties": {"a": {"type": "string"}}})
    text = "{'a': 'x\\\\\ny'}".replace("'", quote)
    assert read_text(text, schema).value == {"a": "x\\\ny"}  # a backslash, then a line break
    with pytest.raises(MismatchError):
        read_text(text.replace("\\\\", "\\"), schema)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'it\\'s', 'b': \"it's\"}", {"a": "it's", "b": "it's"}),
        ("""{'a': 'say "x"', }""", {"a": 'say "x"'}),
        ("{a: True, 'b': [None, False,],}", {"a": True, "b": [None, False]}),
        ("{'True': 'None', a : 'a:b'}", {"True": "None", "a": "a:b"}),
        ("{'a': '\\u00e4\\n\\\\'}", {"a": "ä\n\\"}),
        ("{'a': 'x // y', /* 'b': 2, */ 'c': 1.50}", {"a": "x // y", "c": 1.5}),
        ("I'd say {'a': 1}, that's it", {"a": 1}),
        ("{thought: I'd say} {'a': 1}", {"a": 1}),
    ],
)
def test_the_quotes_of_other_languages_are_read_as_they_are_meant(text: str, value: Any) -> None:
    assert read_text(text, Schema.of({"type": "object"})) == Reading(value, 3)


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 'it's'}", "{'a': '\\x41'}", "{'a': 1 'b': 2}", "{'a': [,]}", "{'a': [1,,]}", "{,}",
        "{'a': +1}", "{'a': .5}", "{'a': 'x}",
        "{'a': `x`}", "{'a': maybe}", "{a: b: 1}", "{'a', 'b'}",
    ],
)  # fmt: skip
def test_what_means_nothing_in_any_of_them_is_refused(text: str) -> None:
    with pytest.raises(MismatchError):
        read_text(text, Schema.of({"type": "object"}))


def test_nulls_are_read_as_they_stand_when_the_schema_wants_them() -> None:
    """The first branch takes them for "left out", and then does not fit."""
    small = {"a": {"type": "integer", "maximum": 5}, "b": {"type": "integer"}}
    large = {"a": {"type": "integer", "minimum": 6}, "b": {"type": "null"}}
    branches = [{"type": "object", "properties": small, "required": ["a"]},
                {"type": "object", "properties": large, "required": ["a", "b"]}]  # fmt: skip
    root = {"type": "object", "properties": {"it": {"anyOf": branches}}, "required": ["it"]}
    said = {"it": {"a": 9, "b": None}}
    assert read_text(json.dumps(said), Schema.of(root), strict=True) == Reading(said, 0)


def test_a_bare_word_is_not_made_a_string() -> None:
    schema: Schema[Any] = Schema.of({"type": "object", "properties": {"items": {"type": "array"}}})
    with pytest.raises(MismatchError):
        read_text('{"items": [x]}', schema)


def test_raw_line_breaks_in_strings_are_read_as_such() -> None:
    reading = read_text('{"what": "two\nlines\tand a tab", "price": 1}', LINE)
    assert (reading.value.what, reading.repairs) == ("two\nlines\tand a tab", 2)


def test_strings_keep_what_looks_like_noise_elsewhere() -> None:
    odd = "a // b /* c */, ] ```json {x} <think>y</think>"
    text = f"Here:\n{json.dumps({'what': odd, 'price': 1})}\nDone."
    assert read_text(text, LINE).value.what == odd


@pytest.mark.parametrize(
    "number", ["12345678901234567890.123456789", "0.1000000000000000055511", "1e-30"]
)
def test_decimals_keep_every_digit(number: str) -> None:
    text = f'{{"what": "12345678901234567890.5", "price": {number}}}'
    for schema in (LINE, Schema.of(list[Line])):
        shown = text if schema is LINE else f"[{text}]"
        value = read_text(shown, schema).value
        assert (value if schema is LINE else value[0]).price == Decimal(number)


def test_a_long_number_of_a_float_stays_a_float() -> None:
    class Both(BaseModel):
        model_config = {"strict": True}
        exact: Decimal
        rough: float

    value = read_text('{"exact": "1.5", "rough": 0.12345678901234567890}', Schema.of(Both)).value
    assert value.rough == 0.12345678901234567890


def test_scalars_are_found_in_a_fence_but_not_in_prose() -> None:
    schema = Schema.of(int)
    assert read_text("```json\n42\n```", schema).value == 42
    assert read_text("<think>41?</think> 42", schema).value == 42
    with pytest.raises(MismatchError):
        read_text("It is 42.", schema)


def test_null_stands_for_left_out_under_a_strict_schema() -> None:
    text = '{"what": "pen", "price": 1, "count": null}'
    reading = read_text(text, LINE, strict=True)
    assert (reading.value.count, reading.repairs) == (1, 0)


def test_null_for_a_default_is_a_repair_when_the_schema_was_not_strict() -> None:
    reading = read_text('{"what": "pen", "price": 1, "count": null}', LINE)
    assert (reading.value.count, reading.repairs) == (1, 1)


def test_null_goes_to_the_branch_whose_keys_were_written() -> None:
    """Without care the answer would be read as the other model, which ignores what it lacks."""

    class Long(BaseModel):
        name: str
        size: int = 3

    class Short(BaseModel):
        name: str

    value = read_text(
        '{"value":{"name":"a","size":null}}', Schema.of(Short | Long), strict=True
    ).value
    assert value.name == "a"
    union: Schema[Any] = Schema.of(Dog | Long)
    text = '{"value":{"kind":"dog","good":true,"friends":null}}'
    assert read_text(text, union, strict=True).value == Dog(kind="dog", good=True)


def test_the_problem_is_of_the_value_that_was_found() -> None:
    with pytest.raises(MismatchError) as caught:
        read_text(f"Here: {PEN} ok", TREE)
    assert caught.value.problems == ("value: Field required",)


def test_problems_are_bounded() -> None:
    schema: Schema[Any] = Schema.of(list[int])
    with pytest.raises(MismatchError) as caught:
        read_text(json.dumps(["x" * 1000] * 1000), schema)
    assert len(caught.value.problems) == 20
    assert len(str(caught.value)) < 20 * 301


def test_json_nan_is_no_json_for_a_json_schema() -> None:
    with pytest.raises(MismatchError, match="not JSON"):
        read_text("NaN", Schema.of({"type": "number"}))
