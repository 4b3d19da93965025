"""Who is resting: deployments that keep failing are asked last for a while.

A resting deployment is never forbidden, only put behind those that are well. When its rest is
over, one call may probe it in its old place; the probe's outcome decides.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from llm_router import errors, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llm_router.options.request import Deployment

CONSECUTIVE = 3
"""So many failures in a row begin a rest."""
WINDOW = 20
"""The rate of failures is taken over so many attempts, …"""
RATE = 0.5
"""… and from this share on begins a rest."""
REST_S = 30.0
PROBE_S = 60.0
"""A probe that was not heard of for so long is forgotten."""
MAX_REST_S = 3600.0

MOST_RECORDS = 1024
"""Models are asked for by any name: what is known of more of them is forgotten."""

State = Literal["ready", "resting", "probing"]
# The caller's own mistakes say nothing about the deployment's health.
_NOT_ITS_FAULT = (errors.InvalidRequestError, errors.ContentFilteredError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a deployment does, as the attempts of this Router saw it."""

    deployment: str
    state: State
    reason: str | None = None
    """Why it rests or is probed."""
    rests_for_s: float | None = None
    consecutive_failures: int = 0
    recent_failure_rate: float | None = None


@dataclass(slots=True)
class _Record:
    outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    consecutive: int = 0
    rests_until: float = 0.0
    reason: str | None = None
    probe_at: float | None = None


class Cooldowns:
    """The health of the deployments of one Router.

    Calls with a key of their own have no part in it: whose key is limited is no business of others.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._records: dict[str, _Record] = {}
        self._keys: dict[str, _Record] = {}
        """Rests of a provider's key, which all its deployments share."""

    def ready_first(self, deployments: Iterable[Deployment]) -> list[Deployment]:
        """Return *deployments* in their order, the resting ones behind the others."""
        if not self._records and not self._keys:
            return list(deployments)
        return sorted(deployments, key=self.resting)

    def resting(self, deployment: Deployment) -> bool:
        """Return whether others should be asked before *deployment*."""
        return self.state(deployment) == "resting"

    def state(self, deployment: Deployment) -> State:
        """Return "resting" also while somebody else's probe is out."""
        if deployment.api_key is not None:
            return "ready"
        now = self._monotonic()
        if any(now < self._key(key).rests_until for key in _keys_of(deployment)):
            return "resting"
        record = self._records.get(deployment.name)
        if record is None or not record.rests_until:
            return "ready"
        if now < record.rests_until:
            return "resting"
        probing = record.probe_at is not None and now - record.probe_at < PROBE_S
        return "resting" if probing else "probing"

    def started(self, deployment: Deployment) -> None:
        """Note that an attempt goes out; after a rest it is the probe."""
        record = self._records.get(deployment.name)
        if record is not None and record.rests_until and self.state(deployment) == "probing":
            record.probe_at = self._monotonic()

    def succeeded(self, deployment: Deployment) -> None:
        """A success ends a rest and forgets the failures before it."""
        record = self._records.get(deployment.name)
        if record is None or deployment.api_key is not None:
            return
        if record.rests_until:
            events.emit(events.COOLDOWN_ENDED, deployment=deployment.name, reason=record.reason)
            record.outcomes.clear()
        record.outcomes.append(True)
        record.consecutive, record.rests_until = 0, 0.0
        record.probe_at = record.reason = None

    def failed(self, deployment: Deployment, error: errors.ProviderError) -> None:
        """Count a failure; begin a rest where it is due."""
        if isinstance(error, _NOT_ITS_FAULT) or deployment.api_key is not None:
            return
        if isinstance(error, errors.RateLimitError) and error.scope == "platform":
            self._rest_key(deployment, error)
            return
        record = self._record_of(deployment.name)
        record.outcomes.append(False)
        record.consecutive += 1
        reason = _due(record)
        if reason:
            self._rest(record, deployment.name, f"{reason}, last: {_brief(error)}", REST_S)

    def _record_of(self, name: str) -> _Record:
        """Return the record of a deployment; of those that failed longest ago none is kept."""
        record = self._records.pop(name) if name in self._records else _Record()
        self._records[name] = record
        if len(self._records) > MOST_RECORDS:
            del self._records[next(iter(self._records))]
        return record

    def _rest_key(self, deployment: Deployment, error: errors.RateLimitError) -> None:
        seconds = error.retry_after
        if seconds is None and error.reset_at is not None:
            seconds = error.reset_at - self._wall()
        seconds = min(max(seconds if seconds is not None else REST_S, 0.0), MAX_REST_S)
        # The limit on free models ("free-models-per-min") leaves the paid ones alone.
        key = _keys_of(deployment)[-1 if "free-models" in error.message else 0]
        record = self._keys.setdefault(key, _Record())
        self._rest(record, key, f"the provider limits this key: {_brief(error)}", seconds)

    def _rest(self, record: _Record, name: str, reason: str, seconds: float) -> None:
        record.rests_until = self._monotonic() + seconds
        record.reason, record.probe_at = reason, None
        events.emit(
            events.COOLDOWN_STARTED, "warning", deployment=name, reason=reason, seconds=seconds
        )

    def _key(self, key: str) -> _Record:
        return self._keys.get(key) or _NO_RECORD

    def health(self, deployment: Deployment) -> Health:
        """Return how *deployment* does and why."""
        if deployment.api_key is not None:
            return Health(deployment=deployment.name, state="ready")
        now = self._monotonic()
        record = self._records.get(deployment.name, _NO_RECORD)
        key = max((self._key(k) for k in _keys_of(deployment)), key=lambda r: r.rests_until)
        longest = max(record, key, key=lambda r: r.rests_until)
        outcomes = record.outcomes
        state = self.state(deployment)
        return Health(
            deployment=deployment.name,
            state=state,
            reason=longest.reason if state != "ready" else None,
            rests_for_s=max(longest.rests_until - now, 0.0) if state == "resting" else None,
            consecutive_failures=record.consecutive,
            recent_failure_rate=outcomes.count(False) / len(outcomes) if outcomes else None,
        )


_NO_RECORD = _Record()


def _due(record: _Record) -> str | None:
    """Return why a rest is due; a failed probe is enough by itself."""
    if record.rests_until:
        return "it failed again after a rest"
    if record.consecutive >= CONSECUTIVE:
        return f"{record.consecutive} failures in a row"
    failures = record.outcomes.count(False)
    if len(record.outcomes) == WINDOW and failures >= WINDOW * RATE:
        return f"{failures} of the last {WINDOW} attempts failed"
    return None


def _keys_of(deployment: Deployment) -> tuple[str, ...]:
    """Return the names under which a key's rest may stand: the provider, and its free models."""
    free = (f"{deployment.provider}:free",) if deployment.model.endswith(":free") else ()
    return (deployment.provider, *free)


def _brief(error: errors.ProviderError) -> str:
    return f"{type(error).__name__} {error.status_code or ''}".rstrip()
