"""What we rely on in LiteLLM, so that an upgrade shows what moved."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from llm_router.providers.litellm.arguments import target_of

from llm_router.config.model import ProviderConfig
from llm_router.providers.importing import load
from tests.providers.litellm_wire import answer, ask, provider, wire

KEY = "test-key-0123456789"
# Not probed: they log in over the network, or want a model name of their own shape.
_PECULIAR = {"anyscale", "chatgpt", "clarifai", "github_copilot", "ragflow", "groq"}


@pytest.fixture
async def litellm() -> Any:
    return await load()


async def test_acompletion_takes_what_we_pass(litellm: Any) -> None:
    names = inspect.signature(litellm.acompletion).parameters
    for name in ("model", "messages", "stream", "stream_options", "extra_headers", "timeout"):
        assert name in names
    assert names["kwargs"].kind is inspect.Parameter.VAR_KEYWORD


async def test_the_handler_takes_our_client(litellm: Any) -> None:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    handler = AsyncHTTPHandler.__new__(AsyncHTTPHandler)
    marker = object()
    handler.client = marker  # type: ignore[assignment]  # any object shows that it is kept
    assert handler.client is marker and handler._owns_client is False
    assert inspect.iscoroutinefunction(AsyncHTTPHandler.post)


async def test_every_compatible_provider_sends_once_through_our_client(litellm: Any) -> None:
    names = {"openai", "custom_openai", "openrouter", *litellm.openai_compatible_providers}
    async with wire() as server:
        server.json(answer())
        for name in sorted(names - _PECULIAR):
            server.requests.clear()
            async with provider(server.url, name, "row", api_key=KEY) as row:
                reply = await row.complete(ask(provider="row", extra_body={"own": 1}))
                client = await row._clients.get()
                assert client._transport._pool.connections, name  # type: ignore[attr-defined]  # httpx's own pool
            assert reply.text == "hi" and len(server.requests) == 1, name
            assert server.bodies[-1]["own"] == 1, name


@pytest.mark.parametrize(("name", "sdk"), [("openai", True), ("groq", False), ("poe", True)])
async def test_providers_are_split_by_the_client_they_take(
    litellm: Any, name: str, sdk: bool
) -> None:
    target = target_of(litellm, ProviderConfig(litellm=name), "row")
    assert target.uses_sdk is sdk and target.openai_shaped


async def test_openrouters_configuration_has_the_methods_we_call(litellm: Any) -> None:
    from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

    config = OpenrouterConfig()
    headers = config.validate_environment({}, "m", [], {}, {}, api_key="k")
    assert headers["Authorization"] == "Bearer k"
    assert "HTTP-Referer" not in headers and "X-Title" not in headers
    url = config.get_complete_url("https://h.example/api/v1", "k", "m", {}, {})
    assert url == "https://h.example/api/v1/chat/completions"
    asked = {"temperature": 1, "user": "u", "top_k": 3, "verbosity": "low"}
    mapped = config.map_openai_params(asked, {}, "openai/gpt-4o", False)
    assert mapped["temperature"] == 1 and not mapped.get("extra_body")
    assert not {"user", "top_k", "verbosity"} & mapped.keys()
    body = config.transform_request("a/b", [], {"extra_body": {"user": "u"}}, {}, {})
    assert body["user"] == "u" and body["model"] == "a/b"


async def test_litellm_would_drop_these_at_the_top_level(litellm: Any) -> None:
    listed = litellm.get_supported_openai_params(model="a/b", custom_llm_provider="openrouter")
    assert {"temperature", "tools", "response_format", "max_tokens"} <= set(listed)
    assert not {"user", "metadata", "verbosity", "top_k", "provider", "plugins"} & set(listed)


async def test_prices_for_openrouter_are_unknown_to_litellm(litellm: Any) -> None:
    assert not [name for name in litellm.model_cost if name.startswith("openrouter/")]
