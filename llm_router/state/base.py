"""The words of the state that limits stand on: of one process, or of many that share it.

An attempt asks for all it needs at once (`Ask`) and gets all of it or nothing, so that nothing has
to be handed back when the last of it is refused, and one round trip is enough. Money is whole
numbers of 1e-12 USD, so that sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT = Decimal("1e-12")
"""USD in one unit of money."""
BURST_S = 0.6
"""After a pause a rate lets through so many seconds' worth at once: 1 % of its minute."""


def units(usd: Decimal) -> int:
    """Return *usd* in whole units, rounded up: what is reserved is never less than meant."""
    return int((usd / UNIT).to_integral_value(ROUND_CEILING))


def usd(amount: int) -> Decimal:
    """Return units as USD."""
    return amount * UNIT


@dataclass(frozen=True, slots=True)
class Slot:
    """A place among those who may be at work at once."""

    key: str
    who: str
    """Whoever holds one already is let in again."""
    count: int


@dataclass(frozen=True, slots=True)
class Rate:
    """So much of what may be used in a minute, spread evenly (GCRA)."""

    key: str
    per_minute: int
    cost: int

    @property
    def seconds(self) -> float:
        """How long it takes until *cost* has grown again."""
        return 60.0 / self.per_minute * self.cost

    @property
    def burst(self) -> float:
        """Seconds' worth that may go at once; what is dearer must pass too, when it is alone."""
        return max(BURST_S, self.seconds, 60.0 / self.per_minute)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an attempt would take from one purse: a budget in one of its windows."""

    key: str
    limit: int
    amount: int
    """Nothing (0) is always granted: what is free can be asked of an empty purse."""
    ends_at: float
    """When the window ends, seconds since the epoch; infinity for one that never does."""
    seed: int | None = 0
    """What a purse that nobody has touched begins with; None: that has to be looked up first."""
    kept: bool = False
    """Whether a ledger knows its bills, so that a purse which was lost begins with them."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Everything that one attempt needs."""

    id: str
    """Without blanks. Asking or leaving twice under the same id counts once."""
    slots: tuple[Slot, ...] = ()
    rates: tuple[Rate, ...] = ()
    claims: tuple[Claim, ...] = ()
    patience: float = 0.0
    """The most seconds to wait for a rate."""


Short = Literal["slot", "rate", "claim", "seed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an `Ask`."""

    short: Short | None = None
    """What there was no room for; then nothing was taken. "seed": a purse was never touched."""
    place: int = 0
    """Which slot, rate or claim it was."""
    wait: float = 0.0
    """Seconds until the rates are due: to be waited for, or too long."""
    left: tuple[int, ...] = ()
    """What each purse has left now."""
    lives: tuple[str, ...] = ()
    """In which life of each purse it was granted, where the purses can be lost."""


GRANTED = Verdict(lives=("-",))
"""For who gives back a slot that was granted with something else."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a purse has given out."""

    spent: int = 0
    reserved: int = 0


class State(Protocol):
    """Slots, rates and purses."""

    async def open(self) -> None:
        """Import and connect what is needed, so that the first call need not."""
        ...

    async def aclose(self) -> None:
        """Hand in what is under way, and close connections."""
        ...

    async def enter(self, ask: Ask) -> Verdict:
        """Take everything or nothing. Cancelled, it has taken nothing."""
        ...

    def leave(
        self, ask: Ask, verdict: Verdict, spent: int | None = 0, unused: Sequence[int] | None = None
    ) -> None:
        """Give back the slots, settle the claims by what was *spent*, put the rates right.

        *spent* None: nobody knows the bill, and what was reserved counts. *unused*: for each rate
        what was not used, negative where it was more than booked; None: all of it. It never
        waits: an attempt must be able to end on any thread, also while its task is cancelled.
        """
        ...

    def known(self, keys: Sequence[str]) -> list[Standing]:
        """Return what each purse has given out, as far as this process knows. No I/O."""
        ...

    async def standings(self) -> dict[str, Standing]:
        """Return every purse whose window has not ended.

        Raises StateUnavailableError where those who share the purses cannot be asked.
        """
        ...
