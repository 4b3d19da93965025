"""OpenRouter's errors, wherever they come: a status, a 200 body, a choice, an event of a stream.

By status first, then by `error_type` and `availability` where the answer has them (since August
2026), then by the sentences that were recorded. Account ids go, the provider's words stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llm_router.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    InsufficientCreditsError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    NoEndpointError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)
from llm_router.wires import error_facts as facts
from llm_router.wires.answer_parts import cost_of, usage_of
from llm_router.wires.json_values import (
    UnreadableError,
    has_surrogates,
    mend_all,
    object_or_empty,
    plain_json,
    read_json,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASSES: dict[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ProviderTimeoutError,
    413: RequestTooLargeError,
    425: ProviderUnavailableError,
    429: RateLimitError,
    504: ProviderTimeoutError,
    524: ProviderTimeoutError,
}
# Words only choose among the meanings that a status has; they never overrule it.
_CONTEXT = re.compile(
    r"context_length_exceeded|token_limit_exceeded|(?:maximum|max) context length"
    r"|context (?:window|length|size)|(?:prompt|input) is too long|too many (?:input )?tokens"
    r"|exceeds? the (?:available|maximum) (?:context|number of tokens)"
    r"|maximum prompt length",
    re.IGNORECASE,
)
_MODERATION = re.compile(
    r"moderation|content[_ ](?:policy|filter|management)|flagged|safety system"
    r"|usage (?:policy|policies|guidelines)|prohibited_content",
    re.IGNORECASE,
)
_WORDS: tuple[tuple[frozenset[int], re.Pattern[str], type[ProviderError]], ...] = (
    (frozenset({400, 413, 422, 500}), _CONTEXT, ContextWindowExceededError),
    (frozenset({400, 403, 422}), _MODERATION, ContentFilteredError),
    (
        frozenset({400, 422}),
        re.compile(
            r"not a valid model|model_not_found|unknown model|model .* does not exist", re.I
        ),
        ModelNotFoundError,
    ),
    (
        frozenset({403, 429}),
        re.compile(r"key limit exceeded|insufficient[_ ](?:quota|credits|balance)", re.I),
        InsufficientCreditsError,
    ),
    (
        frozenset({404}),
        re.compile(r"no endpoints|no allowed providers|no models match", re.I),
        NoEndpointError,
    ),
)
# Words that say more than a status: `error_type`, then the codes of `availability`.
_BY_WORD: dict[str, type[ProviderError]] = {
    "context_length_exceeded": ContextWindowExceededError,
    "token_limit_exceeded": ContextWindowExceededError,
    "string_too_long": RequestTooLargeError,
    "payload_too_large": RequestTooLargeError,
    "content_policy_violation": ContentFilteredError,
    "refusal": ContentFilteredError,
    "payment_required": InsufficientCreditsError,
    "rate_limit_exceeded": RateLimitError,
    "provider_unavailable": ProviderUnavailableError,
    "provider_overloaded": ProviderUnavailableError,
    "timeout": ProviderTimeoutError,
    "model_not_found": ModelNotFoundError,
    "wrong_endpoint": InvalidRequestError,
    "no_endpoints": NoEndpointError,
    "model_deprecated": NoEndpointError,
    "model_unavailable_upstream": NoEndpointError,
    "privacy_restricted": NoEndpointError,
    "constraint_filtered": NoEndpointError,
    "free_variant_ended": NoEndpointError,
    "capacity_exhausted": RateLimitError,
    "temporarily_unavailable": ProviderUnavailableError,
    "region_restricted": PermissionDeniedError,
}
# Words that say no more than a status; they stand in for one where there is none.
_AS_STATUS = {
    "authentication": 401,
    "permission_denied": 403,
    "not_found": 404,
    "server": 500,
    "server_error": 500,
    "unmapped": 500,
} | dict.fromkeys(
    (
        "invalid_request",
        "invalid_prompt",
        "max_tokens_exceeded",
        "precondition_failed",
        "unprocessable",
        "invalid_image",
        "image_too_large",
        "image_too_small",
        "unsupported_image_format",
        "image_not_found",
        "image_download_failed",
    ),
    400,
)
# Sentences are searched for words no further than this.
_LONGEST_WORDS = 4000
_HINTS: dict[type[ProviderError], str] = {
    NoEndpointError: (
        "Relax the constraints of the request (provider preferences, data policy, tools), "
        "or ask another model."
    ),
    ContextWindowExceededError: "Shorten the prompt or ask a model with a larger context.",
    RequestTooLargeError: "Send less.",
    ContentFilteredError: "Change the input, or ask another model.",
}


def error_class(
    status: int | None, message: str = "", code: str | None = None
) -> type[ProviderError]:
    """Return the class for a failed attempt.

    *status* is the one the error speaks of; *message* and *code* are the provider's words, used
    only where one status means several things (a 400 that is about the context window). Without
    a status, or with one that is no error, it is ProviderError itself.
    """
    for statuses, words, refined in _WORDS:
        if status in statuses and words.search(f"{code or ''} {message}"):
            return refined
    if status is None or status < 400:
        return ProviderError
    if status in _CLASSES:
        return _CLASSES[status]
    return InvalidRequestError if status < 500 else ProviderUnavailableError


def read_error(
    status: int, headers: Mapping[str, str], body: bytes, *, kind: str, now: float
) -> ProviderError:
    """Return the error that an answer with a status other than 200 is; never raises.

    *kind* is LiteLLM's name of the provider; *now* the time since the epoch, for waiting times
    given as dates.
    """
    try:
        found = read_json(body)
        answer = object_or_empty(mend_all(found) if has_surrogates(body) else found)
    except UnreadableError:
        answer = {}
    if "error" not in answer:
        return _page_error(status, headers, body, kind, now)
    return error_from_object(
        answer["error"], status=status, headers=headers, body=answer, kind=kind, now=now
    )


def error_from_object(
    error: Any,
    *,
    status: int | None,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    kind: str,
    now: float,
) -> ProviderError:
    """Return the error that an `error` object means; never raises.

    *status* is the answer's own: for a 200 the code in the object counts. *body* is what the
    object came in: it may have a bill, an id and the upstream's name.
    """
    try:
        plain = plain_json(mend_all(error))
    except UnreadableError:
        plain = {"message": "An error nested too deeply to be shown"}
    said = plain if isinstance(plain, dict) else {"message": plain}
    cause = _Cause(said, status, headers, kind, now)
    found = cause.kind()(
        cause.message,
        **context(headers, body),
        status_code=cause.status,
        code=cause.code,
        retry_after=facts.retry_after_of(headers, said, now),
        upstream_message=cause.upstream,
        raw=plain,
    )
    found.fill(upstream_provider=cause.upstream_provider)
    found.add(**cause.details(found))
    found.fill(hint=_HINTS.get(type(found)))
    return found


def context(headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what bytes say of their call whatever else they mean: ids, upstream, and the bill."""
    body = body or {}
    known: dict[str, Any] = {
        "response_id": text_or_none(body.get("id")) or facts.header(headers, "X-Generation-Id"),
        "upstream_provider": text_or_none(body.get("provider")),
    }
    report = body.get("usage")
    if isinstance(report, dict):
        known |= {"usage": usage_of(report), "cost": cost_of(report)}
    return known


def _page_error(
    status: int, headers: Mapping[str, str], body: bytes, kind: str, now: float
) -> ProviderError:
    """Return the error of an answer without an `error` object: a gateway's page, or nothing."""
    sentence = facts.page_sentence(body)
    said = f": {sentence}" if sentence else " and no error object"
    found = InvalidResponseError if status < 400 else error_class(status, sentence or "")
    if found is NoEndpointError:
        found = ModelNotFoundError
    return found(
        f"The provider answered with status {status}{said}",
        **context(headers),
        status_code=status,
        retry_after=facts.retry_after_of(headers, {}, now),
        hint=_page_hint(status),
    )


def _page_hint(status: int) -> str | None:
    if status in (404, 405) or status < 400:
        return "Check the provider's base_url."
    return None


class _Cause:
    """An error object and what it means."""

    def __init__(
        self,
        error: dict[str, Any],
        status: int | None,
        headers: Mapping[str, str],
        provider: str,
        now: float,
    ) -> None:
        self.error, self.headers, self.provider, self.now = error, headers, provider, now
        self.metadata = object_or_empty(error.get("metadata"))
        self.availability = object_or_empty(error.get("availability"))
        self.status = _status(error, status)
        self.message = facts.cut(
            text_or_none(error.get("message")) or self._fallback_message(), 10_000
        )
        self.upstream = facts.upstream_sentence(self.metadata.get("raw"))
        self.upstream_provider = text_or_none(self.metadata.get("provider_name"))
        self.code = facts.word(
            error.get("code"),
            error.get("error_type"),
            self.metadata.get("error_type"),
            self.availability.get("code"),
            self.metadata.get("provider_error_code"),
            self.metadata.get("provider_code"),
            error.get("type"),
        )
        types = (
            self.availability.get("code"),
            error.get("error_type"),
            self.metadata.get("error_type"),
            error.get("code"),
        )
        self.types = [word for word in types if isinstance(word, str)]
        self.words = f"{self.message} {self.upstream or ''}"[:_LONGEST_WORDS]

    def kind(self) -> type[ProviderError]:
        """Return the class: by words that can mean one thing only, then by status."""
        low = self.words.lower()
        if "key limit exceeded" in low:
            return InsufficientCreditsError
        if low.startswith(("no endpoints", "no allowed providers", "no models match")):
            return NoEndpointError
        if self.metadata.get("flagged_input") or self.metadata.get("reasons"):
            return ContentFilteredError
        for word in self.types:
            if word in _BY_WORD:
                return _BY_WORD[word]
        return self._by_status()

    def details(self, error: ProviderError) -> dict[str, Any]:
        """Return the attributes that the class of *error* has beyond the common ones."""
        metadata = self.metadata
        if isinstance(error, ContextWindowExceededError):
            return dict(facts.context_figures(self.words))
        if isinstance(error, InsufficientCreditsError):
            return self._credits()
        if isinstance(error, NoEndpointError):
            return {
                "requested_providers": facts.names(metadata.get("requested_providers")),
                "available_providers": facts.names(metadata.get("available_providers")),
            }
        if isinstance(error, ContentFilteredError):
            return {"reasons": facts.names(metadata.get("reasons"))}
        return self._rate_limit(error) if isinstance(error, RateLimitError) else {}

    def _by_status(self) -> type[ProviderError]:
        stand_ins = (_AS_STATUS[word] for word in self.types if word in _AS_STATUS)
        status = next(stand_ins, None) if self.status is None else self.status
        kind = error_class(status, self.words, self.code)
        if status == 404 and kind is ModelNotFoundError and self.provider == "openrouter":
            # Its 404 is a routing constraint that nobody meets; a wrong name is a 400.
            return NoEndpointError
        # Nothing told what went wrong, but the answer failed: try again or elsewhere.
        return ProviderUnavailableError if kind is ProviderError else kind

    def _fallback_message(self) -> str:
        if self.status is None:
            return "The provider reported an error without a message"
        return f"The provider reported status {self.status} without a message"

    def _rate_limit(self, error: ProviderError) -> dict[str, Any]:
        reset_at = facts.reset_at_of(self.headers, self.error)
        wait = error.retry_after
        if wait is None and reset_at is not None:
            wait = max(0.0, reset_at - self.now)
        scope = self._scope()
        hints = {
            "platform": "Wait for the reset: this is the limit of your own key.",
            "upstream": "Retry shortly, or route to another provider.",
        }
        hint = hints.get(scope or "")
        return {"scope": scope, "reset_at": reset_at, "retry_after": wait, "hint": hint}

    def _scope(self) -> str | None:
        """Say whose limit was hit; upstream limits carry a provider's name and no headers."""
        source = text_or_none(self.metadata.get("limit_source"))
        if source:
            return "upstream" if "upstream" in source or "provider" in source else "platform"
        if facts.has_rate_limit_headers(self.headers, self.error):
            return "platform"
        named = self.upstream_provider or self.availability.get("affected_providers")
        if named or self.metadata.get("raw") or "upstream" in self.words.lower():
            return "upstream"
        return "platform" if self.message.lower().startswith("rate limit exceeded") else None

    def _credits(self) -> dict[str, Any]:
        affordable = facts.affordable_tokens(self.words)
        hint = "Raise this key's limit." if "key limit" in self.words.lower() else None
        if affordable is not None:
            hint = f"Add credits, or ask for at most {affordable} max_tokens."
        return {"affordable_tokens": affordable, "hint": hint}


def _status(error: Mapping[str, Any], status: int | None) -> int | None:
    """Return the status that the error speaks of: its own code inside a 200, else the answer's."""
    if status is not None and status >= 400:
        return status
    for said in (error.get("code"), error.get("http_status"), error.get("status")):
        if isinstance(said, str) and said.isdecimal() and len(said) == 3:
            said = int(said)
        if isinstance(said, float) and said.is_integer():
            said = int(said)
        if type(said) is int and 400 <= said <= 599:
            return said
    return None
