"""What is sent: URL, headers and body, built by LiteLLM's OpenrouterConfig.

Every key that was asked for is sent, with the value that was asked for, and nothing else is:
where OpenrouterConfig would drop, edit or add something, the caller's word stands. Nothing here
changes an object of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.options.reasoning import normalise_reasoning
from llm_router.options.request import refuse_ours
from llm_router.providers.caching import marked_messages
from llm_router.providers.http import Secret
from llm_router.providers.requests import STAND_IN, Prepared, dressed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.config.model import AppConfig, ProviderConfig
    from llm_router.options.request import ProviderRequest

# OpenrouterConfig edits these: it takes cache_control out of tools for most models, removes
# tool_choice where it sees no function tool, and turns reasoning_effort "max" into "xhigh".
# `extra_body` is laid over its work untouched.
_EDITED = frozenset({"tools", "tool_choice", "reasoning_effort"})


class OpenRouterBuilder:
    """The Builder of an OpenRouter row; `config` is an OpenrouterConfig."""

    def __init__(self, config: Any, row: ProviderConfig) -> None:
        self._config = config
        base = row.base_url or OPENROUTER_BASE_URL
        self.address: str = config.get_complete_url(base, STAND_IN, "", {}, {})
        found = config.validate_environment({}, "", [], {}, {}, api_key=STAND_IN)
        found |= attribution(row.app)
        self.key = Secret(row.key)
        self.keyed = bool(row.key or row.headers)
        self.headers: Mapping[str, str] = dressed(found, self.key, row)

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request with every key that was asked for, and no other."""
        return Prepared(self.address, self.headers, self.body(request))

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        return self.address, self.headers

    def body(self, request: ProviderRequest) -> dict[str, Any]:
        """Return the body: model, messages, `stream` for a stream, and the options asked for."""
        model = wire_model(request.model)
        asked = asked_options(request)
        messages = request.messages
        if request.cache != "off":
            messages = marked_messages(request, model, asked)
        mapped = self._config.map_openai_params(
            {name: value for name, value in asked.items() if name not in _EDITED}, {}, model, False
        )
        # map_openai_params leaves out what it does not know (user, metadata, top_k, provider, …).
        mapped["extra_body"] = {n: value for n, value in asked.items() if n not in mapped}
        # Without the messages: it would take None values and cache_control out of them, move the
        # images of tool results, fetch PDFs over the network, and write into the caller's lists.
        body: dict[str, Any] = self._config.transform_request(model, [], mapped, {}, {})
        sent = {"model": model, "messages": messages}
        # Not its `usage`, and also what it takes for its own (max_retries, extra_headers).
        return sent | {name: body.get(name, value) for name, value in asked.items()}


def asked_options(request: ProviderRequest) -> dict[str, Any]:
    """Return every key of the body but model and messages, by its name on the wire.

    Parameters come first, OpenRouter's options over them, `extra_body` over both.
    """
    asked = dict(request.params)
    if "reasoning" in asked:
        asked["reasoning"] = normalise_reasoning(asked["reasoning"])
    asked.update(request.openrouter)
    if request.user is not None:
        asked["user"] = request.user
    asked.update(request.extra_body)
    refuse_ours(asked)
    if request.stream:
        asked["stream"] = True
    return asked


def wire_model(model: str) -> str:
    """Return the model's name on the wire.

    OpenRouter's own models are `openrouter/auto`, …: the row's prefix and their author read the
    same, so a name without an author gets it back. Presets (`@preset/slug`) have no author.
    """
    author_and_slug = model.partition("@preset/")[0]
    if author_and_slug and "/" not in author_and_slug:
        return f"openrouter/{model}"
    return model


def attribution(app: AppConfig) -> dict[str, str]:
    """Return the headers that name the application in OpenRouter's rankings."""
    named = {
        "HTTP-Referer": app.url,
        "X-OpenRouter-Title": app.title,
        "X-OpenRouter-Categories": ",".join(app.categories),
    }
    return {name: value for name, value in named.items() if value}
