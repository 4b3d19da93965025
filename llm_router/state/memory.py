"""The state of budgets and rates: the words of its protocol, and the memory of one process.

Money is whole numbers of 1e-12 USD, so that sums are exact. What hands in (`settle`, `give_back`)
never waits: an attempt must be able to end on any thread, also while its task is being cancelled.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNIT = Decimal("1e-12")
"""USD in one unit of money."""
BURST_S = 0.6
"""After a pause a rate lets through so many seconds' worth at once: 1 % of its minute."""
_SWEEP_S = 60.0


def units(usd: Decimal) -> int:
    """Return *usd* in whole units, rounded up: what is reserved is never less than meant."""
    return int((usd / UNIT).to_integral_value(ROUND_CEILING))


def usd(amount: int) -> Decimal:
    """Return units as USD."""
    return amount * UNIT


@dataclass(frozen=True, slots=True)
class Claim:
    """What one attempt would take from one purse: a budget in one of its windows."""

    key: str
    limit: int
    amount: int
    """Nothing (0) is always granted: what is free can be asked of an empty purse."""
    ends_at: float
    """When the window ends, seconds since the epoch; infinity for one that never does."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the claims of one attempt."""

    refused: int | None
    """The place of the first claim that found no room; then none of them was granted."""
    left: tuple[int, ...]
    """What each purse has left now."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a purse has given out."""

    spent: int = 0
    reserved: int = 0


class State(Protocol):
    """Purses and rates, of one process or of many that share them."""

    async def reserve(self, claim_id: str, claims: Sequence[Claim]) -> Verdict:
        """Take every claim or none. The same id again takes nothing more."""
        ...

    def settle(self, claim_id: str, keys: Sequence[str], actual: int | None) -> None:
        """Replace what *claim_id* holds by what was billed; only the first time counts.

        None: nobody knows the bill, and what was reserved counts as spent.
        """
        ...

    async def take(self, key: str, per_minute: int, cost: int, patience: float) -> float:
        """Book *cost* of a rate; return the seconds to wait until it is due.

        More than *patience* seconds: nothing was booked.
        """
        ...

    def give_back(self, key: str, per_minute: int, cost: int) -> None:
        """Unbook what was not used; a negative *cost* books what was used beyond the estimate."""
        ...

    def known(self, keys: Sequence[str]) -> list[Standing]:
        """Return what each purse has given out, as far as this process knows. No I/O."""
        ...


@dataclass(slots=True)
class _Purse:
    limit: int
    ends_at: float
    spent: int = 0
    reserved: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.limit - self.spent - self.reserved


class Memory:
    """The state of one process; safe on several threads."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._purses: dict[str, _Purse] = {}
        self._due: dict[str, float] = {}
        """When everything that was booked of a rate is used up (GCRA's theoretical arrival)."""
        self._sweep_at = 0.0

    async def reserve(self, claim_id: str, claims: Sequence[Claim]) -> Verdict:
        with self._lock:
            purses = [self._purse(claim) for claim in claims]
            for place, (claim, purse) in enumerate(zip(claims, purses, strict=True)):
                if claim_id not in purse.held and 0 < claim.amount > purse.left:
                    return Verdict(place, tuple(purse.left for purse in purses))
            for claim, purse in zip(claims, purses, strict=True):
                if claim_id not in purse.held:
                    purse.held[claim_id] = claim.amount
                    purse.reserved += claim.amount
            return Verdict(None, tuple(purse.left for purse in purses))

    def _purse(self, claim: Claim) -> _Purse:
        purse = self._purses.get(claim.key)
        if purse is None:
            self._sweep()
            purse = self._purses[claim.key] = _Purse(claim.limit, claim.ends_at)
        return purse

    def settle(self, claim_id: str, keys: Sequence[str], actual: int | None) -> None:
        with self._lock:
            for key in keys:
                purse = self._purses.get(key)
                held = None if purse is None else purse.held.pop(claim_id, None)
                if purse is not None and held is not None:
                    purse.reserved -= held
                    purse.spent += held if actual is None else actual

    async def take(self, key: str, per_minute: int, cost: int, patience: float) -> float:
        each = 60.0 / per_minute
        # What is dearer than the burst must pass too, when nothing else is booked.
        burst = max(BURST_S, each * cost, each)
        with self._lock:
            now = self._monotonic()
            due = max(self._due.get(key, now), now) + each * cost
            wait = max(due - burst - now, 0.0)
            if wait <= patience:
                self._due[key] = due
        return wait

    def give_back(self, key: str, per_minute: int, cost: int) -> None:
        with self._lock:
            now = self._monotonic()
            due = max(self._due.get(key, now), now) - 60.0 / per_minute * cost
            if due > now:
                self._due[key] = due
            else:
                self._due.pop(key, None)

    def known(self, keys: Sequence[str]) -> list[Standing]:
        with self._lock:
            found = [self._purses.get(key) for key in keys]
            return [Standing(p.spent, p.reserved) if p else Standing() for p in found]

    def _sweep(self) -> None:
        """Forget windows that are over: a bill that comes later has no limit to count against."""
        now = self._wall()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            self._purses = {k: purse for k, purse in self._purses.items() if purse.ends_at > now}
