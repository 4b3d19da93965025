"""What an error does next, by its most derived class."""

from __future__ import annotations

import pytest

from llm_router import errors
from llm_router.config.model import ERROR_KINDS, ErrorAction
from llm_router.routing.actions import TABLE, action_for


def test_every_kind_of_the_configuration_is_in_the_table() -> None:
    assert sorted(kind for kind, _ in TABLE.values()) == sorted(ERROR_KINDS)


@pytest.mark.parametrize(
    ("cls", "action"),
    [
        (errors.RateLimitError, "retry"),
        (errors.ContextWindowExceededError, "next"),
        (errors.RequestTooLargeError, "next"),
        (errors.InvalidRequestError, "stop"),
        (errors.ProviderTimeoutError, "next"),
        (errors.StreamInterruptedError, "stop"),
        (errors.ProviderError, "stop"),
    ],
)
def test_the_most_derived_class_decides(cls: type[errors.ProviderError], action: str) -> None:
    assert action_for(cls("it failed"), {}) == action


def test_an_alias_overrides_a_kind_and_leaves_the_kinds_below_it_alone() -> None:
    overrides: dict[str, ErrorAction] = {"invalid_request": "next"}
    assert action_for(errors.InvalidRequestError("no"), overrides) == "next"
    assert action_for(errors.ContextWindowExceededError("no"), {"context_window": "stop"}) == "stop"
