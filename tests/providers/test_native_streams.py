"""Streams of providers of OpenAI's wire, over real sockets."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.stream_events import (
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm_router.config.model import PriceConfig
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.providers.base import Chat
from tests.providers.scripted import DONE, ask, chunk, provider, wire

KEY = "test-key-0123456789"
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


async def read(local: Chat, model: str = "some/model") -> tuple[list[Any], Any]:
    stream = await local.stream(ask(model, stream=True))
    try:
        return [event async for event in stream], stream.snapshot()
    finally:
        await stream.aclose()


@pytest.mark.parametrize("litellm", ["openai", "openrouter", "deepseek"])
async def test_a_stream_gives_events_and_the_whole_answer_when_it_ends_well(litellm: str) -> None:
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    bill = USAGE | {"cost": 0.00000123, "is_byok": False}
    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        server.sse(
            ": PROCESSING\n\n",
            chunk({"role": "assistant", "reasoning": "hm"}, provider="Azure"),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({"refusal": "no"}),
            chunk({"tool_calls": [call]}),
            chunk({}, "stop"),
            chunk({"content": ""}, None, usage=bill),
            DONE,
        )
        events, whole = await read(local)
        # OpenRouter counts in every stream, and is sent what was asked for.
        wanted = None if litellm == "openrouter" else {"include_usage": True}
        assert server.bodies[0].get("stream_options") == wanted
        assert server.bodies[0]["stream"] is True
    kinds = [type(event) for event in events]
    assert kinds == [
        ReasoningDelta,
        TextDelta,
        TextDelta,
        RefusalDelta,
        ToolCallDelta,
        Finish,
        UsageReport,
    ]
    assert (whole.text, whole.refusal, whole.finish_reason) == ("Hello", "no", "stop")
    assert whole.upstream_provider == "Azure" and whole.cost.total == Decimal("0.00000123")
    assert whole.usage.output_tokens == 2 and whole.tool_calls[0].name == "f"


async def test_usage_stays_unknown_when_the_stream_brought_none() -> None:
    """LiteLLM counts with a tokenizer then, and does not say so."""
    async with wire() as server, provider(server.url) as local:
        server.sse(chunk({"content": "hello"}), chunk({}, "stop"), DONE)
        events, whole = await read(local)
    assert whole.usage.output_tokens is None and UsageReport not in map(type, events)


async def test_the_rows_prices_make_the_total_when_a_stream_reports_no_cost() -> None:
    prices = {"some/model": PriceConfig(input=Decimal(3), output=Decimal("0.5"))}
    async with wire() as server, provider(server.url, prices=prices) as local:
        server.sse(chunk({"content": "a"}, "stop"), chunk(usage=USAGE), DONE)
        events, whole = await read(local)
    assert whole.cost.total == Decimal("0.000031") and whole.cost.source == "local"
    assert events[-1] == UsageReport(whole.usage, whole.cost)


@pytest.mark.parametrize("litellm", ["openai", "openrouter"])
@pytest.mark.parametrize("abort", [True, False])
async def test_a_stream_is_not_whole_when_it_is_cut(litellm: str, abort: bool) -> None:
    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        server.sse(chunk({"content": "hello"}), cut=abort)
        stream = await local.stream(ask(stream=True))
        with pytest.raises(ProviderConnectionError):
            [event async for event in stream]
        assert stream.snapshot().text == "hello"
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(stream))


@pytest.mark.parametrize("litellm", ["openai", "openrouter"])
@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (429, RateLimitError, 429),
        (502, ProviderUnavailableError, 502),
        ("server_error", ProviderUnavailableError, None),
    ],
)
async def test_an_error_event_is_its_own_class_when_a_stream_carries_one(
    litellm: str, code: Any, kind: type[ProviderError], status: int | None
) -> None:
    said = {"code": code, "message": "The upstream gave up"}
    error = f"data: {json.dumps({'id': 'gen-1', 'error': said})}\n\n"
    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        server.sse(chunk({"content": "hello"}), error)
        with pytest.raises(ProviderError) as caught:
            await read(local)
    assert type(caught.value) is kind and caught.value.message == "The upstream gave up"
    assert caught.value.status_code == status


@pytest.mark.parametrize("litellm", ["openai", "openrouter"])
async def test_the_status_is_raised_when_a_stream_is_refused(litellm: str) -> None:
    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        error = {"error": {"message": "Slow down", "code": 429}}
        server.json(error, status=429, headers={"Retry-After": "7"})
        with pytest.raises(RateLimitError, match="Slow down") as caught:
            await local.stream(ask(stream=True))
    assert caught.value.retry_after == 7 and len(server.requests) == 1


async def test_a_page_is_no_stream_when_a_server_answers_with_html() -> None:
    async with wire() as server, provider(server.url, "openrouter", api_key=KEY) as local:
        server.json("<html><title>Down</title></html>")
        with pytest.raises(InvalidResponseError):
            await read(local)


async def test_an_empty_stream_is_an_error_when_nothing_was_generated() -> None:
    async with wire() as server, provider(server.url) as local:
        usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
        server.sse(chunk({"role": "assistant", "content": ""}, usage=usage), DONE)
        with pytest.raises(EmptyResponseError):
            await read(local)


async def test_a_stall_is_a_timeout_when_only_comments_come() -> None:
    over = asyncio.Event()
    async with wire() as server, provider(server.url) as local:
        server.sse(chunk({"content": "hello"}), chunk({"content": "!"}), stall=over)
        stream = await local.stream(ask(stream=True))
        assert await anext(aiter(stream)) == TextDelta("hello")
        stream.idle_timeout = 0.1
        with pytest.raises(ProviderTimeoutError, match="No data event came"):
            [event async for event in stream]
        over.set()


@pytest.mark.parametrize("litellm", ["openai", "openrouter"])
async def test_the_connection_is_closed_when_a_stream_is_left_early(litellm: str) -> None:
    over = asyncio.Event()
    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        server.sse(chunk({"content": "hello"}), chunk({"content": "!"}), stall=over)
        stream = await local.stream(ask(stream=True))
        await anext(aiter(stream))
        assert server.open_streams == 1
        await stream.aclose()
        await stream.aclose()
        async with asyncio.timeout(5):
            while server.open_streams:
                await asyncio.sleep(0.01)
