"""How many at once: a limit for an alias or a deployment, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from llm_router.errors import RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

WAITERS_PER_SLOT = 10
"""So many may wait for each slot; the next one is refused at once."""


class _Gate:
    """One limit on one event loop."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.taken = 0
        self.waiters: deque[asyncio.Future[None]] = deque()

    async def enter(self, name: str) -> None:
        if self.taken < self.slots and not self.waiters:
            self.taken += 1
            return
        if len(self.waiters) >= self.slots * WAITERS_PER_SLOT:
            raise _too_many(name, self.taken, len(self.waiters))
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            # Cancelled while waiting. If the slot was handed over at that very moment, pass it on.
            if waiter.done() and not waiter.cancelled():
                self.leave()
            elif waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    def leave(self) -> None:
        """Hand the slot to whoever has waited longest, or give it back."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1


class Limits:
    """The limits of one Router; each event loop has its own slots."""

    def __init__(self) -> None:
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Gate]] = (
            WeakKeyDictionary()
        )

    async def enter(self, name: str, slots: int) -> Callable[[], None]:
        """Wait for a slot; return what gives it back. RateLimitError when too many wait already."""
        gates = self._gates.setdefault(asyncio.get_running_loop(), {})
        gate = gates.setdefault(name, _Gate(slots))
        await gate.enter(name)
        return gate.leave


def nothing() -> None:
    """Give back what was never taken."""


def _too_many(name: str, running: int, waiting: int) -> RateLimitError:
    return RateLimitError(
        f"{name!r} has {running} calls running and {waiting} waiting, which is its limit",
        scope="local",
        hint="Raise its `concurrency`, or slow the callers down.",
    )
