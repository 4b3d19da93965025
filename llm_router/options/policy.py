"""A policy on who may see what is sent: part of every request to OpenRouter, and never widened.

What an alias, a call or an `extra_body` says of the same key can only narrow it:

| key | both together |
|---|---|
| `zdr` | true where either says so |
| `data_collection` | `deny` where either says so |
| `only` | whom both allow; a provider stands for its regions and tiers. Nobody left is refused |
| `ignore` | whom either names |

A policy is given in OpenRouter's own words, as the `provider` object that says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llm_router.errors import UnsupportedFeatureError

_ALL = frozenset({"zdr", "data_collection", "only", "ignore"})
# What each endpoint takes (OpenRouter's specification: ProviderPreferences is chat's, embeddings'
# and rerank's; ImageGenerationRequest has a smaller object, speech and transcription have none).
# An unknown field is ignored there without a word, so what is not listed here is refused.
_TAKEN = {
    "/chat/completions": _ALL,
    "/embeddings": _ALL,
    "/rerank": _ALL,
    "/images": frozenset({"only", "ignore"}),
}


def under_policy(
    policy: Mapping[str, Any], endpoint: str, body: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return *body* for *endpoint* (`/chat/completions`) with *policy* in its `provider`.

    Raises UnsupportedFeatureError where the endpoint has no field for it, or nobody is left.
    """
    untaken = untaken_by(endpoint, policy)
    if untaken:
        raise UnsupportedFeatureError(
            f"OpenRouter's {endpoint} cannot be told {', '.join(sorted(untaken))}, "
            "which the policy demands",
            hint="Ask a provider whose row is `trusted: true`.",
        )
    return {**body, "provider": narrowed(policy, body.get("provider"))}


def untaken_by(endpoint: str, preferences: Mapping[str, Any]) -> set[str]:
    """Return what of *preferences* binds, and would be ignored by *endpoint* without a word."""
    binding = {n for n, v in preferences.items() if v not in (None, False, "allow", [], ())}
    return (binding & _ALL) - _TAKEN.get(endpoint, frozenset())


def narrowed(policy: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """Return the provider preferences *given* with those of *policy*, as the table above says.

    Raises UnsupportedFeatureError where nobody is left, or *given* is no mapping.
    """
    if not isinstance(given, Mapping | None):
        raise UnsupportedFeatureError("under a policy `provider` is a mapping of preferences")
    merged = {**(given or {}), **policy}
    if "only" in policy and (theirs := names_of(given, "only")):
        merged["only"] = allowed_by_both(policy["only"], theirs)
        if not merged["only"]:
            raise UnsupportedFeatureError(
                f"the policy leaves nobody of {', '.join(theirs)}",
                hint=f"It allows {', '.join(policy['only'])}.",
            )
    if "ignore" in policy:
        merged["ignore"] = list(dict.fromkeys([*policy["ignore"], *names_of(given, "ignore")]))
    return merged


def allowed_by_both(policy: Iterable[str], given: Iterable[str]) -> list[str]:
    """Return whom two lists of `only` allow; of a provider and its region the region."""
    pairs = [(ours, theirs) for theirs in given for ours in policy]
    found = [theirs for ours, theirs in pairs if _within(theirs, ours)]
    found += [ours for ours, theirs in pairs if _within(ours, theirs)]
    return list({_slug(name): name for name in reversed(found)}.values())[::-1]


def names_of(preferences: Any, key: str) -> list[str]:
    """Return the providers that *preferences* list under *key*; one may stand without a list."""
    value = preferences.get(key) if isinstance(preferences, Mapping) else None
    if isinstance(value, str):
        return [value]
    return [str(name) for name in value] if isinstance(value, Iterable) else []


def _within(name: str, wider: str) -> bool:
    """Return whether *name* is the provider *wider*, or a region or tier of it."""
    return _slug(name) == _slug(wider) or _slug(name).startswith(f"{_slug(wider)}/")


def _slug(name: str) -> str:
    """Return a name as routing slugs are written: the API takes display names as well."""
    return name.casefold().replace(" ", "-")
