"""Every error of llm_router.

LLMRouterError
├─ ConfigurationError               your set-up; file:line where there is one, and the fix
│  ├─ UnknownAliasError
│  └─ MissingCredentialsError
├─ UnsupportedFeatureError          also a NotImplementedError
├─ BudgetExceededError · StateUnavailableError
├─ DeadlineExceededError            also a TimeoutError
├─ ProviderError                    one attempt failed
│  ├─ AuthenticationError · PermissionDeniedError · InsufficientCreditsError
│  ├─ InvalidRequestError
│  │  └─ ContextWindowExceededError · RequestTooLargeError
│  ├─ ModelNotFoundError · NoEndpointError
│  ├─ ContentFilteredError · RateLimitError
│  ├─ ProviderUnavailableError · ProviderTimeoutError · ProviderConnectionError
│  ├─ EmptyResponseError · InvalidResponseError
│  └─ StreamInterruptedError
├─ StructuredOutputError
│  └─ SchemaValidationError · TruncatedOutputError · RefusalError
├─ AllDeploymentsFailedError        two or more deployments were tried
└─ LedgerError

Catch by what you can do: fix the call (InvalidRequestError), the key (AuthenticationError), the
balance (InsufficientCreditsError), wait (RateLimitError.retry_after), or show what was tried
(AllDeploymentsFailedError.exceptions). Every error pickles, and none shows a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llm_router.redaction import redact, redact_data, redact_shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from llm_router.usage import Cost, Usage

_LONGEST_CHAIN = 20
"""Of causes whose frames are let go."""
NextStep = Literal["retry", "next", "stop"]
"""What an error does next: try here again, try the next deployment, or end the call."""


def forget_frames(error: BaseException) -> None:
    """Let go of the frames of *error* and of its causes, and of what their variables hold."""
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is not None:
            link.__traceback__ = None
            link = link.__cause__ or link.__context__


class LLMRouterError(Exception):
    """The root: `except LLMRouterError` catches all that this library raises on purpose.

    Attributes are None where nothing is known.
    """

    alias: str | None = None
    model: str | None = None
    """As it was asked for: `openrouter/openai/gpt-4o-mini`."""
    provider: str | None = None
    upstream_provider: str | None = None
    status_code: int | None = None
    """The status the error speaks of: the code in the body when it came inside a 200."""
    code: str | None = None
    """The provider's own word for it, where it has one (`rate_limit_exceeded`)."""
    retry_after: float | None = None
    """Seconds to wait before the same request makes sense."""
    request_id: str | None = None
    """Ours, one per logical call."""
    response_id: str | None = None
    """The provider's, `gen-…` at OpenRouter."""
    attempts: tuple[Any, ...] | None = None
    """The `Attempt`s made so far, in order."""
    hint: str | None = None
    """What to do about it, one sentence."""

    default_hint: ClassVar[str | None] = None
    _redact = staticmethod(redact)

    def __init__(self, message: str, **details: Any) -> None:
        """Keep *message* and *details* (attributes of this class), redacted both."""
        super().__init__(self._kept(message))
        self.add(**details)

    def add(self, **details: Any) -> None:
        """Set attributes; unknown names are a programming mistake and raise TypeError."""
        for name, value in details.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, self._kept(value) if isinstance(value, str) else value)

    def _kept(self, text: str) -> str:
        """Return *text* as an error keeps it: without secrets, and fit to be printed."""
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            text = text.encode("utf-8", "replace").decode()
        return self._redact(text)

    def fill(self, **details: Any) -> None:
        """Set those attributes that are still unknown."""
        self.add(**{n: v for n, v in details.items() if getattr(self, n, None) is None})

    def mask(self, secrets: Iterable[str]) -> None:
        """Take values known to be secret (the configured keys) out of every text.

        The frames go too: a traceback with local variables would show what the wire said.
        """
        forget_frames(self)
        known = tuple(secrets)
        if known:
            self.args = (self._redact(self.message, known),)
            texts = {n: v for n, v in vars(self).items() if isinstance(v, str)}
            vars(self).update({name: self._redact(text, known) for name, text in texts.items()})

    @property
    def message(self) -> str:
        """The sentence alone, without hint."""
        return str(self.args[0])

    def told(self) -> str:
        """Return who failed and how, in one line without the hint."""
        return self.message

    def __str__(self) -> str:
        """Return a line for a log: who, status, attempts, the sentence, the request, the fix."""
        what = _with_full_stop(f"{self.told()}{self._request()}")
        return " ".join((what, _with_full_stop(hint))) if (hint := self._hint()) else what

    def _request(self) -> str:
        return f" [request {self.request_id}]" if self.request_id else ""

    def _hint(self) -> str | None:
        return self.hint or self.default_hint


class ConfigurationError(LLMRouterError):
    """The set-up is wrong: `problems` holds each mistake, with `file:line` where there is one."""

    problems: tuple[str, ...] = ()


class UnknownAliasError(ConfigurationError):
    """No such alias; the message names the nearest one."""


class MissingCredentialsError(ConfigurationError):
    """A provider needs a key and none is set; nothing was sent."""

    env_var: str | None = None
    """The environment variable that would hold it."""


class UnsupportedFeatureError(LLMRouterError, NotImplementedError):
    """Asked for something that is not served; the message says what is."""


class BudgetExceededError(LLMRouterError):
    """A limit on money would be passed; the attempt that could have done so was not sent."""

    budget: str | None = None
    """Its name under `budgets:`; "max_cost" for the call's own."""
    limit: Decimal | None = None
    """USD in the whole window."""
    left: Decimal | None = None
    """USD that are neither spent nor reserved; negative when bills were higher than reserved."""
    resets_at: float | None = None
    """When its window ends, seconds since the epoch; None for one that never does."""


class StateUnavailableError(LLMRouterError):
    """The shared state does not answer, and `on_loss: refuse` lets nothing go without it."""


class DeadlineExceededError(LLMRouterError, TimeoutError):
    """The call's `deadline` passed; `attempts` has what was tried, `__cause__` the last error."""


class ProviderError(LLMRouterError):
    """One attempt failed. `message` is the provider's sentence, verbatim but for secrets."""

    kind: ClassVar[str] = ""
    """Its name under an alias's `on_error`; "" for what no alias can override."""
    then: ClassVar[NextStep] = "stop"
    """What it does next, unless the alias says otherwise; a subclass inherits it."""

    upstream_message: str | None = None
    """The sentence of the upstream behind the provider, where it was passed on."""
    raw: Any = None
    """The error object of the wire, secrets and account ids removed."""
    usage: Usage | None = None
    """The bill that came with the failure, if one did."""
    cost: Cost | None = None
    sent: bool | None = None
    """False where it is certain that no request went out, so that nothing can be billed."""

    def add(self, **details: Any) -> None:
        if "raw" in details:
            details["raw"] = redact_data(details["raw"])
        super().add(**details)

    def mask(self, secrets: Iterable[str]) -> None:
        super().mask(known := tuple(secrets))
        if self.raw is not None:
            self.raw = redact_data(self.raw, known)

    def told(self) -> str:
        upstream = [self.upstream_provider, self.upstream_message]
        behind = ": ".join(text for text in upstream if text)
        return f"{self._place()}{self.message}{f' (upstream {behind})' if behind else ''}"

    def _place(self) -> str:
        """Return `openrouter/openai/gpt-4o-mini: 503 after 4 attempts: `, or less."""
        tried = len(self.attempts or ())
        after = f"after {tried} attempts" if tried > 1 else ""
        status = "" if self.status_code is None else str(self.status_code)
        facts = [
            self.model or self.provider or "",
            " ".join(text for text in (status, after) if text),
        ]
        return "".join(f"{fact}: " for fact in facts if fact)


class AuthenticationError(ProviderError):
    """401: the key was not accepted."""

    kind = "authentication"
    then = "next"
    default_hint = "Check the API key of this provider."


class PermissionDeniedError(ProviderError):
    """403: the key is good but may not do this (guardrail, region, management key needed)."""

    kind = "permission"
    then = "next"


class InsufficientCreditsError(ProviderError):
    """402, or a key over its spending cap."""

    kind = "credits"
    then = "next"
    default_hint = "Add credits, raise the key's limit, or ask for fewer max_tokens."
    affordable_tokens: int | None = None
    """`max_tokens` that the balance still covers, when the provider says."""


class InvalidRequestError(ProviderError):
    """400 or 422: the request itself is wrong; no other deployment would make it right."""

    kind = "invalid_request"
    then: ClassVar[NextStep] = "stop"


class ContextWindowExceededError(InvalidRequestError):
    """The prompt is longer than the model's context."""

    kind = "context_window"
    then = "next"
    limit_tokens: int | None = None
    requested_tokens: int | None = None


class RequestTooLargeError(InvalidRequestError):
    """413: the body is larger than the provider takes."""

    kind = "request_too_large"
    then = "next"


class ModelNotFoundError(ProviderError):
    """The provider knows no such model."""

    kind = "model_not_found"
    then = "next"
    default_hint = "Check the model's name in the provider's catalogue."


class NoEndpointError(ProviderError):
    """The model exists, but no upstream provider meets the constraints of the request."""

    kind = "no_endpoint"
    then = "next"
    requested_providers: tuple[str, ...] | None = None
    available_providers: tuple[str, ...] | None = None


class ContentFilteredError(ProviderError):
    """Moderation refused the input or the output."""

    kind = "content_filter"
    then = "stop"
    reasons: tuple[str, ...] | None = None


class RateLimitError(ProviderError):
    """429. `scope` says whose limit it is: wait for "platform", go elsewhere for "upstream"."""

    kind = "rate_limit"
    then = "retry"
    scope: str | None = None
    """"platform" (your key at the provider), "upstream" (a provider behind it), or None."""
    reset_at: float | None = None
    """When the limit resets, seconds since the epoch."""


class ProviderUnavailableError(ProviderError):
    """5xx, or a provider's word that it is down or overloaded."""

    kind = "unavailable"
    then = "retry"


class ProviderTimeoutError(ProviderError):
    """No answer in time. The abandoned call may still be billed: never here again."""

    kind = "timeout"
    then = "next"


class ProviderConnectionError(ProviderError):
    """No connection, or one that broke before the answer was whole."""

    kind = "connection"
    then = "retry"


class EmptyResponseError(ProviderError):
    """A 200 without an answer in it."""

    kind = "empty"
    then = "retry"


class InvalidResponseError(ProviderError):
    """A body that cannot be read: not JSON, HTML, cut, or too large."""

    kind = "invalid_response"
    then = "retry"


class StreamInterruptedError(ProviderError):
    """A stream ended before its answer did. What came is in `partial`, the cause in `__cause__`."""

    partial: Any = None
    """A `Completion` of what was received."""


class StructuredOutputError(LLMRouterError):
    """No valid object came out; `raw_texts` has every text the model gave, in order."""

    raw_texts: tuple[str, ...] = ()
    usage: Usage | None = None
    cost: Cost | None = None


class SchemaValidationError(StructuredOutputError):
    """The output does not fit the schema, also after re-asking; `errors` says why, per text."""

    _redact = staticmethod(redact_shapes)
    errors: tuple[str, ...] = ()


class TruncatedOutputError(StructuredOutputError):
    """The output was cut by the token limit; it is never repaired."""

    default_hint = "Raise max_tokens or ask for less."


class RefusalError(StructuredOutputError):
    """The model refused; the message is its sentence."""

    refusal: str | None = None


class AllDeploymentsFailedError(LLMRouterError):
    """Two or more deployments were tried and none answered; `exceptions` has one per attempt."""

    exceptions: tuple[ProviderError, ...] = ()

    @classmethod
    def from_exceptions(cls, exceptions: Sequence[ProviderError]) -> AllDeploymentsFailedError:
        """Sum up failures; status, code and retry_after are those of the last."""
        last = exceptions[-1]
        lines = (f"  {number}. {_summary(error)}" for number, error in enumerate(exceptions, 1))
        return cls(
            "No deployment answered:\n" + "\n".join(lines),
            exceptions=tuple(exceptions),
            status_code=last.status_code,
            code=last.code,
            retry_after=last.retry_after,
        )

    def __str__(self) -> str:
        first, _, lines = self.message.partition("\n")
        return f"{first.rstrip(':')}{self._request()}:\n{lines}"


class LedgerError(LLMRouterError):
    """The ledger cannot do what was asked (a command or report, never a routed call)."""


def _kinds() -> dict[str, NextStep]:
    found = [c for c in globals().values() if isinstance(c, type) and issubclass(c, ProviderError)]
    return {cls.kind: cls.then for cls in found if cls.kind}


KINDS = _kinds()
"""Every kind that an alias's `on_error` may name, and what it does by itself."""


def _summary(error: ProviderError) -> str:
    return f"{error.told()} ({type(error).__name__})"


def _with_full_stop(text: str) -> str:
    return text if text.rstrip().endswith((".", "!", "?", ":", "…")) else f"{text}."
