"""Rests as a Router's caller sees them: who goes first, for how long, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from llm_router.errors import ProviderUnavailableError, RateLimitError
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.routing.cooldown import REST_S
from llm_router.testing import FaultPlan, Sandbox
from tests.router.setup import CLAUDE, GPT

Build = Callable[..., Router]


@dataclass
class Later:
    """The real time, and what is added to it by hand."""

    seconds: float = 0.0

    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: time.monotonic() + self.seconds,
            wall=lambda: time.time() + self.seconds,
            random=lambda: 0.0,
        )


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def timed(routed: Build, later: Later) -> Router:
    return routed(clock=later.clock())


def models_asked(sandbox: Sandbox) -> list[str]:
    """Return the models asked since the last look, by their maker."""
    made_by = [str(r.body["model"]).partition("/")[0] for r in sandbox.chat_requests]
    sandbox._requests.clear()
    return made_by


async def put_to_rest(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("http_503", times=3)
    with pytest.raises(ProviderUnavailableError):
        await router.complete(GPT, "Hi", max_attempts=3)
    assert models_asked(sandbox) == ["openai"] * 3


async def test_the_fallback_goes_first_while_the_first_model_rests(
    timed: Router, sandbox: Sandbox
) -> None:
    assert {health.state for health in timed.health().values()} == {"ready"}
    await put_to_rest(timed, sandbox)
    rest = timed.health()[GPT]
    assert rest.state == "resting" and rest.consecutive_failures == 3
    assert rest.reason == "3 failures in a row, last: ProviderUnavailableError 503"
    assert rest.rests_for_s == pytest.approx(REST_S, abs=1)
    assert (await timed.complete("safe", "Hi")).requested_model == CLAUDE
    assert models_asked(sandbox) == ["anthropic"]
    assert (await timed.complete("fast", "Hi")).text, "resting is not forbidden"


async def test_the_model_is_back_in_its_place_when_its_probe_answers(
    timed: Router, sandbox: Sandbox, later: Later
) -> None:
    await put_to_rest(timed, sandbox)
    later.seconds += REST_S
    assert timed.health()[GPT].state == "probing"
    assert (await timed.complete("safe", "Hi")).requested_model == GPT
    assert timed.health()[GPT].state == "ready"
    assert timed.health()[GPT].reason is None


async def test_a_failed_probe_costs_one_request_and_begins_another_rest(
    timed: Router, sandbox: Sandbox, later: Later
) -> None:
    await put_to_rest(timed, sandbox)
    later.seconds += REST_S
    sandbox.fail("http_503")
    assert (await timed.complete("safe", "Hi")).requested_model == CLAUDE
    assert models_asked(sandbox) == ["openai", "anthropic"]
    rest = timed.health()[GPT]
    assert rest.state == "resting" and "failed again after a rest" in (rest.reason or "")


async def test_the_call_moves_on_at_once_when_its_model_is_put_to_rest(
    timed: Router, sandbox: Sandbox
) -> None:
    sandbox.on("gpt-4o-mini", FaultPlan(fault="http_502"))
    await timed.complete("safe", "Hi")
    assert models_asked(sandbox) == ["openai", "openai", "anthropic"]
    await timed.complete("safe", "Hi")
    assert models_asked(sandbox) == ["openai", "anthropic"], "the third failure in a row"
    await timed.complete("safe", "Hi")
    assert models_asked(sandbox) == ["anthropic"]


async def test_all_models_of_a_key_rest_until_its_reset_when_the_platform_limits_it(
    routed: Build, sandbox: Sandbox, later: Later
) -> None:
    with Sandbox() as elsewhere:
        router = routed(
            clock=later.clock(),
            providers={
                "openrouter": {"api_key": sandbox.api_key, "base_url": sandbox.base_url},
                "second_key": {
                    "litellm": "openrouter",
                    "api_key": elsewhere.api_key,
                    "base_url": elsewhere.base_url,
                },
            },
            aliases={"safe": {"model": GPT, "fallbacks": [CLAUDE, "second_key/openai/gpt-5.5"]}},
        )
        sandbox.fail("rate_limit", retry_after=45, message="Rate limit exceeded: per-minute.")
        reply = await router.complete("safe", "Hi")
        assert reply.provider == "second_key", "the key is at its limit: no other model of it"
        assert models_asked(sandbox) == ["openai"]
        for name in (GPT, CLAUDE):
            rest = router.health()[name]
            assert rest.state == "resting" and "limits this key" in (rest.reason or "")
            assert rest.rests_for_s == pytest.approx(45, abs=2)
        assert router.health()["second_key/openai/gpt-5.5"].state == "ready"
        later.seconds += 47
        assert (await router.complete("safe", "Hi")).requested_model == GPT
        await router.aclose()


async def test_only_the_wait_is_obeyed_when_an_upstream_limits(
    timed: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("upstream_rate_limit", retry_after=20)
    reply = await timed.complete("safe", "Hi")
    assert models_asked(sandbox) == ["openai", "anthropic"]
    error = reply.attempts[0].error
    assert isinstance(error, RateLimitError) and error.scope == "upstream"
    assert error.retry_after == 20
    assert {timed.health()[name].state for name in (GPT, CLAUDE)} == {"ready"}
