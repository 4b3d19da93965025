"""What an HTTP status says went wrong: shared by every wire. Status first, words last."""

from __future__ import annotations

import re

from llm_router.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    InsufficientCreditsError,
    InvalidRequestError,
    ModelNotFoundError,
    NoEndpointError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)

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
