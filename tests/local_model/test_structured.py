"""Objects from a real model of 135M parameters: llama.cpp's grammar holds it to the schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from llm_router.errors import SchemaValidationError, TruncatedOutputError
from llm_router.router import Router

pytestmark = pytest.mark.local_model

Short = Annotated[str, Field(max_length=16)]


class Colour(BaseModel):
    colour: Literal["red", "green", "blue"]


class Person(BaseModel):
    name: Short
    age: int = Field(ge=0, le=120)


class Title(BaseModel):
    title: str = Field(min_length=3, max_length=24)


class Address(BaseModel):
    city: Short
    country: Literal["France", "Italy", "Spain"]


class Customer(BaseModel):
    name: Short
    address: Address


class Item(BaseModel):
    name: Short
    pieces: int = Field(ge=1, le=99)


class Order(BaseModel):
    items: list[Item] = Field(min_length=1, max_length=2)


class Contact(BaseModel):
    name: Short
    nickname: Short | None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: Short


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Measurement(BaseModel):
    value: float
    unit: Literal["m", "kg", "s"]


TAGS = {
    "title": "Tags",
    "type": "object",
    "properties": {
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": 10},
            "minItems": 1,
            "maxItems": 3,
        }
    },
    "required": ["tags"],
    "additionalProperties": False,
}

BOUNDED: list[tuple[str, Any, str]] = [
    ("enum", Colour, "Which colour has a clear sky?"),
    ("integer range", Person, "Anna is 34 years old."),
    ("boolean, not an object", bool, "Is water wet?"),
    ("short string", Title, "Give a title for a story about the sea."),
    ("list, a JSON Schema dict", TAGS, "Tags for an article about cats and dogs."),
    ("nested object", Customer, "Marie lives in Paris, France."),
    ("list of objects", Order, "I want 3 apples and 2 pears."),
    ("nullable", Contact, "My name is Robert. I have no nickname."),
    ("union by a constant", Pet, "My cat has nine lives."),
    ("number", Measurement, "The table is 1.5 m long."),
]


@pytest.mark.parametrize(
    ("schema", "prompt"), [(s, p) for _, s, p in BOUNDED], ids=[name for name, _, _ in BOUNDED]
)
async def test_an_object_is_valid_at_once_when_its_schema_is_bounded(
    router: Router, schema: Any, prompt: str
) -> None:
    reply = await router.parse(
        "extract", f"{prompt} Answer as JSON.", schema=schema, temperature=0, max_tokens=120
    )
    assert (reply.mode_used, reply.reasks, reply.repairs) == ("json_schema", 0, 0)
    assert reply.finish_reason == "stop" and len(reply.attempts) == 1
    assert isinstance(reply.parsed, dict if isinstance(schema, dict) else schema)


async def test_an_answer_is_an_error_when_the_token_limit_cuts_it(router: Router) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        await router.parse("extract", "Name many animals.", schema=list[str], max_tokens=12)
    assert caught.value.raw_texts[0].startswith("{")


async def test_every_text_is_kept_when_the_server_cannot_hold_the_model_to_the_schema(
    router: Router,
) -> None:
    """llama.cpp leaves look-ahead out of its grammar, so the model is asked again, in vain."""
    impossible = {
        "type": "object",
        "properties": {"word": {"type": "string", "pattern": "^(?=0)[a-z]{1,8}$"}},
        "required": ["word"],
        "additionalProperties": False,
    }
    with pytest.raises(SchemaValidationError, match="does not match") as caught:
        await router.parse("extract", "A word.", schema=impossible, max_tokens=40, max_reasks=1)
    assert len(caught.value.raw_texts) == len(caught.value.attempts or ()) == 2
