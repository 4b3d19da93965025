"""What is sent to providers whose wire is not OpenAI's, by LiteLLM's configuration of each.

LiteLLM writes the bodies. Addresses, keys, and whatever it loses on the way are ours:

- an option must change the body, else it is an UnsupportedFeatureError before anything is sent.
  No name of ours goes out as it is (`extra_body` does), and no tool under another name;
- what every provider does unasked (`tool_choice: auto`, calls in parallel) may be asked for where
  the wire has no word for it: nothing is sent;
- media by URL are sent to providers that fetch them, and refused elsewhere: LiteLLM would fetch
  them from here. Kinds of parts that it would leave out are refused as well;
- what an answer gave to be sent back (`reasoning_details`, described in each wire) goes back
  unchanged, into the place it had. What another wire gave is left out.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from llm_router.errors import ConfigurationError, UnsupportedFeatureError
from llm_router.options.reasoning import normalise_reasoning
from llm_router.providers.aws import BEARER_VARIABLE, REGION_VARIABLES, SigV4, region_of
from llm_router.providers.caching import marked_messages
from llm_router.providers.http import Secret
from llm_router.providers.importing import quiet
from llm_router.providers.requests import (
    STAND_IN,
    Prepared,
    by_litellm,
    config_of,
    copied,
    dressed,
    given_options,
    messages_for,
    sentence_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Message, ProviderRequest
    from llm_router.providers.requests import Signature

_KEPT = 256
# Tools are looked for in the body; any limit is sent, also one that LiteLLM would set by itself.
_NEVER_LOST = frozenset({"tools", "max_tokens", "max_completion_tokens"})
_UNASKED = {"tool_choice": "auto", "parallel_tool_calls": True}
_ABOUT_TOOLS = ("tool_choice", "parallel_tool_calls")
_SOME_MESSAGES = [{"role": "user", "content": "x"}]
_SOME_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class _Target:
    """What does not change from call to call of one model."""

    config: Any
    """LiteLLM's configuration object for it."""
    headers: Mapping[str, str]
    supported: frozenset[str]
    """The options that LiteLLM lists for it."""


class ForeignBuilder:
    """The Builder of a row; each kind of provider is a subclass. Making one blocks: in a thread."""

    own_address: ClassVar[str]
    path: ClassVar[str]
    """What follows the host; a `base_url` may have the beginning of it, or all."""
    variables: ClassVar[tuple[str, ...]] = ()
    """Where the environment may have a key for the provider's own address."""
    format: ClassVar[str | None] = None
    """The name of the wire in `reasoning_details`; None where nothing goes back."""
    takes: ClassVar[frozenset[str]] = frozenset({"text", "image_url"})
    """The kinds of parts that a message may have."""
    named: ClassVar[Mapping[str, str]] = {}
    """What the wire has and LiteLLM does not map, or maps to something else: by its name there."""
    streamed: ClassVar[Mapping[str, Any]] = {"stream": True}
    """What the body of a stream has more."""

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        self._litellm, self._row, self._name = litellm, row, name
        self._kind = row.kind(name)
        self.key = Secret(row.key or self._key_of_the_environment())
        self.address = row.base_url or self.own_address
        self.sign: Signature | None = None
        self._targets = lru_cache(_KEPT)(self._target)
        self._carries = lru_cache(_KEPT)(self._is_carried)

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request for the model and the options that were asked for."""
        model, kept, added = request.model, list[Any](), dict[str, str]()
        asked = self._asked(request)
        messages = self._messages(request, asked, kept)
        self._refuse_lost(model, asked)
        body = self._written(model, messages, asked, added)
        self._refuse_lost_tools(body, asked)
        self._restore(body, kept)
        if request.stream:
            body |= self.streamed
        body |= request.extra_body
        url = self._url(model, stream=request.stream)
        return Prepared(url, self._headers(model, added), body, self.sign)

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        """Return the URL of a chat with *model*, and the headers of any request about it."""
        return self._url(model, stream=False), self._targets(model).headers

    # --- where, and who asks ---

    def _key_of_the_environment(self) -> str:
        if self._row.base_url is not None:
            return ""
        return next((key for name in self.variables if (key := os.environ.get(name))), "")

    def _url(self, model: str, *, stream: bool) -> str:
        return joined(self.address, self.path)

    def _target(self, model: str) -> _Target:
        with quiet():
            config = self._config(model)
            headers = dressed(self._found_headers(config, model), self.key, self._row)
            supported = frozenset(config.get_supported_openai_params(model) or ())
        return _Target(config, headers, supported)

    def _config(self, model: str) -> Any:
        return config_of(self._litellm, self._kind, model)

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        found: dict[str, str] = config.validate_environment(
            {}, model, [], {}, {}, api_key=STAND_IN, api_base=self.address
        )
        return _JSON | found

    def _headers(self, model: str, added: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers; *added* is what LiteLLM adds for this very body."""
        return self._targets(model).headers

    # --- options ---

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        """Return the options by OpenAI's names, checked as far as they are alike everywhere."""
        asked = given_options(request, self._kind, self._targets(request.model).supported)
        if isinstance(asked.get("stop"), str):
            asked["stop"] = [asked["stop"]]
        limits = asked.get("max_tokens"), asked.get("max_completion_tokens")
        if None not in limits and len(set(limits)) > 1:
            raise self._unserved("max_tokens beside max_completion_tokens")
        for name in _ABOUT_TOOLS if not asked.get("tools") else ():
            if name in asked:
                raise self._unserved(f"{name} without tools")
        return asked

    def _mapped(self, model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return options by the provider's names for them, as the configuration takes them."""
        change = self._targets(model).config.map_openai_params
        given = {n: copied(value) for n, value in asked.items() if n not in self.named}
        mapped: dict[str, Any] = by_litellm(self._name, change, given, {}, model, False)
        self._check_reasoning(asked, mapped)
        self._correct(mapped, asked)
        return mapped | {self.named[n]: copied(asked[n]) for n in asked if n in self.named}

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """Put right what LiteLLM made of *asked*."""

    def _check_reasoning(self, asked: Mapping[str, Any], mapped: Mapping[str, Any]) -> None:
        """Raise UnsupportedFeatureError where LiteLLM turned a level or a budget into another."""
        thinking = mapped.get("thinkingConfig") or mapped.get("thinking") or {}
        budget = (asked.get("thinking") or {}).get("budget_tokens")
        if budget is not None and budget not in thinking.values():
            raise self._unserved("a reasoning budget")
        effort = asked.get("reasoning_effort")
        level = thinking.get("thinkingLevel") or (mapped.get("output_config") or {}).get("effort")
        if effort is not None and level not in (None, effort):
            raise self._unserved(f"reasoning {effort!r} (it would be {level!r})")

    def _refuse_lost(self, model: str, asked: Mapping[str, Any]) -> None:
        for name, value in asked.items():
            if name in _NEVER_LOST or _UNASKED.get(name) == value:
                continue
            if not self._carries(model, name, json.dumps(copied(value)), "tools" in asked):
                raise self._unserved(name)

    def _is_carried(self, model: str, name: str, value: str, with_tools: bool) -> bool:
        """Return whether a small body is another one with the option; *value* is JSON."""
        without: dict[str, Any] = {"tools": [_SOME_TOOL]} if with_tools else {}
        asked = without | {name: json.loads(value)}
        bodies = [self._written(model, _SOME_MESSAGES, one, {}) for one in (asked, without)]
        return bodies[0] != bodies[1]

    def _refuse_lost_tools(self, body: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        """Raise where a tool is not in the body by its own name (a function) or type."""
        declared = self._declared(body) if "tools" in asked else ()
        for tool in asked.get("tools") or ():
            name = (tool.get("function") or {}).get("name") or tool.get("type")
            if name not in declared:
                raise self._unserved(f"a tool called {name!r}")

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        return {tool["function"]["name"] for tool in body["tools"] if tool.get("function")}

    def _unserved(self, what: str, hint: str | None = None) -> UnsupportedFeatureError:
        return UnsupportedFeatureError(
            f"{self._kind} takes no {what}",
            provider=self._name,
            hint=hint or "Leave it out, or ask another deployment.",
        )

    # --- messages ---

    def _messages(
        self, request: ProviderRequest, asked: dict[str, Any], kept: list[Any]
    ) -> list[dict[str, Any]]:
        """Return copies of the messages in the form in which LiteLLM takes them.

        *asked* gets the tools as they are marked for caching, *kept* what `_restore` needs.
        """
        marked = marked_messages(request, self._author(request.model), asked)
        turns = messages_for(marked)
        for message, turn in zip(marked, turns, strict=True):
            self._check_parts(turn)
            if turn.get("role") == "developer":
                turn["role"] = "system"
            for call in turn.get("tool_calls") or ():
                call["function"]["arguments"] = call["function"].get("arguments") or "{}"
            details = message.get("reasoning_details") or ()
            own = [copied(one) for one in details if one.get("format") == self.format]
            self._adapt(message, turn, own, kept)
        return turns

    def _author(self, model: str) -> str:
        """Return `author/model`, by which the rule of cache breakpoints knows models."""
        return f"anthropic/{model}" if "claude" in model else ""

    def _check_parts(self, turn: Mapping[str, Any]) -> None:
        content = turn.get("content")
        for part in content if isinstance(content, list) else ():
            kind = part.get("type")
            if kind not in self.takes:
                raise self._unserved(f"{kind} in messages")
            held = part.get(kind)
            names = ("url", "file_data", "file_id")
            urls = [held.get(name) for name in names] if isinstance(held, dict) else [held]
            for url in urls:
                if isinstance(url, str) and kind != "text" and "://" in url:
                    self._check_url(url)

    def _check_url(self, url: str) -> None:
        """Raise UnsupportedFeatureError for a URL that the provider does not fetch."""
        raise self._unserved("media by URL", hint="Send the bytes.")

    def _adapt(
        self, message: Message, turn: dict[str, Any], details: list[Any], kept: list[Any]
    ) -> None:
        """Put *details*, which *message* got from this wire, into *turn*; or into *kept*."""

    def _restore(self, body: dict[str, Any], kept: list[Any]) -> None:
        """Put what was kept into the finished body."""

    # --- the body ---

    def _written(
        self,
        model: str,
        messages: list[dict[str, Any]],
        asked: Mapping[str, Any],
        added: dict[str, str],
    ) -> dict[str, Any]:
        """Return the body; headers that belong to it are put into *added*."""
        transform = self._targets(model).config.transform_request
        where = {"api_base": self.address, "custom_llm_provider": self._kind}
        mapped = self._mapped(model, asked)
        body: dict[str, Any] = by_litellm(
            self._name, transform, model, messages, mapped, where, added
        )
        return body


class AnthropicBuilder(ForeignBuilder):
    """Requests of `/v1/messages`.

    A limit of tokens is a must there: without one LiteLLM's for the model is sent. Tools that
    were called earlier and are not among those of this call are named, and none may be called.
    """

    own_address = "https://api.anthropic.com"
    path = "/v1/messages"
    variables = ("ANTHROPIC_API_KEY",)
    format = "anthropic"
    takes = frozenset({"text", "image_url", "file", "document"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k"}

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        asked = super()._asked(request)
        if not asked.get("tools") and (past := past_tools(request.messages)):
            asked |= {"tools": past, "tool_choice": "none"}
        return asked

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        if "response_format" in asked:
            self._check_schema(mapped)

    def _check_schema(self, mapped: dict[str, Any]) -> None:
        """Raise where LiteLLM would ask for a tool call that only it turns back into text."""
        mapped.pop("json_mode", None)
        if not mapped.keys() & {"output_format", "output_config", "outputConfig"}:
            raise self._unserved("response_format", "Ask by a tool, as `parse` does.")

    def _check_url(self, url: str) -> None:
        if not url.startswith("https://"):
            super()._check_url(url)

    def _adapt(
        self, message: Message, turn: dict[str, Any], details: list[Any], kept: list[Any]
    ) -> None:
        if details:
            turn["thinking_blocks"] = [_without_format(one) for one in details]
        content = turn.get("content")
        for part in content if isinstance(content, list) else ():
            file = part.get("file") or {}
            if "://" in file.get("file_data", ""):  # LiteLLM would fetch it
                part["file"] = {"file_id": file["file_data"], "format": "application/pdf"}

    def _written(
        self,
        model: str,
        messages: list[dict[str, Any]],
        asked: Mapping[str, Any],
        added: dict[str, str],
    ) -> dict[str, Any]:
        config, mapped = self._targets(model).config, self._mapped(model, asked)
        found = config.validate_environment({}, model, messages, mapped, {}, api_key=STAND_IN)
        body: dict[str, Any] = by_litellm(
            self._name, config.transform_request, model, messages, mapped, {}, found
        )
        added |= {name: value for name, value in found.items() if name == "anthropic-beta"}
        return body

    def _headers(self, model: str, added: Mapping[str, str]) -> Mapping[str, str]:
        """Add the betas that the body needs to those of the row."""
        headers = self._targets(model).headers
        beta = added.get("anthropic-beta")
        if not beta:
            return headers
        theirs = {n: value for n, value in headers.items() if n.lower() == "anthropic-beta"}
        joined_up = {n: Secret(f"{value},{beta}") for n, value in theirs.items()}
        return {**headers, **(joined_up or {"anthropic-beta": beta})}

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        return {tool[key] for tool in body["tools"] for key in ("name", "type") if key in tool}


class ConverseBuilder(AnthropicBuilder):
    """Requests of Bedrock's Converse, by a bearer key or signed.

    Without `tools` LiteLLM turns earlier calls into text: those that were called are named again.
    The wire has no word that forbids to call them.
    """

    variables = (BEARER_VARIABLE,)
    format = "converse"
    takes = frozenset({"text", "image_url", "file", "document"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k", "metadata": "requestMetadata"}
    streamed: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        super().__init__(litellm, row, name)
        region = region_of(row.region, row.base_url)
        self.sign = None if self.key or region is None else SigV4.found(region)
        if region is None and row.base_url is None:
            raise ConfigurationError(
                f"provider {name!r}: in which region is Bedrock asked?",
                hint=f"Set providers.{name}.region, or {REGION_VARIABLES[0]}.",
            )
        if row.base_url is None:
            self.address = f"https://bedrock-runtime.{region}.amazonaws.com"
            self._refuse_nobody()

    def _refuse_nobody(self) -> None:
        if not self.key and self.sign is None:
            raise ConfigurationError(
                f"provider {self._name!r}: there are no credentials for Bedrock",
                hint=f"Set {BEARER_VARIABLE}, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )

    def _url(self, model: str, *, stream: bool) -> str:
        # A colon stays: aiohttp would write an encoded one as it was, and AWS sign another path.
        name = quote(model.removeprefix("converse/"), safe=":")
        return f"{self.address}/model/{name}/converse{'-stream' if stream else ''}"

    def _config(self, model: str) -> Any:
        return self._litellm.AmazonConverseConfig()

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        return {**_JSON, "Authorization": f"Bearer {STAND_IN}"}

    def _headers(self, model: str, added: Mapping[str, str]) -> Mapping[str, str]:
        return self._targets(model).headers

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        asked = ForeignBuilder._asked(self, request)
        if not asked.get("tools") and (past := past_tools(request.messages)):
            asked["tools"] = past
        return asked

    def _check_url(self, url: str) -> None:
        ForeignBuilder._check_url(self, url)

    def _adapt(
        self, message: Message, turn: dict[str, Any], details: list[Any], kept: list[Any]
    ) -> None:
        """Let LiteLLM place stand-ins: it would lose what is redacted."""
        stand_ins = []
        for detail in details:
            # What nobody signed nobody checks, and models that sign nothing refuse it.
            if "data" in detail or detail.get("signature"):
                stand_ins.append({"type": "thinking", "thinking": f"{len(kept)}", "signature": "-"})
                kept.append(_reasoning_content(detail))
        if stand_ins:
            turn["thinking_blocks"] = stand_ins

    def _restore(self, body: dict[str, Any], kept: list[Any]) -> None:
        for message in body["messages"] if kept else ():
            for block in message["content"]:
                if "reasoningContent" in block:
                    place = int(block["reasoningContent"]["reasoningText"]["text"])
                    block["reasoningContent"] = kept[place]

    def _written(
        self,
        model: str,
        messages: list[dict[str, Any]],
        asked: Mapping[str, Any],
        added: dict[str, str],
    ) -> dict[str, Any]:
        body = ForeignBuilder._written(self, model, messages, asked, added)
        if "tool_choice" in asked:  # LiteLLM asks for another one beside thinking
            chosen = self._mapped(model, {"tool_choice": asked["tool_choice"]})
            body["toolConfig"]["toolChoice"] = chosen["tool_choice"]
        return body

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        tools = body["toolConfig"]["tools"]
        return {tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool}


class GeminiBuilder(ForeignBuilder):
    """Requests of `generateContent` at the Gemini API."""

    own_address = "https://generativelanguage.googleapis.com"
    path = "/v1beta"
    variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    format = "gemini"
    takes = frozenset({"text", "image_url", "input_audio", "file", "video_url"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k"}
    streamed: ClassVar[Mapping[str, Any]] = {}
    uploaded: ClassVar[tuple[str, ...]] = (
        "https://generativelanguage.googleapis.com/v1beta/files/",
        "https://www.youtube.com/",
        "https://youtu.be/",
    )
    """What the provider reads by itself."""

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        super().__init__(litellm, row, name)
        with quiet():
            from litellm.llms.vertex_ai.gemini import transformation
        self._transform = transformation._transform_request_body

    def _url(self, model: str, *, stream: bool) -> str:
        base = self.address if re.search(r"/v\d\w*$", self.address) else self.address + self.path
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{base}/{self._place(model)}:{verb}"

    def _place(self, model: str) -> str:
        name = quote(model)
        return name if "/" in model else f"models/{name}"

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        return {**_JSON, "x-goog-api-key": STAND_IN}

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        if "temperature" not in asked:  # LiteLLM has one of its own for newer models
            mapped.pop("temperature", None)

    def _check_url(self, url: str) -> None:
        if not url.startswith(self.uploaded):
            super()._check_url(url)

    def _adapt(
        self, message: Message, turn: dict[str, Any], details: list[Any], kept: list[Any]
    ) -> None:
        content = turn.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "video_url":  # which LiteLLM would leave out
                url = part.pop("video_url")["url"]
                video = {"file_data": url} if url.startswith("data:") else _video(url)
                part |= {"type": "file", "file": video}
        if message.get("role") == "assistant" and message.get("images"):
            turn["images"] = copied(message["images"])
        for call in turn.get("tool_calls") or ():
            # Of two calls that are alike LiteLLM would leave one out.
            kept.append(call["function"]["arguments"])
            call["function"]["arguments"] = json.dumps({"place": len(kept) - 1})
        ...

    def _written(
        self,
        model: str,
        messages: list[dict[str, Any]],
        asked: Mapping[str, Any],
        added: dict[str, str],
    ) -> dict[str, Any]:
        mapped = self._mapped(model, asked)
        body: dict[str, Any] = by_litellm(
            self._name, self._transform, messages, model, mapped, self._provider, {}, None
        )
        return body
