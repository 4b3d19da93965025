"""What observers (the ledger, the events) are told of a call. Frozen, and free of secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.answers.answer import Answer, Attempt
    from llm_router.errors import LLMRouterError
    from llm_router.options.values import StorePolicy
    from llm_router.usage import Cost, Usage

RequestStatus = Literal["started", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStarted:
    """A logical call began."""

    request_id: str
    """UUIDv7 as text."""
    alias: str | None
    requested: str
    """What the caller asked for: an alias or `provider/model`."""
    operation: str
    """The method: "complete", "stream", "parse"."""
    stream: bool
    started_at: float
    """Seconds since the epoch."""
    tags: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    config_fingerprint: str | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    """The content of the question, which only `store: full` keeps: messages and parameters."""
    store: StorePolicy | None = None
    """The call's own content policy; None leaves it to the alias or the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished:
    """An attempt ended. `answer` is what it brought, whole or partial."""

    request: RequestStarted
    attempt: Attempt
    answer: Answer | None = None
    mode_used: str | None = None
    """How a schema was asked for; None outside `parse`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFinished:
    """A logical call ended; the bill of all its attempts is in `attempts`."""

    request: RequestStarted
    status: RequestStatus
    latency_ms: float
    attempts: Sequence[Attempt] = ()
    error: LLMRouterError | None = None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The provider's own record of one answer, looked up after the call by its response id."""

    response_id: str
    usage: Usage
    cost: Cost
    model: str | None = None
    upstream_provider: str | None = None
    native_finish_reason: str | None = None


class Observer(Protocol):
    """Told of every call, on the event loop: be quick, do no I/O, raise nothing."""

    def request_started(self, record: RequestStarted) -> None: ...

    def attempt_finished(self, record: AttemptFinished) -> None: ...

    def request_finished(self, record: RequestFinished) -> None: ...
