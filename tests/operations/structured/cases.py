"""Schemas as applications write them, each with an instance: the table of the suite."""
# ruff: noqa: E501 - a row of a table is one line

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

T = TypeVar("T")


class Line(BaseModel):
    what: str
    price: Decimal
    count: int = 1


class Invoice(BaseModel):
    """An invoice as it was sent."""

    number: str = Field(min_length=1, max_length=40, description="As printed")
    issued: date
    lines: list[Line] = Field(max_length=50)
    note: str | None = None


class Defaults(BaseModel):
    name: str
    retries: int = 3
    ratio: float = 0.5
    loud: bool = False
    tags: list[str] = Field(default_factory=lambda: ["new"])
    line: Line = Line(what="nothing", price=Decimal(0))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Coloured(BaseModel):
    colour: Colour = Colour.RED
    level: Level
    shade: Literal["light", "dark", None] = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool
    friends: list[Cat] = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Owner(BaseModel):
    pets: list[Pet]
    best: Pet | None = None


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Linked(BaseModel):
    value: str
    next: "Linked | None" = Field(default=None, description="The one after it")


class Folder(BaseModel):
    name: str
    files: list["File"]


class File(BaseModel):
    name: str
    links: list[Folder] = []


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int


class Base(BaseModel):
    id: UUID


class Derived(Base):
    at: datetime
    every: timedelta
    when: time
    address: IPv4Address


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first_name: str = Field(alias="firstName")
    type_: str = Field(alias="type")


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class StrictModel(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date
    size: int = 4


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Empty(BaseModel):
    pass


class Bounded(BaseModel):
    score: Annotated[float, Field(ge=0, le=1)]
    even: Annotated[int, Field(multiple_of=2, gt=0, lt=100)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    unique: set[int]
    picture: bytes


class Titled(BaseModel):
    """Property names that are also keywords."""

    title: str
    description: str
    default: int = 1
    properties: list[str]
    required: bool


class Tags(RootModel[list[str]]):
    pass


@dataclass
class Point:
    x: float
    y: float = 0.0


@pydantic_dataclass
class Checked:
    size: int = field(default=2)


class Movie(TypedDict):
    name: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str


class Mapped(BaseModel):
    prices: dict[str, float]


class Anything(BaseModel):
    data: Any


class Nested(BaseModel):
    home: "Place"
    work: "Place | None" = None
    others: "list[Place]" = []


class Place(BaseModel):
    city: str
    zip: str = "0000"


class Described(BaseModel):
    place: Place = Field(description="Where it is")


JSON_PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "mail": {"type": "string", "format": "email"},
        "web": {"type": "string", "format": "uri"},
    },
    "required": ["name"],
}
JSON_TREE = {
    "$id": "https://example.com/tree",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["value"],
    "additionalProperties": False,
}
JSON_NESTED_LIST = {
    "type": "array",
    "items": {"anyOf": [{"type": "integer"}, {"$ref": "#"}]},
    "maxItems": 9,
}
JSON_ALL_OF = {
    "type": "object",
    "allOf": [
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"$ref": "#/definitions/b"},
    ],
    "definitions": {"b": {"properties": {"b": {"type": "string"}}, "required": ["b"]}},
}
JSON_EITHER_KEY = {
    "type": "object",
    "properties": {"mail": {"type": "string"}, "phone": {"type": "string"}},
    "anyOf": [{"required": ["mail"]}, {"required": ["phone"]}],
}
JSON_BESIDE_REF = {
    "type": "object",
    "properties": {
        "from": {"$ref": "#/$defs/day", "description": "The first day"},
        "to": {"$ref": "#/$defs/day", "default": "never"},
        "short": {"$ref": "#/$defs/day", "maxLength": 5},
    },
    "required": ["from"],
    "$defs": {"day": {"type": "string", "description": "A day"}},
}
JSON_WORDY = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "not": {"const": 0}, "examples": [3]},
        "b": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "contains": {"const": 1}},
        "c": {"type": ["string", "null"], "maxLength": 3},
        "d": {"type": ["object", "null"], "properties": {"e": {"type": "string"}}, "required": ["e"]},
        "f": {"const": True},
        "g": {"enum": [1, "one", None]},
        "h": {"type": "string", "pattern": "^(?!x)"},
        "i": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    },
    "required": ["a", "b", "c", "d", "f", "g", "h", "i"],
    "minProperties": 2,
}  # fmt: skip
JSON_DRAFT_7 = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"a": {"$ref": "#/definitions/A"}},
    "required": ["a"],
    "definitions": {"A": {"type": "string", "enum": ["x", "y"]}},
}
JSON_IF = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "if": {"properties": {"a": {"const": 1}}},
    "then": {"maxProperties": 1},
}


@dataclass(frozen=True)
class Case:
    name: str
    schema: Any
    text: str
    """An instance as JSON: every required property, perhaps not every optional one."""
    strict: bool = True
    """Whether strict mode can say it."""


CASES = [
    Case("model", Invoice, '{"number":"7","issued":"2026-01-31","lines":[{"what":"pen","price":"1.10"}]}'),
    Case("defaults", Defaults, '{"name":"x"}'),
    Case("defaults given", Defaults, '{"name":"x","retries":1,"ratio":0,"loud":true,"tags":[],"line":{"what":"a","price":1}}'),
    Case("enums", Coloured, '{"colour":"blue","level":2,"shade":"dark"}'),
    Case("enum defaults", Coloured, '{"level":1}'),
    Case("discriminated union", Pet, '{"kind":"cat"}'),
    Case("discriminated in a list", Owner, '{"pets":[{"kind":"dog","good":true,"friends":[{"kind":"cat"}]},{"kind":"cat","lives":3}]}'),
    Case("recursion", Tree, '{"value":1,"children":[{"value":2,"children":[{"value":3}]}]}'),
    Case("recursion by an option", Linked, '{"value":"a","next":{"value":"b"}}'),
    Case("mutual recursion", Folder, '{"name":"a","files":[{"name":"b","links":[{"name":"c","files":[]}]}]}'),
    Case("generic", Page[Line], '{"items":[{"what":"a","price":2.5}],"total":1}'),
    Case("generic of a primitive", Page[int], '{"items":[1,2],"total":2}'),
    Case("inherited, formats", Derived, '{"id":"12345678-1234-5678-1234-567812345678","at":"2026-01-01T00:00:00Z","every":"PT5M","when":"12:30:00","address":"127.0.0.1"}'),
    Case("aliases", Aliased, '{"firstName":"Ada","type":"x"}'),
    Case("extra forbidden", Closed, '{"a":1}'),
    Case("strict model", StrictModel, '{"day":"2026-05-05"}'),
    Case("extra allowed", Open, '{"a":1,"b":"kept"}', strict=False),
    Case("no fields", Empty, "{}"),
    Case("bounds", Bounded, '{"score":0.25,"even":4,"code":"ABC","unique":[1,2],"picture":"abc"}'),
    Case("fields named as keywords", Titled, '{"title":"a","description":"b","properties":["c"],"required":true}'),
    Case("root model", Tags, '["a","b"]'),
    Case("dataclass", Point, '{"x":1.5}'),
    Case("pydantic dataclass", Checked, '{"size":5}'),
    Case("list of dataclasses", list[Point], '[{"x":1,"y":2},{"x":3}]'),
    Case("typed dict", Movie, '{"name":"Heat"}'),
    Case("typed dict, optional key", Movie, '{"name":"Heat","year":1995}'),
    Case("named tuple", Pair, '[1,"b"]'),
    Case("tuple", tuple[int, str, int], '[1,"b",2]'),
    Case("tuple of one type", tuple[int, int], "[1,2]"),
    Case("open tuple", tuple[int, ...], "[1,2,3]"),
    Case("list of models", list[Invoice], '[{"number":"7","issued":"2026-01-31","lines":[]}]'),
    Case("list of ints", list[int], "[3,1,2]"),
    Case("empty list", list[int], "[]"),
    Case("list of lists", list[list[str]], '[["a"],[]]'),
    Case("set", set[str], '["a"]'),
    Case("frozen set of enums", frozenset[Colour], '["red"]'),
    Case("int", int, "42"),
    Case("str", str, '"a \\"quoted\\" {word}"'),
    Case("float", float, "0.1"),
    Case("bool", bool, "true"),
    Case("none or int", int | None, "null"),
    Case("date", date, '"2026-02-03"'),
    Case("decimal", Decimal, "12345678901234567890.123456789"),
    Case("literal", Literal["yes", "no"], '"yes"'),
    Case("literal of ints", Literal[1, 2], "2"),
    Case("enum", Colour, '"blue"'),
    Case("union of models", Invoice | Line, '{"what":"pen","price":"2.00","count":2}'),
    Case("union of primitives", int | str, '"7"'),
    Case("union of model and list", Line | list[Line], '[{"what":"a","price":1}]'),
    Case("nullable model", Line | None, '{"what":"a","price":1}'),
    Case("annotated", Annotated[int, Field(ge=1, le=5)], "3"),
    Case("nested", Nested, '{"home":{"city":"Bern"}}'),
    Case("nested, all given", Nested, '{"home":{"city":"Bern","zip":"3000"},"work":{"city":"Basel"},"others":[{"city":"Chur"}]}'),
    Case("description beside a reference", Described, '{"place":{"city":"Bern"}}'),
    Case("free keys", dict[str, int], '{"a":1,"b":2}', strict=False),
    Case("free keys inside", Mapped, '{"prices":{"a":1.5}}', strict=False),
    Case("untyped field", Anything, '{"data":{"a":[1,null]}}', strict=False),
    Case("list of anything", list[Any], '[1,"a",null]', strict=False),
    Case("json: optional properties", JSON_PERSON, '{"name":"Ada"}'),
    Case("json: all given", JSON_PERSON, '{"name":"Ada","age":36,"mail":"ada@example.com","web":"https://example.com"}'),
    Case("json: recursion to the root", JSON_TREE, '{"value":1,"children":[{"value":2}]}'),
    Case("json: recursive list", JSON_NESTED_LIST, "[1,[2,[3]],[]]"),
    Case("json: allOf", JSON_ALL_OF, '{"a":1,"b":"x"}'),
    Case("json: one of two keys", JSON_EITHER_KEY, '{"phone":"1"}'),
    Case("json: keys beside $ref", JSON_BESIDE_REF, '{"from":"mon","short":"tue"}'),
    Case("json: many keywords", JSON_WORDY, '{"a":1,"b":[1,2],"c":null,"d":{"e":"f"},"f":true,"g":"one","h":"abc","i":"x"}'),
    Case("json: draft 7", JSON_DRAFT_7, '{"a":"x"}'),
    Case("json: enum at the root", {"enum": ["a", "b"]}, '"b"'),
    Case("json: tuple", {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "boolean"}}, '[1,"a",true]'),
    Case("json: if and then", JSON_IF, '{"a":1}', strict=False),
    Case("json: pattern properties", {"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False}, '{"ab":1}', strict=False),
    Case("json: any object", {"type": "object"}, '{"x":[1]}', strict=False),
    Case("json: anything", {}, '{"x":[1]}', strict=False),
]  # fmt: skip
