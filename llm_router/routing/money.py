"""Money: budgets over calls, and `max_cost` of one call, reserved before each attempt.

The law: what is billed in a window is at most its limit, and for each call that was in flight when
the last one was let in (or whose bill never came) what it cost beyond what was reserved for it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.errors import BudgetExceededError
from llm_router.routing.estimates import billed
from llm_router.state.memory import Claim, units, usd
from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_router.answers.answer import Attempt
    from llm_router.answers.records import RequestStarted
    from llm_router.config.model import BudgetConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call
    from llm_router.routing.estimates import Estimate, Estimates
    from llm_router.routing.gates import Leave
    from llm_router.state.memory import State, Verdict

NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStanding:
    """A budget in its present window, as `Router.budgets()` tells it. USD."""

    name: str
    who: str | None
    """The alias, user or tag's value it is for; None for one over all calls."""
    window: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    """Held by attempts that have not ended."""
    left: Decimal
    """Negative where bills were higher than what was reserved."""
    resets_at: float | None
    """Seconds since the epoch; None for a window that never ends."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Who a call is for."""

    requested: str
    user: str | None
    tags: Any

    @classmethod
    def of(cls, started: RequestStarted) -> Payer:
        return cls(started.requested, started.user, started.tags)


@dataclass(frozen=True, slots=True)
class _Purse:
    """One budget, for one payer, in one window."""

    budget: BudgetConfig
    who: str | None
    key: str
    ends_at: float

    def claim(self, estimate: Estimate) -> Claim | None:
        """Return what an attempt takes of it; None where its price has to be known and is not."""
        wanted = estimate.worst if self.budget.reserve == "worst" else estimate.expected
        if wanted is None and self.budget.unpriced == "refuse":
            return None
        amount = 0 if wanted is None else units(wanted)
        return Claim(self.key, units(self.budget.usd), amount, self.ends_at)


class Money:
    """All budgets, and `max_cost`: an attempt enters and leaves them."""

    def __init__(
        self,
        budgets: Sequence[BudgetConfig],
        state: State,
        estimates: Estimates,
        wall: Callable[[], float],
    ) -> None:
        self.budgets = budgets
        self._state = state
        self._estimates = estimates
        self._wall = wall
        self._numbers = itertools.count()
        self._seen: dict[str, _Purse] = {}
        self._told: set[tuple[str, str]] = set()

    async def enter(self, call: Call, deployment: Deployment | None, request: Any) -> Leave:
        assert deployment is not None, "money is reserved for attempts"
        await self._estimates.price(deployment)
        estimate = self._estimates.of(call.plan.requested, deployment, request)
        own = _of_the_call(call, estimate)
        purses = self._purses(Payer.of(call.started))
        claims = [_priced(purse, estimate, deployment) for purse in purses]
        claim_id = f"{call.started.request_id}:{next(self._numbers)}"
        verdict = await self._state.reserve(claim_id, claims)
        self._warn(purses, verdict)
        if verdict.refused is not None:
            place = verdict.refused
            raise self._refusal(purses[place], claims[place], verdict.left[place])
        keys = [claim.key for claim in claims]

        def leave(attempt: Attempt | None) -> None:
            bill = billed(attempt)
            call.spent += own if bill is None else bill
            actual = None if bill is None else units(Decimal(bill))
            self._state.settle(claim_id, keys, actual)

        return leave

    def preview(
        self, payer: Payer, deployment: Deployment, request: Any
    ) -> tuple[Decimal | None, str | None]:
        """Return the USD that an attempt would reserve, and why it would be refused. No I/O."""
        estimate = self._estimates.of(payer.requested, deployment, request)
        for purse in self._purses(payer):
            (standing,) = self._state.known([purse.key])
            try:
                claim = _priced(purse, estimate, deployment)
            except BudgetExceededError as error:
                return estimate.expected, str(error)
            left = claim.limit - standing.spent - standing.reserved
            if 0 < claim.amount > left:
                return estimate.expected, str(_exceeded(purse, claim, left))
        return estimate.expected, None

    def standings(self) -> list[BudgetStanding]:
        """Return every budget over all calls, and those of whoever has called in this window."""
        everyone = self._purses(None)
        found = {purse.key: purse for purse in everyone}
        now = self._wall()
        found |= {key: purse for key, purse in self._seen.items() if purse.ends_at > now}
        known = self._state.known(list(found))
        return [
            BudgetStanding(
                name=purse.budget.name,
                who=purse.who,
                window=purse.budget.window,
                limit=purse.budget.usd,
                spent=usd(has.spent),
                reserved=usd(has.reserved),
                left=purse.budget.usd - usd(has.spent + has.reserved),
                resets_at=None if purse.ends_at == NEVER else purse.ends_at,
            )
            for purse, has in zip(found.values(), known, strict=True)
        ]

    def _purses(self, payer: Payer | None) -> list[_Purse]:
        """Return the purses that *payer* draws on; without one, those that everybody does."""
        now = self._wall()
        found = []
        for budget in self.budgets:
            if payer is None and budget.scope != "all":
                continue
            who = None if payer is None else _who(budget.scope, payer)
            start, ends_at = window_of(budget.window, now)
            key = f"{budget.name}|{start}|{'' if who is None else who}"
            purse = self._seen.get(key)
            if purse is None:
                self._forget(now)
                purse = self._seen[key] = _Purse(budget, who, key, ends_at)
            found.append(purse)
        return found

    def _forget(self, now: float) -> None:
        """Drop windows that are over, when a new one begins."""
        if any(purse.ends_at <= now for purse in itertools.islice(self._seen.values(), 8)):
            self._seen = {key: purse for key, purse in self._seen.items() if purse.ends_at > now}
            self._told = {told for told in self._told if told[1] in self._seen}

    def _warn(self, purses: Sequence[_Purse], verdict: Verdict) -> None:
        for purse, left in zip(purses, verdict.left, strict=True):
            budget = purse.budget
            if usd(left) <= budget.usd * (1 - budget.warn_at):
                self._tell(events.BUDGET_WARNING, purse, left)

    def _tell(self, event: str, purse: _Purse, left: int) -> None:
        """Emit *event* of a purse, once in its window."""
        if (event, purse.key) in self._told:
            return
        self._told.add((event, purse.key))
        events.emit(
            event,
            "warning",
            budget=purse.budget.name,
            who=purse.who,
            window=purse.budget.window,
            limit=format_usd(purse.budget.usd),
            left=_text(left),
        )

    def _refusal(self, purse: _Purse, claim: Claim, left: int) -> BudgetExceededError:
        self._tell(events.BUDGET_EXCEEDED, purse, left)
        return _exceeded(purse, claim, left)


def window_of(window: str, now: float) -> tuple[str, float]:
    """Return the name of the UTC window around *now*, and when it ends (seconds since the epoch).

    *window* is "hour", "day", "month" or "total".
    """
    moment = datetime.fromtimestamp(now, UTC)
    if window == "hour":
        start = moment.replace(minute=0, second=0, microsecond=0)
        return f"{start:%Y-%m-%dT%H}", (start + timedelta(hours=1)).timestamp()
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return f"{start:%Y-%m-%d}", (start + timedelta(days=1)).timestamp()
    if window == "month":
        after = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        return f"{start:%Y-%m}", after.timestamp()
    return "total", NEVER


def _who(scope: str, payer: Payer) -> str | None:
    """Return whose purse it is; those who do not say who they are share the one of ""."""
    if scope == "all":
        return None
    if scope == "alias":
        return payer.requested
    if scope == "user":
        return payer.user or ""
    return str(payer.tags.get(scope.removeprefix("tag:"), ""))


def _of_the_call(call: Call, estimate: Estimate) -> Decimal:
    """Return what an attempt may add to its call's bill; BudgetExceededError beyond `max_cost`."""
    limit, bound = call.limits.max_cost, estimate.bound
    if limit is None:
        return bound or Decimal(0)
    left = limit - call.spent
    if bound is not None and bound <= left:
        return bound
    costs = "an unknown price" if bound is None else f"up to {format_usd(bound)} USD"
    raise BudgetExceededError(
        f"max_cost is {format_usd(limit)} USD, {format_usd(left)} of it is left, "
        f"and this attempt has {costs}",
        budget="max_cost",
        limit=limit,
        left=left,
        hint="Raise max_cost, or ask for fewer max_tokens.",
    )


def _priced(purse: _Purse, estimate: Estimate, deployment: Deployment) -> Claim:
    claim = purse.claim(estimate)
    if claim is None:
        raise BudgetExceededError(
            f"the price of {deployment.name} is unknown, and budget {purse.budget.name!r} "
            "refuses what it cannot price",
            budget=purse.budget.name,
            limit=purse.budget.usd,
            hint=_how_to_price(purse, estimate, deployment),
        )
    return claim


def _how_to_price(purse: _Purse, estimate: Estimate, deployment: Deployment) -> str:
    if estimate.expected is not None:
        return "Its worst has no end: ask for max_tokens, or set `reserve: expected`."
    row = f"`prices: {{{deployment.model}: ...}}` of provider {deployment.provider!r}"
    return (
        f"State it under {row}, or let the budget have `unpriced: allow`. Prices of OpenRouter's "
        "models come from its catalogue, which could not be fetched if all of them are unknown."
    )


def _text(amount: int) -> str:
    return format_usd(usd(amount).normalize())


def _exceeded(purse: _Purse, claim: Claim, left: int) -> BudgetExceededError:
    budget = purse.budget
    whose = f" of {purse.who!r}" if purse.who else ""
    never = purse.ends_at == NEVER
    return BudgetExceededError(
        f"budget {budget.name!r}{whose} has {_text(left)} of "
        f"{format_usd(budget.usd)} USD left, and this attempt reserves "
        f"{_text(claim.amount)}",
        budget=budget.name,
        limit=budget.usd,
        left=usd(left),
        resets_at=None if never else purse.ends_at,
        hint="Raise the budget."
        if never
        else f"It resets at {datetime.fromtimestamp(purse.ends_at, UTC):%Y-%m-%d %H:%M} UTC.",
    )
