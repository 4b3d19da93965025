"""What is sent: URL, headers and body, built by LiteLLM's OpenrouterConfig.

Every key that was asked for is sent, with the value that was asked for, and nothing else is:
where OpenrouterConfig would drop, edit or add something, the caller's word stands. Nothing here
changes an object of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.config.checks import missing_credentials
from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.errors import ConfigurationError
from llm_router.options.reasoning import normalise_reasoning
from llm_router.providers.openrouter.caching import place_breakpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest

# OpenrouterConfig edits these: it takes cache_control out of tools for most models, removes
# tool_choice where it sees no function tool, and turns reasoning_effort "max" into "xhigh".
# `extra_body` is laid over its work untouched.
_EDITED = frozenset({"tools", "tool_choice", "reasoning_effort"})
_OURS = frozenset({"model", "messages", "stream"})


class RequestBuilder:
    """Builds requests for one provider row; `config` is an OpenrouterConfig."""

    def __init__(self, config: Any, row: ProviderConfig, key: str) -> None:
        self._config = config
        base = row.base_url or OPENROUTER_BASE_URL
        self.url: str = config.get_complete_url(base, key, "", {}, {})
        self.headers = _headers(config, row, key)

    def body(self, request: ProviderRequest) -> dict[str, Any]:
        """Return the body: model, messages, `stream` for a stream, and the options asked for."""
        model = wire_model(request.model)
        messages, asked = request.messages, asked_options(request)
        if request.cache != "off":
            tools = asked.get("tools", ())
            messages, marked = place_breakpoints(messages, tools, model, request.cache)
            asked |= {"tools": marked} if tools else {}
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
    if taken := _OURS & asked.keys():
        raise ConfigurationError(
            f"{sorted(taken)[0]!r} cannot be set through extra_body or openrouter: "
            "it is decided by the call itself"
        )
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


def api_key(row: ProviderConfig, name: str) -> str:
    """Return the key of *row*; MissingCredentialsError, before anything is built, without one."""
    missing = missing_credentials(name, row)
    if missing is not None:
        raise missing
    return row.key


def _headers(config: Any, row: ProviderConfig, key: str) -> dict[str, str]:
    """Return the headers of every request: LiteLLM's, our attribution, the row's own over both."""
    headers: dict[str, str] = config.validate_environment({}, "", [], {}, {}, api_key=key)
    headers["User-Agent"] = "llm_router"
    if row.app.url:
        headers["HTTP-Referer"] = row.app.url
    if row.app.title:
        headers["X-OpenRouter-Title"] = row.app.title
    if row.app.categories:
        headers["X-OpenRouter-Categories"] = ",".join(row.app.categories)
    theirs = {name.lower() for name in row.headers}
    headers = {n: value for n, value in headers.items() if n.lower() not in theirs} | row.headers
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise ConfigurationError(f"The value of the header {name!r} has a line break in it")
    return headers


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* as they may be shown."""
    secret = ("authorization", "cookie", "key", "token", "secret")
    return {
        name: "[redacted]" if any(word in name.lower() for word in secret) else value
        for name, value in headers.items()
    }
