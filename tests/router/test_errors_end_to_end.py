"""What the caller gets when a call fails: the right class, the facts, the fix, and no secret."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from llm_router.errors import (
    AllDeploymentsFailedError,
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    EmptyResponseError,
    InsufficientCreditsError,
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    MissingCredentialsError,
    ModelNotFoundError,
    NoEndpointError,
    PermissionDeniedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, GPT, WRONG_KEY, configuration

Build = Callable[..., Router]


def everything_shown(error: BaseException) -> str:
    """Return all that a log, a debugger or a colleague could get to see of *error*."""
    shown = [str(error), repr(error), "".join(traceback.format_exception(error))]
    shown.append(pickle.dumps(error).decode("latin-1"))
    shown.append(repr(vars(error)))
    for attempt in getattr(error, "attempts", None) or ():
        shown += [repr(attempt), json.dumps(attempt.to_dict())]
    return "\n".join(shown)


async def failing(router: Router, model: str = "fast", **options: Any) -> LLMRouterError:
    with pytest.raises(LLMRouterError) as caught:
        await router.complete(model, "Hi", **options)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "cls", "status"),
    [
        ("unauthorized", AuthenticationError, 401),
        ("guardrail", PermissionDeniedError, 403),
        ("insufficient_credits", InsufficientCreditsError, 402),
        ("max_tokens_unaffordable", InsufficientCreditsError, 402),
        ("key_limit", InsufficientCreditsError, 403),
        ("moderation", ContentFilteredError, 403),
        ("bad_request", InvalidRequestError, 400),
        ("http_422", InvalidRequestError, 422),
        ("context_length", ContextWindowExceededError, 400),
        ("http_413", RequestTooLargeError, 413),
        ("no_endpoints", NoEndpointError, 404),
        ("no_providers", NoEndpointError, 404),
        ("rate_limit", RateLimitError, 429),
        ("upstream_rate_limit", RateLimitError, 429),
        ("http_502", ProviderUnavailableError, 502),
        ("http_408", ProviderTimeoutError, 408),
        ("http_504", ProviderTimeoutError, 504),
        ("http_524", ProviderTimeoutError, 524),
        ("error_in_200", ProviderUnavailableError, 502),
        ("blank", EmptyResponseError, 200),
        ("empty_choices", EmptyResponseError, 200),
        ("garbage", InvalidResponseError, 200),
        ("html_200", InvalidResponseError, 200),
        ("dropped", ProviderConnectionError, None),
    ],
)
async def test_each_failure_has_its_class_and_all_facts(
    router: Router, sandbox: Sandbox, fault: str, cls: type[ProviderError], status: int | None
) -> None:
    sandbox.fail(fault, times=4)
    error = await failing(router, max_attempts=1)
    assert isinstance(error, cls)
    assert error.status_code in (status, None) if status == 200 else error.status_code == status
    assert (error.alias, error.model, error.provider) == ("fast", GPT, "openrouter")
    assert error.request_id is not None
    assert error.attempts is not None
    (attempt,) = error.attempts
    assert attempt.error is error
    assert attempt.status == "failed"
    assert sandbox.account_id not in everything_shown(error)
    assert sandbox.api_key not in everything_shown(error)


async def test_an_unknown_model_is_model_not_found(router: Router) -> None:
    error = await failing(router, "openrouter/nobody/nothing")
    assert isinstance(error, ModelNotFoundError)
    assert "nobody/nothing is not a valid model ID" in str(error)
    assert "Check the model's name" in str(error)


async def test_without_a_key_nothing_is_sent(routed: Build, sandbox: Sandbox) -> None:
    for router in (routed(key="${NOT_SET_API_KEY}"), routed(key="")):
        for call in (router.complete("fast", "Hi"), router.parse("fast", "Hi", schema=int)):
            with pytest.raises(MissingCredentialsError) as caught:
                await call
            assert caught.value.env_var in ("NOT_SET_API_KEY", "OPENROUTER_API_KEY")
            assert str(caught.value.env_var) in str(caught.value)
            assert "llm-router sandbox" in str(caught.value)
        with pytest.raises(MissingCredentialsError):
            router.stream("fast", "Hi")
    assert sandbox.requests == []


async def test_the_environment_alone_without_a_key_names_the_variable() -> None:
    with pytest.raises(MissingCredentialsError, match="OPENROUTER_API_KEY is not set"):
        await Router.from_env().complete(GPT, "Hi")


async def test_a_wrong_key_is_refused_and_is_nowhere_to_be_seen(
    routed: Build, sandbox: Sandbox, log: list[Any]
) -> None:
    router = routed(key=WRONG_KEY)
    error = await failing(router)
    assert isinstance(error, AuthenticationError)
    assert (error.status_code, error.message) == (401, "User not found.")
    assert "Check the API key" in str(error)
    assert len(sandbox.chat_requests) == 1
    shown = everything_shown(error) + repr(router.config) + router.config.text + repr(log)
    assert log
    assert WRONG_KEY not in shown
    assert WRONG_KEY[-16:] not in shown
    assert WRONG_KEY not in json.dumps(router.explain("fast").to_dict())


@pytest.mark.parametrize("key", ["sk-or-v1-" + "5a" * 32, "quite-unlike-a-key-4711"])
async def test_a_key_that_the_provider_quotes_is_redacted(key: str) -> None:
    with Sandbox(api_key=key) as sandbox:
        sandbox.fail(
            "bad_request",
            message=f"Bad key {key} of account {sandbox.account_id}",
            metadata={"raw": f"Authorization: Bearer {key}"},
        )
        async with Router.from_dict(configuration(sandbox)) as router:
            error = await failing(router)
    assert "Bad key [redacted] of account [redacted]" in str(error)
    assert key not in everything_shown(error)


async def test_a_refused_key_goes_on_to_the_next_deployment(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("unauthorized")
    reply = await router.complete("safe", "Hi")
    assert reply.requested_model == CLAUDE
    assert isinstance(reply.attempts[0].error, AuthenticationError)


async def test_an_error_that_stops_is_raised_by_itself(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("bad_request")
    error = await failing(router, "safe")
    assert type(error) is InvalidRequestError
    assert len(sandbox.chat_requests) == 1


async def test_the_alias_may_say_what_an_error_does_next(routed: Build, sandbox: Sandbox) -> None:
    alias = {"model": GPT, "fallbacks": [CLAUDE], "on_error": {"content_filter": "next"}}
    router = routed(aliases={"safe": alias})
    sandbox.fail("moderation")
    assert (await router.complete("safe", "Hi")).requested_model == CLAUDE


async def test_two_failing_deployments_are_summed_up_in_one_error(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_endpoints")
    sandbox.fail("rate_limit", retry_after=700)
    error = await failing(router, "safe", deadline=60)
    assert isinstance(error, AllDeploymentsFailedError)
    first, last = error.exceptions
    assert isinstance(first, NoEndpointError)
    assert isinstance(last, RateLimitError)
    assert (error.status_code, error.code, error.retry_after) == (429, last.code, 700)
    assert error.__cause__ is last
    assert error.alias == "safe"
    assert [a.deployment for a in error.attempts or ()] == [GPT, CLAUDE]
    assert f"1. {GPT}: 404: No endpoints found" in str(error)
    assert f"2. {CLAUDE}: 429: Rate limit exceeded" in str(error)
    assert last.request_id == error.request_id is not None


async def test_an_error_of_a_real_call_survives_pickle_and_copy(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_endpoints")
    sandbox.fail("upstream_rate_limit", retry_after=700)
    error = await failing(router, "safe", deadline=60)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert isinstance(twin, AllDeploymentsFailedError)
        assert isinstance(twin.exceptions[1], RateLimitError)
        assert [type(e) for e in twin.exceptions] == [NoEndpointError, RateLimitError]
        assert twin.exceptions[1].scope == "upstream"
        assert [a.status_code for a in twin.attempts or ()] == [404, 429]
        assert twin.retry_after == 700


async def test_the_bill_of_a_failed_call_is_known(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("choice_error", times=4)
    error = await failing(router)
    costs = [a.cost.total for a in error.attempts or () if a.cost and a.cost.total is not None]
    assert sum(costs) == sandbox.total_billed
