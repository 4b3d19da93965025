"""`complete` from the application to the wire and back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from llm_router.answers.completion import Completion
from llm_router.config.model import RouterConfig
from llm_router.errors import (
    AllDeploymentsFailedError,
    ConfigurationError,
    DeadlineExceededError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    UnknownAliasError,
)
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, EAGER, GPT, configuration, until

Build = Callable[..., Router]


def body_of(sandbox: Sandbox) -> dict[str, Any]:
    """Return the body of the last chat request."""
    body = sandbox.chat_requests[-1].body
    assert isinstance(body, dict)
    return body


async def test_an_answer_carries_text_tokens_cost_and_who_served_it(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text="Rayleigh scattering.", provider="Azure")
    reply = await router.complete("fast", "Why is the sky blue?")
    (bill,) = sandbox.bills.values()
    assert reply.text == "Rayleigh scattering."
    assert reply.finish_reason == "stop"
    assert (reply.alias, reply.requested_model) == ("fast", GPT)
    assert (reply.provider, reply.upstream_provider) == ("openrouter", "Azure")
    assert reply.response_id == bill.generation_id
    assert reply.usage.input_tokens == bill.tokens.prompt
    assert reply.usage.output_tokens == bill.tokens.completion
    assert reply.cost.total == bill.total == sandbox.total_billed
    assert reply.cost.source == "provider"
    assert reply.latency_ms is not None and reply.latency_ms > 0
    (attempt,) = reply.attempts
    assert (attempt.number, attempt.deployment, attempt.status) == (1, GPT, "succeeded")
    assert attempt.cost == reply.cost
    assert attempt.upstream_provider == "Azure"
    assert json.loads(json.dumps(reply.to_dict()))["cost"]["total"] == f"{reply.cost.total:f}"


async def test_parameters_of_the_call_lie_over_those_of_the_alias(
    router: Router, sandbox: Sandbox
) -> None:
    await router.complete("fast", "Hi", temperature=0.9, seed=7)
    body = body_of(sandbox)
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.9, 512, 7)
    await router.complete("fast", "Hi", params={"temperature": 0.5, "top_p": 0.1}, top_p=0.3)
    body = body_of(sandbox)
    assert (body["temperature"], body["top_p"]) == (0.5, 0.3)
    await router.complete("fast", "Hi", temperature=None)
    assert "temperature" not in body_of(sandbox)


async def test_system_and_user_are_sent_and_tags_are_not(router: Router, sandbox: Sandbox) -> None:
    await router.complete(
        "fast", "Hi", system="Be brief.", user="customer-17", tags={"feature": "search-box"}
    )
    body = body_of(sandbox)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert body["user"] == "customer-17"
    assert "search-box" not in json.dumps(body)
    assert "search-box" not in json.dumps(dict(sandbox.chat_requests[-1].headers))


async def test_an_extra_body_goes_out_as_it_is(router: Router, sandbox: Sandbox) -> None:
    await router.complete("fast", "Hi", extra_body={"brand_new": {"a": 1}})
    assert body_of(sandbox)["brand_new"] == {"a": 1}


async def test_an_answer_is_the_next_calls_message(router: Router, sandbox: Sandbox) -> None:
    first = await router.complete("fast", "Hi")
    await router.complete("fast", [first, {"role": "user", "content": "And?"}])
    assert body_of(sandbox)["messages"][0] == {"role": "assistant", "content": first.text}


async def test_a_model_is_asked_for_by_its_name_without_an_alias(
    router: Router, sandbox: Sandbox
) -> None:
    reply = await router.complete(CLAUDE, "Hi")
    assert (reply.alias, reply.requested_model) == (None, CLAUDE)
    assert body_of(sandbox)["model"] == "anthropic/claude-haiku-4.5"


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"temprature": 1}, "complete() got an unexpected keyword argument 'temprature'"),
        ({"params": {"max_token": 1}}, "complete(params=…) got an unexpected keyword"),
    ],
)
async def test_a_misspelt_option_is_a_type_error_when_it_is_near_a_known_one(
    router: Router, sandbox: Sandbox, option: dict[str, Any], named: str
) -> None:
    with pytest.raises(TypeError, match=r"did you mean '(temperature|max_tokens)'") as caught:
        await router.complete("fast", "Hi", **option)
    assert named in str(caught.value)
    assert not sandbox.chat_requests


async def test_the_fallback_answers_when_the_first_model_is_down(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_endpoints", match="gpt-4o-mini")
    reply = await router.complete("safe", "Hi")
    failed, answered = reply.attempts
    assert (failed.deployment, failed.status, failed.status_code) == (GPT, "failed", 404)
    assert (answered.deployment, answered.status) == (CLAUDE, "succeeded")
    assert reply.requested_model == CLAUDE
    assert reply.cost.total == sandbox.total_billed


async def test_the_same_model_is_tried_again_when_its_failure_may_pass(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("http_502", times=2)
    reply = await router.complete("fast", "Hi")
    assert [a.status_code for a in reply.attempts] == [502, 502, None]
    assert len(sandbox.chat_requests) == 3


async def test_a_blank_answer_is_paid_and_tried_again(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("blank")
    reply = await router.complete("fast", "Hi")
    assert [a.status for a in reply.attempts] == ["failed", "succeeded"]
    assert reply.cost.total == sandbox.total_billed
    assert len(sandbox.bills) == 2


async def test_max_attempts_bounds_all_requests_of_a_call(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("http_503", times=9)
    with pytest.raises(AllDeploymentsFailedError) as caught:
        await router.complete("safe", "Hi", max_attempts=3)
    assert len(sandbox.chat_requests) == 3 == len(caught.value.exceptions)


async def test_a_timeout_abandons_the_attempt_and_the_next_model_answers(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("slow_headers")
    reply = await router.complete("safe", "Hi", timeout=0.1)
    assert isinstance(reply.attempts[0].error, ProviderTimeoutError)
    assert reply.requested_model == CLAUDE


async def test_an_abandoned_answer_keeps_its_id_so_that_its_bill_can_be_found(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("slow_body")
    reply = await router.complete("safe", "Hi", timeout=1)  # its headers come within that
    await asyncio.to_thread(sandbox.wait_idle)
    assert [attempt.response_id for attempt in reply.attempts] == list(sandbox.bills)


async def test_the_deadline_ends_the_call_with_what_was_tried(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("http_502")
    sandbox.fail("slow_body", times=9)
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError) as caught:
        await router.complete("fast", "Hi", deadline=0.3)
    assert time.monotonic() - began < 2
    assert caught.value.attempts is not None
    assert caught.value.attempts[0].status_code == 502


@pytest.mark.parametrize("option", ["timeout", "deadline", "max_attempts", "idle_timeout"])
async def test_a_limit_of_zero_is_refused_before_anything_is_sent(
    router: Router, sandbox: Sandbox, option: str
) -> None:
    limits: dict[str, Any] = {option: 0}
    with pytest.raises(ValueError, match=f"{option} must be greater than 0"):
        await router.complete("fast", "Hi", **limits)
    assert not sandbox.chat_requests


async def test_an_unknown_alias_names_the_nearest(router: Router) -> None:
    with pytest.raises(UnknownAliasError, match="no such alias: 'fst'; did you mean 'fast'") as c:
        await router.complete("fst", "Hi")
    assert c.value.alias == "fst"


async def test_an_unknown_provider_names_the_nearest(router: Router) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'openrouter'"):
        await router.complete("openruter/openai/gpt-4o-mini", "Hi")


async def test_the_call_says_the_provider_when_the_prefix_names_none(
    router: Router, sandbox: Sandbox
) -> None:
    reply = await router.complete("openai/gpt-4o-mini", "Hi", provider="openrouter")
    assert reply.requested_model == GPT
    with pytest.raises(ConfigurationError, match="is an alias"):
        await router.complete("fast", "Hi", provider="openrouter")


async def test_two_routers_do_not_notice_each_other(sandbox: Sandbox) -> None:
    """One rests its deployment, has another key and another base URL: the other is as before."""
    with Sandbox(api_key="sk-or-v1-" + "ab" * 32) as second:
        one = Router.from_dict(configuration(sandbox), clock=EAGER)
        other = Router.from_dict(configuration(second), clock=EAGER)
        sandbox.fail("http_503", times=4)
        async with one, other:
            with pytest.raises(ProviderUnavailableError):
                await one.complete("fast", "Hi")
            assert one.health()[GPT].state == "resting"
            assert other.health()[GPT].state == "ready"
            assert (await other.complete("fast", "Hi")).attempts[0].number == 1
            await one.aclose()
            assert (await other.complete("fast", "Hi")).text
        assert (len(sandbox.chat_requests), len(second.chat_requests)) == (4, 2)


async def test_many_calls_at_once_share_a_router(router: Router, sandbox: Sandbox) -> None:
    replies = await asyncio.gather(*(router.complete("fast", f"Say {n}") for n in range(50)))
    assert [f"Say {n}" in reply.text for n, reply in enumerate(replies)] == [True] * 50
    assert len({reply.request_id for reply in replies}) == 50
    assert sum(r.cost.total for r in replies if r.cost.total is not None) == sandbox.total_billed


async def test_a_cancelled_call_leaves_the_server(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("slow_headers")
    task = asyncio.create_task(router.complete("fast", "Hi"))
    await until(lambda: sandbox.in_flight)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(sandbox.wait_idle)
    assert sandbox.chat_requests[-1].disconnected


async def test_a_router_is_used_again_after_it_was_closed(router: Router, sandbox: Sandbox) -> None:
    await router.complete("fast", "Hi")
    await router.aclose()
    await router.aclose()
    assert (await router.complete("fast", "Hi")).text


async def test_a_configuration_in_code_serves_like_a_file(sandbox: Sandbox) -> None:
    config = RouterConfig(**configuration(sandbox))
    async with Router(config) as router:
        reply = await router.complete("fast", "Hi")
    assert isinstance(reply, Completion)
    assert router.aliases == ("fast", "safe", "extract")
    assert router.config is config


def test_a_configuration_that_contradicts_itself_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Router(RouterConfig(aliases={"a": {"model": GPT, "fallbacks": [GPT]}}))
    assert "aliases.a" in str(caught.value)
    assert caught.value.problems


async def test_the_environment_alone_is_enough(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    async with Router.from_env() as router:
        assert (await router.complete(GPT, "Hi")).text
        assert router.aliases == ()
        with pytest.raises(UnknownAliasError):
            await router.complete("fast", "Hi")
