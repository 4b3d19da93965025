"""`concurrency` of an alias and of a provider row, counted where the requests arrive."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from llm_router.errors import DeadlineExceededError, LLMRouterError, RateLimitError
from llm_router.router import Router
from llm_router.routing.gates import WAITERS_PER_SLOT
from llm_router.testing import ChatRequest, Reply, Sandbox
from tests.router.setup import CLAUDE, GPT

Build = Callable[..., Router]
HELD = {"model": GPT, "concurrency": 1}


@dataclass
class Gauge:
    """Answers slowly, and notes how many requests were there when each arrived."""

    sandbox: Sandbox
    seconds: float = 0.02
    crowd: list[int] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: ChatRequest) -> Reply:
        self.crowd.append(self.sandbox.in_flight)
        self.prompts.append(request.prompt)
        self.models[request.model] += 1
        return Reply(text=request.prompt, delay=self.seconds, padding=0)


@pytest.fixture
def gauge(sandbox: Sandbox) -> Gauge:
    gauge = Gauge(sandbox)
    sandbox.on(None, gauge)
    return gauge


async def asked(router: Router, alias: str, numbers: range, **options: Any) -> list[str]:
    calls = (router.complete(alias, f"{n}", **options) for n in numbers)
    return [reply.text for reply in await asyncio.gather(*calls)]


async def until_asked(gauge: Gauge, requests: int = 1) -> None:
    while len(gauge.crowd) < requests:
        await asyncio.sleep(0.002)


async def test_an_alias_never_has_more_calls_out_than_it_may(routed: Build, gauge: Gauge) -> None:
    router = routed(aliases={"few": {"model": GPT, "concurrency": 3}})
    texts = await asked(router, "few", range(20))
    assert texts == [f"{n}" for n in range(20)]
    assert max(gauge.crowd) == 3


async def test_each_model_of_a_provider_has_slots_of_its_own(
    routed: Build, gauge: Gauge, sandbox: Sandbox
) -> None:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, "concurrency": 2}
    router = routed(
        providers={"openrouter": row}, aliases={"one": {"model": GPT}, "two": {"model": CLAUDE}}
    )
    await asyncio.gather(asked(router, "one", range(8)), asked(router, "two", range(8)))
    assert max(gauge.crowd) == 4
    gauge.crowd.clear()
    await asked(router, "one", range(6))
    assert max(gauge.crowd) == 2


async def test_callers_are_served_in_the_order_they_came(routed: Build, gauge: Gauge) -> None:
    router = routed(aliases={"one": HELD})
    await router.open()
    await asked(router, "one", range(10))
    assert gauge.prompts == [f"{n}" for n in range(10)]
    assert max(gauge.crowd) == 1


def limited(router_row: dict[str, Any], *, by_alias: bool) -> dict[str, Any]:
    """One slot: of the alias, or of its only deployment."""
    if by_alias:
        return {"aliases": {"one": HELD}}
    return {
        "providers": {"openrouter": router_row | {"concurrency": 1}},
        "aliases": {"one": {"model": GPT}},
    }


@pytest.fixture(params=[True, False], ids=["alias", "provider"])
def one_slot(request: pytest.FixtureRequest, sandbox: Sandbox) -> dict[str, Any]:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    return limited(row, by_alias=request.param)


async def test_the_deadline_ends_a_call_that_waits_for_a_slot(
    routed: Build, gauge: Gauge, one_slot: dict[str, Any]
) -> None:
    router = routed(**one_slot)
    gauge.seconds = 0.3
    holder = asyncio.create_task(router.complete("one", "long"))
    await until_asked(gauge)
    with pytest.raises(DeadlineExceededError) as caught:
        await router.complete("one", "late", deadline=0.05)
    assert caught.value.attempts == () and caught.value.alias == "one"
    assert (await holder).text == "long"
    assert gauge.prompts == ["long"]
    assert (await router.complete("one", "next")).text == "next", "the slot is free again"


async def test_a_call_too_many_is_refused_at_once_and_sends_nothing(
    routed: Build, gauge: Gauge, one_slot: dict[str, Any]
) -> None:
    router = routed(**one_slot)
    await router.open()
    gauge.seconds = 0.3
    waiting = asyncio.create_task(asked(router, "one", range(1 + WAITERS_PER_SLOT)))
    await until_asked(gauge)
    began = time.monotonic()
    with pytest.raises(RateLimitError, match="1 calls running and 10 waiting") as caught:
        await router.complete("one", "too many")
    assert time.monotonic() - began < 0.25, "it did not wait for a slot"
    assert caught.value.scope == "local" and caught.value.attempts == ()
    assert "concurrency" in str(caught.value)
    assert len(await waiting) == 1 + WAITERS_PER_SLOT
    assert "too many" not in gauge.prompts
    assert router.health()[GPT].state == "ready", "our own limit is no fault of theirs"


async def test_the_fallback_is_asked_when_the_first_model_is_full(
    routed: Build, gauge: Gauge, sandbox: Sandbox
) -> None:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, "concurrency": 1}
    router = routed(providers={"openrouter": row})
    await router.open()
    gauge.seconds = 0.3
    full = asyncio.create_task(asked(router, "fast", range(1 + WAITERS_PER_SLOT)))
    await until_asked(gauge)
    reply = await router.complete("safe", "elsewhere")
    assert reply.requested_model == CLAUDE
    (attempt,) = reply.attempts
    assert (attempt.number, attempt.deployment) == (1, CLAUDE)
    await full


async def test_a_slot_comes_back_when_a_call_fails_or_is_cancelled(
    routed: Build, sandbox: Sandbox, one_slot: dict[str, Any]
) -> None:
    router = routed(**one_slot)
    sandbox.fail("bad_request")
    with pytest.raises(LLMRouterError):
        await router.complete("one", "wrong")
    sandbox.fail("slow_headers")
    task = asyncio.create_task(router.complete("one", "left"))
    while not sandbox.in_flight:
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await router.complete("one", "fine", deadline=5)).text


@pytest.mark.parametrize("how", ["read to its end", "left early", "forgotten"])
async def test_a_stream_holds_its_slot_until_it_is_over(
    routed: Build, sandbox: Sandbox, one_slot: dict[str, Any], how: str
) -> None:
    router = routed(**one_slot)
    sandbox.reply(text="one two three four five six", chunk_delay=0.01)
    stream = await router.stream("one", "Hi").__aenter__()
    await anext(stream)
    with pytest.raises(DeadlineExceededError):
        await router.complete("one", "meanwhile", deadline=0.03)
    if how == "read to its end":
        assert (await stream.collect()).text == "one two three four five six"
    elif how == "left early":
        await stream.aclose()
    else:
        del stream
    assert (await router.complete("one", "after", deadline=5)).text
    assert len(sandbox.chat_requests) == 2
