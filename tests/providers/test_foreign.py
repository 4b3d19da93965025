"""What is sent to providers with wires of their own, built by each LiteLLM of the range."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Completion, Image, ToolCall
from llm_router.errors import (
    ConfigurationError,
    InvalidRequestError,
    LLMRouterError,
    UnsupportedFeatureError,
)
from llm_router.options.messages import normalise_messages
from llm_router.options.parts import AudioPart, FilePart, ImagePart, VideoPart
from llm_router.options.tools import tool_result
from llm_router.providers.foreign import ForeignBuilder, joined
from tests.providers.foreign import (
    BASE,
    CLAUDE_AT_BEDROCK,
    KEY,
    KINDS,
    MODELS,
    SCHEMA,
    SCHEMA_FORMAT,
    TOOL,
    builder,
    built,
)
from tests.providers.scripted import ask
from tests.providers.test_native import EVERY_PARAM

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
CLAUDES = ["anthropic", "bedrock"]
GOOGLES = ["gemini", "vertex_ai"]


def body(kind: str, model: str | None = None, **options: Any) -> Any:
    return json.loads(json.dumps(dict(built(kind, model, **options).body)))


def asked(name: str, value: Any) -> dict[str, Any]:
    """Return the option, with tools where it is about them."""
    return {name: value} | (
        {"tools": [TOOL]} if name in ("tool_choice", "parallel_tool_calls") else {}
    )


# --- addresses and keys ---------------------------------------------------------------------


GOOGLE = "https://generativelanguage.googleapis.com"
VERTEX = f"{BASE}/v1/projects/p/locations/l"
FLASH = "models/gemini-2.5-flash:"
PUBLISHED = f"publishers/google/{FLASH}"
GENERATE, STREAM = "generateContent", "streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("kind", "base", "address", "last", "streamed"),
    [
        ("anthropic", None, "https://api.anthropic.com/v1/", "messages", "messages"),
        ("anthropic", f"{BASE}/v1", f"{BASE}/v1/", "messages", "messages"),
        ("anthropic", f"{BASE}/v1/messages", f"{BASE}/v1/", "messages", "messages"),
        ("cohere_chat", None, "https://api.cohere.com/v2/", "chat", "chat"),
        ("cohere", f"{BASE}/v2/chat", f"{BASE}/v2/", "chat", "chat"),
        ("cohere", f"{BASE}/v2", f"{BASE}/v2/", "chat", "chat"),
        ("ollama_chat", None, "http://localhost:11434/api/", "chat", "chat"),
        ("ollama_chat", f"{BASE}/api/chat", f"{BASE}/api/", "chat", "chat"),
        ("gemini", None, f"{GOOGLE}/v1beta/{FLASH}", GENERATE, STREAM),
        ("gemini", f"{BASE}/v1alpha", f"{BASE}/v1alpha/{FLASH}", GENERATE, STREAM),
        ("vertex_ai", None, f"https://aiplatform.googleapis.com/v1/{PUBLISHED}", GENERATE, STREAM),
        ("vertex_ai", VERTEX, f"{VERTEX}/{PUBLISHED}", GENERATE, STREAM),
        ("bedrock", BASE, f"{BASE}/model/{CLAUDE_AT_BEDROCK}/", "converse", "converse-stream"),
    ],
)  # fmt: skip
def test_a_request_goes_to_the_providers_address_wherever_a_base_url_ends(
    kind: str, base: str | None, address: str, last: str, streamed: str
) -> None:
    made = builder(kind, base)
    assert made.build(ask(MODELS[kind])).url == address + last
    assert made.target(MODELS[kind])[0] == address + last
    assert made.build(ask(MODELS[kind], stream=True)).url == address + streamed


@pytest.mark.parametrize(("base", "url"), [
    ("http://h", "http://h/v1/messages"), ("http://h/v1", "http://h/v1/messages"),
    ("http://h/v1/messages", "http://h/v1/messages"), ("http://h/x", "http://h/x/v1/messages"),
])  # fmt: skip
def test_a_path_is_joined_where_the_base_has_the_beginning_of_it(base: str, url: str) -> None:
    assert joined(base, "/v1/messages") == url


@pytest.mark.parametrize(
    ("row", "variables", "host"),
    [
        ({"region": "eu-west-3"}, {"AWS_REGION": "us-west-2"}, "eu-west-3"),
        ({}, {"AWS_REGION": "us-west-2"}, "us-west-2"),
        ({}, {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_bedrocks_region_is_the_rows_or_the_environments(
    row: dict[str, str], variables: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = builder("bedrock", None, **row).build(ask("arn:aws:bedrock:eu/x y"))
    assert made.url.startswith(f"https://bedrock-runtime.{host}.amazonaws.com/model/")
    assert made.url.endswith("/model/arn:aws:bedrock:eu%2Fx%20y/converse")


def test_bedrock_without_a_region_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match=r"Set providers\.row\.region, or AWS_REGION"):
        builder("bedrock", None)


def test_bedrock_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError, match="AWS_BEARER_TOKEN_BEDROCK"):
        builder("bedrock", None, api_key=None, region="us-east-1")


def test_vertex_without_a_key_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="path: acompletion"):
        builder("vertex_ai", None, api_key=None)
    row = builder(
        "vertex_ai",
        None,
        api_key=None,
        headers={"Authorization": "Bearer b"},
        region="europe-west1",
    )
    made = row.build(ask("gemini-2.5-flash"))
    assert made.url.startswith("https://europe-west1-aiplatform.googleapis.com/v1/publishers/")
    assert made.headers["Authorization"] == "Bearer b" and "x-goog-api-key" not in made.headers
    with pytest.raises(UnsupportedFeatureError, match="path: acompletion"):
        row.build(ask("claude-sonnet-4-5"))


HEADERS = {
    "anthropic": ("x-api-key", KEY),
    "bedrock": ("Authorization", f"Bearer {KEY}"),
    "cohere": ("Authorization", f"Bearer {KEY}"),
    "cohere_chat": ("Authorization", f"Bearer {KEY}"),
    "gemini": ("x-goog-api-key", KEY),
    "ollama_chat": ("Authorization", f"Bearer {KEY}"),
    "vertex_ai": ("x-goog-api-key", KEY),
}
VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "CO_API_KEY",
    "gemini": "GEMINI_API_KEY",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_goes_where_the_provider_looks_for_it(kind: str) -> None:
    headers = built(kind).headers
    name, value = HEADERS[kind]
    assert headers[name] == value and KEY not in repr(headers)
    assert "litellm" not in str(headers).lower()
    names = [name.lower() for name in headers]
    assert len(set(names)) == len(names) and headers.keys() & {"Content-Type", "content-type"}
    without = builder(kind, api_key=None).build(ask(MODELS[kind])).headers
    assert name not in without


@pytest.mark.parametrize("kind", VARIABLES)
def test_a_key_of_the_environment_goes_to_the_providers_own_address_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLES[kind], "of-the-environment")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert builder(kind, None, api_key=None).key == "of-the-environment"
    assert builder(kind, BASE, api_key=None).key == ""
    assert builder(kind, None).key == KEY


# --- options --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*EVERY_PARAM, "reasoning", "user"])
def test_an_option_is_in_the_body_or_refused_by_its_name(kind: str, name: str) -> None:
    value = {**EVERY_PARAM, "reasoning": "low", "user": "u-1"}[name]
    params = asked(name, value)
    user = params.pop("user", None)
    without = body(kind, params={n: v for n, v in params.items() if n != name})
    try:
        with_it = body(kind, params=params, user=user)
    except (UnsupportedFeatureError, InvalidRequestError) as error:
        assert name in str(error), f"{kind}: {error}"
        return
    defaults = {"tool_choice": "auto"}
    assert with_it != without or defaults.get(name) == value
    assert name not in with_it or name in WIRES_OWN[kind], f"{kind}: sent as it is"


# What is a name of the wire itself.
_OPENAIS = {"temperature", "max_tokens", "tools", "tool_choice", "response_format"}
_COHERES = _OPENAIS | {"frequency_penalty", "presence_penalty", "seed", "logprobs"}
WIRES_OWN = {
    "anthropic": _OPENAIS | {"top_p", "top_k"},
    "bedrock": set(),
    "cohere": _COHERES,
    "cohere_chat": _COHERES,
    "gemini": {"tools"},
    "ollama_chat": {"tools"},
    "vertex_ai": {"tools"},
}
# Values by which an option can be found in a body, wherever it went.
TRACES: dict[str, Any] = {
    "temperature": 0.123,
    "top_p": 0.456,
    "top_k": 789,
    "max_tokens": 12345,
    "stop": ["halt-here"],
    "seed": 98765,
    "frequency_penalty": 0.321,
    "presence_penalty": 0.654,
    "response_format": SCHEMA_FORMAT,
    "tools": [TOOL],
    "tool_choice": "required",
    "reasoning": 2222,
    "metadata": {"trace": "t-1"},
    "user": "u-1",
    "parallel_tool_calls": False,
}


def lines(value: Any, path: str = "") -> set[str]:
    """Return the leaves of a body, each with its path."""
    if isinstance(value, dict):
        return {leaf for name, item in value.items() for leaf in lines(item, f"{path}/{name}")}
    if isinstance(value, list):
        return {leaf for item in value for leaf in lines(item, path)}
    return {f"{path}={value!r}"}


@pytest.mark.parametrize("kind", KINDS)
def test_options_together_lose_nothing_of_what_each_is_alone(kind: str) -> None:
    served = {}
    for name, value in TRACES.items():
        try:
            alone = body(kind, params=asked(name, value))
        except UnsupportedFeatureError:
            continue
        base = body(
            kind,
            params={"tools": [TOOL]} if "tools" in asked(name, value) and name != "tools" else {},
        )
        served[name] = lines(alone) - lines(base)
    assert len(served) >= 8
    for one, other in itertools.combinations(served, 2):
        params = asked(one, TRACES[one]) | asked(other, TRACES[other])
        together = lines(body(kind, params=params))
        for name in (one, other):
            lost = {
                leaf
                for leaf in served[name] - together
                if "axtokens" not in leaf.lower().replace("_", "")
            }
            if {one, other} == {"tool_choice", "parallel_tool_calls"}:
                lost -= {
                    "/tool_choice/type='auto'",
                    "/additionalModelRequestFields/tool_choice/type='auto'",
                }
            assert not lost, f"{kind}: {one} and {other} lose {lost}"
        if "max_tokens" in (one, other):
            assert "=12345" in " ".join(together)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_sent_that_nobody_asked_for(kind: str) -> None:
    plain = {
        "anthropic": {"model", "messages", "max_tokens"},
        "bedrock": {"messages", "inferenceConfig"},
        "ollama_chat": {"model", "messages", "options", "stream"},
        "gemini": {"contents"},
        "vertex_ai": {"contents"},
    }
    assert body(kind).keys() == plain.get(kind, {"model", "messages"})
    assert body(kind, stream=True).keys() - plain.get(kind, {"model", "messages"}) <= {"stream"}
    if kind in GOOGLES:
        assert body(kind, "gemini-3-pro-preview").keys() == {"contents"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_asked_for_as_the_wire_has_it(kind: str) -> None:
    by_address = kind in ("bedrock", *GOOGLES)
    assert body(kind, stream=True).get("stream") is (None if by_address else True)
    assert body(kind).get("stream") is (False if kind == "ollama_chat" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_extra_body_is_sent_as_it_is(kind: str) -> None:
    extra = {"own": {"a": [1]}, "safetySettings": []}
    assert extra.items() <= body(kind, extra_body=extra).items()
    with pytest.raises(ConfigurationError, match="'stream'"):
        built(kind, extra_body={"stream": True})


@pytest.mark.parametrize("kind", KINDS)
def test_stop_is_a_list_also_when_one_word_was_given(kind: str) -> None:
    assert body(kind, params={"stop": "x"}) == body(kind, params={"stop": ["x"]})


@pytest.mark.parametrize("kind", KINDS)
def test_two_limits_that_contradict_are_refused(kind: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match="max_completion_tokens"):
        built(kind, params={"max_tokens": 5, "max_completion_tokens": 6})
    same = {"max_tokens": 5, "max_completion_tokens": 5}
    assert body(kind, params=same) == body(kind, params={"max_tokens": 5})


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_provider_does_unasked_may_be_asked_for(kind: str) -> None:
    params = {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}
    assert "weather" in json.dumps(body(kind, params=params))
    for name in ("tool_choice", "parallel_tool_calls"):
        with pytest.raises(UnsupportedFeatureError, match=f"{name} without tools"):
            built(kind, params={name: params[name]})


ONE = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("choice", ["required", "none", ONE])
def test_a_tool_choice_is_the_one_that_was_asked_for(kind: str, choice: Any) -> None:
    words: dict[str, list[Any]] = {
        "anthropic": [{"type": "any"}, {"type": "none"}, {"type": "tool", "name": "weather"}],
        "bedrock": [{"any": {}}, None, {"tool": {"name": "weather"}}],
        "cohere": ["REQUIRED", "NONE", "REQUIRED"],
        "gemini": [
            {"mode": "ANY"},
            {"mode": "NONE"},
            {"mode": "ANY", "allowed_function_names": ["weather"]},
        ],
        "ollama_chat": [None, None, None],
    }
    family = {"cohere_chat": "cohere", "vertex_ai": "gemini"}.get(kind, kind)
    wanted = words[family][["required", "none", ONE].index(choice)]
    params = {"tools": [TOOL], "tool_choice": choice}
    if wanted is None:
        with pytest.raises(UnsupportedFeatureError, match="tool_choice"):
            built(kind, params=params)
        return
    made = body(kind, params=params | ({"reasoning": 2000} if kind == "bedrock" else {}))
    config = made.get("toolConfig", {})
    found = made.get("tool_choice") or config.get("toolChoice") or config["functionCallingConfig"]
    assert found == wanted


def test_cohere_cannot_force_one_tool_among_others() -> None:
    other = copy.deepcopy(TOOL)
    other["function"]["name"] = "time"
    choice = {"type": "function", "function": {"name": "time"}}
    with pytest.raises(UnsupportedFeatureError, match="one tool among others"):
        built("cohere_chat", params={"tools": [TOOL, other], "tool_choice": choice})


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_that_would_get_another_name_is_refused(kind: str) -> None:
    odd = {"type": "function", "function": {"name": "a.b c", "parameters": {"type": "object"}}}
    if kind in CLAUDES:
        with pytest.raises(UnsupportedFeatureError, match=r"'a\.b c'"):
            built(kind, params={"tools": [odd]})
    else:
        assert "a.b c" in json.dumps(body(kind, params={"tools": [odd]}))


@pytest.mark.parametrize("kind", KINDS)
def test_tools_of_other_providers_are_refused_and_not_left_out(kind: str) -> None:
    with pytest.raises((UnsupportedFeatureError, InvalidRequestError), match="openrouter:web"):
        built(kind, params={"tools": [TOOL, {"type": "openrouter:web_search"}]})
    own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    if kind == "anthropic":
        assert own.items() <= body(kind, params={"tools": [TOOL, own]})["tools"][1].items()
    else:
        with pytest.raises((UnsupportedFeatureError, InvalidRequestError)):
            built(kind, params={"tools": [TOOL, own]})


# --- reasoning ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model", "reasoning", "sent"),
    [
        ("anthropic", None, 2000, "'budget_tokens': 2000"),
        ("anthropic", None, False, "'thinking': {'type': 'disabled'}"),
        ("bedrock", None, 2000, "'budget_tokens': 2000"),
        ("bedrock", None, False, "'thinking': {'type': 'disabled'}"),
        ("bedrock", "meta.llama3-70b-instruct-v1:0", False, None),
        ("gemini", None, 2000, "'thinkingBudget': 2000"),
        ("gemini", None, False, "'thinkingBudget': 0"),
        ("gemini", "gemini-3-pro-preview", "high", "'thinkingLevel': 'high'"),
        ("gemini", "gemini-3-pro-preview", 2000, None),
        ("gemini", "gemini-3-pro-preview", False, None),
        ("gemini", "gemini-3-pro-preview", "minimal", None),
        ("cohere_chat", None, True, "'thinking': {'type': 'enabled'}"),
        ("cohere_chat", None, False, "'thinking': {'type': 'disabled'}"),
        ("cohere_chat", None, 2000, "'token_budget': 2000"),
        ("cohere_chat", None, "low", None),
        ("cohere_chat", None, {"enabled": True, "exclude": True}, None),
        ("ollama_chat", None, True, "'think': True"),
        ("ollama_chat", None, False, "'think': False"),
        ("ollama_chat", None, "low", None),
        ("ollama_chat", "gpt-oss:20b", "low", "'think': 'low'"),
        ("ollama_chat", None, 2000, None),
    ],
)
def test_reasoning_is_what_was_asked_or_refused(
    kind: str, model: str | None, reasoning: Any, sent: str | None
) -> None:
    if sent is None:
        with pytest.raises(UnsupportedFeatureError, match="reasoning"):
            built(kind, model, params={"reasoning": reasoning})
    else:
        assert sent in str(body(kind, model, params={"reasoning": reasoning}))


# --- schemas --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("gemini", ("generationConfig", "response_json_schema")),
        ("vertex_ai", ("generationConfig", "response_json_schema")),
        ("ollama_chat", ("format",)),
        ("cohere_chat", ("response_format", "json_schema")),
        ("anthropic", ("output_format", "schema")),
    ],
)
def test_a_schema_is_asked_for_by_the_wires_own_way(kind: str, path: tuple[str, ...]) -> None:
    made = body(kind, params={"response_format": SCHEMA_FORMAT})
    for name in path:
        made = made[name]
    assert made == SCHEMA


@pytest.mark.parametrize(
    ("kind", "model"),
    [("anthropic", "claude-3-haiku-20240307"), ("bedrock", "meta.llama3-70b-instruct-v1:0")],
)
def test_litellms_tool_in_place_of_a_schema_is_never_sent(kind: str, model: str) -> None:
    """It asks for a call of `json_tool_call`, which only it turns back into text."""
    for asked_format in (SCHEMA_FORMAT, {"type": "json_object"}):
        with pytest.raises(UnsupportedFeatureError, match="response_format"):
            built(kind, model, params={"response_format": asked_format})


def test_the_beta_that_a_body_needs_is_asked_for_beside_the_rows_own() -> None:
    request = ask(MODELS["anthropic"], params={"response_format": SCHEMA_FORMAT})
    assert "structured-outputs" in builder("anthropic").build(request).headers["anthropic-beta"]
    row = builder("anthropic", headers={"Anthropic-Beta": "mine-2026"})
    both = row.build(request).headers["Anthropic-Beta"]
    assert both.startswith("mine-2026,structured-outputs")
    assert row.build(ask(MODELS["anthropic"])).headers["Anthropic-Beta"] == "mine-2026"


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-5", "claude-opus-4-7"])
def test_a_plain_request_has_the_headers_that_the_same_one_in_parts_has(model: str) -> None:
    params = {"max_tokens": 100_000, "temperature": 1}
    in_parts = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    plain = [{"role": "user", "content": "Hello"}]
    shown = [built("anthropic", model, messages=m, params=params) for m in (plain, in_parts, plain)]
    assert len({json.dumps(dict(made.headers)) for made in shown}) == 1


# --- parts of messages ----------------------------------------------------------------------


def shown(kind: str, *parts: Any, role: str = "user") -> Any:
    messages = normalise_messages([{"role": role, "content": ["look", *parts]}])
    return body(kind, messages=messages)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_an_image_are_sent(kind: str) -> None:
    assert "iVBORw0KGgow" in json.dumps(shown(kind, ImagePart(PNG)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("url", ["https://a.example/a.png", "http://a.example/a", "https://[::1]/"])
def test_an_image_by_url_is_the_providers_to_fetch_and_never_ours(
    kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was looked up")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    taken = kind.startswith("cohere") or (kind == "anthropic" and url.startswith("https"))
    for role in ("user", "assistant"):
        if taken:
            assert url in json.dumps(shown(kind, ImagePart(url))), role
        else:
            with pytest.raises(UnsupportedFeatureError, match="Send the bytes"):
                shown(kind, ImagePart(url), role=role)


def test_anthropic_gets_an_image_and_a_document_by_url() -> None:
    url = "https://papers.example/a.pdf"
    made = shown("anthropic", ImagePart("https://p.example/a.png"), FilePart(url))
    sources = [part["source"] for part in made["messages"][0]["content"][1:]]
    assert sources == [
        {"type": "url", "url": "https://p.example/a.png"},
        {"type": "url", "url": url},
    ]


@pytest.mark.parametrize("kind", GOOGLES)
def test_google_gets_sound_video_and_what_it_holds_itself(kind: str) -> None:
    video = VideoPart(b"\x00\x00\x00\x18ftypmp42" + b"0" * 16, media_type="video/mp4")
    sound = AudioPart(b"ID3" + b"0" * 16)
    link = (
        VideoPart("https://www.youtube.com/watch?v=x")
        if kind == "gemini"
        else {"type": "video_url", "video_url": {"url": "gs://bucket/a.mp4"}}
    )
    parts = shown(kind, video, sound, link)["contents"][0]["parts"]
    assert [part["inline_data"]["mime_type"] for part in parts[1:3]] == ["video/mp4", "audio/mp3"]
    assert parts[3]["file_data"]["file_uri"].startswith(("https://www.youtube.com/", "gs://"))
    with pytest.raises(UnsupportedFeatureError, match="Send the bytes"):
        shown(kind, VideoPart("https://videos.example/a.mp4"))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in GOOGLES])
def test_parts_that_a_wire_has_not_are_refused_and_not_left_out(kind: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match="input_audio in messages"):
        shown(kind, AudioPart(b"ID3" + b"0" * 16))


# --- conversations --------------------------------------------------------------------------

CALLS = (
    ToolCall(id="c-1", name="weather", arguments={"city": "Ulm"}, raw_arguments='{"city": "Ulm"}'),
    ToolCall(id="c-2", name="weather", arguments={"city": "Ulm"}, raw_arguments='{"city": "Ulm"}'),
)
OTHERS = ({"type": "reasoning.text", "text": "because", "format": "unknown"},)


def conversation(reply: Completion) -> list[Any]:
    results = [tool_result(call, "sunny") for call in reply.tool_calls]
    return normalise_messages(
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            reply,
            *results,
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_of_another_provider_goes_on_here(kind: str) -> None:
    reply = Completion(
        text="Let me see", reasoning="because", reasoning_details=OTHERS, tool_calls=CALLS
    )
    messages = conversation(reply)
    before = copy.deepcopy(messages)
    sent = json.dumps(body(kind, messages=messages, params={"tools": [TOOL]}))
    assert messages == before
    assert sent.count("Ulm") == 2 and sent.count("sunny") == 2 and "Let me see" in sent
    assert "because" not in sent and "reasoning" not in sent and "developer" not in sent


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_without_arguments_goes_back_as_one(kind: str) -> None:
    reply = Completion(tool_calls=(ToolCall(id="c", name="weather", arguments={}),))
    sent = json.dumps(body(kind, messages=conversation(reply), params={"tools": [TOOL]}))
    assert "sunny" in sent and '"type": "object"}' not in sent.split('"tools"')[0]


@pytest.mark.parametrize("kind", CLAUDES)
def test_tools_that_were_called_are_declared_again_when_a_call_names_none(kind: str) -> None:
    made = body(kind, messages=conversation(Completion(tool_calls=CALLS)))
    tools = (
        made["tools"]
        if kind == "anthropic"
        else [t["toolSpec"] for t in made["toolConfig"]["tools"]]
    )
    assert [tool["name"] for tool in tools] == ["weather"]
    assert "tool call" not in json.dumps(made)
    if kind == "anthropic":
        assert made["tool_choice"] == {"type": "none"}


THINKING = (
    {"type": "thinking", "thinking": "Hm", "signature": "sig-1"},
    {"type": "redacted_thinking", "data": "b3BhcXVl"},
    {"type": "thinking", "thinking": "", "signature": "sig-2"},
)


@pytest.mark.parametrize(("kind", "name"), [("anthropic", "anthropic"), ("bedrock", "converse")])
def test_thinking_of_claude_goes_back_before_its_calls_unchanged(kind: str, name: str) -> None:
    details = tuple({**block, "format": name} for block in THINKING)
    reply = Completion(text="Well", reasoning_details=(*details, *OTHERS), tool_calls=CALLS)
    messages = [*conversation(reply), *conversation(reply)[2:]]
    made = body(kind, messages=messages, params={"tools": [TOOL]})
    turns = [m["content"] for m in made["messages"] if m["role"] == "assistant"]
    blocks = list(THINKING) if kind == "anthropic" else [
        {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "sig-1"}}},
        {"reasoningContent": {"redactedContent": "b3BhcXVl"}},
        {"reasoningContent": {"reasoningText": {"text": "", "signature": "sig-2"}}},
    ]  # fmt: skip
    for turn in turns:
        assert turn[:3] == blocks
        assert [part.get("text") for part in turn[3:4]] == ["Well"]
        assert len(turn) == 6
    assert len(turns) == 2


@pytest.mark.parametrize("kind", CLAUDES)
def test_thinking_of_another_wire_is_left_out(kind: str) -> None:
    other = "converse" if kind == "anthropic" else "anthropic"
    reply = Completion(text="Well", reasoning_details=({**THINKING[0], "format": other},))
    assert "sig-1" not in json.dumps(body(kind, messages=conversation(reply)))


def test_thinking_that_nobody_signed_stays_behind_at_bedrock() -> None:
    detail = {"type": "thinking", "thinking": "Hm", "format": "converse"}
    reply = Completion(text="Well", reasoning_details=(detail,))
    assert "Hm" not in json.dumps(body("bedrock", messages=conversation(reply)))


PIXELS = {"mime_type": "image/png", "data": "AAAA"}


def signed(**where: Any) -> dict[str, Any]:
    (name, place), *_ = where.items()
    return {"type": "signature", "format": "gemini", "signature": f"sig-{name}-{place}", **where}


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro-preview"])
@pytest.mark.parametrize("kind", GOOGLES)
def test_signatures_of_gemini_go_back_on_the_parts_they_came_with(kind: str, model: str) -> None:
    code = {"executableCode": {"code": "1+1"}, "thoughtSignature": "sig-code"}
    details = (
        signed(reasoning=[0, 7]),
        signed(text=[2, 5]),
        {"type": "part", "format": "gemini", "part": code},
        signed(text=[8, 8]),
        signed(image=0),
        signed(tool_call=1),
    )
    reply = Completion(
        text="abCDEfgh",
        reasoning="because of",
        reasoning_details=details,
        images=(Image(url="data:image/png;base64,AAAA"),),
        tool_calls=CALLS,
    )
    made = body(kind, model, messages=conversation(reply), params={"tools": [TOOL]})
    _, turn, results = made["contents"]
    calls = [part.pop("function_call") for part in turn["parts"] if "function_call" in part]
    assert [call["args"] for call in calls] == [{"city": "Ulm"}] * 2
    assert [call.get("id") for call in calls] == ([None] * 2 if "2.5" in model else ["c-1", "c-2"])
    first = turn["parts"][-2].pop("thoughtSignature", None)
    assert (first is None) is ("2.5" in model)  # LiteLLM's for a model that wants one
    assert turn["parts"] == [
        {"text": "because", "thought": True, "thoughtSignature": "sig-reasoning-[0, 7]"},
        {"text": "ab"},
        {"text": "CDE", "thoughtSignature": "sig-text-[2, 5]"},
        {"text": "fgh"},
        code,
        {"text": "", "thoughtSignature": "sig-text-[8, 8]"},
        {"inline_data": PIXELS, "thoughtSignature": "sig-image-0"},
        {},
        {"thoughtSignature": "sig-tool_call-1"},
    ]  # fmt: skip
    assert len(results["parts"]) == 2


@pytest.mark.parametrize("kind", GOOGLES)
def test_turns_in_a_row_keep_their_own_calls(kind: str) -> None:
    one = Completion(text="One", reasoning_details=(signed(text=[0, 3]),), tool_calls=CALLS[:1])
    two = Completion(tool_calls=CALLS[1:])
    messages = normalise_messages([{"role": "user", "content": "q"}, one, two])
    _, turn = body(kind, messages=messages, params={"tools": [TOOL]})["contents"]
    assert [next(iter(part)) for part in turn["parts"]] == [
        "text",
        "function_call",
        "function_call",
    ]


def test_images_of_gemini_go_back_also_unsigned() -> None:
    reply = Completion(text="", images=(Image(url="data:image/png;base64,AAAA"),))
    assert "AAAA" in json.dumps(body("gemini", messages=conversation(reply)))


def test_an_image_of_another_provider_that_lives_elsewhere_is_not_fetched() -> None:
    reply = Completion(text="", images=(Image(url="https://a.example/a.png"),))
    with pytest.raises(UnsupportedFeatureError, match="Send the bytes"):
        body("gemini", messages=conversation(reply))


def test_a_call_that_is_no_object_cannot_go_back_to_gemini() -> None:
    cut = ToolCall(id="c", name="weather", arguments=None, raw_arguments='{"ci')
    with pytest.raises(InvalidRequestError, match="'weather'"):
        built("gemini", messages=normalise_messages([Completion(tool_calls=(cut,))]))


def test_a_plan_of_cohere_goes_back_as_one() -> None:
    plan = {"type": "tool_plan", "format": "cohere", "tool_plan": "I will look."}
    reply = Completion(reasoning_details=(plan,), reasoning="Hm", tool_calls=CALLS)
    turn = body("cohere_chat", messages=conversation(reply), params={"tools": [TOOL]})["messages"][
        2
    ]
    assert turn["tool_plan"] == "I will look."
    assert turn.keys() <= {"role", "content", "tool_calls", "tool_plan"}


NAMES = st.sampled_from(
    ["type", "signature", "thinking", "data", "text", "reasoning", "tool_call", "image", "part",
     "tool_plan", "image_url", "url"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", KINDS)
@given(details=st.lists(st.dictionaries(NAMES, ANYTHING, max_size=5), max_size=3), data=ANYTHING)
@settings(max_examples=40, deadline=None)
def test_a_conversation_of_another_shape_is_refused_by_an_error_of_ours(
    kind: str, details: list[dict[str, Any]], data: Any
) -> None:
    own = [{**detail, "format": builder_of(kind).format} for detail in details]
    turn = {"role": "assistant", "content": "abc", "reasoning_details": own, "images": data}
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}, "type": "function"}, data]
    for message in (turn, {**turn, "images": [], "tool_calls": calls}):
        with contextlib.suppress(LLMRouterError):
            builder_of(kind).build(ask(MODELS[kind], messages=[message]))


@functools.cache
def builder_of(kind: str) -> ForeignBuilder:
    return builder(kind)


# --- caching --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model", "marked"),
    [
        ("anthropic", None, '"cache_control": {"type": "ephemeral"'),
        ("bedrock", None, '"cachePoint": {"type": "default"'),
        ("bedrock", "us.amazon.nova-pro-v1:0", None),
        ("gemini", None, None),
        ("cohere_chat", None, None),
        ("ollama_chat", None, None),
    ],
)
def test_cache_breakpoints_are_put_where_claude_is(
    kind: str, model: str | None, marked: str | None
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "And now?"},
    ]
    request = {"messages": messages, "params": {"tools": [TOOL]}}
    sent = json.dumps(body(kind, model, cache="1h", **request))
    assert "cache" not in json.dumps(body(kind, model, **request))
    if marked is None:
        assert "cache" not in sent.lower()
    else:
        assert sent.count(marked) == 4 and '"ttl": "1h"' in sent
