"""Answer: what every operation returns has in common, and the attempts that led to it.

All frozen; None means that nobody said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from llm_router.usage import Cost, Usage, format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.errors import LLMRouterError

AttemptStatus = Literal["succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to one deployment, and how it ended."""

    number: int
    """From 1, in the order of the call."""
    deployment: str
    """`provider/model`, as the configuration or the caller names it."""
    provider: str
    model: str
    """The model as sent to the provider."""
    status: AttemptStatus
    upstream_provider: str | None = None
    error: LLMRouterError | None = None
    status_code: int | None = None
    response_id: str | None = None
    usage: Usage | None = None
    """None when no bill came with this attempt."""
    cost: Cost | None = None
    latency_ms: float | None = None
    time_to_first_token_ms: float | None = None
    started_at: float = 0.0
    """Seconds since the epoch."""

    def to_dict(self) -> dict[str, Any]:
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who answered, what it cost, how it came. Times are milliseconds, money is USD in Decimal.

    A wire reads what the provider said; alias, names, times and attempts are the call's, and are
    put in once, where it ends.
    """

    alias: str | None = None
    """None when a model was asked for by its name."""
    requested_model: str = ""
    """The deployment that answered, as asked: `openrouter/openai/gpt-4o-mini`."""
    model: str | None = None
    """The model as the answer names it; often a dated name, so never key on it."""
    provider: str = ""
    upstream_provider: str | None = None
    """Who ran the model behind the provider (OpenRouter's `provider`)."""
    request_id: str = ""
    response_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    """All attempts that carry a bill, summed; `attempts[i].usage` has each."""
    cost: Cost = field(default_factory=Cost)
    latency_ms: float | None = None
    """From the call to the answer, failed attempts and waits included."""
    attempts: tuple[Attempt, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; money as decimal text."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    def payload(self) -> Mapping[str, Any] | None:
        """Return what the ledger keeps of the content under `store: full`; None for nothing."""
        return None


def plain(value: Any) -> Any:
    """Return *value* as JSON data: objects by their `to_dict`, Decimals and errors as text."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Decimal):
        return format_usd(value)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": str(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
