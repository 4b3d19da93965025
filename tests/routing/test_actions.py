"""What an error does next, said by its class."""

from __future__ import annotations

import pytest

from llm_router import errors


def test_every_error_of_an_attempt_has_a_kind_of_its_own_and_says_what_follows() -> None:
    without_kind = {errors.ProviderError, errors.StreamInterruptedError}
    classes = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.ProviderError)
    }
    kinds = [cls.kind for cls in classes - without_kind]
    assert sorted(kinds) == sorted(errors.KINDS) and "" not in kinds
    assert {cls.kind for cls in without_kind} == {""}


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
    assert cls.then == action
