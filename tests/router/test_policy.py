"""A policy that holds: nothing leaves without it, and who cannot be told is not asked."""

from __future__ import annotations

import ast
import asyncio
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llm_router
from llm_router.config import loading
from llm_router.errors import AllDeploymentsFailedError, ConfigurationError, UnsupportedFeatureError
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.any_policy import Case, cases, leave, missing
from tests.router.setup import CLAUDE, GPT

STRICT = {"zdr": True, "data_collection": "deny"}
LOCAL = {"litellm": "openai", "base_url": "http://127.0.0.1:1/v1"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(case=cases(st.just("native")))
def test_no_request_leaves_without_the_policy_whatever_is_configured_and_asked(
    shared: Sandbox, case: Case
) -> None:
    bodies = asyncio.run(leave(case, shared))
    assert [missing(case.policy, body) for body in bodies] == [[]] * len(bodies)


@settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
@given(case=cases(st.just("acompletion")))
def test_no_request_leaves_without_the_policy_through_litellms_own_call(
    shared: Sandbox, case: Case
) -> None:
    bodies = asyncio.run(leave(case, shared))
    assert [missing(case.policy, body) for body in bodies] == [[]] * len(bodies)


def test_content_leaves_at_one_place_alone() -> None:
    """Where the policy is put in; an operation that sends by itself would pass it by."""
    senders = []
    for path in (pathlib.Path(llm_router.__file__).parent / "providers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                sends = node.func.attr == "send" and ast.unparse(node.func.value) != "super()"
                if sends and node.args and ast.unparse(node.args[0]) == "'POST'":
                    senders.append(path.name)
    assert senders == ["native.py"]


async def test_every_fallback_and_reask_carries_it(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(policy=STRICT)
    sandbox.fail("http_503", times=8)
    with pytest.raises(AllDeploymentsFailedError):
        await router.complete("safe", "Hello", max_attempts=4)
    bodies = [request.body for request in sandbox.chat_requests]
    assert {body["model"] for body in bodies} == {GPT[11:], CLAUDE[11:]}
    assert [body["provider"] for body in bodies] == [STRICT] * 4


async def test_a_call_narrows_it_and_never_widens_it(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(policy={"zdr": True, "only": ["openai", "azure"]})
    wide = {"provider": {"zdr": False, "only": ["azure", "groq"], "data_collection": "deny"}}
    await router.complete("fast", "Hello", openrouter=wide)
    await router.complete("fast", "Hello", extra_body={"provider": {"zdr": False, "only": None}})
    told = [request.body["provider"] for request in sandbox.chat_requests]
    assert told == [
        {"zdr": True, "only": ["azure"], "data_collection": "deny"},
        {"zdr": True, "only": ["openai", "azure"]},
    ]


async def test_nothing_is_sent_when_nobody_is_left(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(policy={"only": ["azure"]})
    with pytest.raises(UnsupportedFeatureError, match="leaves nobody of groq"):
        await router.complete("fast", "Hello", openrouter={"provider": {"only": ["groq"]}})
    assert sandbox.chat_requests == []


async def test_a_model_of_another_provider_is_refused_unless_its_row_is_trusted(
    routed: Callable[..., Router], sandbox: Sandbox
) -> None:
    key = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    trusted = {"litellm": "openai", **key, "trusted": True}
    rows = {"openrouter": key, "local": LOCAL, "ours": trusted}
    router = routed(providers=rows, policy=STRICT)
    with pytest.raises(UnsupportedFeatureError, match="trusted: true"):
        await router.complete("local/smollm2", "Hello")
    await router.complete("ours/openai/gpt-4o-mini", "Hello")
    assert "provider" not in sandbox.chat_requests[-1].body


def test_an_alias_that_the_policy_would_always_refuse_is_a_mistake_of_the_file() -> None:
    text = """
providers:
  local: {litellm: openai, base_url: http://127.0.0.1:1/v1}
aliases:
  fast:
    model: openrouter/openai/gpt-4o-mini
    openrouter: {provider: {only: [groq]}}
    fallbacks:
      - local/smollm2
policy: {zdr: true, only: [azure]}
"""
    said = [str(item) for item in loading.check_text(text, "file.yaml").problems]
    assert len(said) == 2
    assert said[0].startswith("file.yaml:7: aliases.fast.openrouter.provider.only: the policy")
    assert said[1].startswith("file.yaml:9: aliases.fast.fallbacks[0]: the policy cannot be told")
    with pytest.raises(ConfigurationError, match=r"trusted: true"):
        loading.from_dict(
            {
                "providers": {"local": LOCAL},
                "aliases": {"fast": {"model": "local/m"}},
                "policy": STRICT,
            }
        )


def test_check_says_who_is_left() -> None:
    rows = {"local": {**LOCAL, "trusted": "true"}, "groq": {}}
    report = loading.check_text(f"{{providers: {rows}, policy: {{zdr: true}}}}", "file.yaml")
    notes = [note.message for note in report.notes if note.path == ("policy",)]
    assert len(notes) == 1
    assert "openrouter" in notes[0] and "trusted: local; never asked: groq" in notes[0]
    assert loading.check_text("{policy: {zdr: false}}", "f").notes[-1].path != ("policy",)


def test_explain_shows_the_policy_and_the_request_under_it(routed: Callable[..., Router]) -> None:
    explained = routed(policy=STRICT).explain("safe", "Hello")
    assert explained.policy == STRICT
    requests: list[Any] = [candidate.request for candidate in explained.candidates]
    assert [request.body["provider"] for request in requests] == [STRICT, STRICT]
