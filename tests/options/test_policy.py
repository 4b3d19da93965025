"""The laws of narrowing: what a call says can only take away from whom a policy allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.errors import UnsupportedFeatureError
from llm_router.options.policy import narrowed, under_policy

NAMES = st.sampled_from(["openai", "azure", "OpenAI", "google-vertex", "google-vertex/us-east5"])
LISTS = st.lists(NAMES, min_size=1, max_size=3)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "zdr": st.just(True),
        "data_collection": st.just("deny"),
        "only": LISTS,
        "ignore": LISTS,
    },
)
GIVEN = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "zdr": st.booleans() | st.none(),
        "data_collection": st.sampled_from(["allow", "deny", None]),
        "only": LISTS | NAMES | st.none() | st.just([]),
        "ignore": LISTS | NAMES | st.none(),
        "order": LISTS,
        "sort": st.just("price"),
    },
)


def serves(upstream: str, preferences: dict[str, Any]) -> bool:
    """Return whether OpenRouter would let *upstream* serve, told these preferences."""

    def named(key: str) -> bool:
        value = preferences.get(key) or []
        names = [value] if isinstance(value, str) else value
        slugs = [name.lower() for name in names]
        return any(upstream == slug or upstream.startswith(f"{slug}/") for slug in slugs)

    return (named("only") or not preferences.get("only")) and not named("ignore")


@given(policy=POLICIES, preferences=GIVEN)
def test_nobody_serves_whom_the_policy_or_the_call_excludes(
    policy: dict[str, Any], preferences: dict[str, Any] | None
) -> None:
    given_ones = preferences or {}
    upstreams = ["openai", "azure", "google-vertex", "google-vertex/us-east5", "groq"]
    agreed = [u for u in upstreams if serves(u, policy) and serves(u, given_ones)]
    try:
        merged = narrowed(policy, preferences)
    except UnsupportedFeatureError:
        assert agreed == []
        return
    assert [u for u in upstreams if serves(u, merged)] == agreed
    if "zdr" in policy:
        assert merged["zdr"] is True
    if "data_collection" in policy:
        assert merged["data_collection"] == "deny"
    assert merged.get("order") == given_ones.get("order")


def test_a_call_that_is_stricter_stays_so() -> None:
    strict = {"zdr": True, "data_collection": "deny", "ignore": ["groq"], "only": ["azure"]}
    assert narrowed({"only": ["openai", "azure"]}, strict) == strict


def test_a_region_stays_when_the_policy_names_its_provider_and_the_other_way_round() -> None:
    region, whole = ["google-vertex/us-east5"], ["google-vertex"]
    assert narrowed({"only": whole}, {"only": region})["only"] == region
    assert narrowed({"only": region}, {"only": whole})["only"] == region


@pytest.mark.parametrize("endpoint", ["/images", "/audio/speech", "/audio/transcriptions", "/new"])
def test_an_endpoint_that_cannot_be_told_is_refused(endpoint: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match=f"{endpoint} cannot be told zdr"):
        under_policy({"zdr": True}, endpoint, {"model": "m"})


def test_images_are_asked_for_under_a_policy_that_their_endpoint_can_be_told() -> None:
    body = under_policy({"only": ["openai"]}, "/images", {"model": "m"})
    assert body == {"model": "m", "provider": {"only": ["openai"]}}


def test_preferences_of_another_shape_are_refused_rather_than_replaced() -> None:
    with pytest.raises(UnsupportedFeatureError, match="is a mapping"):
        narrowed({"zdr": True}, "azure")
