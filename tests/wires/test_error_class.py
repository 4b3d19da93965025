"""Which class a status and words are, where there is no error object."""

from __future__ import annotations

import pytest

import llm_router.errors as ours
from llm_router.wires.error_words import error_class


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (None, "", ours.ProviderError),
        (200, "", ours.ProviderError),
        (404, "No endpoints found for x", ours.NoEndpointError),
        (404, "gone", ours.ModelNotFoundError),
        (400, "x is not a valid model ID", ours.ModelNotFoundError),
        (400, "prompt is too long", ours.ContextWindowExceededError),
        (403, "flagged by moderation", ours.ContentFilteredError),
        (403, "Key limit exceeded (total limit)", ours.InsufficientCreditsError),
        (429, "insufficient_quota", ours.InsufficientCreditsError),
        (418, "", ours.InvalidRequestError),
        (524, "", ours.ProviderTimeoutError),
        (599, "", ours.ProviderUnavailableError),
    ],
)
def test_status_and_words_name_a_class(status: int | None, message: str, kind: type) -> None:
    assert error_class(status, message) is kind
