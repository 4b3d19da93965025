"""What `explain` promises is what a call then does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from llm_router.errors import (
    ContextWindowExceededError,
    ProviderUnavailableError,
    UnknownAliasError,
)
from llm_router.router import Router
from llm_router.routing.explain import Explanation
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, GPT

Build = Callable[..., Router]
TOOL_LESS = "openrouter/minimax/minimax-01"
SHORT = "openrouter/mistralai/mistral-7b-instruct"  # 32,768 tokens
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


async def know_the_catalogue(router: Router) -> None:
    provider: Any = router._engine.all_providers()["openrouter"]
    assert await provider.catalog.get("openai/gpt-4o-mini") is not None


def standing(explanation: Explanation) -> list[tuple[str, bool]]:
    return [(c.deployment, c.skip is None) for c in explanation.candidates]


async def test_the_exact_request_is_foretold_without_any_network(
    routed: Build, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = routed()
    options: dict[str, Any] = {
        "system": "Be brief.", "temperature": 0.7, "tools": [TOOL], "user": "customer-17",
        "openrouter": {"provider": {"sort": "price"}}, "extra_body": {"brand_new": 1},
    }  # fmt: skip

    def refuse(*_args: Any) -> None:
        raise AssertionError("explain opened a connection")

    with monkeypatch.context() as offline:
        offline.setattr(socket.socket, "connect", refuse)
        offline.setattr(socket, "getaddrinfo", refuse)
        explained = router.explain("safe", "Why is the sky blue?", **options)
    assert not sandbox.requests
    for place in (0, 1):
        candidate = explained.candidates[place]
        preview = candidate.request
        assert preview is not None and candidate.skip is None
        if place == 1:
            sandbox.fail("no_endpoints")
        await router.complete("safe", "Why is the sky blue?", **options)
        received = sandbox.chat_requests[-1]
        assert received.body == preview.body
        assert preview.url == f"http://127.0.0.1:{sandbox.port}{received.path}"
        assert preview.method == received.method
        sent = {name.lower(): value for name, value in received.headers.items()}
        named = {n.lower(): v for n, v in preview.headers.items() if n != "Authorization"}
        assert named.items() <= sent.items()
    assert sandbox.api_key not in json.dumps(explained.to_dict())


async def test_limits_and_actions_are_those_of_the_call_over_those_of_the_alias(
    routed: Build,
) -> None:
    alias = {
        "model": GPT,
        "deadline": 30,
        "max_attempts": 2,
        "on_error": {"content_filter": "next"},
    }
    explained = routed(aliases={"fast": alias}).explain("fast", deadline=5)
    assert (explained.requested, explained.alias) == ("fast", "fast")
    assert (explained.limits.deadline, explained.limits.max_attempts) == (5, 2)
    assert explained.limits.timeout == 120
    assert explained.on_error["content_filter"] == "next"
    assert explained.on_error["invalid_request"] == "stop"


async def test_a_fallback_without_a_key_is_last_and_says_which_variable(routed: Build) -> None:
    keyless = {"litellm": "openai", "api_key": "${NO_SUCH_API_KEY}"}
    row = {"api_key": "sk-or-v1-" + "1" * 64}
    router = routed(
        providers={"openrouter": row, "other": keyless},
        aliases={"fast": {"model": GPT, "fallbacks": ["other/x", CLAUDE]}},
    )
    explained = router.explain("fast")
    assert standing(explained) == [(GPT, True), (CLAUDE, True), ("other/x", False)]
    assert "NO_SUCH_API_KEY is not set" in (explained.candidates[-1].skip or "")
    assert explained.candidates[-1].request is None


async def test_a_model_without_tools_is_skipped_when_the_catalogue_says_so(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed(aliases={"fast": {"model": TOOL_LESS, "fallbacks": [GPT]}})
    assert standing(router.explain("fast", tools=[TOOL]))[0] == (TOOL_LESS, True), "not yet known"
    await know_the_catalogue(router)
    explained = router.explain("fast", tools=[TOOL])
    assert standing(explained) == [(GPT, True), (TOOL_LESS, False)]
    assert explained.candidates[1].skip == (
        "the catalogue says that minimax/minimax-01 does not support tools"
    )
    await router.complete("fast", "Hi", tools=[TOOL])
    assert [r.body["model"] for r in sandbox.chat_requests] == ["openai/gpt-4o-mini"]
    assert standing(router.explain("fast", "Hi"))[0] == (TOOL_LESS, True)


async def test_a_model_too_short_for_the_prompt_is_skipped(routed: Build, sandbox: Sandbox) -> None:
    router = routed(aliases={"fast": {"model": SHORT, "fallbacks": [GPT]}})
    await know_the_catalogue(router)
    prompt = "x" * (32_769 * 8)
    explained = router.explain("fast", prompt)
    assert standing(explained) == [(GPT, True), (SHORT, False)]
    assert "at least 32769 tokens" in (explained.candidates[1].skip or "")
    await router.complete("fast", prompt)
    assert [r.body["model"] for r in sandbox.chat_requests] == ["openai/gpt-4o-mini"]
    assert standing(router.explain("fast", prompt[:-8])) == [(SHORT, True), (GPT, True)]


async def test_the_only_model_is_asked_all_the_same_when_the_catalogue_rules_it_out(
    routed: Build, sandbox: Sandbox
) -> None:
    """A catalogue may be wrong: the provider itself says so, or answers."""
    router = routed(aliases={"fast": {"model": SHORT}})
    await know_the_catalogue(router)
    prompt = "x" * (32_769 * 8)
    assert standing(router.explain("fast", prompt)) == [(SHORT, True)]
    with pytest.raises(ContextWindowExceededError):
        await router.complete("fast", prompt)
    assert len(sandbox.chat_requests) == 1


async def test_a_resting_model_stands_behind_the_others(routed: Build, sandbox: Sandbox) -> None:
    router = routed()
    sandbox.fail("http_503", times=3)
    with pytest.raises(ProviderUnavailableError):
        await router.complete(GPT, "Hi", max_attempts=3)
    explained = router.explain("safe")
    assert standing(explained) == [(CLAUDE, True), (GPT, True)]
    health = explained.candidates[1].health
    assert health is not None and health.state == "resting"
    await router.complete("safe", "Hi")
    assert sandbox.chat_requests[-1].body["model"] == "anthropic/claude-haiku-4.5"


async def test_an_unknown_alias_is_refused_like_in_a_call(routed: Build) -> None:
    with pytest.raises(UnknownAliasError):
        routed().explain("fsat")
