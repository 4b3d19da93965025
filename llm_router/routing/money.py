"""Money: budgets over calls, and `max_cost` of one call, reserved before each attempt.

The law: what is billed in a window is at most its limit, and for each call that was in flight when
the last one was let in (or whose bill never came) what it cost beyond what was reserved for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.errors import BudgetExceededError, LedgerError
from llm_router.state.base import Claim, Standing, units, usd
from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_router.answers.records import RequestStarted
    from llm_router.config.model import BudgetConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call
    from llm_router.routing.estimates import Estimate, Estimates
    from llm_router.state.base import State, Verdict

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
    began_at: float
    ends_at: float

    def claim(self, estimate: Estimate, *, kept: bool) -> Claim | None:
        """Return what an attempt takes of it; None where its price has to be known and is not."""
        wanted = estimate.worst if self.budget.reserve == "worst" else estimate.expected
        if wanted is None and self.budget.unpriced == "refuse":
            return None
        amount = 0 if wanted is None else units(wanted)
        seed = None if kept else 0
        return Claim(self.key, units(self.budget.usd), amount, self.ends_at, seed, kept)


@dataclass(frozen=True, slots=True)
class Draft:
    """What one attempt draws on."""

    purses: tuple[_Purse, ...]
    claims: tuple[Claim, ...]
    bound: Decimal
    """USD that it may add to the bill of its call."""


Spent = Callable[[float, str, str | None], Awaitable[Decimal]]
"""USD billed since a moment, to whom a scope ("alias", "tag:team", …) is for."""


class Money:
    """All budgets, and `max_cost`; *spent* asks the ledger, where there is one."""

    def __init__(
        self,
        budgets: Sequence[BudgetConfig],
        state: State,
        estimates: Estimates,
        wall: Callable[[], float],
        spent: Spent | None = None,
    ) -> None:
        self.budgets = budgets
        self._state = state
        self._estimates = estimates
        self._wall = wall
        self._spent = spent
        self._purses: dict[str, _Purse] = {}
        self._told: set[tuple[str, str]] = set()

    def draft(self, call: Call, deployment: Deployment, estimate: Estimate) -> Draft:
        """Return what an attempt draws on; BudgetExceededError where that is known to be much."""
        bound = _of_the_call(call, estimate)
        purses = self._drawn_on(Payer.of(call.started), deployment)
        claims = tuple(self._priced(purse, estimate, deployment) for purse in purses)
        return Draft(purses, claims, bound)

    async def seeded(self, draft: Draft) -> tuple[Claim, ...]:
        """Return the claims with what the ledger says was spent in their windows."""
        return tuple(
            [
                replace(claim, seed=await self._seed(purse))
                for claim, purse in zip(draft.claims, draft.purses, strict=True)
            ]
        )

    async def _seed(self, purse: _Purse) -> int:
        assert self._spent is not None, "only what a ledger keeps is asked for"
        try:
            return units(await self._spent(purse.began_at, purse.budget.scope, purse.who))
        except LedgerError as error:
            # The law begins anew then; a database that is away must not stop the calls.
            events.emit(
                events.BUDGET_UNSEEDED, "warning", budget=purse.budget.name, reason=str(error)
            )
            return 0

    def judge(self, draft: Draft, verdict: Verdict) -> None:
        """Warn where a budget is nearly gone; raise BudgetExceededError where one has no room."""
        for purse, left in zip(draft.purses, verdict.left, strict=bool(verdict.left)):
            if usd(left) <= purse.budget.usd * (1 - purse.budget.warn_at):
                self._tell(events.BUDGET_WARNING, purse, left)
        if verdict.short == "claim":
            place = verdict.place
            purse, left = draft.purses[place], verdict.left[place]
            self._tell(events.BUDGET_EXCEEDED, purse, left)
            raise _exceeded(purse, draft.claims[place], left)

    def preview(
        self, payer: Payer, deployment: Deployment, request: Any
    ) -> tuple[Decimal | None, str | None]:
        """Return the USD that an attempt would reserve, and why it would be refused. No I/O."""
        estimate = self._estimates.of(payer.requested, deployment, request)
        for purse in self._drawn_on(payer, deployment):
            (standing,) = self._state.known([purse.key])
            try:
                claim = self._priced(purse, estimate, deployment)
            except BudgetExceededError as error:
                return estimate.expected, str(error)
            left = claim.limit - standing.spent - standing.reserved
            if 0 < claim.amount > left:
                return estimate.expected, str(_exceeded(purse, claim, left))
        return estimate.expected, None

    async def standings(self) -> list[BudgetStanding]:
        """Return every budget over all calls, and those of whoever has called in this window."""
        found = await self._state.standings()
        now = self._wall()
        rows = []
        for budget in self.budgets:
            name, (start, _, _) = budget.name, window_of(budget.window, now)
            here = {key: has for key, has in found.items() if key.startswith(f"{name}|{start}|")}
            if budget.scope == "all" and not here:
                here = {f"{name}|{start}|": await self._untouched(budget, now)}
            rows += [_standing(budget, key.split("|", 2)[2], has, now) for key, has in here.items()]
        return rows

    async def _untouched(self, budget: BudgetConfig, now: float) -> Standing:
        """Return what a budget over all calls begins with."""
        if self._spent is None:
            return Standing()
        return Standing(await self._seed(self._purse(budget, Payer("", None, {}), now)))

    def _drawn_on(self, payer: Payer, deployment: Deployment) -> tuple[_Purse, ...]:
        """Return the purses of an attempt; with a key of the call's own it is others' money."""
        if deployment.api_key is not None:
            return ()
        now = self._wall()
        return tuple([self._purse(budget, payer, now) for budget in self.budgets])

    def _purse(self, budget: BudgetConfig, payer: Payer, now: float) -> _Purse:
        who = _who(budget.scope, payer)
        name = f"{budget.name}|{'' if who is None else who}"
        purse = self._purses.get(name)
        if purse is None or not purse.began_at <= now < purse.ends_at:
            self._forget(now)
            start, began_at, ends_at = window_of(budget.window, now)
            key = f"{budget.name}|{start}|{'' if who is None else who}"
            purse = self._purses[name] = _Purse(budget, who, key, began_at, ends_at)
        return purse

    def _forget(self, now: float) -> None:
        """Drop windows that are over, when a new one begins."""
        if any(purse.ends_at <= now for purse in itertools.islice(self._purses.values(), 8)):
            self._purses = {n: purse for n, purse in self._purses.items() if purse.ends_at > now}
            alive = {purse.key for purse in self._purses.values()}
            self._told = {told for told in self._told if told[1] in alive}

    def _priced(self, purse: _Purse, estimate: Estimate, deployment: Deployment) -> Claim:
        claim = purse.claim(estimate, kept=self._spent is not None)
        if claim is None:
            raise _unpriced(purse, estimate, deployment)
        return claim

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


def window_of(window: str, now: float) -> tuple[str, float, float]:
    """Return the name of the UTC window around *now*, when it began and when it ends.

    *window* is "hour", "day", "month" or "total"; times are seconds since the epoch.
    """
    moment = datetime.fromtimestamp(now, UTC)
    start = moment.replace(minute=0, second=0, microsecond=0)
    if window == "hour":
        return f"{start:%Y-%m-%dT%H}", start.timestamp(), start.timestamp() + 3600
    start = start.replace(hour=0)
    if window == "day":
        return f"{start:%Y-%m-%d}", start.timestamp(), start.timestamp() + 86_400
    if window == "month":
        start = start.replace(day=1)
        after = (start + timedelta(days=32)).replace(day=1)
        return f"{start:%Y-%m}", start.timestamp(), after.timestamp()
    return "total", 0.0, NEVER


def _standing(budget: BudgetConfig, who: str, has: Standing, now: float) -> BudgetStanding:
    _, _, ends_at = window_of(budget.window, now)
    return BudgetStanding(
        name=budget.name,
        who=None if budget.scope == "all" else who,
        window=budget.window,
        limit=budget.usd,
        spent=usd(has.spent),
        reserved=usd(has.reserved),
        left=budget.usd - usd(has.spent + has.reserved),
        resets_at=None if ends_at == NEVER else ends_at,
    )


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


def _unpriced(purse: _Purse, estimate: Estimate, deployment: Deployment) -> BudgetExceededError:
    return BudgetExceededError(
        f"the price of {deployment.name} is unknown, and budget {purse.budget.name!r} "
        "refuses what it cannot price",
        budget=purse.budget.name,
        limit=purse.budget.usd,
        hint=_how_to_price(purse, estimate, deployment),
    )


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
