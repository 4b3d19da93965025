"""Gates: what a call or an attempt must pass before it goes out, and leaves when it has ended.

One list, entered in order and left in reverse. Each gate is asked twice: once when a call is
admitted (no deployment yet) and once for every attempt; it looks only at what is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from llm_router.errors import RateLimitError
from llm_router.routing.estimates import billed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_router.answers.answer import Attempt
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call
    from llm_router.routing.estimates import Estimates
    from llm_router.routing.money import Money
    from llm_router.state.memory import State

WAITERS_PER_SLOT = 10
"""So many may wait for each slot; the next one is refused at once."""

Leave = Callable[["Attempt | None"], None]
"""Gives back what a gate took, with the attempt that passed it; None where nothing was sent."""


class Gate(Protocol):
    """One limit."""

    def applies(self, call: Call, deployment: Deployment | None) -> bool:
        """Return whether this limit is set for the call, or for an attempt at *deployment*."""
        ...

    async def enter(self, call: Call, deployment: Deployment | None, request: Any) -> Leave:
        """Wait until there is room for *request*; return how to leave. Asked where it applies.

        Raises RateLimitError, BudgetExceededError or the like where there will be no room.
        """
        ...


class Gates:
    """All gates of a Router; *learn* is told of every attempt that passed some."""

    def __init__(
        self,
        gates: Sequence[Gate],
        learn: Callable[[str, Attempt], None],
        *,
        money: Money | None = None,
    ) -> None:
        self._gates = gates
        self._learn = learn
        self._money = money

    async def enter(
        self, call: Call, deployment: Deployment | None = None, request: Any = None
    ) -> Leave:
        """Pass every gate or none, within the deadline; return how to leave them all.

        Raises TimeoutError at the deadline, and what a gate raises.
        """
        ahead = [gate.enter for gate in self._gates if gate.applies(call, deployment)]
        money = self._money
        # Last, since it never waits for room.
        if money and deployment and (money.budgets or call.limits.max_cost is not None):
            ahead.append(money.enter)
        if not ahead:
            return nothing
        entered: list[Leave] = []
        try:
            async with asyncio.timeout(call.time_left):
                for enter in ahead:
                    entered.append(await enter(call, deployment, request))
        except BaseException:
            _leave_all(entered, None)
            raise

        def leave(attempt: Attempt | None) -> None:
            _leave_all(entered, attempt)
            if attempt is not None:
                self._learn(call.plan.requested, attempt)

        return leave


def _leave_all(entered: list[Leave], attempt: Attempt | None) -> None:
    while entered:
        entered.pop()(attempt)


def nothing(_attempt: Attempt | None) -> None:
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

    async def enter(self, call: Call, deployment: Deployment | None, request: Any) -> Leave:
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

        def leave(_attempt: Attempt | None) -> None:
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


class Rates:
    """Requests and tokens a minute, of an alias and of each of a row's models.

    A rate is spread evenly (GCRA): a caller books its place and waits until it is due, so nobody
    overtakes; tokens that were estimated and not used are given back.
    """

    def __init__(
        self, state: State, rows: Mapping[str, ProviderConfig], estimates: Estimates
    ) -> None:
        self._state = state
        self._rows = rows
        self._estimates = estimates

    def applies(self, call: Call, deployment: Deployment | None) -> bool:
        return deployment is not None and any(self._limits(call, deployment))

    async def enter(self, call: Call, deployment: Deployment | None, request: Any) -> Leave:
        assert deployment is not None, "a rate is of attempts"
        tokens = self._estimates.of(call.plan.requested, deployment, request).tokens
        booked: list[tuple[str, int, int]] = []

        def leave(attempt: Attempt | None) -> None:
            used = _used(attempt)
            for key, per_minute, cost in booked:
                if attempt is None:
                    self._state.give_back(key, per_minute, cost)
                elif key.startswith("tokens") and used is not None and used != cost:
                    self._state.give_back(key, per_minute, cost - used)

        longest = 0.0
        try:
            for key, per_minute in self._limits(call, deployment):
                cost = tokens if key.startswith("tokens") else 1
                wait = await self._state.take(key, per_minute, cost, call.time_left)
                if wait > call.time_left:
                    raise _too_fast(key, per_minute, wait)
                booked.append((key, per_minute, cost))
                longest = max(longest, wait)
            if longest:
                await call.clock.sleep(longest)
        except BaseException:
            leave(None)
            raise
        return leave

    def _limits(self, call: Call, deployment: Deployment) -> Iterator[tuple[str, int]]:
        """Yield each rate that an attempt counts towards: its key, and how many a minute."""
        rated = ((call.plan.row, f"alias {call.plan.alias}"),)
        for row, name in (*rated, (self._rows[deployment.provider], deployment.name)):
            if row.requests_per_minute:
                yield f"requests of {name}", row.requests_per_minute
            if row.tokens_per_minute:
                yield f"tokens of {name}", row.tokens_per_minute


def _used(attempt: Attempt | None) -> int | None:
    """Return the tokens of an attempt; None when nobody counted."""
    if attempt is None or attempt.usage is None:
        return 0 if billed(attempt) == 0 else None
    usage = attempt.usage
    if usage.input_tokens is None:
        return None
    return usage.input_tokens + (usage.output_tokens or 0)


def _too_fast(key: str, per_minute: int, wait: float) -> RateLimitError:
    kind, _, name = key.partition(" of ")
    return RateLimitError(
        f"{name!r} is limited to {per_minute} {kind} a minute, and there is none for {wait:.3g} s",
        scope="local",
        retry_after=wait,
        hint=f"Raise its `{kind}_per_minute`, or slow the callers down.",
    )
