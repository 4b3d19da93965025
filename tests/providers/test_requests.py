"""What LiteLLM's configurations make of a request, and that an upgrade shows what moved."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from pydantic import SecretStr

from llm_router.answers.completion import Completion, Image
from llm_router.config.model import ProviderConfig
from llm_router.errors import ConfigurationError, InvalidRequestError, UnsupportedFeatureError
from llm_router.options.messages import normalise_messages
from llm_router.providers.importing import load_here, quiet
from llm_router.providers.openrouter.provider import OpenRouterBuilder
from llm_router.providers.registry import WIRES
from llm_router.providers.requests import Prepared, RequestBuilder, config_of
from tests.providers.scripted import answer, ask, chunk, provider, wire
from tests.providers.test_native import EVERY_PARAM

KEY = "test-key-0123456789"
BASE = "http://127.0.0.1:9/v1"
PECULIAR = {"clarifai": "a.b.c"}
LEFT_OUT = {"chatgpt", "github_copilot", "ragflow"}
KINDS = sorted(WIRES)


def builder(kind: str, base_url: str | None = BASE, **row: Any) -> RequestBuilder:
    if "api_key" in row:
        row["api_key"] = SecretStr(row["api_key"])
    return RequestBuilder(load_here(), ProviderConfig(litellm=kind, base_url=base_url, **row), "r")


def built(kind: str, model: str = "some/model", **options: Any) -> Prepared:
    return builder(kind, api_key=KEY).build(ask(model, **options))


# --- every kind -----------------------------------------------------------------------------


def test_every_provider_that_litellm_calls_compatible_has_a_wire() -> None:
    litellm = load_here()
    assert set(litellm.openai_compatible_providers) - LEFT_OUT <= set(KINDS)
    assert {"openai", "custom_openai", "mistral", "huggingface", "minimax", "azure"} <= set(KINDS)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"openrouter"}))
def test_every_kind_builds_a_request_without_reading_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (kind, "openai"):
        monkeypatch.setenv(f"{name.upper().replace('-', '_')}_API_KEY", "from-the-environment")
    model = PECULIAR.get(kind, "some/model")
    asked = {"temperature": 0.5, "max_tokens": 5, "top_k": 3}
    for key in (KEY, ""):
        row = {"api_key": key} if key else {}
        made = builder(kind, **row).build(ask(model, params=asked, extra_body={"own": 1}))
        assert made.url.startswith(BASE) and "/chat/completions" in made.url
        assert made.body["messages"] == [{"role": "user", "content": "Hello"}]
        assert {"temperature": 0.5, "top_k": 3, "own": 1}.items() <= made.body.items()
        assert 5 in (made.body.get("max_tokens"), made.body.get("max_completion_tokens"))
        sent = str(dict(made.headers).items()) + "".join(made.headers.values())
        assert (key in sent) if key else ("Authorization" not in made.headers)
        assert "from-the-environment" not in sent and "litellm" not in sent.lower()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_an_address_is_at_the_providers_own_or_refused(kind: str) -> None:
    """LiteLLM falls back to OpenAI's where it knows none: a prompt for somebody else."""
    try:
        made = builder(kind, None, api_key=KEY)
    except ConfigurationError as error:
        assert "base_url" in str(error)
        return
    host = made.address.split("/")[2]
    assert ("api.openai.com" in host) is (kind == "openai"), made.address
    assert "//" not in made.address.partition("://")[2]
    if kind == "openai":
        url = made.build(ask()).url
        assert url == "https://api.openai.com/v1/chat/completions"


def test_a_key_of_the_environment_goes_to_the_providers_own_address_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-of-the-environment")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    assert authorization("groq", None) == "Bearer gsk-of-the-environment"
    assert authorization("openai", None) == "Bearer sk-of-the-environment"
    assert authorization("groq", None, api_key=KEY) == f"Bearer {KEY}"
    assert authorization("groq") is None


async def test_a_key_of_the_environment_is_a_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-of-the-environment")
    async with provider(None, "groq") as row:
        await row.open()
        assert row.secrets == ("gsk-of-the-environment",)
        assert "of-the-environment" not in repr(row.preview(ask()))


def authorization(kind: str, base_url: str | None = BASE, **row: Any) -> str | None:
    return builder(kind, base_url, **row).build(ask()).headers.get("Authorization")


# --- options --------------------------------------------------------------------------------

# A number as it was asked, or under the provider's name for it.
RENAMED = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "seed": "random_seed",
}


@pytest.mark.parametrize("kind", ["openai", "mistral", "groq", "xai", "deepseek", "perplexity",
                                  "together_ai", "fireworks_ai", "cerebras", "zai", "minimax",
                                  "moonshot", "huggingface", "azure", "poe"])  # fmt: skip
def test_every_parameter_is_sent_whatever_the_configuration_knows(kind: str) -> None:
    for name, value in EVERY_PARAM.items():
        body = built(kind, "plain/model", params={name: value}).body
        sent = body.get(name, body.get(RENAMED.get(name, name)))
        if name in ("tools", "tool_choice"):
            assert sent, f"{kind} {name}"
        else:
            assert sent == value, f"{kind} {name}"


def test_a_parameter_is_sent_by_the_providers_name_for_it() -> None:
    body = built("mistral", params={"seed": 1, "max_completion_tokens": 5}).body
    assert (body["random_seed"], body["max_tokens"]) == (1, 5)
    assert not {"seed", "max_completion_tokens"} & body.keys()
    assert built("openai", "o3", params={"max_tokens": 5}).body["max_completion_tokens"] == 5


@pytest.mark.parametrize("kind", ["groq", "fireworks_ai", "together_ai", "openai", "deepseek"])
def test_a_schema_is_asked_for_as_one_and_not_as_a_tool_call(kind: str) -> None:
    """LiteLLM asks models it does not know for a tool call, which only it would turn back."""
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    body = built(kind, "llama", params={"response_format": schema}, stream=True).body
    assert body["response_format"] == schema
    assert not {"tools", "tool_choice", "json_mode", "fake_stream"} & body.keys()


def test_what_the_configuration_refuses_is_unsupported_before_anything_is_sent() -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"^O-series models.*temperature") as caught:
        built("openai", "o3", params={"temperature": 0.3})
    assert caught.value.provider == "r" and caught.value.__cause__ is None


def test_no_network_is_asked_for_the_address_of_a_model() -> None:
    made = builder("huggingface", None, api_key=KEY).build(ask("novita/org/model"))
    assert made.url.startswith("https://router.huggingface.co/novita/")


def test_a_request_that_litellm_cannot_build_is_invalid() -> None:
    with pytest.raises(InvalidRequestError, match="No request could be built"):
        built("clarifai", "not-its-shape")


def test_a_stream_asks_for_its_usage_where_the_provider_takes_that() -> None:
    assert built("openai", stream=True).body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in built("mistral", stream=True).body
    own = {"stream_options": {"include_usage": False}}
    assert (
        built("openai", stream=True, extra_body=own).body["stream_options"] == own["stream_options"]
    )
    assert "stream" not in built("openai").body


@pytest.mark.parametrize(
    ("kind", "model", "asked", "sent"),
    [
        ("openai", "o3", "low", {"reasoning_effort": "low"}),
        ("deepseek", "deepseek-chat", True, {"thinking": {"type": "enabled"}}),
    ],
)
def test_reasoning_is_sent_by_the_providers_name_for_it(
    kind: str, model: str, asked: Any, sent: dict[str, Any]
) -> None:
    assert sent.items() <= built(kind, model, params={"reasoning": asked}).body.items()
    with pytest.raises(UnsupportedFeatureError):
        built(kind, model, params={"reasoning": 2000})


# --- messages -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "mistral", "deepseek", "groq", "zai", "azure"])
def test_an_assistants_turn_goes_back_without_openrouters_own_keys(kind: str) -> None:
    reply = Completion(
        text="Hi",
        reasoning="because",
        reasoning_details=({"type": "reasoning.text", "text": "because"},),
        annotations=({"type": "url_citation"},),
        images=(Image(url="data:image/png;base64,AA=="),),
    )
    messages = normalise_messages([{"role": "user", "content": "Hello"}, reply])
    before = copy.deepcopy(messages)
    sent = built(kind, messages=messages).body["messages"]
    assert sent[1]["content"] == "Hi"
    assert sent[1].keys() <= {"role", "content", "reasoning_content"}
    assert messages == before


@pytest.mark.parametrize("kind", ["openai", "mistral", "deepseek", "groq", "xai", "zai"])
def test_nothing_of_the_caller_is_written_into(kind: str) -> None:
    function = {"name": "f", "parameters": {"type": "object", "additionalProperties": False}}
    tool = {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": {}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://x.example/a"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]  # fmt: skip
    request = ask(messages=messages, params=EVERY_PARAM | {"tools": [tool]})
    before = copy.deepcopy(request)
    made = builder(kind).build(request)
    assert request == before
    assert [m["role"] for m in made.body["messages"]] == ["system", "user", "assistant", "tool"]
    assert made.body["messages"][2]["tool_calls"][0]["function"]["name"] == "f"


def test_a_file_by_its_url_is_refused_for_litellm_would_fetch_it() -> None:
    part = {"type": "file", "file": {"file_id": "https://x.example/a.pdf"}}
    with pytest.raises(UnsupportedFeatureError, match="file_data"):
        built("openai", messages=[{"role": "user", "content": [part]}])
    part["file"] = {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}
    body = built("openai", messages=[{"role": "user", "content": [part]}]).body
    assert body["messages"][0]["content"][0]["file"]["file_data"].startswith("data:")


PARTS = {
    "image_url": {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQQQ"}},
    "input_audio": {"type": "input_audio", "input_audio": {"data": "QQQQ", "format": "mp3"}},
    "file": {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQQQ"}},
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_message_is_sent_or_refused_and_never_left_out(kind: str, name: str) -> None:
    content = [{"type": "text", "text": "Look."}, PARTS[name]]
    messages = [{"role": "user", "content": content}, {"role": "user", "content": "And?"}]
    try:
        made = built(kind, PECULIAR.get(kind, "some/model"), messages=messages)
    except UnsupportedFeatureError as error:
        assert f"{kind} takes no {name} in messages" in str(error)
    except InvalidRequestError as error:
        assert kind == "fireworks_ai" and "does not support file content" in str(error)
    else:
        assert "QQQQ" in json.dumps(made.body)


# --- azure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (
            "https://x.openai.azure.com",
            "/openai/deployments/my%20gpt/chat/completions?api-version=",
        ),
        ("https://x.openai.azure.com/openai", "/openai/deployments/my%20gpt/chat/completions?"),
        ("https://x.openai.azure.com/openai/v1", "/openai/v1/chat/completions"),
    ],
)
def test_azure_has_the_deployment_in_its_url_and_a_header_of_its_own(base: str, url: str) -> None:
    made = builder("azure", base, api_key=KEY).build(ask("my gpt", params={"temperature": 0}))
    assert made.url.startswith(f"https://x.openai.azure.com{url}")
    assert made.headers["api-key"] == KEY and "Authorization" not in made.headers
    assert made.body["temperature"] == 0


async def test_azure_is_read_as_the_wire_that_it_is() -> None:
    async with wire() as server:
        base = server.url.removesuffix("/v1")
        async with provider(base, "azure", "azure", api_key=KEY) as row:
            filtered: dict[str, Any] = {
                "choices": [],
                "id": "",
                "model": "",
                "prompt_filter_results": [{}],
            }
            server.json(answer())
            assert (await row.complete(ask("gpt", "azure"))).text == "hi"
            server.replies.clear()
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            server.sse(
                chunk(None, None, **filtered),
                chunk({"content": "hi"}),
                chunk({}, "stop", usage=usage),
            )
            stream = await row.stream(ask("gpt", "azure", stream=True))
            assert [event async for event in stream]
            assert (stream.snapshot().text, stream.snapshot().model) == ("hi", "served-model")
    assert server.requests[0].path == "/openai/deployments/gpt/chat/completions"
    assert server.requests[0].query["api-version"]


# --- what we rely on ------------------------------------------------------------------------


def test_openrouters_configuration_has_the_methods_we_call() -> None:
    load_here()
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


def test_litellm_would_drop_these_at_the_top_level() -> None:
    litellm = load_here()
    listed = litellm.get_supported_openai_params(model="a/b", custom_llm_provider="openrouter")
    assert {"temperature", "tools", "response_format", "max_tokens"} <= set(listed)
    assert not {"user", "metadata", "verbosity", "top_k", "provider", "plugins"} & set(listed)


def test_prices_for_openrouter_are_unknown_to_litellm() -> None:
    assert not [name for name in load_here().model_cost if name.startswith("openrouter/")]


@pytest.mark.parametrize("kind", ["openrouter", "openai", "groq", "azure"])
def test_building_a_request_costs_a_fraction_of_a_millisecond(kind: str) -> None:
    """13 to 62 µs on an idle machine with 1.105 to 1.110; the bound shows what got worse."""
    row = ProviderConfig(api_key=SecretStr(KEY), base_url=BASE)
    with quiet():
        config = config_of(load_here(), kind, "some/model")
    made = OpenRouterBuilder(config, row) if kind == "openrouter" else builder(kind)
    request = ask(params={"temperature": 0.2, "max_tokens": 64, "seed": 1})
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        for _ in range(20):
            made.build(request)
        best = min(best, (time.process_time() - began) / 20)
    assert best < 2e-3, f"{best * 1e6:.0f} µs"


def test_options_that_are_kept_from_call_to_call_are_those_that_were_asked() -> None:
    made = builder("mistral")
    for seed in (1, 2, 1):
        asked = ask(params={"seed": seed, "temperature": 0.5 * seed})
        body = made.build(asked).body
        assert (body["random_seed"], body["temperature"]) == (seed, 0.5 * seed)
