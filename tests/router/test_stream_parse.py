"""`stream_parse` from the application to the wire and back: growing objects and their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from annotated_types import Len
from pydantic import BaseModel, field_validator

from llm_router.errors import (
    ConfigurationError,
    RefusalError,
    SchemaValidationError,
    StreamInterruptedError,
    TruncatedOutputError,
)
from llm_router.router import Router
from llm_router.sync import SyncRouter
from llm_router.testing import Reply, Sandbox
from tests.router.setup import GPT, configuration

Build = Callable[..., Router]
REFUSES = "openrouter/mistralai/mistral-7b-instruct"


class Line(BaseModel):
    what: str
    price: Decimal = Decimal(0)
    note: str = ""


class Order(BaseModel):
    customer: str
    lines: list[Line] = []


TEXT = '{"customer": "A", "lines": [{"what": "pen", "price": 1.10}, {"what": "ink"}]}'
ORDER = Order.model_validate_json(TEXT)
LINES = '{"value": [{"what": "pen", "price": 0.1234567890123456789, "note": null}, {"what": "b"}]}'


def in_pieces(text: str, size: int = 5) -> Reply:
    return Reply(text=text, chunks=[text[at : at + size] for at in range(0, len(text), size)])


async def test_the_object_grows_and_the_end_is_a_parsed_completion(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(in_pieces(TEXT))
    async with router.stream_parse("extract", "Read this.", schema=Order) as stream:
        shown = [partial.data async for partial in stream]
    assert shown[0] == {"customer": "A"}
    assert {"customer": "A", "lines": [{"what": "pen"}]} in shown
    assert shown[-1] == json.loads(TEXT)
    reply = stream.completion
    assert reply.parsed == stream.parsed == ORDER
    assert (reply.mode_used, reply.reasks, reply.repairs, reply.text) == ("json_schema", 0, 0, TEXT)
    assert reply.cost.total == sandbox.total_billed
    assert reply.time_to_first_token_ms is not None
    assert [attempt.status for attempt in reply.attempts] == ["succeeded"]
    body = sandbox.chat_requests[0].body
    assert body["stream"] is True and body["response_format"]["json_schema"]["strict"] is True


async def test_items_are_those_of_the_whole_each_when_it_is_complete(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(in_pieces(LINES))
    async with router.stream_parse("extract", "Read this.", schema=list[Line]) as stream:
        first = await anext(aiter(stream.items))
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = stream.parsed
        items = [first, *[item async for item in stream.items]]
    assert items == stream.parsed
    assert items[0].price == Decimal("0.1234567890123456789") and items[0].note == ""


@pytest.mark.parametrize("schema", [list[int], {"type": "array", "items": {"type": "integer"}}])
@pytest.mark.parametrize("text", ["[1, 2, 3]", '{"value": [1, 2, 3]}', "Sure: [1, 2, 3]"])
async def test_items_come_all_the_same_when_only_the_end_can_read_them(
    router: Router, sandbox: Sandbox, schema: Any, text: str
) -> None:
    sandbox.reply(in_pieces(text))
    async with router.stream_parse("extract", "Numbers.", schema=schema) as stream:
        assert [item async for item in stream.items] == [1, 2, 3] == stream.parsed


async def test_items_of_no_list_are_a_type_error(router: Router, sandbox: Sandbox) -> None:
    async with router.stream_parse("extract", "Read this.", schema=Order) as stream:
        with pytest.raises(TypeError, match=r"schema=list\[Item\]"):
            _ = stream.items  # type: ignore[misc]  # mypy knows it too
        await stream.collect()


async def test_an_item_that_does_not_fit_is_not_given_and_the_end_says_why(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(in_pieces("[1, 2, null, 4]"))
    given = []
    with pytest.raises(SchemaValidationError, match=r"value\.2|\b2\b"):
        async with router.stream_parse("extract", "Numbers.", schema=list[int]) as stream:
            async for item in stream.items:
                given.append(item)
    assert given == [1, 2]


@pytest.mark.parametrize("mode", ["json_schema", "tool", "json_object", "prompt"])
async def test_every_mode_streams(router: Router, sandbox: Sandbox, mode: Any) -> None:
    async with router.stream_parse("extract", "Anything", schema=Order, mode=mode) as stream:
        shown = [partial.data async for partial in stream]
    assert stream.completion.mode_used == mode
    assert Order.model_validate(shown[-1]) == stream.parsed


async def test_a_refused_mode_is_stepped_down_before_the_stream(
    router: Router, sandbox: Sandbox
) -> None:
    async with router.stream_parse(REFUSES, "Anything", schema=Order) as stream:
        assert [partial async for partial in stream]
    assert stream.completion.mode_used != "json_schema"
    assert [a.status for a in stream.completion.attempts][:1] == ["failed"]


async def test_texts_grow_where_that_is_asked_for(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(in_pieces('{"customer": "Ada Lovelace"}', 4))
    async with router.stream_parse("extract", "x", schema=Order, grow_strings=True) as stream:
        shown = [partial.get("customer") async for partial in stream]
    assert shown[:4] == ["Ad", "Ada Lo", "Ada Lovela", "Ada Lovelace"]


async def test_an_answer_cut_by_its_length_is_told_with_its_text(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=TEXT[:40], chunks=8, finish_reason="length")
    with pytest.raises(TruncatedOutputError) as caught:
        async with router.stream_parse("extract", "x", schema=Order) as stream:
            async for partial in stream:
                assert partial == {"customer": "A"}
    error = caught.value
    assert error.raw_texts == (TEXT[:40],)
    assert error.cost is not None and error.cost.total == sandbox.total_billed
    (attempt,) = error.attempts or ()
    assert (attempt.status, attempt.error) == ("failed", error)
    assert await anext(stream, None) is None


async def test_a_refusal_is_told(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(refusal="I cannot.")
    with pytest.raises(RefusalError, match="I cannot"):
        async with router.stream_parse("extract", "x", schema=Order) as stream:
            await stream.collect()


async def test_what_does_not_fit_is_an_error_at_the_end_and_not_asked_again(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(in_pieces('{"customer": 7}'))
    async with router.stream_parse("extract", "x", schema=Order) as stream:
        with pytest.raises(SchemaValidationError, match="not asked again") as caught:
            assert [partial.data async for partial in stream] == [{"customer": 7}]
    assert len(sandbox.chat_requests) == 1
    assert caught.value.raw_texts == ('{"customer": 7}',)
    assert "customer" in caught.value.errors[0]


async def test_a_validator_that_raises_something_else_is_told_with_its_cause(
    router: Router, sandbox: Sandbox
) -> None:
    class Odd(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def refuse(cls, n: int) -> int:
            raise ZeroDivisionError

    sandbox.reply(in_pieces('[{"n": 1}]'))
    with pytest.raises(SchemaValidationError) as caught:
        async with router.stream_parse("extract", "x", schema=list[Odd]) as stream:
            assert [item async for item in stream.items] == []
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("fault", ["cut_stream", "stream_error", "garbled_stream"])
async def test_a_stream_that_breaks_has_what_came(
    router: Router, sandbox: Sandbox, fault: str
) -> None:
    sandbox.fail(fault)
    with pytest.raises(StreamInterruptedError) as caught:
        async with router.stream_parse("extract", "Anything", schema=Order) as stream:
            await stream.collect()
    assert caught.value.partial is not None and caught.value.partial.text.startswith("{")


async def test_leaving_early_is_recorded_as_cancelled(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(in_pieces(TEXT))
    async with router.stream_parse("extract", "x", schema=Order) as stream:
        async for _ in stream:
            break
    assert [a.status for a in stream.snapshot().attempts] == ["cancelled"]
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.parsed


async def test_a_long_answer_is_read_off_the_loop(router: Router, sandbox: Sandbox) -> None:
    lines = [{"what": f"line {n}", "price": n} for n in range(2_000)]
    sandbox.reply(text=json.dumps(lines), chunks=100)
    longest, beat = 0.0, asyncio.get_running_loop().time

    async def watch() -> None:
        nonlocal longest
        while True:
            before = beat()
            await asyncio.sleep(0)
            longest = max(longest, beat() - before)

    watching = asyncio.create_task(watch())
    async with router.stream_parse("extract", "x", schema=list[Line]) as stream:
        items = [item async for item in stream.items]
    watching.cancel()
    assert len(items) == 2_000 and items == stream.parsed


async def test_elements_are_judged_alone_where_the_list_has_a_length(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(in_pieces("[1, 2, 3]"))
    three = Annotated[list[int], Len(3, 3)]
    async with router.stream_parse("extract", "x", schema=three) as stream:
        items = [item async for item in stream.items]
    assert items == [1, 2, 3]


async def test_options_are_checked_before_anything_is_sent(
    router: Router, sandbox: Sandbox
) -> None:
    with pytest.raises(TypeError, match=r"stream_parse\(\) got an unexpected"):
        router.stream_parse("extract", "x", schema=Order, temprature=1)  # type: ignore[call-overload]  # the point
    with pytest.raises(ValueError, match="mode"):
        router.stream_parse("extract", "x", schema=Order, mode="json")  # type: ignore[call-overload]  # the point
    with pytest.raises(ConfigurationError):
        router.stream_parse("extrct", "x", schema=Order)
    assert not sandbox.chat_requests


def test_the_synchronous_twin_does_the_same(sandbox: Sandbox) -> None:
    sandbox.reply(in_pieces(TEXT))
    sandbox.reply(in_pieces(LINES))
    with SyncRouter.from_dict(configuration(sandbox)) as router:
        with router.stream_parse("extract", "x", schema=Order) as stream:
            shown = [partial.data for partial in stream]
        assert shown[-1] == json.loads(TEXT)
        assert stream.parsed == stream.completion.parsed == ORDER
        with router.stream_parse(GPT, "x", schema=list[Line]) as lines:
            items = list(lines.items)
        assert items == lines.parsed and len(items) == 2
