"""The attempt loop: the one place that retries, falls back, waits and gives up.

Its laws, proven in the tests: never more attempts than `max_attempts`, never past the deadline by
more than one step, never two attempts of a call at once, Retry-After obeyed or skipped but never
shortened, every attempt reported exactly once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from llm_router import events
from llm_router.errors import (
    AllDeploymentsFailedError,
    BudgetExceededError,
    ConfigurationError,
    DeadlineExceededError,
    LLMRouterError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    UnsupportedFeatureError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_router.config.model import AliasConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call, RunningAttempt
    from llm_router.routing.gates import Leave

A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)
TICK_S = 0.001
"""A timer may fire a tick of the clock early: what is left then is no time to try anything."""
BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 20.0
# Raised before anything is sent: the deployment is passed over, and no attempt is used up.
_NOT_SENT = (ConfigurationError, UnsupportedFeatureError)


class Step(Protocol[R_co]):
    """What an attempt does; when and where is the loop's business."""

    def prepare(self, deployment: Deployment) -> Any:
        """Return what would be sent, before an attempt begins.

        A ConfigurationError or UnsupportedFeatureError passes the deployment over; anything else
        (the caller's own mistake) ends the call.
        """
        ...

    async def send(self, attempt: RunningAttempt, request: Any) -> R_co:
        """Send one request. Raises ProviderError, or as `prepare` when nothing could be sent."""
        ...

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        """Return whether to try at once on the same deployment, in another way.

        So it is when a deployment refused a structured mode: no failure of its health.
        """
        ...


class Question(Protocol):
    """What the loop needs to know of an operation (`operations.base`)."""

    @property
    def serves(self) -> str: ...

    @property
    def name(self) -> str: ...

    def request(
        self, deployment: Deployment, row: AliasConfig, answering: Callable[[str], None] | None
    ) -> Any: ...


class Asking(Generic[A]):
    """The loop's step for an operation: one request to whichever deployment is next."""

    def __init__(
        self, operation: Question, call: Call, provider_of: Callable[[Deployment], Any]
    ) -> None:
        self.operation = operation
        self.call = call
        self._provider_of = provider_of

    def prepare(self, deployment: Deployment) -> Any:
        if not hasattr(self._provider_of(deployment), self.operation.serves):
            raise UnsupportedFeatureError(
                f"{deployment.provider} does not serve {self.operation.name!r} ({deployment.name})",
                model=deployment.name,
                provider=deployment.provider,
            )
        return self.operation.request(deployment, self.call.plan.row, self.call.answering)

    async def send(self, attempt: RunningAttempt, request: Any) -> A:
        serve = getattr(self._provider_of(attempt.deployment), self.operation.serves)
        answer: A = await serve(request)
        return answer

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        return False


async def run(call: Call, step: Step[R_co]) -> R_co:
    """Try one deployment after the other until *step* returns; give back what it returned.

    The attempt that succeeded is left open as `call.running`: whoever reads its answer ends it
    (a stream ends later).

    Raises the ProviderError of the only deployment tried, AllDeploymentsFailedError for several,
    DeadlineExceededError, or the reason why nothing could be sent at all.
    """
    while True:
        turn = await _next_turn(call)
        try:
            request = step.prepare(turn.deployment)
        except _NOT_SENT as error:
            _pass_over(call, turn, error)
            continue
        attempt = await _begin(call, turn, request)
        if attempt is None:
            continue
        try:
            return await _timed(call, attempt, step, request)
        except _NOT_SENT as error:
            attempt.withdraw()
            turn.tries -= 1
            _pass_over(call, turn, error)
        except ProviderError as error:
            stepped = step.again(turn.deployment, error)
            attempt.fail(error, healthy=stepped)
            if not stepped:
                _decide(call, turn, error)


async def admit(call: Call) -> None:
    """Pass the gates of the call itself; what they took is given back when it ends.

    Raises RateLimitError when too many wait already, DeadlineExceededError when it takes too long.
    """
    call.leave = await _enter(call, None, None)


async def in_time(call: Call, opening: Awaitable[None]) -> None:
    """Await what the first call of a Router has to; DeadlineExceededError when it takes too long.

    An import goes on in its thread, and the next call finds it done.
    """
    try:
        async with asyncio.timeout(call.time_left):
            await opening
    except TimeoutError:
        raise _deadline_exceeded(call) from None


async def _enter(call: Call, deployment: Deployment | None, request: Any) -> Leave:
    try:
        return await call.gates.enter(call, deployment, request)
    except TimeoutError:
        raise _deadline_exceeded(call) from None


async def _next_turn(call: Call) -> Turn:
    """Return whose turn it is, once it is ready; raise when the call is over."""
    while True:
        now = call.clock.monotonic()
        if now >= call.deadline_at - TICK_S:
            raise _deadline_exceeded(call)
        if call.attempts_left <= 0:
            raise failure(call)
        turn = call.rotation.next(now, call.attempts_left)
        if turn is None:
            raise failure(call)
        wait = turn.ready_at - now
        if wait <= 0:
            return turn
        if turn.ready_at >= call.deadline_at:
            call.rotation.give_up(turn)
        else:
            await call.clock.sleep(wait)


async def _begin(call: Call, turn: Turn, request: Any) -> RunningAttempt | None:
    """Pass the gates within the deadline and begin; None when there is no room to be had."""
    deployment = turn.deployment
    try:
        leave = await _enter(call, deployment, request)
    except (RateLimitError, BudgetExceededError) as error:
        error.fill(model=deployment.name, provider=deployment.provider)
        call.refused = error if isinstance(error, BudgetExceededError) else None
        _pass_over(call, turn, error)
        return None
    attempt = call.begin(deployment, leave)
    turn.tries += 1
    if events.enabled():
        events.emit(
            events.PROVIDER_SELECTED,
            request_id=call.started.request_id,
            alias=call.plan.alias,
            deployment=deployment.name,
            provider=deployment.provider,
            model=deployment.model,
            attempt=attempt.number,
        )
    return attempt


async def _timed(call: Call, attempt: RunningAttempt, step: Step[R_co], request: Any) -> R_co:
    """Run *step* within the attempt's timeout, clipped by what is left of the deadline."""
    seconds = min(call.limits.timeout, call.time_left)
    try:
        async with asyncio.timeout(seconds) as timer:
            return await step.send(attempt, request)
    except TimeoutError as error:
        if not timer.expired():
            raise
        if seconds < call.limits.timeout:
            # It was the deadline's timer: that has passed, whatever tick the clock shows.
            call.deadline_at = min(call.deadline_at, call.clock.monotonic())
        raise ProviderTimeoutError(
            f"no answer within {seconds:.3g} s", hint="The abandoned call may still be billed."
        ) from error


def _decide(call: Call, turn: Turn, error: ProviderError) -> None:
    """Choose between here again, somewhere else, and the end."""
    usual = call.then.get(error.kind, error.then)
    action = call.plan.row.on_error.get(error.kind, usual)
    if action == "stop":
        raise failure(call)
    if action == "next":
        call.rotation.give_up(turn)
        return
    clock = call.clock
    wait = wait_before_retry(turn.retries + 1, error.retry_after, clock.random)
    # Told to wait, or put to rest by this failure (a probe, say): others are the better choice.
    yields = error.retry_after is not None or call.cooldowns.resting(turn.deployment)
    call.rotation.retry_later(turn, clock.monotonic() + wait, yields=yields)


def wait_before_retry(retry: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Return seconds before retry number *retry* (from 1): never less than Retry-After.

    Full jitter (anything up to a doubling bound) spreads the retries of many callers best
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    jitter = random() * min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(retry - 1, 16))
    return max(jitter, retry_after or 0.0)


def _pass_over(call: Call, turn: Turn, error: LLMRouterError) -> None:
    """Keep the reason why a deployment was passed over; it is out of this call."""
    deployment = turn.deployment
    error.mask(call.secrets_of(deployment))
    call.skipped[deployment.name] = error
    call.rotation.give_up(turn)
    events.emit(
        events.DEPLOYMENT_SKIPPED,
        "warning",
        request_id=call.started.request_id,
        alias=call.plan.alias,
        deployment=deployment.name,
        reason=str(error),
    )


def failure(call: Call) -> LLMRouterError:
    """Return the error of a call that got no answer: of one deployment its own, else all.

    Where the last thing that happened was that money was short, that is the error.
    """
    errors = call.errors
    if call.refused is not None:
        call.refused.__cause__ = errors[-1] if errors else None
        return call.refused
    if not errors:
        return next(iter(call.skipped.values()))
    last = errors[-1]
    if len({attempt.deployment for attempt in call.attempts}) == 1:
        return last
    summary = AllDeploymentsFailedError.from_exceptions(errors)
    summary.__cause__ = last
    return summary


def _deadline_exceeded(call: Call) -> DeadlineExceededError:
    last = call.errors[-1] if call.errors else None
    tried = f"{len(call.attempts)} attempt{'s' * (len(call.attempts) != 1)}"
    error = DeadlineExceededError(
        f"no answer within the deadline of {call.limits.deadline:.3g} s, after {tried}"
        + (f"; the last one: {last}" if last else ""),
        model=last.model if last else None,
        provider=last.provider if last else None,
    )
    error.__cause__ = last
    return error


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
