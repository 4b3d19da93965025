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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def __repr__(self) -> str:
        error = None if self.error is None else type(self.error).__name__
        bill = [] if self.cost is None else [shown_usd(self.cost.total)]
        facts = [self.status, error, self.status_code, shown_ms(self.latency_ms), *bill]
        shown = ", ".join(str(fact) for fact in facts if fact)
        return f"<Attempt {self.number} {self.deployment}: {shown}>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
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

    def gist(self) -> str:
        """Return what was answered in a few words, for `repr`; "" where there is nothing."""
        return ""

    def _facts(self) -> dict[str, str | None]:
        """Return what `repr` and a notebook show beside the gist."""
        tokens = (self.usage.input_tokens, self.usage.output_tokens)
        shown = ["?" if count is None else f"{count:,}" for count in tokens]
        tried = len(self.attempts)
        return {
            "model": self.requested_model or self.model or "unknown model",
            "upstream": self.upstream_provider and f"via {self.upstream_provider}",
            "tokens": f"{shown[0]} + {shown[1]} tokens",
            "cost": shown_usd(self.cost.total),
            "latency": shown_ms(self.latency_ms),
            "attempts": f"{tried} attempts" if tried > 1 else None,
            "request": self.request_id and f"request {self.request_id}",
        }

    def __repr__(self) -> str:
        """Return a line or two, never a wall; everything is in `to_dict()`."""
        facts = ", ".join(fact for fact in self._facts().values() if fact)
        gist = self.gist()
        return f"<{type(self).__name__}{f' {gist}' if gist else ''} ({facts})>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the gist over the facts."""
        from html import escape

        rows = {"": self.gist(), **self._facts()}
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>"
            for name, fact in rows.items()
            if fact
        )
        return f"<table>{cells}</table>"


def shown_usd(amount: Decimal | None) -> str:
    """Return `0.0000039 USD`, or that nobody knows."""
    return "cost unknown" if amount is None else f"{format_usd(amount)} USD"


def shown_ms(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds:.0f} ms"


def clipped(text: str) -> str:
    """Return at most 72 characters of *text*, with an ellipsis where it was cut."""
    return text if len(text) <= 72 else f"{text[:71]}…"


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
