"""The rows of the ledger: a field of a row class is a column of its table, and what is read back.

`tables` makes the columns from the annotations, which are therefore evaluated here. Tokens are
counts, money is USD in Decimal; None means unknown.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
Tokens = Annotated[int, "may pass 2**31"]
Label = Annotated[str, "a name from outside: cut to a bound and kept without keys"]

_USAGE = tuple(field.name for field in fields(Usage))
_COST = {f.name: f.name if f.name == "is_byok" else f"cost_{f.name}" for f in fields(Cost)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Tokens, counted units and USD as in `Usage` and `Cost`."""

    input_tokens: Tokens | None
    output_tokens: Tokens | None
    total_tokens: Tokens | None
    cache_read_tokens: Tokens | None
    cache_write_tokens: Tokens | None
    reasoning_tokens: Tokens | None
    units: float | None
    unit: str | None
    cost_total: Decimal | None
    cost_reported: Decimal | None
    cost_upstream: Decimal | None
    cost_computed: Decimal | None
    cost_source: str | None
    """None where no bill came."""
    is_byok: bool | None

    @property
    def usage(self) -> Usage:
        return Usage(**{name: getattr(self, name) for name in _USAGE})

    @property
    def cost(self) -> Cost:
        given = {name: getattr(self, column) for name, column in _COST.items()}
        return Cost(**given | {"source": self.cost_source or "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow(Bill):
    """One logical call; the bill sums its attempts that carry one."""

    id: str
    day: str
    """The UTC day on which it began: what reports and retention go by."""
    started_at: datetime
    alias: Label | None
    requested: Label
    operation: str
    stream: bool
    status: str
    """"started" while in flight, and for ever where the process died before the end."""
    error: str | None
    error_code: Label | None
    status_code: int | None
    attempts: int | None
    latency_ms: float | None
    user: Label | None
    tags: Mapping[str, str] | None
    config_fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow(Bill):
    """One attempt."""

    id: str
    request_id: str
    number: int
    day: str
    """The UTC day on which it began."""
    started_at: datetime
    alias: Label | None
    deployment: Label
    provider: Label
    model: Label
    served_model: Label | None
    upstream_provider: Label | None
    response_id: Label | None
    stream: bool
    mode_used: str | None
    status: str
    error: str | None
    error_code: Label | None
    status_code: int | None
    finish_reason: str | None
    native_finish_reason: Label | None
    latency_ms: float | None
    time_to_first_token_ms: float | None
    reconciled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRow:
    """Content that `store: full` kept."""

    id: str
    request_id: str
    attempt_id: str | None
    day: str
    kind: str
    """A "request", "response" or "error"."""
    body: Any
    """JSON data, redacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRow:
    """A configuration that was in force."""

    fingerprint: str
    first_seen_at: datetime
    text: str


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
    """Distinct calls with an attempt in the group: one that fell back from one upstream to another
    is a call of both, so that groups need not add up; `by=()` counts each once."""
    attempts: int
    failed: int
    cancelled: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cached_share: float | None
    """Of the input tokens those read from a cache, where an attempt says both."""
    cost: Decimal | None
    """USD: the known totals."""
    computed: Decimal | None
    """USD: tokens times known prices, to compare with `cost`; None as soon as one attempt that
    has a bill lacks it."""
    without_cost: int
    """Attempts whose cost is unknown, and so not in `cost`."""
    latency_p50_ms: int | None
    """Whole milliseconds of the attempts that succeeded: half of them took no longer."""
    latency_p95_ms: int | None
    first_token_p50_ms: int | None
    """Of streams that succeeded, until their first content."""
    first_token_p95_ms: int | None


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

    def __add__(self, other: "Reconciled") -> "Reconciled":
        return Reconciled(
            completed=self.completed + other.completed,
            missing=self.missing + other.missing,
            failed=self.failed + other.failed,
        )


@lru_cache
def columns(row: Any) -> dict[str, Any]:
    """Return the columns of a row class with their types: the key first, the bill last."""
    return {n: kind for part in row.__mro__ for n, kind in inspect.get_annotations(part).items()}


def bill(usage: Usage | None, cost: Cost | None) -> dict[str, Any]:
    """Return the columns of a bill by name; None where nobody said."""
    counted = {name: getattr(usage, name, None) for name in _USAGE}
    return counted | {column: getattr(cost, name, None) for name, column in _COST.items()}


def read(row: type[R], values: Mapping[Any, Any]) -> R:
    """Build a row from a result of the database, which may have more columns."""
    return row(**{field.name: values[field.name] for field in fields(row)})
