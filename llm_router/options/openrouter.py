"""OpenRouter's own request options: their names and shapes, the check, and how two sets merge.

They travel at the top level of the body, beside the parameters that every provider knows. What
has no name here yet goes through `extra_body`, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from llm_router.options.request import PARAM_NAMES, did_you_mean


class Percentiles(TypedDict, total=False):
    """A limit per percentile; a plain number means p50."""

    p50: float
    p75: float
    p90: float
    p99: float


class MaxPrice(TypedDict, total=False):
    """A hard filter, USD per *million* tokens (`request`: per request), best as decimal text."""

    prompt: str | float
    completion: str | float
    image: str | float
    audio: str | float
    request: str | float


class ProviderPreferences(TypedDict, total=False):
    """Which upstream providers may serve the request, and in which order.

    A provider is named by its slug (`amazon-bedrock`), not by its display name.
    """

    order: Sequence[str]
    """Tried in this order, then the rest; switches load balancing and sticky routing off."""
    only: Sequence[str]
    """No others; nothing left is a NoEndpointError."""
    ignore: Sequence[str]
    allow_fallbacks: bool
    """False: none beside `order`. Default True."""
    require_parameters: bool
    """True: only providers that honour every parameter. Default False: unknown ones are dropped."""
    data_collection: Literal["allow", "deny"]
    zdr: bool
    """True: only endpoints with zero data retention."""
    enforce_distillable_text: bool
    quantizations: Sequence[str]
    sort: Literal["price", "throughput", "latency", "exacto"] | Mapping[str, str]
    """Or `{by, partition}`; switches load balancing off."""
    preferred_min_throughput: float | Percentiles
    """Tokens per second; slower ones come later, none is excluded."""
    preferred_max_latency: float | Percentiles
    """Seconds; slower ones come later, none is excluded."""
    max_price: MaxPrice
    options: Mapping[str, Any]
    """Per provider; image, audio and video endpoints only."""


class Reasoning(TypedDict, total=False):
    """How much to think: `effort` or `max_tokens`, not both."""

    effort: Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]
    max_tokens: int
    exclude: bool
    """True: think, but do not send the reasoning."""
    enabled: bool
    summary: Literal["auto", "concise", "detailed"]
    context: str
    mode: str


class OpenRouterOptions(TypedDict, total=False):
    """Everything `openrouter=` takes, in a call or in an alias."""

    provider: ProviderPreferences | None
    models: Sequence[str]
    """Fallback models that OpenRouter itself tries, in order, on any error."""
    route: str
    """Deprecated name of `provider.sort.partition`."""
    plugins: Sequence[Mapping[str, Any]]
    """`{"id": "web" | "file-parser" | "response-healing" | "context-compression" | …, …}`."""
    transforms: Sequence[str]
    """Deprecated name of the `context-compression` plugin."""
    reasoning: Reasoning
    reasoning_effort: str
    """Shorthand of `reasoning.effort`; a differing pair is refused by OpenRouter."""
    include_reasoning: bool
    """Deprecated name of `not reasoning.exclude`."""
    session_id: str
    """At most 256 characters: keeps a conversation at one provider, groups it in the logs."""
    service_tier: Literal["auto", "default", "fast", "flex", "priority", "scale"]
    """Billed at the tier that served."""
    cache_control: Mapping[str, str]
    """Automatic caching at Anthropic: `{"type": "ephemeral", "ttl": "5m" | "1h"}`."""
    prompt_cache_key: str
    prompt_cache_options: Mapping[str, str]
    trace: Mapping[str, Any]
    """`trace_id`, `trace_name`, `span_name`, … for the account's observability targets."""
    preset: str
    """A preset's slug: the account's stored settings."""
    prediction: Mapping[str, Any]
    image_config: Mapping[str, Any]
    debug: Mapping[str, Any]
    """`{"echo_upstream_body": true}`, streams only."""
    web_search_options: Mapping[str, Any]
    x_search_filter: Mapping[str, Any]
    stop_server_tools_when: Sequence[Mapping[str, Any]]
    structured_outputs: bool
    safety_identifier: str
    usage: Mapping[str, bool]
    """Without effect: usage always comes."""
    user: str
    """An id of your end user; the call's own `user=` wins."""
    metadata: Mapping[str, str]
    verbosity: Literal["low", "medium", "high", "xhigh", "max"]


_NAMES = frozenset(OpenRouterOptions.__annotations__)
_NESTED = {
    "provider": frozenset(ProviderPreferences.__annotations__),
    "reasoning": frozenset(Reasoning.__annotations__),
}
_LISTS = frozenset({"models", "plugins", "transforms", "stop_server_tools_when"})
_MAPPINGS = frozenset(
    {"cache_control", "prompt_cache_options", "trace", "prediction", "image_config", "debug",
     "web_search_options", "x_search_filter", "usage", "metadata", *_NESTED}
)  # fmt: skip


def check_openrouter_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for the first unknown name or wrong shape in *options*, with the fix."""
    problem = next(iter(openrouter_problems(options)), None)
    if problem:
        raise TypeError(problem)


def openrouter_problems(options: Mapping[str, Any]) -> Iterable[str]:
    """Yield what is wrong with *options*, one sentence each."""
    for name, value in options.items():
        if name not in _NAMES:
            yield _unknown(name)
        elif value is None:
            continue
        elif name in _LISTS and (isinstance(value, str) or not isinstance(value, Sequence)):
            yield f"OpenRouter option {name!r} is a list, not {type(value).__name__}"
        elif name in _MAPPINGS and not isinstance(value, Mapping):
            yield f"OpenRouter option {name!r} is a mapping, not {type(value).__name__}"
        elif name in _NESTED:
            yield from _nested_problems(name, value)


def _nested_problems(name: str, value: Mapping[str, Any]) -> Iterable[str]:
    for key in value:
        if key not in _NESTED[name]:
            hint = did_you_mean(f"{key}", _NESTED[name])
            yield f"unknown key {key!r} in OpenRouter option {name!r}{hint}"


def _unknown(name: str) -> str:
    if name in PARAM_NAMES:
        return f"{name!r} is a parameter of the model, not an OpenRouter option: move it to params"
    hint = did_you_mean(name, _NAMES) or "; what has no name here goes through extra_body"
    return f"unknown OpenRouter option {name!r}{hint}"


def merge_openrouter_options(alias: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the alias's options with the call's laid over them; neither is changed.

    The call wins name by name. `provider` merges key by key, so that a call which adds
    `{"provider": {"sort": "price"}}` keeps the alias's `data_collection: deny`; None drops what
    the alias says.
    """
    if not (alias or call):
        return {}
    merged = {**alias, **call}
    ours, theirs = alias.get("provider"), call.get("provider")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        merged["provider"] = _deep(ours, theirs)
    return {name: value for name, value in merged.items() if value is not None}


def _deep(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**under, **over}
    for name, value in over.items():
        below = under.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[name] = _deep(below, value)
    return merged
