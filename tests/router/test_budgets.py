"""Budgets, `max_cost` and rates before a sandbox that bills: what is spent, what is not sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from llm_router.errors import (
    BudgetExceededError,
    ConfigurationError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.router import Router
from llm_router.routing.money import BudgetStanding, window_of
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, GPT, configuration

Build = Callable[..., Router]
CHEAP = {"model": GPT, "params": {"max_tokens": 100}}
DAY = {"name": "everything", "usd": "1", "window": "day"}


async def standing(router: Router, name: str = "everything") -> BudgetStanding:
    (found,) = [budget for budget in await router.budgets() if budget.name == name]
    return found


async def test_the_bill_is_what_a_budget_has_spent_when_a_call_ends(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed(budgets=[DAY])
    reply = await router.complete("fast", "Why is the sky blue?")
    budget = await standing(router)
    assert budget.spent == reply.cost.total == sandbox.total_billed
    assert budget.reserved == 0
    assert budget.left == 1 - budget.spent
    assert budget.resets_at is not None and 0 < budget.resets_at - time.time() <= 86_400


async def test_nothing_is_sent_when_a_budget_has_no_room(
    routed: Build, sandbox: Sandbox, log: list[Any]
) -> None:
    router = routed(budgets=[DAY | {"usd": "0.000001"}])
    for _ in range(2):
        with pytest.raises(BudgetExceededError, match="'everything' has 0.000001") as caught:
            await router.complete("fast", "Hi")
    error = caught.value
    assert (error.budget, error.limit, error.left) == ("everything", *[Decimal("0.000001")] * 2)
    assert error.resets_at is not None and "resets at" in str(error)
    assert (error.alias, error.model, error.attempts) == ("fast", GPT, ())
    assert sandbox.chat_requests == []
    told = [event for event in log if event["event"] == "llm_router.budget_exceeded"]
    assert [(event["budget"], event["left"]) for event in told] == [("everything", "0.000001")]


async def test_a_burst_stays_within_its_budget_when_all_calls_begin_at_once(
    routed: Build, sandbox: Sandbox
) -> None:
    """Each call reserves its whole max_tokens: not one is too many."""
    limit = Decimal("0.002")
    router = routed(
        aliases={"fast": CHEAP}, budgets=[DAY | {"usd": str(limit), "reserve": "worst"}]
    )
    calls = (router.complete("fast", "Hi") for _ in range(60))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [a for a in answers if isinstance(a, BudgetExceededError)]
    assert 0 < len(refused) < 60
    assert len(sandbox.chat_requests) == 60 - len(refused)
    budget = await standing(router)
    assert budget.spent == sandbox.total_billed <= limit
    assert budget.reserved == 0


async def test_a_budget_is_not_locked_up_when_attempts_fail(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed(budgets=[DAY])
    sandbox.fail("http_503", times=4)
    with pytest.raises(ProviderUnavailableError):
        await router.complete("fast", "Hi")
    budget = await standing(router)
    assert budget.spent == budget.reserved == 0


async def test_what_was_reserved_counts_when_a_call_is_abandoned(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed(budgets=[DAY])
    expected = router.explain("fast", "Hi").candidates[0].reserves
    sandbox.fail("slow_headers")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await router.complete("fast", "Hi")
    budget = await standing(router)
    assert budget.reserved == 0 and budget.spent > 0
    assert expected is None or budget.spent == expected


async def test_the_next_deployment_is_asked_when_it_is_cheap_enough(
    routed: Build, sandbox: Sandbox
) -> None:
    aliases = {"smart": {"model": CLAUDE, "fallbacks": [GPT], "params": {"max_tokens": 100}}}
    router = routed(aliases=aliases, budgets=[DAY | {"usd": "0.0003"}])
    reply = await router.complete("smart", "Hi")
    assert reply.requested_model == GPT


async def test_each_tenant_has_a_budget_of_its_own_when_the_scope_is_a_tag(
    routed: Build,
) -> None:
    budget = DAY | {"scope": "tag:tenant", "usd": "0.0001", "name": "tenants"}
    router = routed(aliases={"fast": CHEAP}, budgets=[budget])

    async def served(**options: Any) -> int:
        for number in range(40):
            try:
                await router.complete("fast", "Hi", **options)
            except BudgetExceededError as error:
                assert error.left is not None and error.left >= 0
                return number
        return 40

    many = await served(tags={"tenant": "a"})
    assert 0 < many < 40
    assert await served(tags={"tenant": "b"}) == many
    assert await served() == many, "those who name no tenant share one"
    assert [b.who for b in await router.budgets()] == ["a", "b", ""]


async def test_a_warning_is_told_once_when_most_of_a_budget_is_taken(
    routed: Build, log: list[Any]
) -> None:
    router = routed(aliases={"fast": CHEAP}, budgets=[DAY | {"usd": "0.0001", "warn_at": 0.5}])
    for _ in range(12):
        try:
            await router.complete("fast", "Hi")
        except BudgetExceededError:
            break
    told = [event for event in log if event["event"] == "llm_router.budget_warning"]
    assert len(told) == 1
    assert Decimal(told[0]["left"]) <= Decimal("0.00005")


async def test_a_model_without_a_price_is_refused_when_the_budget_does_not_allow_it(
    routed: Build, sandbox: Sandbox
) -> None:
    row = {"litellm": "openai", "base_url": f"{sandbox.base_url}", "api_key": sandbox.api_key}
    sections: dict[str, Any] = {
        "providers": configuration(sandbox)["providers"] | {"local": row},
        "aliases": {"own": {"model": "local/openai/gpt-4o-mini"}},
    }
    with pytest.raises(BudgetExceededError, match="the price of local/openai/gpt-4o-mini is unk"):
        await routed(**sections, budgets=[DAY]).complete("own", "Hi")
    router = routed(**sections, budgets=[DAY | {"unpriced": "allow"}])
    reply = await router.complete("own", "Hi")
    assert (await standing(router)).spent == (reply.cost.total or 0)


async def test_a_call_costs_no_more_than_its_max_cost_when_it_is_asked_again(
    routed: Build, sandbox: Sandbox
) -> None:
    """Three answers of 100 tokens would be needed; there is money for two."""
    for _ in range(3):
        sandbox.reply(text="no object " * 40)
    router = routed(aliases={"fast": CHEAP})
    with pytest.raises(BudgetExceededError, match="max_cost is 0.0003 USD") as caught:
        await router.parse("fast", "Hi", schema=dict[str, int], max_reasks=5, max_cost="0.0003")
    assert caught.value.attempts
    assert 0 < sandbox.total_billed <= Decimal("0.0003")


async def test_nothing_is_sent_when_one_attempt_could_pass_max_cost(
    router: Router, sandbox: Sandbox
) -> None:
    with pytest.raises(BudgetExceededError, match="up to 0.000") as caught:
        await router.complete("fast", "Hi", max_cost=0.0001)
    assert (caught.value.budget, caught.value.limit) == ("max_cost", Decimal("0.0001"))
    assert sandbox.chat_requests == []
    for wrong, error in ((-1, ValueError), ("much", ValueError), ([], TypeError)):
        with pytest.raises(error, match="max_cost"):
            await router.complete("fast", "Hi", max_cost=wrong)  # type: ignore[arg-type]  # the point


async def test_explain_says_what_is_reserved_and_what_stands_in_the_way(
    routed: Build,
) -> None:
    router = routed(aliases={"fast": CHEAP}, budgets=[DAY | {"usd": "0.0001"}])
    await router.complete("fast", "Hi")
    candidate = router.explain("fast", "Hi").candidates[0]
    assert candidate.reserves is not None and candidate.reserves > 0
    assert candidate.refused is None
    long = router.explain("fast", "word " * 10_000).candidates[0]
    assert long.refused is not None and "'everything' has" in long.refused


async def test_the_next_deployment_is_asked_when_a_rate_has_no_room_before_the_deadline(
    routed: Build, sandbox: Sandbox
) -> None:
    row = configuration(sandbox)["providers"]["openrouter"] | {"requests_per_minute": 1}
    router = routed(providers={"openrouter": row})
    models = [(await router.complete("safe", "Hi", deadline=5)).requested_model for _ in range(2)]
    assert models == [GPT, CLAUDE]
    with pytest.raises(RateLimitError, match="limited to 1 requests a minute") as caught:
        await router.complete("safe", "Hi", deadline=5)
    assert caught.value.scope == "local"
    assert caught.value.retry_after == pytest.approx(60, abs=5)


async def test_callers_wait_for_their_turn_when_a_rate_is_used_up(
    routed: Build, sandbox: Sandbox
) -> None:
    router = routed(aliases={"fast": CHEAP | {"requests_per_minute": 120}})
    began = time.monotonic()
    await asyncio.gather(*(router.complete("fast", "Hi") for _ in range(12)))
    assert 0.9 < time.monotonic() - began < 10
    assert len(sandbox.chat_requests) == 12


async def test_tokens_that_were_not_used_come_back(routed: Build) -> None:
    router = routed(aliases={"fast": CHEAP | {"tokens_per_minute": 120}})
    reply = await router.complete("fast", "Hi")
    used = reply.usage.total_tokens
    assert used is not None
    with pytest.raises(RateLimitError, match="limited to 120 tokens a minute") as caught:
        await router.complete("fast", "Hi", deadline=1)
    assert caught.value.retry_after == pytest.approx(used / 2, abs=3)


def test_windows_are_utc_hours_days_and_months() -> None:
    december = 1_796_000_000  # 2026-11-30T00:53:20Z
    november = window_of("month", december)[1]
    assert window_of("hour", december) == ("2026-11-30T00", 1_795_996_800, 1_796_000_400)
    assert window_of("day", december) == ("2026-11-30", 1_795_996_800, 1_796_083_200)
    assert window_of("month", december) == ("2026-11", november, 1_796_083_200)
    assert november == 1_796_083_200 - 30 * 86_400
    assert window_of("total", december) == ("total", 0.0, float("inf"))


def test_two_budgets_of_one_name_are_refused(routed: Build) -> None:
    with pytest.raises(ConfigurationError, match="two budgets are called 'everything'"):
        routed(budgets=[DAY, DAY])
