"""What the ledger answers: typed rows. Tokens are counts, money is USD in Decimal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Tokens and USD as in `Usage` and `Cost`; None means unknown."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_total: Decimal | None
    cost_reported: Decimal | None
    cost_upstream: Decimal | None
    cost_computed: Decimal | None
    cost_source: str | None
    is_byok: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow(Bill):
    """One logical call; the bill sums its attempts that carry one."""

    id: str
    started_at: datetime
    alias: str | None
    requested: str
    operation: str
    stream: bool
    status: str
    """"started" while in flight, and for ever where the process died before the end."""
    error: str | None
    error_code: str | None
    status_code: int | None
    attempts: int | None
    latency_ms: float | None
    user: str | None
    tags: Mapping[str, str]
    config_fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow(Bill):
    """One attempt."""

    id: str
    request_id: str
    number: int
    started_at: datetime
    alias: str | None
    deployment: str
    provider: str
    model: str
    served_model: str | None
    upstream_provider: str | None
    response_id: str | None
    stream: bool
    mode_used: str | None
    status: str
    error: str | None
    error_code: str | None
    status_code: int | None
    finish_reason: str | None
    native_finish_reason: str | None
    latency_ms: float | None
    time_to_first_token_ms: float | None
    reconciled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRow:
    """Content that `store: full` kept: a "request", "response" or "error"."""

    attempt_id: str | None
    kind: str
    body: Any
    """JSON data, redacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDetail:
    """All that is known of one call."""

    request: RequestRow
    attempts: tuple[AttemptRow, ...]
    payloads: tuple[PayloadRow, ...]
    config: str | None
    """The configuration in force, as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """Sums over one group of attempts. A sum is over what is known, None where nothing is."""

    group: Mapping[str, str | None]
    requests: int
    """Calls that sent at least one attempt; counted where their first attempt is."""
    attempts: int
    failed: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cost: Decimal | None
    """USD: the known totals."""
    computed: Decimal | None
    """USD: tokens times known prices, for comparison."""
    without_cost: int
    """Attempts whose cost is unknown, and so not in `cost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many rows were deleted."""

    payloads: int = 0
    attempts: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What became of the attempts with unknown cost."""

    completed: int = 0
    missing: int = 0
    """Still unknown to the provider: try later."""
    failed: int = 0
    """The look-up failed."""

    def __add__(self, other: Reconciled) -> Reconciled:
        return Reconciled(
            completed=self.completed + other.completed,
            missing=self.missing + other.missing,
            failed=self.failed + other.failed,
        )
