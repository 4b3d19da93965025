"""The observer that turns records into events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.usage import Cost, Usage, format_usd

if TYPE_CHECKING:
    from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted


class EventObserver:
    """Emits `attempt_finished` and `request_finished`, as grave as they are."""

    def __init__(self, level: events.Level) -> None:
        self._level = level

    def request_started(self, record: RequestStarted) -> None:
        """The selection of a deployment is the first event of a call."""

    def attempt_finished(self, record: AttemptFinished) -> None:
        attempt = record.attempt
        events.emit(
            events.ATTEMPT_FINISHED,
            self._level,
            request_id=record.request.request_id,
            alias=record.request.alias,
            deployment=attempt.deployment,
            provider=attempt.provider,
            model=attempt.model,
            attempt=attempt.number,
            status=attempt.status,
            error=type(attempt.error).__name__ if attempt.error else None,
            status_code=attempt.status_code,
            upstream_provider=attempt.upstream_provider,
            response_id=attempt.response_id,
            latency_ms=_rounded(attempt.latency_ms),
            **_bill(attempt.usage, attempt.cost),
        )

    def request_finished(self, record: RequestFinished) -> None:
        usages = [a.usage for a in record.attempts if a.usage is not None]
        costs = [a.cost for a in record.attempts if a.cost is not None]
        events.emit(
            events.REQUEST_FINISHED,
            self._level,
            request_id=record.request.request_id,
            alias=record.request.alias,
            operation=record.request.operation,
            status=record.status,
            error=type(record.error).__name__ if record.error else None,
            attempts=len(record.attempts),
            latency_ms=_rounded(record.latency_ms),
            **_bill(Usage.sum(usages) if usages else None, Cost.sum(costs) if costs else None),
        )


def _bill(usage: Usage | None, cost: Cost | None) -> dict[str, Any]:
    total = cost.total if cost else None
    return {
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost": None if total is None else format_usd(total),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
