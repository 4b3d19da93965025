"""The state of one process; safe on several threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_router.state.base import Standing, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_router.state.base import Ask, Claim, Rate

_SWEEP_S = 60.0


@dataclass(slots=True)
class _Purse:
    ends_at: float
    spent: int
    reserved: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        return self.spent + self.reserved


class Memory:
    """Slots, rates and purses of one process."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._slots: dict[str, set[str]] = {}
        self._due: dict[str, float] = {}
        """When everything that was booked of a rate is used up (GCRA's theoretical arrival)."""
        self._purses: dict[str, _Purse] = {}
        self._sweep_at = 0.0

    async def open(self) -> None:
        """Nothing is needed."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def enter(self, ask: Ask) -> Verdict:
        with self._lock:
            now = self._monotonic()
            due, wait = self._book(ask.rates, now)
            refused = self._full(ask) or _late(ask, due, now) or self._short(ask)
            if refused is not None:
                return refused
            for slot in ask.slots:
                self._slots.setdefault(slot.key, set()).add(slot.who)
            self._due.update(zip((rate.key for rate in ask.rates), due, strict=True))
            for claim in ask.claims:
                purse = self._purse(claim)
                if ask.id not in purse.held:
                    purse.held[ask.id] = claim.amount
                    purse.reserved += claim.amount
            return Verdict(wait=wait, left=self._left(ask))

    def _full(self, ask: Ask) -> Verdict | None:
        for place, slot in enumerate(ask.slots):
            held = self._slots.get(slot.key, ())
            if slot.who not in held and len(held) >= slot.count:
                return Verdict("slot", place)
        return None

    def _book(self, rates: Sequence[Rate], now: float) -> tuple[list[float], float]:
        """Return when each rate would be used up, and the seconds until all are due."""
        due = [max(self._due.get(rate.key, now), now) + rate.seconds for rate in rates]
        waits = (at - rate.burst - now for rate, at in zip(rates, due, strict=True))
        return due, max(0.0, *waits) if rates else 0.0

    def _short(self, ask: Ask) -> Verdict | None:
        for place, claim in enumerate(ask.claims):
            if claim.seed is None and claim.key not in self._purses:
                return Verdict("seed", place)
        for place, claim in enumerate(ask.claims):
            purse = self._purse(claim)
            if ask.id not in purse.held and 0 < claim.amount > claim.limit - purse.taken:
                return Verdict("claim", place, left=self._left(ask))
        return None

    def _left(self, ask: Ask) -> tuple[int, ...]:
        return tuple(claim.limit - self._purse(claim).taken for claim in ask.claims)

    def _purse(self, claim: Claim) -> _Purse:
        purse = self._purses.get(claim.key)
        if purse is None:
            self._sweep()
            purse = self._purses[claim.key] = _Purse(claim.ends_at, claim.seed or 0)
        return purse

    def leave(
        self, ask: Ask, verdict: Verdict, spent: int | None = 0, unused: Sequence[int] | None = None
    ) -> None:
        with self._lock:
            for slot in ask.slots:
                self._free(slot.key, slot.who)
            costs = [rate.cost for rate in ask.rates] if unused is None else unused
            for rate, cost in zip(ask.rates, costs, strict=True):
                self._unbook(rate, cost)
            for claim in ask.claims:
                purse = self._purses.get(claim.key)
                held = None if purse is None else purse.held.pop(ask.id, None)
                if purse is not None and held is not None:
                    purse.reserved -= held
                    purse.spent += held if spent is None else spent

    def _free(self, key: str, who: str) -> None:
        held = self._slots.get(key)
        if held is not None:
            held.discard(who)
            if not held:
                del self._slots[key]

    def _unbook(self, rate: Rate, cost: int) -> None:
        now = self._monotonic()
        due = max(self._due.get(rate.key, now), now) - 60.0 / rate.per_minute * cost
        if due > now:
            self._due[rate.key] = due
        else:
            self._due.pop(rate.key, None)

    def known(self, keys: Sequence[str]) -> list[Standing]:
        with self._lock:
            found = [self._purses.get(key) for key in keys]
            return [Standing(p.spent, p.reserved) if p else Standing() for p in found]

    async def standings(self) -> dict[str, Standing]:
        with self._lock:
            self._sweep(now=True)
            return {key: Standing(p.spent, p.reserved) for key, p in self._purses.items()}

    def _sweep(self, *, now: bool = False) -> None:
        """Forget windows that are over: a bill that comes later has no limit to count against."""
        time = self._wall()
        if now or time >= self._sweep_at:
            self._sweep_at = time + _SWEEP_S
            self._purses = {k: purse for k, purse in self._purses.items() if purse.ends_at > time}


def _late(ask: Ask, due: Sequence[float], now: float) -> Verdict | None:
    for place, (rate, at) in enumerate(zip(ask.rates, due, strict=True)):
        wait = at - rate.burst - now
        if wait > ask.patience:
            return Verdict("rate", place, wait)
    return None
