"""Errors: the class, the figures and the sentences of every form that the wire sheet names."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from tests.wires.wire_bodies import NOW, WIRE, error_body, failure


def told(
    status: int, message: str, headers: dict[str, str] | None = None, **more: Any
) -> ProviderError:
    """Return the error of an answer with *status* whose code is the same."""
    body = error_body(status, message, **more)
    return WIRE.read_error(status, headers or {}, body)


# --- class by status and by recorded message ------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "Expected temperature to be at most 2, received 5", InvalidRequestError),
        (400, 'Input required: specify "prompt" or "messages"', InvalidRequestError),
        (400, "openai/gpt-none is not a valid model ID", ModelNotFoundError),
        (400, "Model no-such/model does not exist", ModelNotFoundError),
        (401, "No cookie auth credentials found", AuthenticationError),
        (401, "User not found.", AuthenticationError),
        (402, "Insufficient credits", InsufficientCreditsError),
        (403, "Key limit exceeded (total limit). Manage it using …", InsufficientCreditsError),
        (403, "Only management keys may do this", PermissionDeniedError),
        (404, "No endpoints found for a/b.", NoEndpointError),
        (404, "No endpoints found that support tool use.", NoEndpointError),
        (404, "No endpoints found matching your data policy", NoEndpointError),
        (404, "The alpha period for this model has ended.", NoEndpointError),
        (404, "No models match your request and model restrictions", NoEndpointError),
        (404, "Preset not found", NoEndpointError),
        (408, "Request timed out", ProviderTimeoutError),
        (409, "Conflict", InvalidRequestError),
        (412, "Precondition", InvalidRequestError),
        (413, "Too large", RequestTooLargeError),
        (422, "Unprocessable", InvalidRequestError),
        (429, "Rate limit exceeded: free-models-per-min. ", RateLimitError),
        (500, "Internal server error", ProviderUnavailableError),
        (502, "Provider returned error", ProviderUnavailableError),
        (503, "No provider available", ProviderUnavailableError),
        (504, "Timed out", ProviderTimeoutError),
        (520, "Web server returned an unknown error", ProviderUnavailableError),
        (524, "A timeout occurred", ProviderTimeoutError),
        (529, "Overloaded", ProviderUnavailableError),
    ],
)
def test_the_status_and_the_recorded_sentence_give_the_class(
    status: int, message: str, kind: type[ProviderError]
) -> None:
    error = told(status, message)
    assert type(error) is kind
    assert (error.status_code, error.message) == (status, message)
    assert (error.alias, error.model, error.provider, error.request_id) == (None,) * 4


@pytest.mark.parametrize(
    ("error_type", "status", "kind"),
    [
        ("context_length_exceeded", 400, ContextWindowExceededError),
        ("token_limit_exceeded", 400, ContextWindowExceededError),
        ("max_tokens_exceeded", 400, InvalidRequestError),
        ("string_too_long", 400, RequestTooLargeError),
        ("invalid_request", 400, InvalidRequestError),
        ("invalid_prompt", 400, InvalidRequestError),
        ("content_policy_violation", 400, ContentFilteredError),
        ("refusal", 400, ContentFilteredError),
        ("image_download_failed", 400, InvalidRequestError),
        ("authentication", 401, AuthenticationError),
        ("payment_required", 402, InsufficientCreditsError),
        ("permission_denied", 403, PermissionDeniedError),
        ("not_found", 404, NoEndpointError),
        ("payload_too_large", 413, RequestTooLargeError),
        ("unprocessable", 422, InvalidRequestError),
        ("rate_limit_exceeded", 429, RateLimitError),
        ("server", 500, ProviderUnavailableError),
        ("unmapped", 500, ProviderUnavailableError),
        ("provider_unavailable", 502, ProviderUnavailableError),
        ("provider_overloaded", 503, ProviderUnavailableError),
        ("timeout", 504, ProviderTimeoutError),
        ("a_new_word", 400, InvalidRequestError),
    ],
)
def test_the_error_type_gives_the_class_with_and_without_a_status(
    error_type: str, status: int, kind: type[ProviderError]
) -> None:
    error = told(status, "m", metadata={"error_type": error_type})
    assert (type(error), error.code) == (kind, error_type)
    assert type(told(status, "m", error_type=error_type)) is kind
    inside = failure(json.dumps({"error": {"message": "m", "error_type": error_type}}).encode())
    if error_type != "a_new_word":
        assert type(inside) is kind
    assert inside.status_code is None


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("model_not_found", 400, ModelNotFoundError),
        ("wrong_endpoint", 400, InvalidRequestError),
        ("no_endpoints", 404, NoEndpointError),
        ("model_deprecated", 404, NoEndpointError),
        ("privacy_restricted", 404, NoEndpointError),
        ("constraint_filtered", 404, NoEndpointError),
        ("free_variant_ended", 404, NoEndpointError),
        ("capacity_exhausted", 429, RateLimitError),
        ("temporarily_unavailable", 503, ProviderUnavailableError),
        ("region_restricted", 403, PermissionDeniedError),
    ],
)
def test_availability_gives_the_class_also_without_a_code(
    code: str, status: int, kind: type[ProviderError]
) -> None:
    told_so = {"code": code, "retryable": True, "retry_after": 7, "requested_models": ["a/b"]}
    body = {"error": {"message": "m", "http_status": status, "availability": told_so}}
    error = WIRE.read_error(status, {}, json.dumps(body).encode())
    assert (type(error), error.code, error.retry_after) == (kind, code, 7.0)
    assert failure(json.dumps(body).encode()).status_code == status


def test_a_precise_sentence_wins_over_a_coarse_error_type() -> None:
    coarse = {"metadata": {"error_type": "invalid_request"}}
    window = told(400, "This endpoint's maximum context length is 10 tokens", **coarse)
    assert type(window) is ContextWindowExceededError
    limit = told(403, "Key limit exceeded", metadata={"error_type": "permission_denied"})
    assert type(limit) is InsufficientCreditsError


# --- figures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "limit", "requested"),
    [
        (
            "This endpoint's maximum context length is 200000 tokens. However, you requested "
            "about 2500021 tokens (2500021 of text input).",
            200000,
            2500021,
        ),
        ("prompt is too long: 212345 tokens > 200000 maximum", 200000, 212345),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed "
            "(1048576).",
            1048576,
            1200000,
        ),
        (
            "This model's maximum context length is 128,000 tokens. However, your messages "
            "resulted in 130,500 tokens.",
            128000,
            130500,
        ),
        (
            "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
            131072,
            200000,
        ),
        ("Input exceeds the context window", None, None),
        ("maximum context length is " + "9" * 40 + " tokens", None, None),
    ],
)
@pytest.mark.parametrize("upstream", [False, True])
def test_the_context_window_and_what_was_asked_of_it_are_read(
    message: str, limit: int | None, requested: int | None, upstream: bool
) -> None:
    raw = json.dumps({"error": {"message": message}})
    error = (
        told(400, "Provider returned error", metadata={"raw": raw})
        if upstream
        else told(400, message)
    )
    assert isinstance(error, ContextWindowExceededError)
    assert (error.limit_tokens, error.requested_tokens) == (limit, requested)


def test_what_the_balance_affords_is_read_and_advised() -> None:
    error = told(402, "You requested up to 65536 tokens, but can only afford 3395.")
    assert isinstance(error, InsufficientCreditsError)
    assert error.affordable_tokens == 3395
    assert "at most 3395 max_tokens" in str(error)


def test_providers_asked_for_and_there_are_named() -> None:
    names = {"available_providers": ["a", "b"], "requested_providers": ["openai"]}
    error = told(404, "No allowed providers are available for the selected model.", metadata=names)
    assert isinstance(error, NoEndpointError)
    assert (error.available_providers, error.requested_providers) == (("a", "b"), ("openai",))


def test_moderation_gives_its_reasons() -> None:
    metadata = {"reasons": ["misc"], "flagged_input": "…", "provider_name": "Meta"}
    error = told(403, "requires moderation on Meta. Your input was flagged", metadata=metadata)
    assert isinstance(error, ContentFilteredError)
    assert (error.reasons, error.upstream_provider) == (("misc",), "Meta")


def test_an_upstream_that_refuses_content_is_a_content_filter() -> None:
    raw = json.dumps({"code": "no permission", "error": "Content violates usage guidelines."})
    error = told(403, "Provider returned error", metadata={"raw": raw, "provider_name": "xAI"})
    assert type(error) is ContentFilteredError
    assert "xAI: Content violates usage guidelines." in str(error)


def test_a_guardrail_is_a_denied_permission() -> None:
    error = told(403, "Blocked by a guardrail", metadata={"patterns": ["x"]})
    assert type(error) is PermissionDeniedError


# --- rate limits ----------------------------------------------------------------------------

RESET = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0"}
LONGEST = 366 * 86400.0
SOON = str(int((NOW + 20) * 1000))


@pytest.mark.parametrize("quoted", [False, True])
def test_a_platform_limit_resets_at_a_time_in_milliseconds(quoted: bool) -> None:
    headers = RESET | {"X-RateLimit-Reset": SOON}
    message = "Rate limit exceeded: free-models-per-min. "
    error = (
        told(429, message, metadata={"headers": headers, "provider_name": None})
        if quoted
        else told(429, message, {name.lower(): value for name, value in headers.items()})
    )
    assert isinstance(error, RateLimitError)
    assert (error.scope, error.reset_at, error.retry_after) == ("platform", NOW + 20, 20.0)


def test_a_reset_that_is_past_needs_no_wait() -> None:
    error = told(429, "Rate limit exceeded", {"X-RateLimit-Reset": "1700000000000"})
    assert error.retry_after == 0.0


@pytest.mark.parametrize(
    ("metadata", "message", "scope"),
    [
        ({"raw": "x is temporarily rate-limited upstream.", "provider_name": "Chutes"}, "m", "up"),
        ({"limit_source": "upstream_provider_shared_pool"}, "m", "up"),
        ({"limit_source": "openrouter_account"}, "m", "platform"),
        ({}, "Rate limit exceeded: free-models-per-day. Add 10 credits", "platform"),
        ({}, "Slow down", None),
    ],
)
def test_whose_limit_it_was_is_told(
    metadata: dict[str, Any], message: str, scope: str | None
) -> None:
    error = told(429, message, metadata=metadata)
    assert isinstance(error, RateLimitError)
    assert error.scope == ("upstream" if scope == "up" else scope)


@pytest.mark.parametrize(
    ("headers", "more", "seconds"),
    [
        ({"Retry-After": "30"}, {}, 30.0),
        ({"retry-after": "1.5"}, {}, 1.5),
        ({"Retry-After": "Tue, 07 Oct 2025 13:57:40 GMT"}, {}, 60.0),
        ({"Retry-After": "Tue, 07 Oct 2015 13:57:40 GMT"}, {}, 0.0),
        ({"Retry-After": "soon"}, {"metadata": {"retry_after_seconds": 12}}, 12.0),
        ({}, {"metadata": {"headers": {"retry-after": "9"}}}, 9.0),
        ({}, {"availability": {"retry_after": 4}}, 4.0),
        ({"Retry-After": "30"}, {"availability": {"retry_after": 4}}, 30.0),
        ({"Retry-After": "-1"}, {}, None),
        # Longer than any call is never "nothing said": the loop must not ask again in it.
        ({"Retry-After": "1e400"}, {}, LONGEST),
        ({"Retry-After": "Infinity"}, {}, LONGEST),
        ({"Retry-After": "-Infinity"}, {}, None),
        ({"Retry-After": "99999999999"}, {}, LONGEST),
        ({"Retry-After": "9" * 10_000}, {}, LONGEST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, {}, LONGEST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -0000"}, {}, LONGEST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -1200"}, {}, LONGEST),
        ({}, {"metadata": {"retry_after_seconds": 10**400}}, LONGEST),
        ({}, {"availability": {"retry_after": 400 * 86400}}, LONGEST),
        ({"Retry-After": "nan"}, {}, None),
        ({}, {"metadata": {"retry_after_seconds": True}}, None),
    ],
)
def test_how_long_to_wait_is_read_from_where_it_is_said(
    headers: dict[str, str], more: dict[str, Any], seconds: float | None
) -> None:
    assert told(503, "m", headers, **more).retry_after == seconds
    assert told(429, "m", headers, **more).retry_after == seconds
