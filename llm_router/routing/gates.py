"""Gates: what a call or an attempt must pass before it goes out, and leaves when it has ended.

One list, entered in order and left in reverse. Each gate is asked twice: once when a call is
admitted (no deployment yet) and once for every attempt; it looks only at what is its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from llm_router.errors import RateLimitError
from llm_router.routing.estimates import billed
from llm_router.state.base import GRANTED, Ask, Rate, Slot, Verdict, units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_router.answers.answer import Attempt
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call
    from llm_router.routing.estimates import Estimates
    from llm_router.routing.money import Draft, Money
    from llm_router.state.base import State

WAITERS_PER_SLOT = 10
"""So many may wait for each slot; the next one is refused at once."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
"""Between two questions whether a slot of all processes is free."""

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

    def __init__(self, gates: Sequence[Gate], learn: Callable[[str, Attempt], None]) -> None:
        self._gates = gates
        self._learn = learn

    async def enter(
        self, call: Call, deployment: Deployment | None = None, request: Any = None
    ) -> Leave:
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
                    entered.append(await gate.enter(call, deployment, request))
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

    First come, first served. Each event loop has slots of its own; where the state is shared, who
    has come first in line then asks for one of all processes (`Permits`).
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


class Permits:
    """What an attempt takes of the state, in one ask: rates, money, slots where they are shared.

    A rate is spread evenly: a caller books its place and waits until it is due, so nobody
    overtakes; tokens that were estimated and not used are given back.
    """

    def __init__(
        self,
        state: State,
        rows: Mapping[str, ProviderConfig],
        estimates: Estimates,
        money: Money,
        *,
        slots: bool,
    ) -> None:
        self._state = state
        self._rows = rows
        self._estimates = estimates
        self._money = money
        self._slots = slots
        """Whether slots are asked for; those of one process are held in its lines alone."""
        self._numbers = itertools.count()

    def applies(self, call: Call, deployment: Deployment | None) -> bool:
        if self._slots and _count(call, deployment) is not None:
            return True
        return deployment is not None and bool(
            self._money.budgets
            or call.limits.max_cost is not None
            or next(self._rates(call, deployment, 0), None)
            or (self._slots and call.plan.row.concurrency is not None)
        )

    async def enter(self, call: Call, deployment: Deployment | None, request: Any) -> Leave:
        if deployment is None:
            return self._leaving_call(call)
        draft, tokens = await self._draft(call, deployment, request)
        ask_id = f"{call.started.request_id}:{next(self._numbers)}"
        ask = Ask(
            ask_id,
            _slots_of_attempt(call, deployment, ask_id) if self._slots else (),
            tuple(self._rates(call, deployment, tokens)),
            draft.claims,
        )
        verdict = await self._granted(call, ask, draft)
        leave = self._leaving(call, ask, verdict, draft)
        if verdict.wait:
            try:
                await call.clock.sleep(verdict.wait)
            except BaseException:
                leave(None)
                raise
        return leave

    async def _draft(self, call: Call, deployment: Deployment, request: Any) -> tuple[Draft, int]:
        """Return what the attempt draws on budgets, and the tokens that it is expected to use."""
        if self._money.budgets or call.limits.max_cost is not None:
            await self._estimates.price(deployment)
        estimate = self._estimates.of(call.plan.requested, deployment, request)
        return self._money.draft(call, deployment, estimate), estimate.tokens

    async def _granted(self, call: Call, ask: Ask, draft: Draft) -> Verdict:
        """Ask until everything is granted; raise where it will not be."""
        if not (ask.slots or ask.rates or ask.claims):
            return Verdict()
        pause = _FIRST_PAUSE_S
        while True:
            verdict = await self._state.enter(replace(ask, patience=call.time_left))
            if verdict.short == "slot":
                await call.clock.sleep(pause * (0.5 + call.clock.random()))
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            elif verdict.short == "seed":
                ask = replace(ask, claims=await self._money.seeded(draft))
            elif verdict.short == "rate":
                raise _too_fast(ask.rates[verdict.place], verdict.wait)
            else:
                self._money.judge(draft, verdict)
                return verdict

    def _leaving(self, call: Call, ask: Ask, verdict: Verdict, draft: Draft) -> Leave:
        # The slot of an alias is the call's: it is held between its attempts too.
        own = tuple(slot for slot in ask.slots if slot.who == ask.id)
        ask = replace(ask, slots=own)

        def leave(attempt: Attempt | None) -> None:
            bill = billed(attempt)
            call.spent += draft.bound if bill is None else bill
            unused = None if attempt is None else _unused(ask.rates, attempt)
            self._state.leave(ask, verdict, None if bill is None else units(Decimal(bill)), unused)

        return leave

    def _leaving_call(self, call: Call) -> Leave:
        slots = _slots_of_call(call)

        def leave(_attempt: Attempt | None) -> None:
            self._state.leave(Ask(call.started.request_id, slots), GRANTED)

        return leave

    def _rates(self, call: Call, deployment: Deployment, tokens: int) -> Iterator[Rate]:
        """Yield what an attempt takes of each rate that it counts towards.

        One with a key of the call's own counts towards no limit of the row's key.
        """
        rated: list[tuple[Any, str]] = [(call.plan.row, f"alias {call.plan.alias}")]
        if deployment.api_key is None:
            rated.append((self._rows[deployment.provider], deployment.name))
        for row, name in rated:
            if row.requests_per_minute:
                yield Rate(f"requests of {name}", row.requests_per_minute, 1)
            if row.tokens_per_minute:
                yield Rate(f"tokens of {name}", row.tokens_per_minute, tokens)


def _slots_of_call(call: Call) -> tuple[Slot, ...]:
    count = call.plan.row.concurrency
    name = f"alias {call.plan.alias}"
    return () if count is None else (Slot(name, call.started.request_id, count),)


def _slots_of_attempt(call: Call, deployment: Deployment, ask_id: str) -> tuple[Slot, ...]:
    """Return the slot of the call, asked for with its first attempt, and that of the attempt."""
    count = _count(call, deployment)
    own = () if count is None else (Slot(deployment.name, ask_id, count),)
    return (*_slots_of_call(call), *own)


def _unused(rates: Sequence[Rate], attempt: Attempt) -> list[int]:
    used = _used(attempt)
    return [
        rate.cost - used if used is not None and rate.key.startswith("tokens") else 0
        for rate in rates
    ]


def _used(attempt: Attempt) -> int | None:
    """Return the tokens of an attempt; None when nobody counted."""
    if attempt.usage is None:
        return 0 if billed(attempt) == 0 else None
    usage = attempt.usage
    if usage.input_tokens is None:
        return None
    return usage.input_tokens + (usage.output_tokens or 0)


def _too_fast(rate: Rate, wait: float) -> RateLimitError:
    kind, _, name = rate.key.partition(" of ")
    return RateLimitError(
        f"{name!r} is limited to {rate.per_minute} {kind} a minute, and there is none for "
        f"{wait:.3g} s",
        scope="local",
        retry_after=wait,
        hint=f"Raise its `{kind}_per_minute`, or slow the callers down.",
    )
