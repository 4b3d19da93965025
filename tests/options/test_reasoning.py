"""`reasoning=`: one shape for OpenRouter, LiteLLM's parameters elsewhere, refused early."""

from __future__ import annotations

from typing import Any

import pytest

from llm_router.config.model import AliasConfig, RouterConfig
from llm_router.errors import ConfigurationError, UnsupportedFeatureError
from llm_router.options.reasoning import litellm_reasoning, normalise_reasoning

BOTH = ("reasoning_effort", "thinking")


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, None),
        ("low", {"effort": "low"}),
        ("none", {"effort": "none"}),
        (1024, {"max_tokens": 1024}),
        (True, {"enabled": True}),
        (False, {"effort": "none"}),
        ({"effort": "high", "exclude": True}, {"effort": "high", "exclude": True}),
        ({"max_tokens": 9, "effort": None}, {"max_tokens": 9}),
        ({"enabled": False, "effort": "none"}, {"enabled": False, "effort": "none"}),
    ],
)
def test_every_way_to_ask_becomes_the_wire_object(value: Any, wire: Any) -> None:
    assert normalise_reasoning(value, max_tokens=4096) == wire


def test_the_callers_mapping_is_left_alone() -> None:
    asked = {"effort": "low"}
    result = normalise_reasoning(asked)
    assert result == asked
    assert result is not asked


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("hihg", "did you mean 'high'"),
        ({"efort": "low"}, "did you mean 'effort'"),
        ({"effort": "low", "max_tokens": 100}, "not both"),
        ({"enabled": False, "effort": "low"}, "switched off"),
        ({"enabled": False, "max_tokens": 100}, "switched off"),
        ({"enabled": True, "effort": "none"}, "switched on"),
        (0, "at least 1"),
        (500, "must be smaller"),
        (501, "must be smaller"),
    ],
)
def test_a_value_is_refused_when_it_contradicts_itself(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        normalise_reasoning(value, max_tokens=500)


@pytest.mark.parametrize("value", [1.5, ["low"], {"max_tokens": "many"}, {"max_tokens": True}])
def test_a_value_is_a_type_error_when_it_has_a_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"reasoning"):
        normalise_reasoning(value)


def test_a_budget_may_stand_alone_when_the_answer_has_no_limit() -> None:
    assert normalise_reasoning(32_000) == {"max_tokens": 32_000}


def test_the_older_spelling_in_extra_body_is_refused_when_it_differs() -> None:
    assert normalise_reasoning("low", None, {"reasoning_effort": "low"}) == {"effort": "low"}
    with pytest.raises(ValueError, match="contradicts reasoning_effort='high'"):
        normalise_reasoning("low", None, {"reasoning_effort": "high"})
    with pytest.raises(ValueError, match="given twice"):
        normalise_reasoning("low", None, {"reasoning": {"effort": "low"}})


@pytest.mark.parametrize(
    ("asked", "provider", "params"),
    [
        ("high", "openai", {"reasoning_effort": "high"}),
        (True, "openai", {"reasoning_effort": "medium"}),
        (False, "gemini", {"reasoning_effort": "none"}),
        ({"enabled": False}, "gemini", {"reasoning_effort": "none"}),
        (2000, "anthropic", {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (True, "deepseek", {"reasoning_effort": "medium"}),
    ],
)
def test_litellm_gets_its_own_parameters(asked: Any, provider: str, params: Any) -> None:
    reasoning = normalise_reasoning(asked)
    assert reasoning is not None
    assert litellm_reasoning(reasoning, provider, BOTH) == params


@pytest.mark.parametrize(
    ("asked", "provider", "supported"),
    [
        ("high", "openai", ()),
        (2000, "deepseek", BOTH),
        (2000, "anthropic", ("reasoning_effort",)),
        ("low", "deepseek", BOTH),
        ({"effort": "low", "exclude": True}, "anthropic", BOTH),
    ],
)
def test_what_litellm_would_drop_is_refused(asked: Any, provider: str, supported: Any) -> None:
    reasoning = normalise_reasoning(asked)
    assert reasoning is not None
    with pytest.raises(UnsupportedFeatureError, match=f"for {provider}"):
        litellm_reasoning(reasoning, provider, supported)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"reasoning": "hihg"}, "did you mean 'high'"),
        ({"reasoning": 500, "max_tokens": 500}, "must be smaller"),
        ({"reasoning": 1.5}, "a budget in tokens"),
    ],
)
def test_an_alias_that_asks_wrongly_is_a_configuration_error(params: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"aliases.smart.params: .*{sentence}"):
        RouterConfig(aliases={"smart": {"model": "openrouter/a/b", "params": params}})
    AliasConfig(model="openrouter/a/b", params={"reasoning": "high"})
