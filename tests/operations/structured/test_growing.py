"""Objects while they come: a part of the final one each time, and never more than that."""

from __future__ import annotations

import itertools
import json
import time
from typing import Annotated, Any

import pytest
from annotated_types import Len
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llm_router.answers.partial import Partial
from llm_router.operations.structured.growing import Growing
from llm_router.operations.structured.schema import Schema, element_type

OBJECT: Schema[Any] = Schema.of({"type": "object"})
LIST: Schema[Any] = Schema.of({"type": "array", "items": {}})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
SCALARS = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Line(BaseModel):
    what: str
    count: int = 1


class Order(BaseModel):
    customer: str
    lines: list[Line]
    note: str = ""


def pieces(text: str, cuts: list[int]) -> list[str]:
    """Cut *text* where *cuts* say, counted from its beginning."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places)]


def fed(
    schema: Schema[Any], parts: list[str], *, grow_strings: bool = False
) -> tuple[list[Partial[Any]], list[str]]:
    """Return every partial, and the texts of the elements, that *parts* give."""
    growing = Growing(schema, grow_strings=grow_strings)
    partials, elements = [], []
    for part in parts:
        partial = growing.feed(part)
        partials += [] if partial is None else [partial]
        while (element := growing.take_element()) is not None:
            elements.append(element)
    return partials, elements


def lies_within(part: Any, whole: Any, *, strings: bool = False) -> bool:
    """Return whether *part* is what *whole* had at some time: its fields, its first elements."""
    if isinstance(part, dict):
        known = isinstance(whole, dict) and part.keys() <= whole.keys()
        return known and all(lies_within(part[n], whole[n], strings=strings) for n in part)
    if isinstance(part, list):
        known = isinstance(whole, list) and len(part) <= len(whole)
        pairs = zip(part, whole, strict=False)
        return known and all(lies_within(a, b, strings=strings) for a, b in pairs)
    if strings and isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return type(part) is type(whole) and part == whole


def without_nulls(data: Any) -> Any:
    if isinstance(data, dict):
        return {n: without_nulls(v) for n, v in data.items() if v is not None}
    return [without_nulls(item) for item in data] if isinstance(data, list) else data


@given(
    value=st.dictionaries(st.text(), VALUES, max_size=5) | st.lists(VALUES, max_size=5),
    cuts=st.lists(st.integers(min_value=0), max_size=30),
    grow_strings=st.booleans(),
    indent=st.sampled_from([None, 1]),
    in_fence=st.booleans(),
    ascii_only=st.booleans(),
)
def test_each_partial_lies_within_the_next_and_the_last_is_the_whole(
    value: Any, cuts: list[int], grow_strings: bool, indent: int | None, in_fence: bool,
    ascii_only: bool,
) -> None:  # fmt: skip
    schema = OBJECT if isinstance(value, dict) else LIST
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    text = f"```json\n{text}\n```" if in_fence else text
    partials, elements = fed(schema, pieces(text, cuts), grow_strings=grow_strings)
    assert partials[-1].data == without_nulls(value)
    assert partials[-1].complete
    for earlier, later in itertools.pairwise(partials):
        assert lies_within(earlier.data, later.data, strings=grow_strings)
    if isinstance(value, list):
        assert [json.loads(element) for element in elements] == value


@given(text=st.text(alphabet='{}[]",:\\ 1tn-e`u\n'), cuts=st.lists(st.integers(0), max_size=5))
def test_what_is_no_json_raises_nothing(text: str, cuts: list[int]) -> None:
    for schema in (OBJECT, LIST):
        for grow_strings in (False, True):
            partials, _ = fed(schema, pieces(text, cuts), grow_strings=grow_strings)
            for partial in partials:
                assert isinstance(partial.data, dict | list)


@given(
    value=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, min_size=1),
    cuts=st.lists(st.integers(min_value=0), max_size=9),
)
def test_a_key_that_comes_twice_changes_nothing_that_was_shown(
    value: dict[str, Any], cuts: list[int]
) -> None:
    text = json.dumps(value)
    twice = f"{text[:-1]},{text[1:]}"
    for grow_strings in (False, True):
        partials, _ = fed(OBJECT, pieces(twice, cuts), grow_strings=grow_strings)
        shown = [partial.data for partial in partials]
        assert shown == [partial.data for partial in partials]


def test_a_number_appears_when_it_is_over_and_a_text_with_its_quote() -> None:
    parts = ['{"count": 1', "2", ', "what": "pe', "n\\", '"s"', ', "all": [tru', "e", "]", "}"]
    partials, _ = fed(OBJECT, parts)
    count, what, every, whole = [partial.data for partial in partials]
    assert count == {"count": 12}
    assert what == {"count": 12, "what": 'pen"s'}
    assert every == whole == {**what, "all": [True]}
    assert [partial.complete for partial in partials] == [False, False, False, True]


def test_texts_grow_where_that_was_asked_for() -> None:
    parts = ['{"lines": [{"what": "pe', "n", '"}, {"wh', 'at": "in', 'k"}]}']
    partials, _ = fed(Schema.of(Order), parts, grow_strings=True)
    shown = [[line["what"] for line in partial.data["lines"]] for partial in partials]
    assert shown == [["pe"], ["pen"], ["pen"], ["pen", "in"], ["pen", "ink"]]


def test_a_null_that_may_mean_left_out_is_not_shown() -> None:
    text = '{"customer": "A", "lines": [], "note": null}'
    assert Schema.of(Order).nulls_are_values is False
    assert fed(Schema.of(Order), [text])[0][-1].data == {"customer": "A", "lines": []}

    class Person(BaseModel):
        name: str | None

    assert fed(Schema.of(Person), ['{"name": null}'])[0][-1].data == {"name": None}


@pytest.mark.parametrize("text", ['{"value": [{"what": "pen"}, {"what": "ink"}]}',
                                  '[{"what": "pen"}, {"what": "ink"}]'])  # fmt: skip
def test_elements_of_a_list_come_bare_or_in_the_wrapper(text: str) -> None:
    partials, elements = fed(Schema.of(list[Line]), list(text))
    assert elements == ['{"what": "pen"}', '{"what": "ink"}']
    shown = [partial.data for partial in partials]
    assert [{"what": "pen"}] in shown
    assert shown[-1] == [{"what": "pen"}, {"what": "ink"}]
    assert all(isinstance(data, list) for data in shown)


@pytest.mark.parametrize(
    "text",
    [
        'Here it is: {"customer": "A"}',
        "{customer: 'A'}",
        '"{\\"customer\\": 1}"',
        '[{"customer": "A"}]',
        "I see. " * 50 + '{"customer": "A"}',
        '<think>\n```json\n{"customer": "B"}\n```\n</think>{"customer": "A"}',
    ],
)
def test_nothing_is_shown_of_what_the_end_may_read_otherwise(text: str) -> None:
    assert fed(Schema.of(Order), list(text)) == ([], [])


@pytest.mark.parametrize("prose", ["", "Here it is:\n\n", "As I see it, " * 20])
def test_an_object_in_a_code_fence_is_shown(prose: str) -> None:
    text = prose + '```json\n{"customer": "A"}\n```\nAnything else?'
    for parts in ([text], list(text)):
        assert fed(Schema.of(Order), parts)[0][-1].data == {"customer": "A"}


def test_a_type_with_the_wrappers_own_key_shows_nothing_before_the_end() -> None:
    class Gauge(BaseModel):
        value: int
        unit: str = "m"

    schema: Schema[Any] = Schema.of(Gauge | Line)
    assert fed(schema, ['{"value": {"value": 1}}']) == ([], [])
    assert fed(Schema.of(Line | Order), ['{"what": "pen", "x": 1}'])[0][-1].data["what"] == "pen"
    assert fed(Schema.of(Line | Order), ['{"value": {"what": "pen"'])[0][-1] == {"what": "pen"}


def test_a_partial_is_asked_by_name_by_key_and_by_place() -> None:
    text = '{"customer": "A", "lines": [{"what": "pen", "count": 2}, {"what": "ink", "cou'
    (partial,) = fed(Schema.of(Order), [text])[0]
    assert partial.customer == partial["customer"] == partial.get("customer") == "A"
    assert "note" not in partial and partial.get("note") is None and partial.get("note", 1) == 1
    assert partial.lines[0].count == 2
    assert [line.complete for line in partial.lines] == [True, False]
    assert partial.lines[-1].complete is False and partial.lines[:1][0].complete
    assert (partial.complete, partial.lines.complete, len(partial)) == (False, False, 2)
    assert list(partial) == ["customer", "lines"]
    with pytest.raises(AttributeError, match="'note' has not come yet"):
        _ = partial.note
    with pytest.raises(KeyError):
        _ = partial["note"]
    assert repr(partial.lines[1]) == "Partial({'what': 'ink'}, …)"
    assert partial == Partial(lambda: partial.data, 0)


def test_an_earlier_partial_stays_as_it_was() -> None:
    growing = Growing(OBJECT)
    first = growing.feed('{"a": [1, 2, {"b": 1,')
    second = growing.feed(' "c": 2}, 3], "d": 4}')
    assert first is not None and second is not None
    assert first.data == {"a": [1, 2, {"b": 1}]}
    assert second.data == {"a": [1, 2, {"b": 1, "c": 2}, 3], "d": 4}


def test_the_type_of_the_elements_is_found() -> None:
    defs = {"Line": {"type": "object"}}
    of_refs = {"type": "array", "items": {"$ref": "#/$defs/Line"}, "$defs": defs}
    assert element_type(of_refs) == {"$ref": "#/$defs/Line", "$defs": defs}
    assert element_type(list[Line]) is element_type(tuple[Line, ...]) is Line
    assert element_type(Annotated[list[Line], Len(3)]) is Line
    for other in (Order, dict[str, int], tuple[int, str], str, {"type": "object"}, list):
        with pytest.raises(TypeError, match="items are those of a list"):
            element_type(other)


@pytest.mark.parametrize("grow_strings", [False, True])
def test_the_time_grows_with_the_length_and_no_faster(grow_strings: bool) -> None:
    """Without the laws of machines: four times the text takes less than ten times the time."""

    def seconds(lines: int) -> float:
        data = {"lines": [{"what": f"pen {n}", "count": n, "tags": ["a"]} for n in range(lines)]}
        text = json.dumps(data)
        parts = [text[at : at + 100] for at in range(0, len(text), 100)]
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            partials, _ = fed(OBJECT, parts, grow_strings=grow_strings)
            best = min(best, time.process_time() - begun)
        assert partials[-1].data == data
        return best

    assert seconds(4_000) < 10 * seconds(1_000)
