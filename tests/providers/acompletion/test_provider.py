"""`path: acompletion`, and kinds whose wire we do not read: through LiteLLM's own call."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from llm_router.config.model import PriceConfig, ProviderConfig
from llm_router.errors import ConfigurationError, ProviderError, UnsupportedFeatureError
from llm_router.providers.importing import load_here
from llm_router.providers.registry import build_provider
from tests.providers.acompletion.test_streams import ACOMPLETION, ANTHROPIC, KEY
from tests.providers.scripted import answer, ask, provider, wire
from tests.providers.test_native import EVERY_PARAM


async def test_an_openai_shaped_row_goes_through_litellm_when_its_path_says_so() -> None:
    prices = {"some/model": PriceConfig(input=Decimal(3), output=Decimal("0.5"))}
    async with wire() as server, provider(server.url, prices=prices, **ACOMPLETION) as local:
        server.json(answer())
        params = {"temperature": 0.5, "top_k": 3}
        reply = await local.complete(ask(params=params, user="u-1", extra_body={"own": [1]}))
        assert local.known("some/model") is not None
    assert (reply.text, reply.finish_reason, reply.response_id) == ("hi", "stop", "c-1")
    assert (reply.cost.total, reply.cost.source) == (Decimal("0.000031"), "local")
    sent = server.bodies[0]
    assert sent == params | {
        "user": "u-1",
        "own": [1],
        "model": "some/model",
        "messages": [{"role": "user", "content": "Hello"}],
    }
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_a_cost_stays_unknown_when_only_litellms_own_map_has_a_price() -> None:
    async with wire() as server, provider(server.url, **ACOMPLETION) as local:
        server.json(answer(model="gpt-4o-mini"))
        reply = await local.complete(ask("gpt-4o-mini"))
    assert (reply.cost.total, reply.cost.source) == (None, "unknown")
    assert reply.usage.output_tokens == 2


async def test_a_reported_cost_is_the_providers() -> None:
    async with wire() as server:
        row: dict[str, Any] = {"litellm": "openrouter", "name": "openrouter"} | ACOMPLETION
        async with provider(server.url, **row) as router:
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5}
            server.json(answer(usage=usage, provider="Azure"), headers={"X-Generation-Id": "g"})
            reply = await router.complete(ask("a/b", "openrouter"))
    assert (reply.cost.total, reply.cost.source) == (Decimal("0.5"), "provider")
    assert reply.upstream_provider == "Azure"


async def test_every_parameter_is_sent_when_openrouter_goes_through_litellm() -> None:
    row: dict[str, Any] = {"litellm": "openrouter", "name": "openrouter"} | ACOMPLETION
    params = EVERY_PARAM | {"reasoning": "low"}
    async with wire() as server, provider(server.url, **row) as router:
        server.json(answer())
        await router.complete(
            ask("auto", "openrouter", params=params, user="u-1", openrouter={"models": ["a/b"]})
        )
    sent = server.bodies[0]
    # LiteLLM adds `usage`, which OpenRouter ignores.
    assert sent.pop("usage") == {"include": True}
    assert sent.pop("messages") == [{"role": "user", "content": "Hello"}]
    assert sent == {
        **EVERY_PARAM,
        "reasoning": {"effort": "low"},
        "user": "u-1",
        "models": ["a/b"],
        "model": "openrouter/auto",
    }
    headers = server.requests[0].headers
    assert not headers["HTTP-Referer"] and not headers["X-Title"]


@pytest.mark.parametrize("litellm", ["openai", "anthropic", "gemini"])
async def test_no_key_of_the_environment_is_sent_when_the_row_has_none(
    litellm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "GEMINI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-from-the-environment")
    async with wire() as server, provider(server.url, litellm, path="acompletion") as local:
        server.json({"error": {"message": "stop here"}}, status=400)
        with pytest.raises(ProviderError):
            await local.complete(ask())
    assert "from-the-environment" not in str(dict(server.requests[0].headers))


@pytest.mark.parametrize(
    "options",
    [{"params": {"top_a": 0.1}}, {"extra_body": {"x": 1}}, {"params": {"metadata": {"a": "b"}}}],
)
async def test_an_option_is_refused_when_litellm_would_drop_it(options: dict[str, Any]) -> None:
    async with wire() as server, provider(server.url, "anthropic", path="acompletion") as claude:
        with pytest.raises(UnsupportedFeatureError, match="LiteLLM does not send") as caught:
            await claude.complete(ask("claude-x", **options))
    assert server.requests == [] and caught.value.provider == "local"


async def test_litellms_object_is_read_when_the_wire_is_not_openais() -> None:
    async with (
        wire() as server,
        provider(server.url, "anthropic", api_key=KEY, path="acompletion") as claude,
    ):
        server.json(ANTHROPIC)
        reply = await claude.complete(ask("claude-x", params={"max_tokens": 50}))
    assert server.requests[0].headers["x-api-key"] == KEY
    assert (reply.text, reply.finish_reason) == ("hi", "tool_calls")
    assert reply.tool_calls[0].arguments == {"a": 1}
    assert reply.usage.output_tokens == 2 and reply.usage.cache_read_tokens == 3
    assert reply.cost.total is None


@pytest.mark.parametrize(("cache", "ttl"), [("auto", None), ("1h", "1h"), ("off", None)])
async def test_anthropics_breakpoints_reach_it_when_caching_is_asked_for(
    cache: Any, ttl: str | None
) -> None:
    rules = {"role": "system", "content": "Be brief."}
    messages = [rules, {"role": "user", "content": "hi"}]
    async with (
        wire() as server,
        provider(server.url, "anthropic", api_key=KEY, path="acompletion") as claude,
    ):
        server.json(ANTHROPIC)
        await claude.complete(
            ask("claude-x", messages=messages, params={"max_tokens": 50}, cache=cache)
        )
    mark = server.bodies[0]["system"][0].get("cache_control")
    wanted = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    assert mark == (None if cache == "off" else wanted)
    assert rules == {"role": "system", "content": "Be brief."}


async def test_breakpoints_are_placed_when_another_host_serves_claude() -> None:
    """LiteLLM has no wire of ours for Claude on Vertex AI: its own call gets the marks."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    row = ProviderConfig(litellm="vertex_ai", path="acompletion", api_key=SecretStr("k" * 12))
    provider_row = build_provider("vertex", row)
    await provider_row.open()
    for model, marks in (("claude-sonnet-4-5@20250929", 1), ("gemini-2.5-pro", 0)):
        asked = provider_row.preview(ask(model, messages=messages, cache="auto")).body
        assert json.dumps(asked["messages"]).count("cache_control") == marks
        config = load_here().AnthropicConfig()  # the one that Vertex AI's stands on
        sent = config.transform_request(model, [*asked["messages"]], {"max_tokens": 9}, {}, {})
        assert json.dumps(sent).count("cache_control") == marks


async def test_nothing_is_sent_or_left_when_a_call_is_cancelled_in_the_queue() -> None:
    """LiteLLM waits for a thread of the loop's pool before it sends."""
    loop = asyncio.get_running_loop()
    async with wire() as server, provider(server.url, **ACOMPLETION) as local:
        server.json(answer())
        await local.open()
        pool = ThreadPoolExecutor(1)
        loop.set_default_executor(pool)
        release = threading.Event()
        blocked = loop.run_in_executor(None, release.wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await local.complete(ask())
        release.set()
        await blocked
        pool.shutdown()
    gc.collect()
    assert server.requests == []


async def test_no_coroutine_is_left_when_a_call_is_cancelled_while_its_thread_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread returns a coroutine that would send the request: it is closed, not dropped."""
    import litellm

    inside, go = threading.Event(), threading.Event()
    real = litellm.main.completion

    def slow(*args: Any, **kwargs: Any) -> Any:
        inside.set()
        go.wait(5)
        return real(*args, **kwargs)

    monkeypatch.setattr(litellm.main, "completion", slow)
    async with wire() as server, provider(server.url, **ACOMPLETION) as local:
        server.json(answer())
        await local.open()
        call = asyncio.ensure_future(local.complete(ask()))
        await asyncio.to_thread(inside.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        await asyncio.sleep(0.3)
    gc.collect()
    assert inside.is_set() and server.requests == []


async def test_the_preview_shows_what_litellm_is_asked() -> None:
    async with provider("http://127.0.0.1:9/v1", headers={"X-A": "b"}, **ACOMPLETION) as local:
        request = ask(params={"temperature": 0.1, "top_k": 3}, user="u")
        with pytest.raises(RuntimeError, match="open"):
            local.preview(request)
        await local.open()
        shown = local.preview(request)
    assert shown.body["temperature"] == 0.1 and shown.body["top_k"] == 3
    assert KEY not in repr(shown) and shown.headers["X-A"] == "[redacted]"


async def test_an_unknown_provider_is_a_mistake_of_the_configuration() -> None:
    async with provider("http://127.0.0.1:9/v1", "nowhere", api_key=KEY) as row:
        with pytest.raises((ConfigurationError, ProviderError), match="nowhere"):
            await row.complete(ask())
