"""Keys sent = keys asked: LiteLLM's OpenrouterConfig builds the request, and loses nothing."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from llm_router.config.model import ApiKey, ProviderConfig
from llm_router.errors import (
    ConfigurationError,
    InvalidRequestError,
    MissingCredentialsError,
)
from llm_router.options.openrouter import (
    OpenRouterOptions,
    check_openrouter_options,
    merge_openrouter_options,
)
from llm_router.options.request import PARAM_NAMES
from llm_router.providers.http import encode_json
from llm_router.providers.importing import load_here
from llm_router.providers.openrouter.provider import (
    OpenRouterBuilder,
    OpenRouterProvider,
    wire_model,
)
from tests.providers.loopback import APP, KEY, asking, provider_at, serving

TOOL = {
    "type": "function",
    "function": {"name": "now", "parameters": {"type": "object"}, "strict": True},
    "cache_control": {"type": "ephemeral"},
}
PARAMS: dict[str, Any] = {
    "temperature": 0.0, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "top_a": 0.2,
    "frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1,
    "max_tokens": 64, "max_completion_tokens": 65, "stop": ["\n"], "seed": 7,
    "logit_bias": {"50256": -100}, "logprobs": True, "top_logprobs": 2, "tools": [TOOL],
    "tool_choice": "required", "parallel_tool_calls": False,
    "response_format": {"type": "json_object"}, "reasoning": {"effort": "max", "exclude": True},
    "verbosity": "low", "modalities": ["text"], "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "x"}, "service_tier": "flex",
    "web_search_options": {"search_context_size": "low"}, "metadata": {"team": "a"},
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "provider": {
        "order": ["azure"], "only": ["azure"], "ignore": ["x"], "allow_fallbacks": False,
        "require_parameters": True, "data_collection": "deny", "zdr": True,
        "enforce_distillable_text": True, "quantizations": ["fp8"],
        "sort": {"by": "price", "partition": "none"}, "preferred_min_throughput": {"p90": 20},
        "preferred_max_latency": 2, "max_price": {"prompt": "1.5"}, "options": {},
    },
    "models": ["a/b", "c/d"], "route": "fallback", "plugins": [{"id": "web"}],
    "transforms": ["middle-out"], "reasoning": {"max_tokens": 2000}, "reasoning_effort": "max",
    "include_reasoning": False, "session_id": "s", "service_tier": "priority",
    "cache_control": {"type": "ephemeral", "ttl": "1h"}, "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"}, "trace": {"trace_id": "t"}, "preset": "p",
    "prediction": {"type": "content", "content": "y"}, "image_config": {"aspect_ratio": "1:1"},
    "debug": {"echo_upstream_body": True}, "web_search_options": {}, "x_search_filter": {},
    "stop_server_tools_when": [{}], "structured_outputs": True, "safety_identifier": "i",
    "usage": {"include": True}, "user": "u", "metadata": {}, "verbosity": "high",
}  # fmt: skip


@pytest.fixture(scope="module")
def builder() -> OpenRouterBuilder:
    load_here()
    from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

    return OpenRouterBuilder(OpenrouterConfig(), ProviderConfig(api_key=SecretStr(KEY)))


def test_tables_of_this_file_name_every_parameter_and_option() -> None:
    assert PARAMS.keys() == PARAM_NAMES
    assert OPTIONS.keys() == OpenRouterOptions.__annotations__.keys()
    check_openrouter_options(OPTIONS)


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "qwen/qwen3-max", "anthropic/claude-4"])
async def test_every_parameter_and_option_reaches_the_wire_unchanged(model: str) -> None:
    extra = {"max_retries": 3, "extra_headers": {"a": "b"}, "n": 1, "brand_new": [1, None]}
    async with serving() as server, provider_at(server.url) as provider:
        await provider.complete(asking(model, params=PARAMS, extra_body={"stop_at": 1}))
        await provider.complete(asking(model, openrouter=OPTIONS, user="me"))
        await provider.complete(asking(model, extra_body=extra))
    first, second, third = (body | {"messages": None, "model": None} for body in server.posts)
    nothing = {"messages": None, "model": None}
    assert first == PARAMS | {"stop_at": 1} | nothing
    assert second == OPTIONS | {"user": "me"} | nothing
    assert third == extra | nothing


@settings(max_examples=200, deadline=None)
@given(
    params=st.sets(st.sampled_from(sorted(PARAMS))),
    options=st.sets(st.sampled_from(sorted(OPTIONS))),
    model=st.sampled_from(["openai/gpt-4o", "google/gemini-2.5-pro", "auto", "@preset/x", "gpt-4"]),
    stream=st.booleans(),
)
def test_keys_sent_are_keys_asked_for_any_combination(
    builder: OpenRouterBuilder, params: set[str], options: set[str], model: str, stream: bool
) -> None:
    request = asking(
        model,
        params={name: PARAMS[name] for name in params},
        openrouter={name: OPTIONS[name] for name in options},
        stream=stream,
    )
    before = copy.deepcopy(request)
    body = builder.body(request)
    assert body.keys() == {"model", "messages"} | params | options | (
        {"stream"} if stream else set()
    )
    assert body["messages"] == request.messages
    assert request == before


async def test_messages_arrive_as_they_were_given_and_stay_untouched() -> None:
    """LiteLLM drops None values and cache marks, rewrites image parts and hoists tool images."""
    mark = {"type": "ephemeral"}
    image = {"type": "image_url", "image_url": "https://x.example/a.png"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be", "cache_control": mark}]},
        {"role": "user", "content": [image, {"type": "file", "file": {"file_data": "data:,"}}]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{"id": "c"}]},
        {"role": "tool", "tool_call_id": "c", "content": [image], "name": None},
        {"role": "user", "content": "Ünïcode 🎈", "cache_control": mark},
    ]
    before = copy.deepcopy(messages)
    async with serving() as server, provider_at(server.url) as provider:
        for model in ("openai/gpt-4o", "qwen/qwen3-max", "anthropic/claude-haiku-4.5"):
            await provider.complete(asking(model, messages=messages))
    text = {"type": "text", "text": "Ünïcode 🎈", "cache_control": mark}
    sent = [*before[:-1], {"role": "user", "content": [text]}]
    assert [body["messages"] for body in server.posts] == [sent] * 3
    assert messages == before


async def test_cache_marks_are_placed_when_the_request_asks_for_them() -> None:
    messages = [{"role": "system", "content": "Long"}, {"role": "user", "content": "Hi"}]
    async with serving() as server, provider_at(server.url) as provider:
        await provider.complete(asking("qwen/qwen3-max", messages=messages, cache="auto"))
        await provider.complete(
            asking("qwen/qwen3-max", messages=messages, cache="5m", params={"tools": [TOOL]})
        )
    part = {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}}
    assert server.posts[0]["messages"][0]["content"] == [part]
    assert "tools" not in server.posts[0]
    assert server.posts[1]["tools"] == [TOOL]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("auto", "openrouter/auto"),
        ("openrouter/auto", "openrouter/auto"),
        ("auto:online", "openrouter/auto:online"),
        ("@preset/mine", "@preset/mine"),
        ("openai/gpt-4o@preset/mine", "openai/gpt-4o@preset/mine"),
        ("~anthropic/claude-latest", "~anthropic/claude-latest"),
    ],
)
def test_model_reaches_the_wire_under_its_right_name(asked: str, sent: str) -> None:
    assert wire_model(asked) == sent


async def test_headers_carry_our_attribution_and_the_rows_own() -> None:
    headers = {"x-anthropic-beta": "b", "http-referer": "https://mine.example"}
    async with serving() as server:
        async with provider_at(server.url, app=APP) as provider:
            await provider.complete(asking())
        async with provider_at(server.url, app=APP, headers=headers) as provider:
            await provider.complete(asking())
    first, second = (sent for method, _, sent in server.received if method == "POST")
    assert first["Authorization"] == f"Bearer {KEY}"
    assert first["HTTP-Referer"] == "https://weather.example"
    assert first["X-OpenRouter-Title"] == "Weather"
    assert first["X-OpenRouter-Categories"] == "cli-agent"
    assert "litellm" not in str(first).lower()
    assert second["http-referer"] == "https://mine.example"
    assert "HTTP-Referer" not in second
    assert second["x-anthropic-beta"] == "b"


@pytest.mark.parametrize("taken", ["model", "messages", "stream"])
def test_what_the_call_decides_is_refused_in_extra_body(
    builder: OpenRouterBuilder, taken: str
) -> None:
    with pytest.raises(ConfigurationError, match=taken):
        builder.body(asking(extra_body={taken: 1}))


@pytest.mark.parametrize(
    ("given", "sent"),
    [("high", {"effort": "high"}), (2048, {"max_tokens": 2048}), ({"enabled": True},) * 2],
)
def test_reasoning_is_sent_as_the_wires_object(
    builder: OpenRouterBuilder, given: Any, sent: dict[str, Any]
) -> None:
    assert builder.body(asking(params={"reasoning": given}))["reasoning"] == sent


async def test_missing_key_is_refused_before_anything_is_built() -> None:
    provider = OpenRouterProvider("openrouter", ProviderConfig(api_key=ApiKey("", "MY_KEY")))
    await provider.open()
    for call in (provider.complete, provider.stream):
        with pytest.raises(MissingCredentialsError, match=r"MY_KEY.*sandbox") as caught:
            await call(asking())
        assert caught.value.env_var == "MY_KEY"
    with pytest.raises(MissingCredentialsError):
        provider.preview(asking())
    await provider.aclose()


def test_header_with_a_line_break_is_refused_without_showing_it() -> None:
    load_here()
    from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

    with pytest.raises(ConfigurationError, match="Authorization") as caught:
        OpenRouterBuilder(OpenrouterConfig(), ProviderConfig(api_key=SecretStr(KEY + "\n")))
    assert KEY not in str(caught.value)


async def test_preview_shows_the_request_without_the_key() -> None:
    async with serving() as server, provider_at(server.url) as provider:
        shown = provider.preview(asking("auto", params={"temperature": 1}))
        await provider.complete(asking("auto", params={"temperature": 1}))
    assert shown.url == f"{server.url}/chat/completions"
    assert shown.headers["Authorization"] == "[redacted]"
    assert KEY not in str(shown)
    assert [shown.body] == server.posts


def test_json_keeps_decimals_exact_and_takes_read_only_mappings() -> None:
    body = MappingProxyType(
        {"a": Decimal("0.2"), "b": Decimal("0.30000000000000000001"), "c": MappingProxyType({})}
    )
    assert json.loads(encode_json(body)) == {"a": 0.2, "b": "0.30000000000000000001", "c": {}}


@pytest.mark.parametrize("value", ["\ud83d", float("nan"), object(), {1, 2}])
def test_value_without_a_json_form_is_an_invalid_request(value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        encode_json({"messages": [{"content": value}]})


def test_option_may_be_none_to_take_back_what_the_alias_says() -> None:
    check_openrouter_options({"provider": None, "models": None})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provder": {}}, "did you mean 'provider'"),
        ({"zzz": 1}, "extra_body"),
        ({"temperature": 1}, "params"),
        ({"provider": {"sorts": "price"}}, "did you mean 'sort'"),
        ({"reasoning": {"efort": "low"}}, "did you mean 'effort'"),
        ({"models": "a/b"}, "is a list"),
        ({"trace": "t"}, "is a mapping"),
        ({"provider": "azure"}, "is a mapping"),
    ],
)
def test_misspelt_option_is_a_type_error_that_says_the_fix(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        check_openrouter_options(options)


def test_call_is_laid_over_the_alias_and_provider_merges_key_by_key() -> None:
    alias = {
        "provider": {"data_collection": "deny", "max_price": {"prompt": 1}},
        "models": ["a/b"],
        "preset": "x",
    }
    call = {"provider": {"sort": "price", "max_price": {"completion": 2}}, "preset": None}
    before = copy.deepcopy((alias, call))
    merged = merge_openrouter_options(alias, call)
    assert merged == {
        "provider": {
            "data_collection": "deny",
            "sort": "price",
            "max_price": {"prompt": 1, "completion": 2},
        },
        "models": ["a/b"],
    }
    assert (alias, call) == before
    assert merge_openrouter_options({}, {"provider": {"sort": "price"}}) == {
        "provider": {"sort": "price"}
    }
