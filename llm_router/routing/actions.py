"""What an error does next: try here again, try the next deployment, or stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_router import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.config.model import ErrorAction

# An abandoned call is still billed, so after a timeout the same deployment is never tried again.
TABLE: dict[type[errors.ProviderError], tuple[str, ErrorAction]] = {
    errors.RateLimitError: ("rate_limit", "retry"),
    errors.ProviderUnavailableError: ("unavailable", "retry"),
    errors.ProviderConnectionError: ("connection", "retry"),
    errors.EmptyResponseError: ("empty", "retry"),
    errors.InvalidResponseError: ("invalid_response", "retry"),
    errors.ProviderTimeoutError: ("timeout", "next"),
    errors.ContextWindowExceededError: ("context_window", "next"),
    errors.RequestTooLargeError: ("request_too_large", "next"),
    errors.ModelNotFoundError: ("model_not_found", "next"),
    errors.NoEndpointError: ("no_endpoint", "next"),
    errors.PermissionDeniedError: ("permission", "next"),
    errors.InsufficientCreditsError: ("credits", "next"),
    errors.AuthenticationError: ("authentication", "next"),
    errors.InvalidRequestError: ("invalid_request", "stop"),
    errors.ContentFilteredError: ("content_filter", "stop"),
}


def action_for(error: errors.ProviderError, overrides: Mapping[str, ErrorAction]) -> ErrorAction:
    """Return what to do after *error*; *overrides* are the alias's `on_error`, by kind."""
    for cls in type(error).__mro__:
        if cls in TABLE:
            kind, action = TABLE[cls]
            return overrides.get(kind, action)
    return "stop"
