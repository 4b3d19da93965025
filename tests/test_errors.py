"""The error tree: every class pickles, copies, redacts, and says what to do."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from llm_router import errors
from llm_router.answers.answer import Attempt
from llm_router.answers.completion import Completion
from llm_router.errors import (
    AllDeploymentsFailedError,
    AuthenticationError,
    DeadlineExceededError,
    LLMRouterError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    SchemaValidationError,
    UnsupportedFeatureError,
)
from llm_router.redaction import MASK
from llm_router.usage import Cost, Usage

CLASSES: list[type[LLMRouterError]] = [
    cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, LLMRouterError)
]
KEY = "sk-or-v1-" + "deadbeef" * 8
COMMON = {
    "alias": "fast",
    "model": "openrouter/openai/gpt-4o-mini",
    "provider": "openrouter",
    "upstream_provider": "Azure",
    "status_code": 429,
    "code": "slow",
    "retry_after": 1.5,
    "request_id": "r-1",
    "response_id": "gen-1",
    "attempts": (Attempt(number=1, deployment="a/b", provider="a", model="b", status="failed"),),
    "hint": "Wait.",
}


def annotations_of(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, LLMRouterError):
            found |= {n: t for n, t in inspect.get_annotations(base).items() if "ClassVar" not in t}
    return found


def full(cls: type[LLMRouterError]) -> LLMRouterError:
    """Return an error of *cls* with a value in every attribute."""
    details: dict[str, Any] = dict(COMMON)
    for name in annotations_of(cls).keys() - details.keys():
        details[name] = {
            "usage": Usage(input_tokens=1),
            "cost": Cost(is_byok=False),
            "partial": Completion(text="half"),
            "exceptions": (ProviderError("one"),),
            "raw": {"message": "m"},
            "upstream_message": "Busy",
        }.get(name, ("value",) if name != "env_var" else "X_API_KEY")
    return cls("It failed", **details)


def facts(error: LLMRouterError) -> dict[str, Any]:
    return {name: repr(getattr(error, name)) for name in (*annotations_of(type(error)), "message")}


def test_the_tree_is_the_one_that_is_promised() -> None:
    assert len(CLASSES) == 31
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in drawn] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_pickles_and_copies_with_its_attributes(cls: type[LLMRouterError]) -> None:
    error = full(cls)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert str(twin) == str(error)
        assert facts(twin) == facts(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_no_error_shows_a_key_or_an_account(cls: type[LLMRouterError]) -> None:
    error = cls(f"Key {KEY} of user_2abcdefghij", hint=f"not {KEY}", code=KEY)
    shown = f"{error!s} {error!r} {vars(error)} {pickle.dumps(error)!r}"
    assert KEY not in shown
    assert "user_2abcdefghij" not in shown
    assert error.message == f"Key {MASK} of {MASK}"


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_unknown_is_none(cls: type[LLMRouterError]) -> None:
    error = cls("It failed")
    for name in COMMON.keys() - {"hint"}:
        assert getattr(error, name) is None
    assert all(getattr(error, name) in (None, ()) for name in annotations_of(cls))


def test_the_raw_error_of_the_wire_is_redacted_inside() -> None:
    raw = {"error": {"message": f"bad {KEY}"}, "user_id": "user_2abcdefghij", "codes": [1, None]}
    error = ProviderError("It failed", raw=raw)
    assert error.raw == {"error": {"message": f"bad {MASK}"}, "user_id": MASK, "codes": [1, None]}


def test_a_misspelt_attribute_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="ProviderError has no attribute 'statuscode'"):
        ProviderError("It failed", statuscode=1)


def test_fill_keeps_what_is_known() -> None:
    error = ProviderError("It failed", alias="fast")
    error.fill(alias="other", model="m")
    assert (error.alias, error.model) == ("fast", "m")


def test_the_text_is_the_sentence_then_the_upstreams_then_what_to_do() -> None:
    error = RateLimitError(
        "Provider returned error",
        upstream_provider="Azure",
        upstream_message="Too many requests!",
        hint="Wait.",
    )
    assert str(error) == "Provider returned error (upstream Azure: Too many requests!). Wait."
    assert error.message == "Provider returned error"
    assert str(RateLimitError("Slow down.", upstream_message="x")) == "Slow down. (upstream x)."


def test_the_text_says_who_failed_how_often_and_in_which_request() -> None:
    tried = Attempt(number=1, deployment="a/b", provider="a", model="b", status="failed")
    error = ProviderUnavailableError(
        "Provider returned error",
        model="openrouter/openai/gpt-4o-mini",
        status_code=503,
        upstream_provider="OpenAI",
        attempts=(tried,) * 4,
        request_id="01a2",
    )
    assert str(error) == (
        "openrouter/openai/gpt-4o-mini: 503 after 4 attempts: "
        "Provider returned error (upstream OpenAI) [request 01a2]."
    )
    assert str(AuthenticationError("No.", provider="groq", attempts=(tried,))) == (
        "groq: No. Check the API key of this provider."
    )
    assert str(DeadlineExceededError("Too late", request_id="01a2")) == "Too late [request 01a2]."


def test_builtin_families_catch_what_belongs_to_them() -> None:
    assert issubclass(UnsupportedFeatureError, NotImplementedError)
    assert issubclass(DeadlineExceededError, TimeoutError)


def test_a_summary_takes_the_facts_of_the_last_failure() -> None:
    first = ProviderError("No.", model="a/b", status_code=503)
    last = RateLimitError("Slow.", provider="c", status_code=429, code="x", retry_after=2.0)
    error = AllDeploymentsFailedError.from_exceptions([first, last, ProviderError("?")][:2])
    assert (error.status_code, error.code, error.retry_after) == (429, "x", 2.0)
    assert error.exceptions == (first, last)
    assert str(error).splitlines()[1:] == [
        "  1. a/b: 503: No. (ProviderError)",
        "  2. c: 429: Slow. (RateLimitError)",
    ]
    unknown = AllDeploymentsFailedError.from_exceptions([ProviderError("?")])
    assert "  1. ? (ProviderError)" in str(unknown)


def test_a_field_of_the_schema_is_no_secret_of_ours_whatever_it_is_called() -> None:
    said = "password: Input should be a valid string (got {'api_key': 12345678})"
    assert SchemaValidationError(said).message == said
    assert "[redacted]" in ProviderError(said).message
    key = "sk-or-v1-" + "0badc0de" * 8
    assert key not in str(pickle.loads(pickle.dumps(SchemaValidationError(f"name: got {key}"))))


def test_an_error_can_be_printed_when_its_text_holds_half_a_character() -> None:
    error = ProviderError("It said \ud83d and more", code="\udc00")
    assert str(error).encode() == b"It said ? and more."
    assert error.code == "?"
