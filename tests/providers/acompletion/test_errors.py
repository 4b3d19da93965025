"""LiteLLM's exceptions as ours, made by LiteLLM itself over real sockets where that can be."""

from __future__ import annotations

import inspect
import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

import llm_router.errors as ours
from llm_router.providers.acompletion.errors import TABLE, translate
from llm_router.providers.importing import load_here
from llm_router.providers.requests import sentence_of
from llm_router.wires.openai import OpenAIWire
from tests.providers.acompletion.test_streams import ACOMPLETION
from tests.providers.scripted import ask, provider, wire

# Of 1.105.7, 1.109.3 and 1.110.2: those that say no more than their status.
BY_STATUS = frozenset({
    "APIConnectionError", "APIError", "AuthenticationError", "BadGatewayError", "BadRequestError",
    "CallerCredentialAuthenticationError", "CallerCredentialRateLimitError", "InternalServerError",
    "InvalidRequestError", "MidStreamFallbackError", "MockException", "NotFoundError",
    "OpenAIError", "PaymentRequiredError", "PermissionDeniedError", "RateLimitError",
    "ServiceUnavailableError", "UnprocessableEntityError",
})  # fmt: skip


def test_every_exception_class_that_litellm_exports_is_known() -> None:
    litellm = load_here()
    exported = {
        name
        for module in (litellm, litellm.exceptions)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and value.__module__.startswith("litellm.exceptions")
    }
    assert exported and exported - TABLE.keys() - BY_STATUS == set()
    assert all(issubclass(kind, ours.LLMRouterError) for kind in TABLE.values())


@pytest.mark.parametrize("litellm", ["openai", "openrouter", "deepseek", "anthropic"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ours.InvalidRequestError),
        (401, ours.AuthenticationError),
        (402, ours.InsufficientCreditsError),
        (403, ours.PermissionDeniedError),
        (408, ours.ProviderTimeoutError),
        (413, ours.RequestTooLargeError),
        (422, ours.InvalidRequestError),
        (429, ours.RateLimitError),
        (500, ours.ProviderUnavailableError),
        (502, ours.ProviderUnavailableError),
        (503, ours.ProviderUnavailableError),
        (504, ours.ProviderTimeoutError),
        (529, ours.ProviderUnavailableError),
    ],
)
async def test_a_status_is_its_class_with_the_providers_sentence(
    litellm: str, status: int, kind: type[ours.ProviderError]
) -> None:
    async with wire() as server, provider(server.url, litellm, **ACOMPLETION) as local:
        body = {"error": {"message": "Sorry", "code": status}, "user_id": "user_2abcdefgh"}
        server.json(body, status=status, headers={"Retry-After": "7", "X-Generation-Id": "gen-1"})
        with pytest.raises(kind) as caught:
            await local.complete(ask())
    error = caught.value
    assert type(error) is kind and error.message == "Sorry"
    assert (error.status_code, error.retry_after, error.response_id) == (status, 7, "gen-1")
    assert len(server.requests) == 1
    assert "user_2abcdefgh" not in repr(vars(error))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)


async def test_a_404_is_about_the_model_when_the_provider_is_not_openrouter() -> None:
    async with wire() as server, provider(server.url, **ACOMPLETION) as local:
        server.json({"error": {"message": "no such model", "code": "model_not_found"}}, status=404)
        with pytest.raises(ours.ModelNotFoundError, match="no such model") as caught:
            await local.complete(ask())
    assert (caught.value.code, caught.value.status_code) == ("model_not_found", 404)


async def test_words_refine_a_status_when_it_means_several_things() -> None:
    sentence = "This endpoint's maximum context length is 100 tokens. You requested 200 tokens"
    async with wire() as server, provider(server.url, **ACOMPLETION) as local:
        server.json({"error": {"message": sentence, "code": 400}}, status=400)
        with pytest.raises(ours.ContextWindowExceededError):
            await local.complete(ask())


async def test_a_date_and_milliseconds_are_understood_when_a_limit_is_hit() -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)
    headers = {"Retry-After": format_datetime(at, usegmt=True)}
    headers |= {"X-RateLimit-Reset": "1759845420000", "X-RateLimit-Limit": "20"}
    async with wire() as server, provider(server.url, "openrouter", **ACOMPLETION) as local:
        server.json({"error": {"message": "Rate limit", "code": 429}}, 429, headers)
        with pytest.raises(ours.RateLimitError) as caught:
            await local.complete(ask())
    assert caught.value.retry_after is not None and 20 < caught.value.retry_after <= 30
    assert caught.value.reset_at == 1759845420.0


async def test_the_upstreams_sentence_is_kept_when_openrouter_passes_it_on() -> None:
    metadata = {"raw": '{"message": "upstream is full"}', "provider_name": "Azure"}
    said = {"message": "Provider returned error", "code": 502, "metadata": metadata}
    async with wire() as server, provider(server.url, "openrouter", **ACOMPLETION) as local:
        server.json({"error": said}, status=502)
        with pytest.raises(ours.ProviderUnavailableError) as caught:
            await local.complete(ask())
        server.json({"error": said}, status=200)
        with pytest.raises(ours.ProviderUnavailableError) as inside:
            await local.complete(ask())
    for error in (caught.value, inside.value):
        assert error.upstream_message == "upstream is full"
        assert (error.upstream_provider, error.status_code) == ("Azure", 502)


@pytest.mark.parametrize("litellm", ["openai", "openrouter", "deepseek"])
@pytest.mark.parametrize("body", ["", "<html><title>Down</title></html>", '{"choices": '])
async def test_an_unreadable_body_is_named_so_when_the_status_is_200(
    litellm: str, body: str
) -> None:
    async with wire() as server, provider(server.url, litellm, **ACOMPLETION) as local:
        server.json(body)
        with pytest.raises(ours.InvalidResponseError):
            await local.complete(ask())


def litellms(name: str, **fields: Any) -> Exception:
    import litellm

    kind: Any = getattr(litellm.exceptions, name)
    fields = {"message": f"litellm.{name}: OpenrouterException - Sorry"} | fields
    return kind(**fields)  # type: ignore[no-any-return]  # one of LiteLLM's exceptions


class Behind(Exception):  # noqa: N818 - as LiteLLM's own: no error of ours
    """The exception that LiteLLM raises its own from."""

    message = '{"error": {"message": "the body", "code": "slow_down"}}'

    def __init__(self) -> None:
        super().__init__(self.message)
        self.headers = {"retry-after": "3", "x-generation-id": "gen-9"}


def translated(error: BaseException) -> ours.LLMRouterError:
    return translate(error, OpenAIWire())


async def test_headers_and_body_are_found_when_only_litellm_kept_them() -> None:
    load_here()
    error = litellms("RateLimitError", llm_provider="cohere", model="m")
    error.__context__ = Behind()
    found = translated(error)
    assert isinstance(found, ours.RateLimitError) and found.message == "the body"
    assert (found.retry_after, found.response_id, found.code) == (3, "gen-9", "slow_down")
    assert found.status_code == 429


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Timeout", ours.ProviderTimeoutError),
        ("UnsupportedParamsError", ours.UnsupportedFeatureError),
        ("ContextWindowExceededError", ours.ContextWindowExceededError),
        ("ContentPolicyViolationError", ours.ContentFilteredError),
    ],
)
async def test_a_class_that_means_one_thing_is_that(
    name: str, kind: type[ours.LLMRouterError]
) -> None:
    load_here()
    found = translated(litellms(name, llm_provider="x", model="m"))
    assert type(found) is kind and found.message == "Sorry"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx.ConnectError("refused"), ours.ProviderConnectionError),
        (httpx.ReadTimeout("slow"), ours.ProviderTimeoutError),
        (ConnectionRefusedError("no"), ours.ProviderConnectionError),
        (json.JSONDecodeError("bad", "x", 0), ours.InvalidResponseError),
    ],
)
async def test_the_cause_decides_when_litellm_says_status_500(
    cause: Exception, kind: type[ours.ProviderError]
) -> None:
    load_here()
    error = litellms("APIConnectionError", llm_provider="x", model="m")
    error.__cause__ = cause
    assert type(translated(error)) is kind


def test_a_builtin_error_is_a_provider_error_when_nothing_else_is_known() -> None:
    found = translated(ValueError("invalid literal for int()"))
    assert type(found) is ours.ProviderError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("litellm.RateLimitError: RateLimitError: OpenrouterException - Slow down", "Slow down"),
        ("litellm.APIError: APIError: OpenAIException - Error: it broke", "it broke"),
        ("Note: keep this", "Note: keep this"),
        ("", "ValueError"),
        ("Bad\nTraceback (most recent call last):\n  x", "Bad"),
        ("No object Traceback (most recent call last):\n  x", "No object"),
    ],
)
def test_the_sentence_is_the_providers_own(text: str, sentence: str) -> None:
    assert sentence_of(ValueError(text)) == sentence
