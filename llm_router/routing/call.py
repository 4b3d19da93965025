"""One logical call while it runs: its budget, its attempts, and who is told of them.

`Call.end` and `RunningAttempt._end` are the only places where a call and an attempt end. What a
wire read is stamped with the names of the call here, and known secrets leave errors here, once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llm_router import events
from llm_router.answers.answer import Answer, Attempt
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.errors import (
    DeadlineExceededError,
    LLMRouterError,
    ProviderError,
    StructuredOutputError,
)
from llm_router.routing.loop import Rotation
from llm_router.routing.observing import EventObserver
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from llm_router.answers.answer import AttemptStatus
    from llm_router.answers.records import Observer, RequestStatus
    from llm_router.errors import BudgetExceededError, NextStep
    from llm_router.options.request import Deployment
    from llm_router.routing.clock import Clock
    from llm_router.routing.cooldown import Cooldowns
    from llm_router.routing.gates import Gates, Leave
    from llm_router.routing.plan import Limits, Plan

A = TypeVar("A", bound=Answer)
Moment = Literal["request_started", "attempt_finished", "request_finished"]
BLOCK = 20
"""So many attempts of an alias make one figure of how much was cached."""
LEAST_SHARE = 0.1
"""What was never better than this cannot be lost."""


@dataclass(slots=True)
class _Cached:
    """How much of an alias's input was read from caches: of a block under way, and at best."""

    attempts: int = 0
    read: int = 0
    given: int = 0
    best: float = 0.0


class CacheWatch:
    """Tells, once, when the cached share of an alias has halved."""

    def __init__(self) -> None:
        self._aliases: dict[str, _Cached] = {}

    def note(self, alias: str | None, usage: Usage | None) -> None:
        """Count an attempt; those that say nothing of caches are none."""
        if alias is None or usage is None or not usage.input_tokens:
            return
        if usage.cache_read_tokens is None:
            return
        seen = self._aliases.setdefault(alias, _Cached())
        seen.attempts += 1
        seen.read += usage.cache_read_tokens
        seen.given += usage.input_tokens
        if seen.attempts == BLOCK:
            self._judge(alias, seen)

    def _judge(self, alias: str, seen: _Cached) -> None:
        share, before = seen.read / seen.given, seen.best
        lost = before >= LEAST_SHARE and share <= before / 2
        if lost:
            shares = {"before": round(before, 3), "now": round(share, 3)}
            events.emit(events.CACHE_LOST, "warning", alias=alias, **shares)
        best = share if lost else max(before, share)
        self._aliases[alias] = _Cached(best=best)


class Observers:
    """Tells every observer, whatever the others raise: a call never fails by who watches it."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._failed: set[int] = set()
        self.cache = CacheWatch()

    def listening(self, level: events.Level = "info") -> bool:
        """Return whether there is anyone to build a record of this *level* for."""
        return bool(self._observers) or events.enabled(level)

    def tell(self, moment: Moment, record: Any, level: events.Level = "info") -> None:
        """Hand *record* to each; the first failure of an observer is an event, once."""
        if events.enabled(level):
            self._tell(EventObserver(level), moment, record)
        for observer in self._observers:
            self._tell(observer, moment, record)

    def _tell(self, observer: Observer, moment: Moment, record: Any) -> None:
        try:
            getattr(observer, moment)(record)
        except Exception as error:
            # The application's code: it may raise anything, and must not cost a paid answer.
            if id(observer) not in self._failed:
                self._failed.add(id(observer))
                name, reason = type(observer).__name__, type(error).__name__
                events.emit(events.OBSERVER_FAILED, "error", observer=name, reason=reason)


class Call:
    """The state that retries, fallbacks, re-asks and a stream's start share."""

    def __init__(
        self,
        started: RequestStarted,
        plan: Plan,
        limits: Limits,
        deployments: Sequence[Deployment],
        *,
        clock: Clock,
        cooldowns: Cooldowns,
        observers: Observers,
        gates: Gates,
        secrets_of: Callable[[Deployment], Sequence[str]],
        then: Mapping[str, NextStep],
    ) -> None:
        self.started = started
        self.plan = plan
        self.limits = limits
        self.clock = clock
        self.cooldowns = cooldowns
        self.observers = observers
        self.gates = gates
        self.secrets_of = secrets_of
        self.then = then
        self.begun = clock.monotonic()
        self.deadline_at = self.begun + limits.deadline
        self._deployments = deployments
        self.rotation = Rotation(deployments, cooldowns.resting)
        self.attempts: list[Attempt] = []
        self.errors: list[ProviderError] = []
        self.skipped: dict[str, LLMRouterError] = {}
        self.mode_used: str | None = None
        self.running: RunningAttempt | None = None
        """The attempt that has not ended."""
        self.answer: Answer | None = None
        """What the caller gets; a call without one has not succeeded."""
        self.ended = False
        self.leave: Leave | None = None
        self.spent = Decimal(0)
        """USD of its attempts; what was reserved, where a bill never came."""
        self.refused: BudgetExceededError | None = None
        """Why the next attempt was not sent, when money was short."""
        self._sent = 0
        self._allowed = limits.max_attempts
        if observers.listening():
            observers.tell("request_started", started)

    @property
    def attempts_left(self) -> int:
        return self._allowed - self._sent

    @property
    def time_left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline_at - self.clock.monotonic()

    def begin(self, deployment: Deployment, leave: Leave) -> RunningAttempt:
        """Count an attempt as sent; *leave* gives back at its end what the gates took."""
        self._sent += 1
        self.refused = None
        self.cooldowns.started(deployment)
        self.running = RunningAttempt(self, deployment, self._sent, leave)
        return self.running

    def answering(self, response_id: str) -> None:
        """Note the id of the answer on its way: what is lost from here on is billed too."""
        if self.running is not None:
            self.running.response_id = response_id

    def allow_another(self) -> None:
        """Allow one attempt more: the last one only taught how to ask."""
        self._allowed += 1

    def begin_part(self) -> None:
        """Begin another part of a long question: all attempts anew, those at rest last."""
        self._allowed = self._sent + self.limits.max_attempts
        ready = self.cooldowns.ready_first(self._deployments)
        self.rotation = Rotation(ready, self.cooldowns.resting)
        self.errors, self.skipped = [], {}

    def take_back(self) -> None:
        """Uncount an attempt for which nothing was sent."""
        self._sent -= 1

    def succeed(self, answer: A, **changes: Any) -> A:
        """End the attempt that brought *answer*, and return it as the caller gets it."""
        attempt = self.running
        assert attempt is not None, "the loop returned with an attempt that is open"
        attempt.succeed(answer)
        whole = attempt.whole(answer, **changes)
        self.answer = whole
        return whole

    def end(self, error: BaseException | None = None) -> None:
        """End what is still open, give everything back, tell the observers. Idempotent.

        *error* is what the call ended in. The one place where a call ends.
        """
        if self.ended:
            return
        self.ended = True
        status = self._status(error)
        try:
            if self.running is not None:
                self.running.abandon(status)
            if isinstance(error, LLMRouterError):
                self.describe(error)
        finally:
            leave, self.leave = self.leave, None
            if leave is not None:
                leave(None)
            self._tell_end(status, error)

    def _status(self, error: BaseException | None) -> RequestStatus:
        if error is None:
            return "cancelled" if self.answer is None else "succeeded"
        # GeneratorExit, KeyboardInterrupt, SystemExit: nobody waits any more.
        return "failed" if isinstance(error, Exception) else "cancelled"

    def _tell_end(self, status: RequestStatus, error: BaseException | None) -> None:
        level: events.Level = "error" if status == "failed" else "info"
        if not self.observers.listening(level):
            return
        record = RequestFinished(
            request=self.started,
            status=status,
            latency_ms=self.elapsed_ms(),
            attempts=tuple(self.attempts),
            error=error if isinstance(error, LLMRouterError) else None,
            answer=self.answer,
        )
        self.observers.tell("request_finished", record, level)

    def elapsed_ms(self) -> float:
        return (self.clock.monotonic() - self.begun) * 1000

    def describe(self, error: LLMRouterError) -> LLMRouterError:
        """Fill in what the call knows and an error does not."""
        error.fill(
            alias=self.plan.alias,
            request_id=self.started.request_id,
            attempts=tuple(self.attempts),
        )
        if isinstance(error, StructuredOutputError) and self.attempts:
            last = self.attempts[-1]
            error.fill(
                model=last.deployment,
                provider=last.provider,
                upstream_provider=last.upstream_provider,
                response_id=last.response_id,
                usage=Usage.sum(a.usage for a in self.attempts if a.usage is not None),
                cost=Cost.sum(a.cost for a in self.attempts if a.cost is not None),
            )
        return error


class RunningAttempt:
    """One attempt from the moment it is sent; it ends exactly once."""

    def __init__(self, call: Call, deployment: Deployment, number: int, leave: Leave) -> None:
        self.call = call
        self.deployment = deployment
        self.number = number
        self.started_at = call.clock.wall()
        self.begun = call.clock.monotonic()
        self.first_token_ms: float | None = None
        self.response_id: str | None = None
        self.partial: Callable[[], Answer] | None = None
        """Says what has come so far, once a stream has begun."""
        self._leave = leave
        self._ended = False

    def first_token(self) -> None:
        """Note that the first content of a stream arrived."""
        self.first_token_ms = (self.call.clock.monotonic() - self.begun) * 1000

    def succeed(self, answer: Answer) -> None:
        """End with a whole answer."""
        if self._end("succeeded", answer):
            self.call.cooldowns.succeeded(self.deployment)

    def fail(
        self, error: ProviderError, partial: Answer | None = None, *, healthy: bool = False
    ) -> None:
        """End with an error; the error learns which attempt it was and loses the row's secrets.

        *healthy*: the failure says nothing against the deployment (a mode it does not serve).
        """
        call = self.call
        error.mask(call.secrets_of(self.deployment))
        error.fill(
            alias=call.plan.alias,
            model=self.deployment.name,
            provider=self.deployment.provider,
            request_id=call.started.request_id,
            response_id=self.response_id,
        )
        if self._end("failed", partial, error):
            call.errors.append(error)
            if not healthy:
                call.cooldowns.failed(self.deployment, error)

    def reject(self, answer: Answer, error: StructuredOutputError | DeadlineExceededError) -> None:
        """End with an answer that is none of the schema: billed, and no fault of the deployment."""
        if self._end("failed", answer, error):
            self.call.cooldowns.succeeded(self.deployment)

    def abandon(self, status: RequestStatus = "cancelled") -> None:
        """End because the caller went away, or because something else than the provider broke."""
        self._end("cancelled" if status == "cancelled" else "failed", self.so_far())

    def withdraw(self) -> None:
        """End without a trace: it turned out that nothing could be sent."""
        self._ended = True
        self.call.running = None
        self._leave(None)
        self.call.take_back()

    def whole(self, answer: A, **changes: Any) -> A:
        """Return *answer* as the caller gets it: named, all attempts, their bills summed."""
        call = self.call
        attempts = tuple(call.attempts)
        changes |= {
            "alias": call.plan.alias,
            "requested_model": self.deployment.name,
            "provider": self.deployment.provider,
            "request_id": call.started.request_id,
            "attempts": attempts,
            "latency_ms": call.elapsed_ms(),
        }
        if len(attempts) > 1:
            changes["usage"] = Usage.sum(a.usage for a in attempts if a.usage is not None)
            changes["cost"] = Cost.sum(a.cost for a in attempts if a.cost is not None)
        if answer.response_id is None:
            changes["response_id"] = self.response_id
        return _changed(answer, changes)

    def so_far(self) -> Answer | None:
        """Return what a stream has brought; None where nothing is known."""
        try:
            return None if self.partial is None else self.partial()
        except Exception:  # the end of an attempt must be told, also of a stream gone wrong
            return None

    def _end(
        self, status: AttemptStatus, answer: Answer | None, error: LLMRouterError | None = None
    ) -> bool:
        if self._ended:
            return False
        self._ended = True
        call = self.call
        call.running = None
        attempt = self._attempt(status, answer, error)
        self._leave(attempt)
        call.attempts.append(attempt)
        call.observers.cache.note(call.started.alias, attempt.usage)
        level: events.Level = "info" if error is None else "warning"
        if call.observers.listening(level):
            record = AttemptFinished(
                request=call.started, attempt=attempt, answer=answer, mode_used=call.mode_used
            )
            call.observers.tell("attempt_finished", record, level)
        return True

    def _attempt(
        self, status: AttemptStatus, answer: Answer | None, error: LLMRouterError | None
    ) -> Attempt:
        usage, cost = _bill(status, answer, error)
        return Attempt(
            number=self.number,
            deployment=self.deployment.name,
            provider=self.deployment.provider,
            model=self.deployment.model,
            status=status,
            upstream_provider=_either("upstream_provider", answer, error),
            error=error,
            status_code=error.status_code if error else None,
            response_id=_either("response_id", answer, error) or self.response_id,
            usage=usage,
            cost=cost,
            latency_ms=(self.call.clock.monotonic() - self.begun) * 1000,
            time_to_first_token_ms=self.first_token_ms,
            started_at=self.started_at,
        )


def uuid7(wall: float) -> str:
    """Return a UUIDv7 (RFC 9562), which sorts by time, for *wall* seconds since the epoch.

    The standard library has it from 3.14 on.
    """
    moment = f"{int(wall * 1000):012x}"
    random = os.urandom(10)
    chance = random.hex()
    variant = "89ab"[random[9] & 3]
    return f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{variant}{chance[3:6]}-{chance[6:18]}"


@cache
def _slots_of(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    names = tuple(field.name for field in fields(kind))
    return attrgetter(*names), tuple(getattr(kind, name).__set__ for name in names)


def _changed(answer: A, changes: dict[str, Any]) -> A:
    """Return a copy with *changes*; every call pays for it, and `dataclasses.replace` is thrice
    the price."""
    kind: Any = type(answer)
    read, writers = _slots_of(kind)
    copy: A = object.__new__(kind)
    for write, value in zip(writers, read(answer), strict=False):
        write(copy, value)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


def _bill(
    status: AttemptStatus, answer: Answer | None, error: LLMRouterError | None
) -> tuple[Usage | None, Cost | None]:
    """Return what an attempt was billed; an answer always has a bill, known or not."""
    if status == "succeeded" and answer is not None:
        return answer.usage, answer.cost
    if isinstance(error, ProviderError) and (error.usage or error.cost):
        return error.usage, error.cost
    if answer is None or answer.usage == Usage():
        return None, None
    return answer.usage, answer.cost


def _either(name: str, answer: Answer | None, error: LLMRouterError | None) -> Any:
    found = getattr(answer, name, None)
    return getattr(error, name, None) if found is None else found
