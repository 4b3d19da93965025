"""What is sent to a provider of OpenAI's wire: URL, headers and body, by LiteLLM's configuration.

LiteLLM knows how each provider wants its options named, its messages shaped and its key sent.
It also drops and edits options without a word, so what was asked is compared with what came out:

- what the configuration does not list, or would leave out, is sent by OpenAI's name for it;
- a number that it would change is sent as it was asked;
- a schema (`response_format`) is always sent as it was asked: for models it does not know LiteLLM
  asks for a tool call instead, which only its own reading of the answer turns back;
- what it refuses (a temperature for a reasoning model) is an UnsupportedFeatureError.

Inside messages and tools its edits stand: they are what the provider takes. But a picture, a sound
or a file that it leaves out is an UnsupportedFeatureError. It never sees the caller's own objects,
nor the key.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from llm_router.config.checks import AZURE_API_VERSION
from llm_router.errors import (
    ConfigurationError,
    InvalidRequestError,
    LLMRouterError,
    UnsupportedFeatureError,
)
from llm_router.options.reasoning import litellm_reasoning, normalise_reasoning
from llm_router.options.request import refuse_ours
from llm_router.providers.http import STAND_IN, refuse_line_break
from llm_router.providers.importing import quiet
from llm_router.redaction import MASK, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Message, ProviderRequest

_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"
_VERBATIM = frozenset({"response_format", "metadata", "user"})
# OpenRouter's own keys of an assistant turn; other providers refuse a message that has them.
_OPENROUTERS_OWN = frozenset({"reasoning", "reasoning_details", "annotations", "images"})
_KEPT = 256
_LONGEST_SENTENCE = 10_000
_PREFIX = re.compile(r"(?:litellm\.)?[A-Z]\w{0,60}(?:: | - )")
_APPENDICES = (
    "\nReceived Messages=",  # it repeats prompts
    "Traceback (most recent call last)",
    "\nThis looks like a bug in LiteLLM",
    " Original exception:",
)
_WORDS_BEFORE_SENTENCE = ("Error", "Exception", "Timeout", "litellm.")


class Signature(Protocol):
    """Signs the bytes that go out."""

    names: tuple[str, ...]
    """The headers that it adds."""

    async def __call__(self, url: str, content: bytes) -> Mapping[str, str]:
        """Return the headers that sign *content* for *url*; ConfigurationError when none can."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request as it goes out, but for the key, for which `STAND_IN` stands in the headers;
    what else is secret in them is a `Secret`."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    sign: Signature | None = None


class Builder(Protocol):
    """Builds the requests of one provider row."""

    address: str
    """A URL at the provider, which tells host and scheme."""
    key: Secret
    """The row's, or one of the environment; empty where none is sent."""
    keyed: bool
    """Whether what is sent shows who asks: no proxy may read it."""

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request; nothing of the caller's is changed.

        Raises ConfigurationError, UnsupportedFeatureError or InvalidRequestError for what cannot
        be asked.
        """
        ...

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        """Return the URL of a chat with *model*, and the headers of any request about it."""
        ...


@dataclass(frozen=True, slots=True)
class _Target:
    """What does not change from call to call of one model."""

    config: Any
    """LiteLLM's configuration object for it."""
    url: str
    headers: Mapping[str, str]
    supported: frozenset[str]
    """The options that the configuration maps."""


class RequestBuilder:
    """The Builder of a row that LiteLLM has a configuration for. Making one blocks: in a thread."""

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        self._litellm, self._row, self._name = litellm, row, name
        self._kind = row.kind(name)
        self._base_url, self.key = self._base_url_and_key()
        self.keyed = bool(self.key or row.headers)
        self._targets = lru_cache(_KEPT)(self._target)
        self._scalars = lru_cache(_KEPT)(self._mapped)
        self.address = self._base_url or self._targets("any/model").url

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request for the model and the options that were asked for."""
        target = self._targets(request.model)
        body = self._body(target, request)
        return Prepared(target.url, target.headers, body)

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        found = self._targets(model)
        return found.url, found.headers

    def _body(self, target: _Target, request: ProviderRequest) -> dict[str, Any]:
        asked = given_options(request, self._kind, target.supported)
        untouched = {name: asked.pop(name) for name in _VERBATIM & asked.keys()}
        mapped, kept = self._options(request.model, asked)
        messages = messages_for(request.messages)
        transform = target.config.transform_request
        # Told no address, huggingface's would ask the network for one; told no name, others would
        # look for the provider in 0.4 ms.
        where = {"api_base": target.url, "custom_llm_provider": self._kind}
        body: dict[str, Any] = by_litellm(
            self._name, transform, request.model, messages, copied(mapped), where, {}
        )
        self._refuse_lost_parts(request.messages, body["messages"])
        body.update(body.pop("extra_body", None) or {})
        # What transform_request takes out on its own account, a tool_choice without tools say.
        body |= {n: mapped[n] for n in asked if n in mapped and n not in body}
        if request.stream:
            body["stream"] = True
            if "stream_options" in target.supported:
                body["stream_options"] = {"include_usage": True}
        return {**body, **kept, **untouched, **request.extra_body}

    def _refuse_lost_parts(self, asked: Sequence[Message], sent: Sequence[Message]) -> None:
        given = _kinds_of_parts(asked)
        if given and len(given) > len(_kinds_of_parts(sent)):
            raise UnsupportedFeatureError(
                f"{self._kind} takes no {', '.join(sorted(set(given)))} in messages",
                provider=self._name,
                hint="Leave it out, or ask another deployment.",
            )

    def _options(
        self, model: str, asked: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return `_mapped`; for plain values kept from call to call, for it costs up to 0.4 ms."""
        options = tuple(asked.items())
        return (self._scalars if is_plain(asked) else self._mapped)(model, options)

    def _mapped(
        self, model: str, asked: tuple[tuple[str, Any], ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return options by the provider's names, and those that are sent as they were asked."""
        target = self._targets(model)
        given = {name: copied(value) for name, value in asked if name in target.supported}
        change = target.config.map_openai_params
        mapped: dict[str, Any] = by_litellm(self._name, change, dict(given), {}, model, False)
        kept = {name: value for name, value in asked if name not in given}
        for name, value in given.items():
            if name not in mapped:
                alone = {name: copied(value)}
                if not by_litellm(self._name, change, alone, {}, model, False):
                    kept[name] = value
            elif _is_other_number(value, mapped[name]):
                kept[name] = mapped[name] = value
        return mapped, kept

    def _target(self, model: str) -> _Target:
        with quiet():
            try:
                config = config_of(self._litellm, self._kind, model)
                url, headers = self._url(config, model), self._headers(config, model)
                supported = frozenset(config.get_supported_openai_params(model) or ())
            except (ValueError, self._litellm.exceptions.BadRequestError) as error:
                problem = self._no_address(sentence_of(error))
            else:
                return _Target(config, url, headers, supported)
        raise problem

    def _base_url_and_key(self) -> tuple[str | None, Secret]:
        """Return where the provider is and the key; None where its configuration says where.

        LiteLLM's own address of the provider goes with a key of the environment. A row that says
        where gets the key it names, or none.
        """
        row = self._row
        if row.base_url is not None:
            return row.base_url, row.key
        address, key = _OPENAI_URL, None
        if self._kind != "openai":
            with quiet():
                try:
                    found = self._litellm.get_llm_provider(model=f"{self._kind}/any")
                except self._litellm.exceptions.BadRequestError:  # newer than this LiteLLM
                    found = ("", "", None, None)
            _, _, key, address = found
        own = os.environ.get(f"{self._kind.upper().replace('-', '_')}_API_KEY")
        return (address.rstrip("/") if address else None), Secret(row.key or key or own or "")

    def _no_address(self, why: str) -> ConfigurationError:
        hint = None if self._row.base_url else f"Set providers.{self._name}.base_url."
        return ConfigurationError(f"provider {self._name!r}: {why}", hint=hint)

    def _url(self, config: Any, model: str) -> str:
        if self._kind == "azure":
            return _azure_url(self._row, model)
        url: str = config.get_complete_url(self._base_url, STAND_IN, model, {}, {})
        if self._base_url is None and urlsplit(url).hostname == _OPENAI_HOST:
            # Where LiteLLM knows no address it falls back to OpenAI's.
            raise ValueError("LiteLLM knows no address for it")
        return url

    def _headers(self, config: Any, model: str) -> dict[str, str]:
        if self._kind == "azure":
            found = {"api-key": STAND_IN, "Content-Type": "application/json"}
        else:
            found = config.validate_environment(
                {}, model, [], {}, {}, api_key=STAND_IN, api_base=self._base_url
            )
        return dressed(found, self._row)


def by_litellm(provider: str, method: Callable[..., Any], *arguments: Any) -> Any:
    """Return what *method*, which asks LiteLLM, returns; what LiteLLM refuses is our error."""
    try:
        return method(*arguments)
    except LLMRouterError:
        raise
    except Exception as error:  # its own classes, and builtin ones
        refused = refusal_of(error, provider)
    raise refused


def config_of(litellm: Any, kind: str, model: str) -> Any:
    """Return LiteLLM's configuration of a model at a provider; OpenAI's where it has none."""
    providers = litellm.types.utils.LlmProviders
    try:
        found = litellm.utils.ProviderConfigManager.get_provider_chat_config(model, providers(kind))
    except ValueError:  # named as compatible, and no more
        found = None
    return found or litellm.OpenAIGPTConfig()


def dressed(found: Mapping[str, str], row: ProviderConfig) -> dict[str, str]:
    """Return the headers that go out, the key still to be put in: LiteLLM's, the row's own over
    them. What a row says of headers may be a secret, and is kept as one.
    """
    headers = {"User-Agent": "llm_router"}
    for name, value in found.items():
        if STAND_IN in value or "litellm" not in value.lower():
            headers[name] = value
    theirs = {name.lower() for name in row.headers}
    headers = {n: value for n, value in headers.items() if n.lower() not in theirs}
    headers |= row.headers
    for name, value in headers.items():
        refuse_line_break(name, value)
    return headers


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* as they may be shown."""
    return {n: MASK if isinstance(value, Secret) else value for n, value in headers.items()}


def messages_for(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return copies of *messages* without what only OpenRouter understands.

    Raises UnsupportedFeatureError for a file by its URL, which LiteLLM would fetch.
    """
    found: list[dict[str, Any]] = []
    for message in messages:
        taken_out = _OPENROUTERS_OWN if message.get("role") == "assistant" else frozenset()
        found.append({n: copied(value) for n, value in message.items() if n not in taken_out})
        _refuse_urls_of_files(parts_of(message))
    return found


def _kinds_of_parts(messages: Sequence[Message]) -> list[str]:
    """Return the type of every part of *messages* that is more than text."""
    kinds = [str(part.get("type")) for message in messages for part in parts_of(message)]
    return [kind for kind in kinds if kind not in ("text", "refusal")]


def is_plain(values: Mapping[str, Any]) -> bool:
    """Return whether nothing in *values* has a structure of its own."""
    return all(isinstance(value, str | int | float) for value in values.values())


def parts_of(message: Message) -> Sequence[Any]:
    """Return the parts of a message; none where it is text."""
    content = message.get("content")
    return content if isinstance(content, list | tuple) else ()


def _refuse_urls_of_files(content: Sequence[Any]) -> None:
    for part in content:
        file = part.get("file") if isinstance(part, dict) else None
        if isinstance(file, dict) and str(file.get("file_id", "")).startswith("http"):
            raise UnsupportedFeatureError(
                "file_id is no URL here", hint="Send the file's content as file_data."
            )


def copied(value: Any) -> Any:
    """Return plain JSON data that may be written into; *value* is not."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    if hasattr(value, "items"):
        return {name: copied(item) for name, item in value.items()}
    return value


def refusal_of(error: Exception, provider: str) -> LLMRouterError:
    """Return our error for what LiteLLM's request building refused; nothing was sent."""
    said = sentence_of(error)
    if type(error).__name__ == "UnsupportedParamsError":
        hint = "Leave it out, or ask another deployment."
        return UnsupportedFeatureError(said, provider=provider, hint=hint)
    return InvalidRequestError(f"No request could be built: {said}", provider=provider)


def sentence_of(error: BaseException) -> str:
    """Return the provider's own words in *error*, without what LiteLLM puts around them."""
    text = str(getattr(error, "message", None) or error)[:_LONGEST_SENTENCE].strip()
    for appendix in _APPENDICES:
        text = text.partition(appendix)[0].rstrip()
    while (found := _PREFIX.match(text)) and any(w in found[0] for w in _WORDS_BEFORE_SENTENCE):
        text = text[found.end() :]
    return text or type(error).__name__


def given_options(request: ProviderRequest, kind: str, supported: frozenset[str]) -> dict[str, Any]:
    """Return the options of *request* but `extra_body`, by LiteLLM's names.

    *supported* are those that LiteLLM lists for the model. Raises UnsupportedFeatureError for a
    way of reasoning that it has no word for.
    """
    refuse_ours(request.extra_body)
    asked = dict(request.params)
    reasoning = normalise_reasoning(asked.pop("reasoning", None))
    if reasoning:
        asked |= litellm_reasoning(reasoning, kind, supported)
    if request.user is not None:
        asked["user"] = request.user
    return asked


def _is_other_number(asked: Any, sent: Any) -> bool:
    return isinstance(asked, int | float) and asked != sent


def _azure_url(row: ProviderConfig, model: str) -> str:
    """Return Azure's address of a deployment; a base URL that ends in `/v1` needs no version."""
    if row.base_url is None:
        raise ValueError("Azure's address is a resource of your own")
    if row.base_url.endswith("/v1"):
        return f"{row.base_url}/chat/completions"
    version = row.api_version or AZURE_API_VERSION
    base = f"{row.base_url.removesuffix('/openai')}/openai/deployments/{quote(model)}"
    return f"{base}/chat/completions?api-version={version}"
