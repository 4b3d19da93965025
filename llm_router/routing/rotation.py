"""Whose turn it is: the deployments of one call, in order, with what each has used up.

Pure: no time passes here. The attempt loop tells it what happened and asks who is next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_router.options.request import Deployment


@dataclass(slots=True)
class Turn:
    """A deployment within one call."""

    deployment: Deployment
    order: int
    ready_at: float = 0.0
    """Not to be tried before this time."""
    turns: int = 0
    """How often its turn came."""
    tries: int = 0
    """Requests in this turn."""
    share: int = 0
    """Requests that this turn may use."""
    retries: int = 0
    """Failures in the whole call that were worth a retry; the back-off grows with them."""
    out: bool = False
    """Not to be tried again in this call."""


class Rotation:
    """Gives each deployment its fair share of the attempts, in order, then comes round again."""

    def __init__(
        self, deployments: Sequence[Deployment], resting: Callable[[Deployment], bool]
    ) -> None:
        self._turns = [Turn(deployment, order) for order, deployment in enumerate(deployments)]
        self._resting = resting
        self._current: Turn | None = None

    def next(self, now: float, attempts_left: int) -> Turn | None:
        """Return whose turn it is (it may have to wait until `ready_at`), None when all are out."""
        current = self._current
        if current is not None and not current.out and current.tries < current.share:
            return current
        alive = [turn for turn in self._turns if not turn.out]
        if not alive:
            return None
        chosen = alive[0]  # of a call that begins all are ready
        if current is not None:
            chosen = min(alive, key=lambda turn: self._rank(turn, now))
        self._begin(chosen, alive, attempts_left)
        return chosen

    def _rank(self, turn: Turn, now: float) -> tuple[float, bool, int, int]:
        """The soonest, those at rest behind the others, then in order."""
        return max(turn.ready_at, now), self._resting(turn.deployment), turn.turns, turn.order

    def _begin(self, chosen: Turn, alive: Sequence[Turn], attempts_left: int) -> None:
        """Start a turn: an equal share of what is left, one request once all had their turn."""
        fresh = sum(turn.turns == 0 for turn in alive)
        chosen.share = -(-attempts_left // fresh) if chosen.turns == 0 else 1
        chosen.turns += 1
        chosen.tries = 0
        self._current = chosen

    def retry_later(self, turn: Turn, ready_at: float, *, yields: bool) -> None:
        """Note a failure worth a retry. A turn that *yields* lets those go first who are ready."""
        turn.retries += 1
        turn.ready_at = ready_at
        if yields and any(other.ready_at < ready_at for other in self._turns if not other.out):
            turn.share = turn.tries

    def give_up(self, turn: Turn) -> None:
        """Take a deployment out of this call."""
        turn.out = True
