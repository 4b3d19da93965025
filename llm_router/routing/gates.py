"""Gates: what a call or an attempt must pass before it goes out, and leaves when it has ended.

One list, entered in order and left in reverse. Each gate is asked twice: once when a call is
admitted (no deployment yet) and once for every attempt; it looks only at what is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from llm_router.errors import RateLimitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call
    from llm_router.usage import Cost

WAITERS_PER_SLOT = 10
"""So many may wait for each slot; the next one is refused at once."""

Leave = Callable[["Cost | None"], None]
"""Gives back what a gate took, with the bill of what passed it, where there is one."""


class Gate(Protocol):
    """One limit."""

    def applies(self, call: Call, deployment: Deployment | None) -> bool:
        """Return whether this limit is set for the call, or for an attempt at *deployment*."""
        ...

    async def enter(self, call: Call, deployment: Deployment | None) -> Leave:
        """Wait until there is room; return how to leave. Asked only where it applies.

        Raises RateLimitError, BudgetExceededError or the like where there will be no room.
        """
        ...


class Gates:
    """All gates of a Router."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = gates

    async def enter(self, call: Call, deployment: Deployment | None = None) -> Leave:
        """Pass every gate or none, within the deadline; return how to leave them all.

        Raises TimeoutError at the deadline, and what a gate raises.
        """
        ahead = [gate for gate in self._gates if gate.applies(call, deployment)]
        if not ahead:
            return nothing
        entered: list[Leave] = []
        try:
            async with asyncio.timeout(call.time_left):
                for gate in ahead:
                    entered.append(await gate.enter(call, deployment))
        except BaseException:
            _leave_all(entered, None)
            raise
        return lambda bill: _leave_all(entered, bill)


def _leave_all(entered: list[Leave], bill: Cost | None) -> None:
    while entered:
        entered.pop()(bill)


def nothing(_bill: Cost | None) -> None:
    """Give back what was never taken."""


class Concurrency:
    """How many at once: of an alias's calls, and of the attempts at each of a row's models.

    First come, first served. Each event loop has slots of its own.
    """

    def __init__(self) -> None:
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Slots]] = (
            WeakKeyDictionary()
        )

    def applies(self, call: Call, deployment: Deployment | None) -> bool:
        return _count(call, deployment) is not None

    async def enter(self, call: Call, deployment: Deployment | None) -> Leave:
        name = f"alias {call.plan.alias}" if deployment is None else deployment.name
        return await self.take(name, _count(call, deployment) or 1)

    async def take(self, name: str, count: int) -> Leave:
        """Wait for one of *count* slots; RateLimitError when too many wait already."""
        slots = self._slots.setdefault(asyncio.get_running_loop(), {})
        held = slots.get(name)
        if held is None:
            held = slots[name] = _Slots(count)

        def forget() -> None:
            held.inside -= 1
            if not held.inside and slots.get(name) is held:
                del slots[name]  # models are asked for by any name: idle ones are forgotten

        def leave(_bill: Cost | None) -> None:
            held.semaphore.release()
            forget()

        held.enter_line(name)
        try:
            await held.semaphore.acquire()
        except BaseException:
            forget()
            raise
        return leave


def _count(call: Call, deployment: Deployment | None) -> int | None:
    if deployment is None:
        return call.plan.row.concurrency
    if deployment.api_key is not None:
        return None
    return call.plan.slots.get(deployment.provider)


class _Slots:
    """The slots of one name on one loop."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.semaphore = asyncio.Semaphore(count)
        self.inside = 0
        """Who holds a slot, and who waits for one."""

    def enter_line(self, name: str) -> None:
        """Count a newcomer; RateLimitError when too many wait already."""
        waiting = self.inside - self.count
        if waiting >= self.count * WAITERS_PER_SLOT:
            raise RateLimitError(
                f"{name!r} has {self.count} calls running and {waiting} waiting, which is its "
                "limit",
                scope="local",
                hint="Raise its `concurrency`, or slow the callers down.",
            )
        self.inside += 1
