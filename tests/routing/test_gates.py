"""How many at once, and who is next."""

from __future__ import annotations

import asyncio

import pytest

from llm_router.errors import RateLimitError
from llm_router.routing.gates import WAITERS_PER_SLOT, Concurrency


async def test_callers_enter_in_the_order_they_came_when_all_slots_are_taken() -> None:
    limits, order = Concurrency(), list[int]()
    leave = await limits.take("fast", 1)

    async def caller(number: int) -> None:
        mine = await limits.take("fast", 1)
        order.append(number)
        mine(None)

    tasks = [asyncio.ensure_future(caller(n)) for n in range(5)]
    await asyncio.sleep(0)
    assert order == []
    leave(None)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_a_newcomer_waits_behind_the_queue_when_a_slot_is_being_handed_over() -> None:
    limits, order = Concurrency(), list[str]()
    leave = await limits.take("fast", 1)

    async def caller(name: str) -> None:
        mine = await limits.take("fast", 1)
        order.append(name)
        mine(None)

    first = asyncio.ensure_future(caller("first"))
    await asyncio.sleep(0)
    leave(None)
    second = asyncio.ensure_future(caller("second"))
    await asyncio.gather(first, second)
    assert order == ["first", "second"]


async def test_a_caller_is_refused_at_once_when_too_many_wait_already() -> None:
    limits = Concurrency()
    leave = await limits.take("fast", 1)
    waiting = [asyncio.ensure_future(limits.take("fast", 1)) for _ in range(WAITERS_PER_SLOT)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimitError, match="1 calls running and 10 waiting") as caught:
        await limits.take("fast", 1)
    assert caught.value.scope == "local"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    leave(None)


async def test_no_slot_is_lost_when_waiters_are_cancelled_at_any_moment() -> None:
    limits = Concurrency()
    for pause in range(4):
        leave = await limits.take("fast", 1)
        waiter = asyncio.ensure_future(limits.take("fast", 1))
        for _ in range(pause):
            await asyncio.sleep(0)
        leave(None)
        waiter.cancel()
        result = (await asyncio.gather(waiter, return_exceptions=True))[0]
        if not isinstance(result, BaseException):
            result(None)
    leave = await asyncio.wait_for(limits.take("fast", 1), 1)
    leave(None)


def test_each_loop_has_its_own_slots_when_a_router_serves_several() -> None:
    limits = Concurrency()

    async def hold() -> None:
        await asyncio.wait_for(limits.take("fast", 1), 1)

    asyncio.run(hold())
    asyncio.run(hold())
