"""Requests and answers of providers of OpenAI's wire, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import os
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from llm_router.config.model import ApiKey, PriceConfig, ProviderConfig
from llm_router.errors import (
    ConfigurationError,
    EmptyResponseError,
    MissingCredentialsError,
    ProviderConnectionError,
    ProviderError,
    UnsupportedFeatureError,
)
from llm_router.options.request import PARAM_NAMES
from llm_router.providers.base import Chat
from llm_router.providers.registry import build_provider
from tests.providers.scripted import Wire, answer, ask, provider, wire

KEY = "test-key-0123456789"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
EVERY_PARAM: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "top_a": 0.2,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repetition_penalty": 1.1,
    "max_tokens": 5,
    "max_completion_tokens": 6,
    "stop": ["x"],
    "seed": 1,
    "logit_bias": {"1": 1.0},
    "logprobs": True,
    "top_logprobs": 2,
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "verbosity": "low",
    "modalities": ["text"],
    "audio": {"voice": "alloy", "format": "mp3"},
    "prediction": {"type": "content", "content": "x"},
    "service_tier": "flex",
    "web_search_options": {"search_context_size": "low"},
    "metadata": {"trace": "1"},
}


async def test_an_answer_is_read_whole_when_a_local_server_gives_it() -> None:
    async with wire() as server, provider(server.url) as local:
        server.json(answer())
        reply = await local.complete(ask())
    assert (reply.text, reply.finish_reason, reply.model) == ("hi", "stop", "served-model")
    assert (reply.alias, reply.request_id, reply.response_id) == (None, "", "c-1")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 2)
    assert reply.cost.total is None and reply.cost.source == "unknown"
    assert server.bodies[0]["model"] == "some/model"


async def test_every_parameter_is_sent_when_the_wire_is_openais() -> None:
    assert EVERY_PARAM.keys() | {"reasoning"} == PARAM_NAMES
    async with wire() as server, provider(server.url, api_key=KEY) as local:
        server.json(answer())
        await local.complete(ask(params=EVERY_PARAM, user="u-1", extra_body={"own": [1]}))
    wanted = {**EVERY_PARAM, "user": "u-1", "own": [1], "model": "some/model"}
    sent = server.bodies[0]
    assert sent == wanted | {"messages": [{"role": "user", "content": "Hello"}]}
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("litellm", ["openai", "deepseek", "mistral", "huggingface", "xai"])
async def test_no_key_of_the_environment_is_sent_when_the_row_has_none(
    litellm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "DEEPSEEK", "MISTRAL", "HUGGINGFACE", "XAI"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ORGANIZATION", "org-from-the-environment")
    async with wire() as server, provider(server.url, litellm) as local:
        server.json({"error": {"message": "stop here"}}, status=400)
        with pytest.raises(ProviderError):
            await local.complete(ask())
    shown = str(dict(server.requests[0].headers))
    assert "from-the-environment" not in shown and "no-key" not in shown


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("local", ProviderConfig(litellm="openai", api_key=ApiKey("", "MY_KEY"))),
        ("my-row", ProviderConfig(litellm="openai", api_key=SecretStr(""))),
        ("openrouter", ProviderConfig(path="acompletion")),
        ("openrouter", ProviderConfig()),
    ],
)
async def test_nothing_is_sent_when_the_key_is_missing(name: str, row: ProviderConfig) -> None:
    with pytest.raises(MissingCredentialsError) as caught:
        await build_provider(name, row).complete(ask(provider=name))
    wanted = {"local": "MY_KEY", "my-row": "MY_ROW_API_KEY", "openrouter": "OPENROUTER_API_KEY"}
    assert caught.value.env_var == wanted[name]
    assert wanted[name] in str(caught.value) and "llm-router sandbox" in str(caught.value)


async def test_the_calls_own_fields_are_refused_in_extra_body() -> None:
    async with provider("http://127.0.0.1:9/v1") as local:
        with pytest.raises(ConfigurationError, match="'model' cannot be set"):
            await local.complete(ask(extra_body={"model": "other"}))


async def test_reasoning_is_sent_as_an_effort_when_the_model_takes_one() -> None:
    async with wire() as server, provider(server.url) as local:
        server.json(answer())
        await local.complete(ask("o3", params={"reasoning": "low"}))
        with pytest.raises(UnsupportedFeatureError):
            await local.complete(ask("o3", params={"reasoning": 2000}))
    assert server.bodies[0]["reasoning_effort"] == "low"


async def test_the_callers_messages_are_left_alone_when_a_call_is_made() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    async with wire() as server, provider(server.url) as local:
        server.json(answer())
        await local.complete(ask(messages=messages))
    assert messages == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


async def test_prices_of_the_row_make_the_total_when_the_provider_reports_no_cost() -> None:
    prices = {"some/model": PriceConfig(input=Decimal(3), output=Decimal("0.5"))}
    async with wire() as server, provider(server.url, prices=prices) as local:
        server.json(answer())
        reply = await local.complete(ask())
        known = local.known("some/model")
        assert known is not None and known.prices.input == Decimal("0.000003")
        assert local.known("other") is None
    assert reply.cost.total == reply.cost.computed == Decimal("0.000031")
    assert reply.cost.source == "local"


async def test_the_reported_cost_stays_the_total_when_the_row_has_prices_too() -> None:
    prices = {
        "some/model": PriceConfig(
            input=Decimal(3), output=Decimal(5), cache_read=Decimal(1), cache_write=Decimal(4)
        )
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    body = answer(usage=usage | {"cost": 0.1})
    body["usage"] |= {"prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1}}
    async with wire() as server, provider(server.url, prices=prices) as local:
        server.json(body)
        reply = await local.complete(ask())
    assert (reply.cost.total, reply.cost.source) == (Decimal("0.1"), "provider")
    assert reply.cost.computed == Decimal("0.000033")  # 5*3 + 4*1 + 1*4 + 2*5


async def test_what_litellm_would_lose_is_kept() -> None:
    message = {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
        "reasoning": "because",
        "reasoning_details": [{"type": "reasoning.text", "text": "because"}],
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f"}}],
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}],
    }
    choice = {"index": 0, "finish_reason": None, "native_finish_reason": "MAX_TOKENS"}
    usage: dict[str, Any] = {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "cost": 0.00000123,
    }
    usage |= {"is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 2}}
    body = answer(choices=[choice | {"message": message}], usage=usage, provider="Azure")
    async with (
        wire() as server,
        provider(server.url, "openrouter", "openrouter", api_key=KEY) as router,
    ):
        server.json(body)
        reply = await router.complete(ask("a/b", "openrouter"))
    assert (reply.text, reply.refusal, reply.reasoning) == ("", "No.", "because")
    assert reply.finish_reason == "length" and reply.native_finish_reason == "MAX_TOKENS"
    assert reply.tool_calls[0].arguments == {} and not reply.tool_calls[0].complete
    assert reply.images[0].media_type == "image/png"
    assert reply.citations[0].url == "https://a.example"
    assert reply.upstream_provider == "Azure" and reply.usage.reasoning_tokens == 2
    assert reply.cost.reported == Decimal("0.00000123") and reply.cost.is_byok is True
    assert reply.cost.total == Decimal("0.50000123")


async def test_an_answer_without_content_is_an_error_when_nothing_was_generated() -> None:
    message = {"role": "assistant", "content": ""}
    choices = [{"index": 0, "finish_reason": None, "message": message}]
    async with wire() as server, provider(server.url) as local:
        for body in (answer(choices=choices, usage={}), answer(choices=[])):
            server.replies.clear()
            server.json(body)
            with pytest.raises(EmptyResponseError):
                await local.complete(ask())


@pytest.mark.parametrize("litellm", ["openai", "openrouter", "deepseek"])
async def test_one_request_is_sent_when_the_connection_breaks(litellm: str) -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with wire() as server, provider(server.url, litellm, api_key=KEY) as local:
        server.replies.append(drop)
        with pytest.raises(ProviderConnectionError) as caught:
            await local.complete(ask())
    assert len(server.requests) == 1
    assert caught.value.__cause__ is None, "aiohttp's error shows the request, its key among it"


@pytest.mark.parametrize("litellm", ["openai", "groq", "azure", "deepseek"])
async def test_one_connection_is_tried_when_it_is_refused(litellm: str, refusing: Refusing) -> None:
    async with provider(refusing.url, litellm, api_key=KEY) as local:
        with pytest.raises(ProviderConnectionError, match=r"127\.0\.0\.1:\d+ "):
            await local.complete(ask())
        with pytest.raises(ProviderConnectionError):
            await local.stream(ask())
    assert refusing.connections == 2


class Refusing:
    """An address where every connection is closed before a byte is answered, and counted."""

    url = ""
    connections = 0


@pytest.fixture
async def refusing() -> Any:
    counter = Refusing()

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counter.connections += 1
        writer.transport.abort()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    counter.url = f"http://127.0.0.1:{port}/v1"
    yield counter
    server.close()
    await server.wait_closed()


async def test_a_connection_error_is_raised_when_nobody_listens() -> None:
    async with provider("http://127.0.0.1:9/v1", "openrouter", api_key=KEY) as local:
        with pytest.raises(ProviderConnectionError):
            await local.complete(ask())


async def test_a_redirect_is_not_followed_when_a_server_sends_one() -> None:
    async with wire() as server, provider(server.url, api_key=KEY) as local:
        server.json({}, status=307, headers={"Location": f"{server.url}/elsewhere"})
        with pytest.raises(ProviderError):
            await local.complete(ask())
    assert len(server.requests) == 1


def test_nothing_stays_open_when_several_loops_ran_one_after_the_other() -> None:
    made = []

    async def one_loop(shared: Chat | None) -> None:
        async with wire() as server:
            server.json(answer())
            own = build_provider("local", ProviderConfig(litellm="openai", base_url=server.url))
            made.append(own)
            for _ in range(2):
                assert (await own.complete(ask())).text == "hi"

    asyncio.run(one_loop(None))  # what the first call of a process opens
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is all that is needed
    for _ in range(5):
        asyncio.run(one_loop(None))
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


async def test_the_connection_is_ours_and_closed_when_the_provider_is_closed() -> None:
    async with wire() as server:
        server.json(answer())
        async with provider(server.url, "openrouter", api_key=KEY) as router:
            await router.complete(ask())
            await router.complete(ask())
            assert server.requests[0].transport is server.requests[1].transport
            assert server.requests[0].transport is not None
        await router.aclose()
        async with asyncio.timeout(5):
            while server.connections:
                await asyncio.sleep(0.01)


async def test_the_connection_is_dropped_when_a_call_is_cancelled_on_the_way() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        arrived.set()
        try:
            await asyncio.sleep(30)
        finally:
            gone.set()
        return web.Response()

    async with wire() as server, provider(server.url) as local:
        server.replies.append(wait)
        call = asyncio.ensure_future(local.complete(ask()))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            await gone.wait()


async def test_the_preview_shows_the_body_that_is_sent() -> None:
    async with wire() as server, provider(server.url, api_key=KEY, headers={"X-A": "b"}) as local:
        server.json(answer())
        request = ask(params={"temperature": 0.1, "top_k": 3}, user="u")
        with pytest.raises(RuntimeError, match="open"):
            local.preview(request)
        await local.open()
        shown = local.preview(request)
        await local.complete(request)
    assert shown.body == server.bodies[0]
    assert shown.url == f"{server.url}/chat/completions" and KEY not in str(shown)
    assert shown.headers["X-A"] == "[redacted]"


def sent_to(server: Wire) -> list[str]:
    return [request.path for request in server.requests]


async def test_litellms_own_address_is_used_when_the_row_has_no_base_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wire() as server:
        monkeypatch.setenv("PERPLEXITY_API_BASE", server.url)
        monkeypatch.setenv("PERPLEXITYAI_API_KEY", "pplx-own-variable-0123")
        async with provider(None, "perplexity", "perplexity") as local:
            server.json(answer())
            reply = await local.complete(ask("sonar", "perplexity"))
    assert reply.text == "hi" and sent_to(server) == ["/v1/chat/completions"]
    assert server.requests[0].headers["Authorization"] == "Bearer pplx-own-variable-0123"
