"""What mypy knows of a Schema: checked by `mypy`, never run."""

from __future__ import annotations

from typing import Any, assert_type

from llm_router.operations.structured.modes import Capabilities, ModeMemory
from llm_router.operations.structured.parsing import Parse
from llm_router.operations.structured.reading import Reading
from llm_router.operations.structured.schema import Schema, SchemaCache
from tests.operations.structured.cases import Invoice, Movie, Page, Point

assert_type(Schema.of(Invoice), Schema[Invoice])
assert_type(Schema.of(Point), Schema[Point])
assert_type(Schema.of(Movie), Schema[Movie])
assert_type(Schema.of(int), Schema[int])
assert_type(Schema.of(list[Invoice]), Schema[list[Invoice]])
assert_type(Schema.of(dict[str, int]), Schema[dict[str, int]])
assert_type(Schema.of(Page[int]), Schema[Page[int]])
# A union is no `type[T]` to mypy: say the type where the object is used.
assert_type(Schema.of(Invoice | Point), Schema[Any])
assert_type(Schema.of({"type": "object"}), Schema[Any])
assert_type(SchemaCache().get(Invoice), Schema[Invoice])

parse = Parse(
    Schema.of(Invoice), memory=ModeMemory(), capabilities=lambda _deployment: Capabilities()
)
assert_type(parse, Parse[Invoice])


def reads(reading: Reading[Invoice]) -> None:
    assert_type(reading.value, Invoice)
