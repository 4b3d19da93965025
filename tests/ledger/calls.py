"""Calls as the Router reports them, and the true account of what they cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from llm_router.answers.answer import Attempt
from llm_router.answers.completion import Completion
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.errors import LLMRouterError, RateLimitError
from llm_router.routing.call import uuid7
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from llm_router.ledger.ledger import Ledger

NOON = 1_790_000_000.0
"""A moment on 2026-09-21, UTC."""
DAY = 86_400.0


@dataclass(frozen=True)
class Call:
    """The records of one call, in the order in which the Router gives them."""

    started: RequestStarted
    attempts: tuple[AttemptFinished, ...]
    finished: RequestFinished

    @property
    def id(self) -> str:
        return self.started.request_id

    def tell(self, ledger: Ledger) -> None:
        ledger.request_started(self.started)
        for attempt in self.attempts:
            ledger.attempt_finished(attempt)
        ledger.request_finished(self.finished)


def started(*, at: float = NOON, **changes: Any) -> RequestStarted:
    values: dict[str, Any] = {
        "request_id": uuid7(at),
        "alias": "fast",
        "requested": "fast",
        "operation": "complete",
        "stream": False,
        "started_at": at,
        "tags": {"feature": "search"},
        "user": "customer-17",
        "config_fingerprint": "f00d",
        "asked": {
            "messages": [{"role": "user", "content": "Why is the sky blue?"}],
            "params": {"temperature": 0.2},
        },
    }
    return RequestStarted(**values | changes)


def answered(
    request: RequestStarted,
    *,
    number: int = 1,
    cost: str | None = "0.0000039",
    response_id: str | None = "gen-1",
    **changes: Any,
) -> AttemptFinished:
    usage = Usage(input_tokens=12, output_tokens=5, total_tokens=17, cache_read_tokens=3)
    bill = Cost.from_report(None if cost is None else Decimal(cost), computed=Decimal("0.000004"))
    values: dict[str, Any] = {
        "number": number,
        "deployment": "openrouter/openai/gpt-4o-mini",
        "provider": "openrouter",
        "model": "openai/gpt-4o-mini",
        "status": "succeeded",
        "upstream_provider": "Azure",
        "status_code": 200,
        "response_id": response_id,
        "usage": usage,
        "cost": bill,
        "latency_ms": 812.5,
        "time_to_first_token_ms": 120.25,
        "started_at": request.started_at,
    }
    attempt = Attempt(**values | changes)
    completion = Completion(
        text="Rayleigh scattering.",
        finish_reason="stop",
        native_finish_reason="end_turn",
        model="openai/gpt-4o-mini-2024-07-18",
        response_id=response_id,
        usage=usage,
        cost=bill,
    )
    return AttemptFinished(request=request, attempt=attempt, answer=completion)


def refused(
    request: RequestStarted, error: LLMRouterError | None = None, *, number: int = 1
) -> AttemptFinished:
    error = error or RateLimitError("Slow down", status_code=429, code="rate_limit_exceeded")
    attempt = Attempt(
        number=number,
        deployment="openrouter/openai/gpt-4o-mini",
        provider="openrouter",
        model="openai/gpt-4o-mini",
        status="failed",
        error=error,
        status_code=error.status_code,
        latency_ms=20.0,
        started_at=request.started_at,
    )
    return AttemptFinished(request=request, attempt=attempt)


def finished(
    request: RequestStarted, *attempts: AttemptFinished, error: LLMRouterError | None = None
) -> RequestFinished:
    return RequestFinished(
        request=request,
        status="failed" if error else "succeeded",
        latency_ms=900.0,
        attempts=tuple(record.attempt for record in attempts),
        error=error,
        answer=attempts[-1].answer if attempts else None,
    )


def call(*, cost: str | None = "0.0000039", response_id: str = "gen-1", **changes: Any) -> Call:
    """A call that its first attempt answers."""
    request = started(**changes)
    attempt = answered(request, cost=cost, response_id=response_id)
    return Call(request, (attempt,), finished(request, attempt))


def retried_call(**changes: Any) -> Call:
    """A call whose first attempt is refused and whose second one answers."""
    request = started(**changes)
    attempts = (refused(request), answered(request, number=2))
    return Call(request, attempts, finished(request, *attempts))


def failed_call(error: LLMRouterError | None = None, **changes: Any) -> Call:
    request = started(**changes)
    attempt = refused(request, error)
    return Call(request, (attempt,), finished(request, attempt, error=attempt.attempt.error))


def hold_transactions(ledger: Ledger) -> tuple[threading.Event, threading.Event]:
    """Hold each transaction as it begins; return what says so, and what lets it go on."""
    assert ledger._database is not None
    held, go_on = threading.Event(), threading.Event()

    @event.listens_for(ledger._database.engine, "begin")
    def _hold(_: Any) -> None:
        held.set()
        go_on.wait(20)

    return held, go_on
