"""The attempt loop: the one place that retries, falls back, waits and gives up.

Its laws, proven in the tests: never more attempts than `max_attempts`, never past the deadline by
more than one step, never two attempts of a call at once, Retry-After obeyed or skipped but never
shortened, every attempt reported exactly once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from llm_router import events
from llm_router.errors import (
    AllDeploymentsFailedError,
    ConfigurationError,
    DeadlineExceededError,
    LLMRouterError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    UnsupportedFeatureError,
)
from llm_router.routing.backoff import wait_before_retry
from llm_router.routing.limits import Limits, nothing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call, RunningAttempt
    from llm_router.routing.rotation import Turn

R = TypeVar("R")
TICK_S = 0.001
"""A timer may fire a tick of the clock early: what is left then is no time to try anything."""
# Raised before anything is sent: the deployment is passed over, and no attempt is used up.
_NOT_SENT = (ConfigurationError, UnsupportedFeatureError)


def never(_deployment: Deployment, _error: ProviderError) -> bool:
    """Try no failure again out of turn."""
    return False


async def run(
    call: Call,
    step: Callable[[RunningAttempt], Awaitable[R]],
    limits: Limits,
    again: Callable[[Deployment, ProviderError], bool] = never,
) -> tuple[R, RunningAttempt]:
    """Run *step* on one deployment after the other until it returns; give back its result.

    *step* sends one request. The attempt that succeeded is returned still open: whoever reads its
    answer ends it (a stream ends later). *again* may say that a failure should be tried at once
    on the same deployment, in another way (a structured mode that the provider refused).

    Raises the ProviderError of the only deployment tried, AllDeploymentsFailedError for several,
    DeadlineExceededError, or the reason why nothing could be sent at all.
    """
    while True:
        turn = await _next_turn(call)
        attempt = await _begin(call, turn, limits)
        if attempt is None:
            continue
        try:
            return await _timed(call, attempt, step), attempt
        except _NOT_SENT as error:
            _pass_over(call, turn, attempt, error)
        except ConfigurationError:
            # Nothing was sent, and no other deployment mends the caller's set-up.
            attempt.withdraw()
            raise
        except ProviderError as error:
            attempt.fail(error)
            if not again(turn.deployment, error):
                _decide(call, turn, error)
        except BaseException:
            # Cancelled, or a defect: in both cases the attempt is over and must not stay open.
            attempt.cancel()
            raise


async def _next_turn(call: Call) -> Turn:
    """Return whose turn it is, once it is ready; raise when the call is over."""
    while True:
        now = call.clock.monotonic()
        if call.attempts_left <= 0:
            raise failure(call)
        if now >= call.deadline_at - TICK_S:
            raise _deadline_exceeded(call)
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


async def _begin(call: Call, turn: Turn, limits: Limits) -> RunningAttempt | None:
    """Wait for a free slot within the deadline and begin; None when there is none to be had."""
    deployment = turn.deployment
    try:
        leave = await _slot(call, limits, deployment.name, call.plan.slots.get(deployment.provider))
    except RateLimitError as error:
        skip(call, deployment, error)
        call.rotation.give_up(turn)
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


async def admit(call: Call, limits: Limits) -> None:
    """Wait for the alias's own limit; its slot is given back when the call finishes.

    Raises RateLimitError when too many wait already, DeadlineExceededError when it takes too long.
    """
    slots = call.plan.row.concurrency
    if slots is not None:
        call.leave = await _slot(call, limits, f"alias {call.plan.alias}", slots)


async def _slot(call: Call, limits: Limits, name: str, slots: int | None) -> Callable[[], None]:
    if slots is None:
        return nothing
    try:
        async with asyncio.timeout(call.time_left):
            return await limits.enter(name, slots)
    except TimeoutError:
        raise _deadline_exceeded(call) from None


async def _timed(
    call: Call, attempt: RunningAttempt, step: Callable[[RunningAttempt], Awaitable[R]]
) -> R:
    """Run *step* within the attempt's timeout, clipped by what is left of the deadline."""
    seconds = min(call.limits.timeout, call.time_left)
    try:
        async with asyncio.timeout(seconds) as timer:
            return await step(attempt)
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise ProviderTimeoutError(
            f"no answer within {seconds:.3g} s", hint="The abandoned call may still be billed."
        ) from error


def _decide(call: Call, turn: Turn, error: ProviderError) -> None:
    """Choose between here again, somewhere else, and the end."""
    action = call.plan.row.on_error.get(error.kind, error.then)
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


def _pass_over(call: Call, turn: Turn, attempt: RunningAttempt, error: LLMRouterError) -> None:
    attempt.withdraw()
    turn.tries -= 1
    skip(call, turn.deployment, error)
    call.rotation.give_up(turn)


def skip(call: Call, deployment: Deployment, error: LLMRouterError) -> None:
    """Keep the reason why *deployment* was passed over."""
    call.skipped[deployment.name] = error
    events.emit(
        events.DEPLOYMENT_SKIPPED,
        "warning",
        request_id=call.started.request_id,
        alias=call.plan.alias,
        deployment=deployment.name,
        reason=str(error),
    )


def failure(call: Call) -> LLMRouterError:
    """Return the error of a call that got no answer: of one deployment its own, else all."""
    errors = call.errors
    if not errors:
        return call.describe(next(iter(call.skipped.values())))
    last = errors[-1]
    if len({attempt.deployment for attempt in call.attempts}) == 1:
        return call.describe(last)
    summary = AllDeploymentsFailedError.from_exceptions(errors)
    summary.__cause__ = last
    return call.describe(summary)


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
    call.describe(error)
    return error
