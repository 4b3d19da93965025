"""What `litellm.acompletion` is asked: every option reaches the wire or is refused."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.errors import ConfigurationError, UnsupportedFeatureError
from llm_router.options.reasoning import litellm_reasoning, normalise_reasoning
from llm_router.providers.openrouter.caching import place_breakpoints
from llm_router.providers.openrouter.request import asked_options, wire_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest

# Probed: of the providers that LiteLLM calls OpenAI-compatible, these go through its own HTTP
# handler, all others through the OpenAI SDK.
_OWN_HANDLER = frozenset({
    "azure_ai", "cometapi", "deepseek", "edenai", "fireworks_ai", "groq", "hosted_vllm", "ragflow",
    "together_ai", "xai",
})  # fmt: skip
_BY_THE_CALL = ("model", "messages", "stream")
# LiteLLM answers, retries, logs or authenticates by these; in a body they mean nothing else.
_FOR_LITELLM = frozenset({"metadata", "user"})


@dataclass(frozen=True, slots=True)
class Target:
    """A provider row as LiteLLM sees it."""

    name: str
    """LiteLLM's name for the provider."""
    uses_sdk: bool
    """Whether LiteLLM sends through the OpenAI SDK, or through its own HTTP handler."""
    openai_shaped: bool
    """Whether the wire is OpenAI's: then any field can be sent, and the raw answer be read."""


def target_of(litellm: Any, row: ProviderConfig, row_name: str) -> Target:
    """Return how LiteLLM serves *row*."""
    name = row.litellm or row_name
    compatible = name in ("openai", "custom_openai") or name in litellm.openai_compatible_providers
    return Target(
        name=name,
        uses_sdk=compatible and name not in _OWN_HANDLER,
        openai_shaped=compatible or name == "openrouter",
    )


def call_arguments(litellm: Any, target: Target, request: ProviderRequest) -> dict[str, Any]:
    """Return model, messages and options as keyword arguments of `acompletion`.

    Raises UnsupportedFeatureError for what LiteLLM would leave out of the request.
    """
    if target.name == "openrouter":
        return _openrouter_arguments(request)
    supported = litellm.get_supported_openai_params(
        model=request.model, custom_llm_provider=target.name
    )
    asked = _asked(request, target, frozenset(supported or ()))
    known = {n: v for n, v in asked.items() if n in (supported or ()) and n not in _FOR_LITELLM}
    extra = {name: value for name, value in asked.items() if name not in known}
    extra |= request.extra_body
    if extra and not target.openai_shaped:
        raise UnsupportedFeatureError(
            f"LiteLLM does not send {sorted(extra)[0]!r} to {request.deployment.name}",
            provider=request.deployment.provider,
            hint="Leave it out, or ask another deployment",
        )
    for name in _BY_THE_CALL:
        if name in request.extra_body:
            raise ConfigurationError(f"{name!r} cannot be set through extra_body")
    messages: Sequence[Any] = request.messages
    if target.name == "anthropic" and request.cache != "off":
        # Anthropic caches only what is marked, and LiteLLM passes the marks on to it.
        tools, author = known.get("tools", ()), f"anthropic/{request.model}"
        messages, marked = place_breakpoints(messages, tools, author, request.cache)
        known |= {"tools": marked} if tools else {}
    return {
        "model": f"{target.name}/{request.model}",
        "messages": _copied(messages),
        **copy.deepcopy(known),
        **({"extra_body": extra} if extra else {}),
    }


def _openrouter_arguments(request: ProviderRequest) -> dict[str, Any]:
    """All options go through `extra_body`, which LiteLLM lays over its own work untouched."""
    asked = asked_options(request)
    asked.pop("stream", None)
    model, messages = wire_model(request.model), request.messages
    if request.cache != "off":
        tools = asked.get("tools", ())
        messages, marked = place_breakpoints(messages, tools, model, request.cache)
        asked |= {"tools": marked} if tools else {}
    return {
        "model": f"openrouter/{model}",
        "messages": _copied(messages),
        "extra_body": asked,
    }


def _asked(request: ProviderRequest, target: Target, supported: frozenset[str]) -> dict[str, Any]:
    asked = dict(request.params)
    reasoning = normalise_reasoning(asked.pop("reasoning", None))
    if reasoning:
        asked |= litellm_reasoning(reasoning, target.name, supported)
    if request.user is not None:
        asked["user"] = request.user
    return asked


def _copied(messages: Sequence[Any]) -> list[dict[str, Any]]:
    """Return messages that LiteLLM may write into, which it does."""
    return [dict(copy.deepcopy(dict(message))) for message in messages]
