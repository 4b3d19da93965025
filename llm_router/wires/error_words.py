"""What a provider's words mean: one table for all wires, and one of what a status means.

A new error of a provider is one row of `_WORDS`; `_STATUSES` says what a status means where no word
says more.
"""

from __future__ import annotations

from typing import NamedTuple

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

_STATUSES: dict[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ProviderTimeoutError,
    413: RequestTooLargeError,
    425: ProviderUnavailableError,
    429: RateLimitError,
    498: RateLimitError,  # Groq: the capacity of the flex tier is used up.
    499: ProviderUnavailableError,  # Google, Cohere: somebody cancelled it.
    504: ProviderTimeoutError,
    524: ProviderTimeoutError,
}
# OpenRouter's 404 is a routing constraint that nobody meets; a wrong name is a 400.
_DIALECTS = {"openrouter": _STATUSES | {404: NoEndpointError}}


class _Row(NamedTuple):
    """What words mean, under some statuses; an error inside a 200 may have no status at all."""

    statuses: frozenset[int] | None
    """Under which the words choose; None: under any. Empty: only where no status was said."""
    codes: frozenset[str]
    """Words that stand alone, in lower case: `code`, `type`, `error_type`, …"""
    words: tuple[tuple[str, ...], ...]
    """Words in a code or a sentence, in lower case: their pieces, with any text between them."""
    meaning: type[ProviderError] | int
    """The class, or the status that the words stand in for."""


def _row(
    statuses: str, meaning: type[ProviderError] | int, *, codes: str = "", words: str = ""
) -> _Row:
    chosen = None if statuses == "any" else frozenset(map(int, statuses.split()))
    pieces = tuple(tuple(word.split("…")) for word in words.split("|") if word)
    return _Row(chosen, frozenset(codes.split()), pieces, meaning)


# The first row that fits. Words choose among the meanings that a status has and do not overrule
# it; under "any" stand those that can mean one thing only.
_WORDS = (
    # The second code and the last sentences are Anthropic's, which says 400 with them.
    _row(
        "any",
        InsufficientCreditsError,
        codes="payment_required billing_error",
        words="key limit exceeded|credit balance is too low"
        "|reached your specified api usage limits",
    ),
    _row(
        "any",
        NoEndpointError,
        codes="no_endpoints model_deprecated model_unavailable_upstream privacy_restricted "
        "constraint_filtered free_variant_ended",
        words="no endpoints found|no allowed providers|no models match",
    ),
    # The last is Azure's, the first two are names of OpenRouter's metadata.
    _row(
        "any",
        ContentFilteredError,
        codes="flagged_input reasons content_policy_violation refusal responsibleaipolicyviolation",
    ),
    _row(
        "any",
        ContextWindowExceededError,
        codes="context_length_exceeded token_limit_exceeded too_many_prompt_tokens "
        "exceed_context_size_error",
    ),
    _row("any", RequestTooLargeError, codes="string_too_long payload_too_large"),
    _row("any", ModelNotFoundError, codes="model_not_found model_decommissioned invalid_model"),
    _row("any", InvalidRequestError, codes="wrong_endpoint"),
    _row("any", PermissionDeniedError, codes="region_restricted"),
    # The last two are AWS's, which has both also under 400.
    _row(
        "any",
        RateLimitError,
        codes="capacity_exhausted service_tier_capacity_exceeded throttlingexception "
        "servicequotaexceededexception",
    ),
    # Bedrock's: 424 and 429 of a model that failed, or that is not loaded yet.
    _row(
        "424 429",
        ProviderUnavailableError,
        codes="modelerrorexception modelstreamerrorexception modelnotreadyexception",
    ),
    _row("any", ProviderTimeoutError, codes="timeout"),
    _row(
        "any",
        ProviderUnavailableError,
        codes="provider_unavailable provider_overloaded temporarily_unavailable",
    ),
    # Google's, which says 400 and 403 for many things: `reason`, or nothing but a sentence.
    _row(
        "any",
        InsufficientCreditsError,
        codes="billing_disabled",
        words="enable billing on|prepayment credits are depleted",
    ),
    _row(
        "400 401 403",
        AuthenticationError,
        codes="api_key_invalid access_token_expired credentials_missing",
        words="api key not valid|api key expired|api key was reported as leaked"
        "|unregistered callers",
    ),
    _row("400", PermissionDeniedError, words="user location is not supported"),
    _row("400", ContextWindowExceededError, words="input token count…only supports up to"),
    _row("400", ContentFilteredError, words="violate google's responsible ai"),
    # Cohere's.
    _row("498", ContentFilteredError, words="blocked input|blocked output|deny-listed"),
    # Z.AI and Moonshot say "max length" and "token limit", Hugging Face's TGI `max_new_tokens`.
    _row(
        "400 413 422 500",
        ContextWindowExceededError,
        words="context_length_exceeded|token_limit_exceeded|context length|context window"
        "|context size|prompt is too long|input is too long|too many tokens|too many input tokens"
        "|maximum prompt length|prompt exceeds max length|exceeded model token limit"
        "|exceed…the available context|exceed…the available number of tokens"
        "|exceed…the maximum context|exceed…the maximum number of tokens|exceed context limit"
        "|tokens + `max_new_tokens` must be",
    ),
    # DeepSeek says that the content "exists risk".
    _row(
        "400 403 422",
        ContentFilteredError,
        words="moderation|content policy|content_policy|content filter|content_filter"
        "|content management|content exists risk|flagged|safety system|usage policy"
        "|usage policies|usage guidelines|prohibited_content",
    ),
    _row(
        "400 422",
        ModelNotFoundError,
        words="not a valid model|model_not_found|unknown model|invalid model|model …does not exist"
        "|model identifier is invalid|on-demand throughput isn",
    ),
    # xAI says 400 for a wrong key, AWS 403.
    _row(
        "400 403",
        AuthenticationError,
        codes="invalid_api_key unrecognizedclientexception invalidsignatureexception "
        "incompletesignature expiredtokenexception invalidclienttokenid",
        words="incorrect api key|invalid api key|authentication failed|security token…invalid"
        "|security token…expired",
    ),
    # The code is Moonshot's, the last sentence xAI's.
    _row(
        "403 429",
        InsufficientCreditsError,
        codes="exceeded_current_quota_error",
        words="insufficient_quota|insufficient quota|insufficient_credits|insufficient credits"
        "|insufficient_balance|insufficient balance|used all available credits",
    ),
    _row("429", RateLimitError, codes="rate_limit_exceeded", words="rate limit|too many requests"),
    _row("", 401, codes="authentication authentication_error unauthenticated"),
    _row("", 403, codes="permission_denied permission_error"),
    _row("", 404, codes="not_found not_found_error"),
    _row("", 429, codes="rate_limit_error resource_exhausted"),
    _row("", 500, codes="server server_error internal_server_error api_error unmapped internal"),
    _row("", 503, codes="overloaded_error unavailable"),
    _row("", 504, codes="deadline_exceeded"),
    _row(
        "",
        400,
        codes="invalid_request invalid_request_error invalid_prompt max_tokens_exceeded "
        "precondition_failed failed_precondition invalid_argument unprocessable invalid_image "
        "image_too_large image_too_small unsupported_image_format image_not_found "
        "image_download_failed",
    ),
)
# Sentences are searched for words no further than this.
LONGEST_WORDS = 4_000


def error_class(
    status: int | None, words: str = "", *, codes: frozenset[str] = frozenset(), kind: str = ""
) -> type[ProviderError]:
    """Return the class for a failed attempt: by the provider's words, then by the status.

    *status* is the one the error speaks of, *words* its sentences, *codes* what it says in single
    words, in lower case, *kind* LiteLLM's name of the provider. Without a status or a telling word
    it is ProviderError itself.
    """
    text = " ".join((*codes, words[:LONGEST_WORDS].lower()))
    for row in _WORDS:
        chosen = row.statuses is None or status is None or status in row.statuses
        if chosen and (not codes.isdisjoint(row.codes) or _says(text, row.words)):
            return row.meaning if isinstance(row.meaning, type) else _of_status(row.meaning, kind)
    return _of_status(status, kind)


def _says(text: str, words: tuple[tuple[str, ...], ...]) -> bool:
    return any(pieces[0] in text and _in_order(text, pieces) for pieces in words)


def _in_order(text: str, pieces: tuple[str, ...]) -> bool:
    at = 0
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _of_status(status: int | None, kind: str) -> type[ProviderError]:
    if status is None or status < 400:
        return ProviderError
    other = InvalidRequestError if status < 500 else ProviderUnavailableError
    return _DIALECTS.get(kind, _STATUSES).get(status, other)
