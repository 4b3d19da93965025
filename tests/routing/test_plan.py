"""From what is asked for to who may serve it."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from llm_router.config.model import AliasConfig, ApiKey, Defaults, ProviderConfig, RouterConfig
from llm_router.errors import ConfigurationError, MissingCredentialsError, UnknownAliasError
from llm_router.operations.chat import Chat
from llm_router.routing.call import uuid7
from llm_router.routing.plan import Planner

KEYED = ProviderConfig(api_key=SecretStr("sk-test-0123456789"))
LOCAL = ProviderConfig(litellm="openai", base_url="http://127.0.0.1:1/v1")


def planner(**changes: object) -> Planner:
    values: dict[str, object] = {
        "providers": {"openrouter": KEYED, "local": LOCAL},
        "aliases": {
            "fast": AliasConfig(
                model="openrouter/openai/gpt-4o-mini",
                params={"temperature": 0.2},
                fallbacks=("smart", "local/smollm2"),
                timeout=7,
            ),
            "smart": AliasConfig(
                model="openrouter/anthropic/claude-haiku-4.5",
                fallbacks=("openrouter/openai/gpt-4o-mini",),
            ),
        },
    }
    return Planner(RouterConfig(**(values | changes)))


def test_an_alias_becomes_its_deployments_in_order_when_it_names_another_alias() -> None:
    plan = planner().plan("fast")
    assert [d.name for d in plan.deployments] == [
        "openrouter/openai/gpt-4o-mini",
        "openrouter/anthropic/claude-haiku-4.5",
        "local/smollm2",
    ]
    assert plan.deployments[0].params == {"temperature": 0.2}
    assert plan.deployments[1].params == {}, "an alias brings its own parameters"
    assert plan.alias == "fast"


def test_a_model_is_one_deployment_when_its_prefix_is_a_row() -> None:
    plan = planner().plan("openrouter/meta-llama/llama-3.3-70b-instruct:free")
    assert plan.alias is None
    assert plan.deployments[0].model == "meta-llama/llama-3.3-70b-instruct:free"


@pytest.mark.parametrize(
    ("asked", "provider", "message"),
    [
        ("openroter/x/y", None, "unknown provider 'openroter' in 'openroter/x/y'; did you mean"),
        ("openai/gpt-4o", None, "unknown provider 'openai'"),
        ("openai/gpt-4o", "locl", "no such provider: 'locl'; did you mean 'local'?"),
        ("openrouter/", None, "a model is `provider/model`"),
        ("/x", None, "a model is `provider/model`"),
        ("fast", "local", "'fast' is an alias"),
    ],
)
def test_the_mistake_is_named_when_the_provider_is_wrong(
    asked: str, provider: str | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        planner().plan(asked, provider)


def test_the_nearest_alias_is_named_when_there_is_no_such_alias() -> None:
    with pytest.raises(UnknownAliasError, match=r"did you mean .fast."):
        planner().plan("fsat")
    with pytest.raises(UnknownAliasError, match="known: fast, smart"):
        planner().plan("zzzzzz")


def test_the_calls_provider_wins_when_the_prefix_is_no_row() -> None:
    by_default = planner(defaults=Defaults(provider="local"))
    assert by_default.plan("openai/gpt-4o").deployments[0].name == "local/openai/gpt-4o"
    by_call = by_default.plan("openai/gpt-4o", "openrouter")
    assert by_call.deployments[0].name == "openrouter/openai/gpt-4o"
    known = by_default.plan("openrouter/openai/gpt-4o", "local")
    assert known.deployments[0].name == "openrouter/openai/gpt-4o"


def test_the_variable_is_named_when_the_first_choice_has_no_key() -> None:
    empty = ProviderConfig(api_key=ApiKey("", "MY_KEY"))
    for row, variable in ((ProviderConfig(), "OPENROUTER_API_KEY"), (empty, "MY_KEY")):
        with pytest.raises(MissingCredentialsError, match=f"{variable} is not set") as caught:
            planner(providers={"openrouter": row, "local": LOCAL}).plan("fast")
        assert caught.value.env_var == variable
        assert "llm-router sandbox" in str(caught.value)


def test_a_fallback_without_a_key_is_left_out_with_its_reason() -> None:
    aliases = {"fast": AliasConfig(model="local/smollm2", fallbacks=("openrouter/a/b",))}
    plan = planner(providers={"local": LOCAL}, aliases=aliases).plan("fast")
    assert [d.name for d in plan.deployments] == ["local/smollm2"]
    assert "OPENROUTER_API_KEY is not set" in plan.skipped["openrouter/a/b"]


def test_the_nearest_limit_counts_when_call_alias_and_defaults_have_one() -> None:
    plans = planner(defaults=Defaults(timeout=50, deadline=90))
    fast = plans.plan("fast")
    limits = plans.limits(fast, {"deadline": 3})
    assert (limits.timeout, limits.deadline, limits.max_attempts) == (7, 3, 4)
    with pytest.raises(ValueError, match="timeout must be greater than 0, not 0"):
        plans.limits(fast, {"timeout": 0})


def test_request_ids_sort_by_time_and_are_uuids_of_version_7() -> None:
    import uuid

    first, second = uuid7(1_800_000_000.0), uuid7(1_800_000_000.002)
    assert first < second and uuid7(1.0) != uuid7(1.0)
    parsed = uuid.UUID(second)
    assert str(parsed) == second and parsed.version == 7 and parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == 1_800_000_000_002


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"openrouter": {"provder": {}}}, "did you mean 'provider'"),
        ({"openrouter": {"provider": {"ordr": []}}}, "did you mean 'order'"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"params": {"max_token": 1}}, "did you mean 'max_tokens'"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_right_one(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        Chat.ask("complete", "hello", options)  # type: ignore[arg-type]  # the point of it
