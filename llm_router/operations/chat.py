"""Chat: messages and parameters, asked whole, as a stream, or for an object of a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llm_router.answers.completion import Completion
from llm_router.operations.base import Operation
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
    check_options,
)
from llm_router.options.tools import tool_choice as choose_tool
from llm_router.options.tools import tool_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.answers.models import ModelInfo
    from llm_router.config.model import AliasConfig, CacheConfig
    from llm_router.options.request import CallOptions, Deployment, Message, Prompt


# Fewer characters than this for each token have not been seen: a prompt is called too long only
# when it certainly is.
_CHARACTERS_PER_TOKEN = 8
_PARAMETER_NEEDS = {"tools": "tools", "response_format": "response_format"}


@dataclass(frozen=True, kw_only=True)
class Chat(Operation[Completion]):
    """Messages and options in the shape of the wire, before a deployment adds its own."""

    serves: ClassVar[str] = "complete"

    name: str
    messages: Sequence[Message]
    params: Mapping[str, Any]
    openrouter: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    user: str | None
    cache: CachePolicy | None

    @classmethod
    def ask(cls, method: str, prompt: Prompt, options: CallOptions) -> Self:
        """Check and normalise; TypeError for a misspelt option, before anything is sent."""
        check_options(f"{method}()", options, OPTION_NAMES)
        given: dict[str, Any] = {n: v for n, v in options.items() if n in PARAM_NAMES}
        together = options.get("params")
        if together:
            check_options(f"{method}(params=…)", together, PARAM_NAMES)
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
            name=method,
            messages=normalise_messages(prompt, options.get("system")),
            params=given,
            openrouter=openrouter,
            extra_body=options.get("extra_body") or {},
            user=options.get("user"),
            cache=None if cache is None else cache_policy(cache),
        )

    @property
    def asked(self) -> Mapping[str, Any]:
        return {"messages": self.messages, "params": self.params}

    def request(
        self,
        deployment: Deployment,
        row: AliasConfig,
        answering: Callable[[str], None] | None = None,
    ) -> ProviderRequest:
        merged = {**deployment.params, **self.params}
        params = {name: value for name, value in merged.items() if value is not None}
        if "reasoning" in params:
            limit = params.get("max_tokens") or params.get("max_completion_tokens")
            params["reasoning"] = normalise_reasoning(params["reasoning"], limit, self.extra_body)
        return ProviderRequest(
            deployment=deployment,
            messages=self.messages,
            params=params,
            openrouter=(
                merge_openrouter_options(deployment.openrouter, self.openrouter)
                if deployment.openrouter or self.openrouter
                else {}
            ),
            extra_body=self.extra_body,
            user=self.user,
            stream=self.serves == "stream",
            cache=cache_policy(row.cache) if self.cache is None else self.cache,
            answering=answering,
        )

    def unsuitable(self, info: ModelInfo) -> str | None:
        supported = info.supported_parameters
        if supported is not None:
            for param, needed in _PARAMETER_NEEDS.items():
                if self.params.get(param) and needed not in supported:
                    return f"the catalogue says that {info.id} does not support {needed}"
        if info.context_length is not None:
            tokens = _characters(self.messages) // _CHARACTERS_PER_TOKEN
            if tokens > info.context_length:
                return (
                    f"the prompt has at least {tokens} tokens and {info.id} takes "
                    f"{info.context_length}"
                )
        return None


class ChatStream(Chat):
    """A chat whose answer comes piece by piece."""

    serves = "stream"


def _characters(messages: Any) -> int:
    """Return the length of all text in *messages*; data URLs are not text."""
    if isinstance(messages, str):
        return 0 if messages.startswith("data:") else len(messages)
    if isinstance(messages, list | tuple):
        return sum(_characters(item) for item in messages)
    if isinstance(messages, dict):
        return sum(_characters(messages.get(key)) for key in ("content", "text"))
    return 0


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
