"""One logical call while it runs: its budget, its attempts, and who is told of them."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import Attempt
from llm_router.answers.completion import Completion
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.errors import LLMRouterError, ProviderError, StructuredOutputError
from llm_router.routing.limits import nothing
from llm_router.routing.rotation import Rotation
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.answers.answer import AttemptStatus
    from llm_router.answers.records import Observer, RequestStatus
    from llm_router.options.request import Deployment
    from llm_router.routing.clock import Clock
    from llm_router.routing.cooldown import Cooldowns
    from llm_router.routing.plan import Limits, Plan


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
        observers: Sequence[Observer],
    ) -> None:
        self.started = started
        self.plan = plan
        self.limits = limits
        self.clock = clock
        self.cooldowns = cooldowns
        self.observers = observers
        self.begun = clock.monotonic()
        self.deadline_at = self.begun + limits.deadline
        self.rotation = Rotation(deployments, cooldowns.resting)
        self.attempts: list[Attempt] = []
        self.errors: list[ProviderError] = []
        self.skipped: dict[str, LLMRouterError] = {}
        self.mode_used: str | None = None
        self.leave: Callable[[], None] = nothing
        self._sent = 0
        self.finished = False
        for observer in observers:
            observer.request_started(started)

    @property
    def attempts_left(self) -> int:
        return self.limits.max_attempts - self._sent

    @property
    def time_left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline_at - self.clock.monotonic()

    def begin(self, deployment: Deployment, leave: Callable[[], None]) -> RunningAttempt:
        """Count an attempt as sent; *leave* gives its slot back at the end."""
        self._sent += 1
        self.cooldowns.started(deployment)
        return RunningAttempt(self, deployment, self._sent, leave)

    def take_back(self) -> None:
        """Uncount an attempt for which nothing was sent."""
        self._sent -= 1

    def finish(
        self,
        status: RequestStatus,
        *,
        error: LLMRouterError | None = None,
        completion: Completion | None = None,
    ) -> None:
        """Tell the observers that the call ended, once."""
        if self.finished:
            return
        self.finished = True
        self.leave()
        if not self.observers:
            return
        record = RequestFinished(
            request=self.started,
            status=status,
            latency_ms=self.elapsed_ms(),
            attempts=tuple(self.attempts),
            error=error,
            answer=completion,
        )
        for observer in self.observers:
            observer.request_finished(record)

    def elapsed_ms(self) -> float:
        return (self.clock.monotonic() - self.begun) * 1000

    def summed(self, completion: Completion, **changes: Any) -> Completion:
        """Return *completion* as the caller gets it: all attempts, their bills summed."""
        attempts = tuple(self.attempts)
        changes |= {"attempts": attempts, "latency_ms": self.elapsed_ms()}
        if len(attempts) > 1:
            changes["usage"] = Usage.sum(a.usage for a in attempts if a.usage is not None)
            changes["cost"] = Cost.sum(a.cost for a in attempts if a.cost is not None)
        return _changed(completion, changes)

    def describe(self, error: LLMRouterError) -> LLMRouterError:
        """Fill in what the call knows and an error does not."""
        error.fill(
            alias=self.plan.alias,
            request_id=self.started.request_id,
            attempts=tuple(self.attempts),
        )
        return error


class RunningAttempt:
    """One attempt from the moment it is sent; it ends exactly once."""

    def __init__(
        self, call: Call, deployment: Deployment, number: int, leave: Callable[[], None]
    ) -> None:
        self.call = call
        self.deployment = deployment
        self.number = number
        self.started_at = call.clock.wall()
        self.begun = call.clock.monotonic()
        self.first_token_ms: float | None = None
        self.response_id: str | None = None
        self._leave = leave
        self._ended = False

    def answering(self, response_id: str) -> None:
        """Note the id of the answer that is on its way."""
        self.response_id = response_id

    def first_token(self) -> None:
        """Note that the first content of a stream arrived."""
        self.first_token_ms = (self.call.clock.monotonic() - self.begun) * 1000

    def succeed(self, completion: Completion) -> None:
        """End with a whole answer."""
        if self._end("succeeded", completion):
            self.call.cooldowns.succeeded(self.deployment)

    def fail(self, error: ProviderError, partial: Completion | None = None) -> None:
        """End with an error; the error learns which attempt it was."""
        error.fill(provider=self.deployment.provider, model=self.deployment.name)
        if self._end("failed", partial, error):
            self.call.errors.append(error)
            self.call.cooldowns.failed(self.deployment, error)
            error.fill(alias=self.call.plan.alias, request_id=self.call.started.request_id)

    def reject(self, completion: Completion, error: StructuredOutputError) -> None:
        """End with an answer that is none of the schema: billed, and no fault of the deployment."""
        if self._end("failed", completion, error):
            self.call.cooldowns.succeeded(self.deployment)

    def cancel(self, partial: Completion | None = None) -> None:
        """End because the caller went away."""
        self._end("cancelled", partial)

    def withdraw(self) -> None:
        """End without a trace: it turned out that nothing could be sent."""
        self._ended = True
        self._leave()
        self.call.take_back()

    def _end(
        self,
        status: AttemptStatus,
        completion: Completion | None,
        error: LLMRouterError | None = None,
    ) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._leave()
        attempt = self._attempt(status, completion, error)
        call = self.call
        call.attempts.append(attempt)
        if call.observers:
            record = AttemptFinished(
                request=call.started,
                attempt=attempt,
                answer=completion,
                mode_used=call.mode_used,
            )
            for observer in call.observers:
                observer.attempt_finished(record)
        return True

    def _attempt(
        self, status: AttemptStatus, completion: Completion | None, error: LLMRouterError | None
    ) -> Attempt:
        usage, cost = _bill(status, completion, error)
        return Attempt(
            number=self.number,
            deployment=self.deployment.name,
            provider=self.deployment.provider,
            model=self.deployment.model,
            status=status,
            upstream_provider=_either("upstream_provider", completion, error),
            error=error,
            status_code=error.status_code if error else None,
            response_id=_either("response_id", completion, error) or self.response_id,
            usage=usage,
            cost=cost,
            latency_ms=(self.call.clock.monotonic() - self.begun) * 1000,
            time_to_first_token_ms=self.first_token_ms,
            started_at=self.started_at,
        )


_NAMES = tuple(field.name for field in fields(Completion))
_read = attrgetter(*_NAMES)
_WRITERS = tuple(getattr(Completion, name).__set__ for name in _NAMES)


def _changed(completion: Completion, changes: Mapping[str, Any]) -> Completion:
    """Return a copy with *changes*; every call pays for it, and `dataclasses.replace` is thrice
    the price."""
    copy = object.__new__(Completion)
    for write, value in zip(_WRITERS, _read(completion), strict=False):
        write(copy, value)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


def _bill(
    status: AttemptStatus, completion: Completion | None, error: LLMRouterError | None
) -> tuple[Usage | None, Cost | None]:
    """Return what an attempt was billed; an answer always has a bill, known or not."""
    if status == "succeeded" and completion is not None:
        return completion.usage, completion.cost
    if isinstance(error, ProviderError) and (error.usage or error.cost):
        return error.usage, error.cost
    if completion is None or completion.usage == Usage():
        return None, None
    return completion.usage, completion.cost


def _either(name: str, completion: Completion | None, error: LLMRouterError | None) -> Any:
    found = getattr(completion, name, None)
    return getattr(error, name, None) if found is None else found
