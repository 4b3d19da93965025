"""The observer that turns records into events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.usage import Cost, Usage, format_usd

if TYPE_CHECKING:
    from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted


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


class EventObserver:
    """Emits `attempt_finished` and `request_finished`, as grave as they are, and `cache_lost`."""

    def __init__(self, level: events.Level) -> None:
        self._level = level
        self._cache = CacheWatch()

    def request_started(self, record: RequestStarted) -> None:
        """The selection of a deployment is the first event of a call."""

    def attempt_finished(self, record: AttemptFinished) -> None:
        attempt = record.attempt
        self._cache.note(record.request.alias, attempt.usage)
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
