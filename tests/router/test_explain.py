"""`explain`: who would be asked, and exactly with what, without a single packet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_router.errors import MissingCredentialsError, ProviderUnavailableError, UnknownAliasError
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, GPT, LLAMA, configuration, until

Build = Callable[..., Router]
REASONER = "openrouter/deepseek/deepseek-r1"


def test_the_exact_request_is_shown_before_it_is_sent(sandbox: Sandbox) -> None:
    """Here no loop runs, and the Router was never opened."""
    explanation = Router.from_dict(configuration(sandbox)).explain("fast", "Hi", seed=7)
    (candidate,) = explanation.candidates
    assert (explanation.requested, explanation.alias) == ("fast", "fast")
    assert (candidate.deployment, candidate.skip) == (GPT, None)
    assert candidate.request is not None
    assert candidate.request.url == f"{sandbox.base_url}/chat/completions"
    assert candidate.request.body["seed"] == 7
    assert (explanation.limits.deadline, explanation.limits.max_attempts) == (300, 4)
    assert explanation.on_error["timeout"] == "next"
    assert sandbox.requests == []


CALLS: list[dict[str, Any]] = [
    {},
    {"system": "Be brief.", "user": "u-1", "temperature": 0.7, "stop": ["x"]},
    {"openrouter": {"provider": {"sort": "price"}}, "extra_body": {"new": 1}},
    {"reasoning": "low", "tags": {"feature": "x"}, "params": {"top_p": 0.5}},
]


@pytest.mark.parametrize("options", CALLS)
async def test_the_body_that_was_explained_is_the_body_that_is_sent(
    router: Router, sandbox: Sandbox, options: dict[str, Any]
) -> None:
    messages = [{"role": "user", "content": "Why?"}]
    shown = router.explain("safe", messages, **options).candidates[0].request
    await router.complete("safe", messages, **options)
    sent = sandbox.chat_requests[-1]
    assert shown is not None
    assert shown.body == sent.body
    for name, value in shown.headers.items():
        if name.lower() != "authorization":
            assert sent.headers[name] == value


async def test_no_secret_is_shown(router: Router, sandbox: Sandbox) -> None:
    text = json.dumps(router.explain("safe", "Hi").to_dict())
    assert sandbox.api_key not in text
    assert "authorization" in text.lower()


async def test_limits_are_those_of_the_call(router: Router) -> None:
    limits = router.explain("fast", deadline=9, max_attempts=2, timeout=1).limits
    assert (limits.deadline, limits.max_attempts, limits.timeout) == (9, 2, 1)


async def test_what_the_catalogue_rules_out_is_skipped_with_the_reason(
    routed: Build, sandbox: Sandbox
) -> None:
    """The skipped one stands last, and a call does as was explained."""
    aliases = {"tools": {"model": REASONER, "fallbacks": [LLAMA]}}
    router = routed(aliases=aliases)
    await router.complete("tools", "Hi")  # the catalogue is fetched beside the first call
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    await until(lambda: router.explain("tools", "Hi", tools=[tool]).candidates[-1].skip)
    explanation = router.explain("tools", "Hi", tools=[tool])
    first, last = explanation.candidates
    assert (first.deployment, first.skip) == (LLAMA, None)
    assert last.deployment == REASONER
    assert last.skip == "the catalogue says that deepseek/deepseek-r1 does not support tools"
    reply = await router.complete("tools", "Hi", tools=[tool])
    assert reply.requested_model == LLAMA
    assert len(reply.attempts) == 1
    long = "word " * 150_000
    skips = [c.skip for c in router.explain("tools", long).candidates]
    assert skips[1] is not None and "takes 64000" in skips[1]


async def test_a_resting_deployment_stands_behind_the_others(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed()
    sandbox.fail("http_503", times=4, match="gpt-4o-mini")
    with pytest.raises(ProviderUnavailableError):
        await router.complete("fast", "Hi")
    candidates = router.explain("safe", "Hi").candidates
    assert [c.deployment for c in candidates] == [CLAUDE, GPT]
    health = candidates[1].health
    assert health is not None
    assert (health.state, health.consecutive_failures) == ("resting", 4)
    assert (await router.complete("safe", "Hi")).requested_model == CLAUDE


async def test_a_fallback_without_a_key_is_listed_with_the_reason(
    routed: Build, sandbox: Sandbox
) -> None:
    rows = configuration(sandbox)["providers"] | {"groq": {"api_key": "${GROQ_API_KEY}"}}
    aliases = {"fast": {"model": GPT, "fallbacks": ["groq/llama"]}}
    router = routed(providers=rows, aliases=aliases)
    first, last = router.explain("fast", "Hi").candidates
    assert (first.skip, last.deployment, last.request) == (None, "groq/llama", None)
    assert last.skip is not None and "GROQ_API_KEY is not set" in last.skip
    sandbox.fail("no_endpoints")
    with pytest.raises(Exception, match="No endpoints found"):
        await router.complete("fast", "Hi")


async def test_explain_raises_what_the_call_would_raise_before_sending(
    router: Router, routed: Build
) -> None:
    with pytest.raises(UnknownAliasError):
        router.explain("fst", "Hi")
    with pytest.raises(TypeError, match="explain\\(\\) got an unexpected"):
        router.explain("fast", "Hi", temprature=1)  # type: ignore[call-arg]  # the point
    with pytest.raises(MissingCredentialsError):
        routed(key="").explain("fast", "Hi")
