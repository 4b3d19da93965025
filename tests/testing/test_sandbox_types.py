"""The sandbox answers the types that applications ask for, in every mode, at the first question."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import pydantic
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from llm_router import Router, StructuredOutputError
from llm_router.testing import Sandbox, pytest_plugin

sandbox = pytest_plugin.llm_sandbox

MODES = {
    "strict": "openai/gpt-4o-mini",
    "json_object": "meta-llama/llama-3.3-70b-instruct",
    "prompt": "qwen/qwen3-8b:free",
}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=2, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Annotated[str, Len(6, 9)] | None = None


class Node(BaseModel):
    value: int
    children: list[Node] = []


@dataclasses.dataclass
class Point:
    x: int
    label: tuple[int, str]


class Row(TypedDict):
    number: int
    text: NotRequired[Annotated[str, MinLen(7)]]


class Pair(NamedTuple):
    number: int
    text: str


class Order(BaseModel):
    """One of everything."""

    name: Annotated[str, Len(10, 12)]
    page: pydantic.HttpUrl
    id: uuid.UUID
    size: tuple[int, str]
    tags: Annotated[set[str], Len(2, 3)]
    day: datetime.date
    age: Annotated[int, Interval(ge=18, le=20)]
    share: Annotated[float, Interval(gt=0, lt=1)]
    lines: Annotated[list[str], Len(2, 3)] = Field(description="What was ordered (in words)")
    pet: Cat | Dog
    length: datetime.timedelta
    price: decimal.Decimal = Field(gt=0, max_digits=5, decimal_places=2)
    more: Annotated[int, Ge(5)] | None = None


TYPES: dict[str, Any] = {
    "at least 10 characters": Annotated[str, MinLen(10)],
    "at most 2 characters": Annotated[str, MaxLen(2)],
    "3 characters": Annotated[str, Len(3, 3)],
    "a pattern": Annotated[str, Field(pattern=r"^[A-Z]{2}\d{4}$")],
    "from 5": Annotated[int, Ge(5)],
    "below -3": Annotated[int, Lt(-3)],
    "between 0 and 1": Annotated[float, Interval(gt=0, lt=1)],
    "sevens from 10": Annotated[int, MultipleOf(7), Ge(10)],
    "money": Annotated[decimal.Decimal, Gt(0), Le(100)],
    "digits": Annotated[decimal.Decimal, Field(max_digits=5, decimal_places=2)],
    **{
        str(kind): kind
        for kind in (
            str, int, float, bool, bytes, list, dict, object, Colour, Cat, Node, Point, Row, Pair,
            Order, datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
            decimal.Decimal, pathlib.Path, ipaddress.IPv4Address, ipaddress.IPv6Address,
            ipaddress.IPv4Network, ipaddress.IPv6Network, ipaddress.IPv4Interface,
            ipaddress.IPv6Interface, pydantic.IPvAnyAddress, pydantic.IPvAnyNetwork,
            pydantic.HttpUrl, pydantic.AnyUrl, pydantic.PostgresDsn, pydantic.Json,
            pydantic.SecretStr, pydantic.ByteSize, pydantic.AwareDatetime, uuid.UUID,
        )
    },
    **{
        f"UUID {version}": kind
        for version, kind in enumerate(
            (pydantic.UUID1, pydantic.UUID3, pydantic.UUID4, pydantic.UUID5, pydantic.UUID7)
        )
    },
    "base64": pydantic.Base64Str,
    "base64url": pydantic.Base64UrlStr,
    "JSON of a number": pydantic.Json[int],
    "a tuple": tuple[int, str, bool],
    "a tuple of any length": tuple[int, ...],
    "a set of 3": Annotated[set[str], MinLen(3)],
    "a set of days": Annotated[set[datetime.date], MinLen(3)],
    "a set of times": Annotated[set[datetime.datetime], MinLen(3)],
    "a set of ids": Annotated[set[uuid.UUID], MinLen(2)],
    "a set of pages": Annotated[set[pydantic.HttpUrl], MinLen(2)],
    "a set of all there are": Annotated[set[Annotated[int, Interval(ge=1, le=3)]], MinLen(3)],
    "a set of shares": Annotated[set[Annotated[float, Interval(gt=0, lt=1)]], MinLen(3)],
    "a set of both": Annotated[set[bool], MinLen(2)],
    "a set of codes": Annotated[set[Annotated[str, Field(pattern="^[A-Z]{3}$")]], MinLen(3)],
    "colours": frozenset[Colour],
    "3 numbers": Annotated[list[int], Len(3, 3)],
    "an empty list": Annotated[list[str], MaxLen(0)],
    "a sequence": Sequence[int],
    "names": dict[str, int],
    "2 names": Annotated[dict[str, int], MinLen(2)],
    "numbered": dict[int, str],
    "a choice": Literal["a", "b"],
    "a union": Cat | Dog,
    "a marked union": Annotated[Cat | Dog, Field(discriminator="kind")],
    "perhaps": Dog | None,
    "nothing": None,
    "anything": Any,
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
async def test_a_type_is_answered_at_the_first_question(sandbox: Sandbox, mode: str) -> None:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    aliases = {"extract": {"model": f"openrouter/{MODES[mode]}"}}
    failed = {}
    async with Router.from_dict({"providers": {"openrouter": row}, "aliases": aliases}) as router:
        for name, kind in TYPES.items():
            try:
                await router.parse("extract", "Go", schema=kind, max_reasks=0)
            except StructuredOutputError as error:
                failed[name] = str(error)
    assert failed == {}
    assert len(sandbox.requests) >= len(TYPES)
