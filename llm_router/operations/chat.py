"""What the caller asked, made ready once for every deployment that may be tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.options.messages import normalise_messages
from llm_router.options.openrouter import (
    check_openrouter_options,
    merge_openrouter_options,
)
from llm_router.options.reasoning import normalise_reasoning
from llm_router.options.request import (
    OPTION_NAMES,
    PARAM_NAMES,
    CachePolicy,
    ProviderRequest,
    check_names,
)
from llm_router.options.tools import tool_choice as choose_tool
from llm_router.options.tools import tool_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.config.model import AliasConfig, CacheConfig
    from llm_router.options.request import CallOptions, Deployment, Message, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Messages and options in the shape of the wire, before a deployment adds its own."""

    messages: Sequence[Message]
    params: Mapping[str, Any]
    openrouter: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    user: str | None
    cache: CachePolicy | None

    @classmethod
    def ask(cls, method: str, prompt: Prompt, options: CallOptions) -> Question:
        """Check and normalise; TypeError for a misspelt option, before anything is sent."""
        check_names(f"{method}()", options, OPTION_NAMES)
        given: dict[str, Any] = {n: v for n, v in options.items() if n in PARAM_NAMES}
        together = options.get("params")
        if together:
            check_names(f"{method}(params=…)", together, PARAM_NAMES)
            given = {**together, **given}
        if given.get("tools") is not None:
            given["tools"] = tool_definitions(given["tools"])
        if given.get("tool_choice") is not None:
            given["tool_choice"] = choose_tool(given["tool_choice"], given.get("tools"))
        openrouter = options.get("openrouter") or {}
        if openrouter:
            check_openrouter_options(openrouter)
        cache = options.get("cache")
        return cls(
            messages=normalise_messages(prompt, options.get("system")),
            params=given,
            openrouter=openrouter,
            extra_body=options.get("extra_body") or {},
            user=options.get("user"),
            cache=None if cache is None else cache_policy(cache),
        )

    def to(
        self,
        deployment: Deployment,
        row: AliasConfig,
        *,
        stream: bool = False,
        messages: Sequence[Message] | None = None,
        answering: Callable[[str], None] | None = None,
    ) -> ProviderRequest:
        """Return the request for *deployment*: the alias's options, then the call's over them."""
        merged = {**deployment.params, **self.params}
        params = {name: value for name, value in merged.items() if value is not None}
        if "reasoning" in params:
            limit = params.get("max_tokens") or params.get("max_completion_tokens")
            params["reasoning"] = normalise_reasoning(params["reasoning"], limit, self.extra_body)
        return ProviderRequest(
            deployment=deployment,
            messages=self.messages if messages is None else messages,
            params=params,
            openrouter=merge_openrouter_options(deployment.openrouter, self.openrouter),
            extra_body=self.extra_body,
            user=self.user,
            stream=stream,
            cache=cache_policy(row.cache) if self.cache is None else self.cache,
            answering=answering,
        )


def cache_policy(value: str | Mapping[str, str] | CacheConfig) -> CachePolicy:
    """Return "off", "auto" or a lifetime; ValueError for anything else."""
    if isinstance(value, str):
        found: Any = value
    else:
        found = value.get("ttl") if hasattr(value, "get") else value.ttl
    if found not in ("off", "auto", "5m", "1h"):
        raise ValueError(f'cache is "auto", "off" or {{"ttl": "5m" | "1h"}}, not {value!r}')
    policy: CachePolicy = found
    return policy
