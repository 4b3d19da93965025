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

import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from llm_router.answers.completion import Completion
from llm_router.errors import UnsupportedFeatureError
from llm_router.options.reasoning import normalise_reasoning
from llm_router.providers.caching import authored, marked_messages
from llm_router.providers.http import STAND_IN
from llm_router.providers.importing import load_here, quiet
from llm_router.providers.native import NativeProvider
from llm_router.providers.requests import (
    Prepared,
    by_litellm,
    config_of,
    copied,
    dressed,
    given_options,
    is_plain,
    messages_for,
    parts_of,
)
from llm_router.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.answers.completion import ToolCall
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Message, ProviderRequest
    from llm_router.providers.native import A, Asked
    from llm_router.providers.requests import Builder, Signature
    from llm_router.wires.reading import Wire

_KEPT = 256
# Tools are looked for in the body; any limit is sent, also one that LiteLLM would set by itself.
_NEVER_LOST = frozenset({"tools", "max_tokens", "max_completion_tokens"})
_UNASKED = {"tool_choice": "auto", "parallel_tool_calls": True}
_ABOUT_TOOLS = ("tool_choice", "parallel_tool_calls")
_SCHEMAS = frozenset({"output_format", "output_config", "outputConfig"})
_SOME_MESSAGES = [{"role": "user", "content": "x"}]
_SOME_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_SOME_TURNS = [
    *_SOME_MESSAGES,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]
JSON_BODY = {"Content-Type": "application/json"}
_BETA = "anthropic-beta"
_COHERES = frozenset({"role", "content", "tool_calls", "tool_call_id"})


@dataclass(frozen=True, slots=True)
class _Target:
    """What does not change from call to call of one model."""

    config: Any
    """LiteLLM's configuration object for it."""
    headers: Mapping[str, str]
    supported: frozenset[str]
    """The options that LiteLLM lists for it."""


@dataclass(slots=True)
class Draft:
    """One request while it is written."""

    model: str
    asked: dict[str, Any]
    """The options by OpenAI's names."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    """What stand-ins in the messages stand for, until the body is finished."""
    added: dict[str, str] = field(default_factory=dict)
    """Headers that belong to this very body."""


class ForeignProvider(NativeProvider):
    """A provider row with a wire of its own, which is not OpenAI's."""

    def __init__(
        self, name: str, row: ProviderConfig, wire: Wire, builder: type[ForeignBuilder]
    ) -> None:
        super().__init__(name, row, wire)
        self._kind_of_builder = builder

    def _new_builder(self) -> Builder:
        builder = self._kind_of_builder(load_here(), self._row, self.name)
        builder.warm_up()
        return builder

    def _priced(self, answer: A, request: Asked) -> A:
        if isinstance(answer, Completion):
            answer = replace(answer, tool_calls=_with_ids(answer))
        return super()._priced(answer, request)


class ForeignBuilder:
    """The Builder of a row; each kind of provider is a subclass. Making one blocks: in a thread."""

    host: ClassVar[str]
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
    example: ClassVar[str]
    """A model that it has."""

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        self._litellm, self._row, self._name = litellm, row, name
        self._kind = row.kind(name)
        self.key = Secret(row.key or self._key_of_the_environment())
        self.address = row.base_url or self._own_address()
        self.sign: Signature | None = None
        self.keyed = bool(self.key or row.headers)
        self._targets = lru_cache(_KEPT)(self._target)
        self._carries = lru_cache(_KEPT)(self._is_carried)

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request for the model and the options that were asked for.

        What is of another shape than it was given in, in a conversation that was kept elsewhere,
        is refused like what LiteLLM refuses.
        """
        prepared: Prepared = by_litellm(self._name, self._prepared, request)
        return prepared

    def _prepared(self, request: ProviderRequest) -> Prepared:
        draft = Draft(request.model, self._asked(request))
        self._write_messages(draft, request)
        self._refuse_lost(draft)
        body = self._written(draft)
        self._refuse_lost_tools(draft, body)
        self._restore(draft, body)
        body |= {**(self.streamed if request.stream else {}), **request.extra_body}
        url = self._url(request.model, stream=request.stream)
        return Prepared(url, self._headers(draft), body, self.sign)

    def warm_up(self) -> None:
        """Have LiteLLM import, in this thread, what it imports when it first writes a body.

        It takes half a second for Claude. What goes wrong the first request will say.
        """
        with quiet(), contextlib.suppress(Exception):
            self._written(Draft(self.example, {"tools": [_SOME_TOOL]}, copied(_SOME_TURNS)))

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        """Return the URL of a chat with *model*, and the headers of any request about it."""
        return self._url(model, stream=False), self._targets(model).headers

    # --- where, and who asks ---

    def _own_address(self) -> str:
        return self.host

    def _key_of_the_environment(self) -> str:
        if self._row.base_url is not None:
            return ""
        return next((key for name in self.variables if (key := os.environ.get(name))), "")

    def _url(self, model: str, *, stream: bool) -> str:
        return joined(self.address, self.path)

    def _target(self, model: str) -> _Target:
        with quiet():
            config = self._config(model)
            headers = dressed(self._found_headers(config, model), self._row)
            supported = frozenset(config.get_supported_openai_params(model) or ())
        return _Target(config, headers, supported)

    def _config(self, model: str) -> Any:
        return config_of(self._litellm, self._kind, model)

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        found: dict[str, str] = config.validate_environment(
            {}, model, [], {}, {}, api_key=STAND_IN, api_base=self.address
        )
        return found if "content-type" in found else JSON_BODY | found

    def _headers(self, draft: Draft) -> Mapping[str, str]:
        return self._targets(draft.model).headers

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
        mapped: dict[str, Any] = change(given, {}, model, False)
        self._check_reasoning(asked, mapped)
        self._correct(mapped, asked)
        return mapped | {self.named[n]: copied(asked[n]) for n in asked if n in self.named}

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """Put right what LiteLLM made of *asked*."""

    def _require_schema(self, mapped: dict[str, Any]) -> None:
        """Raise where LiteLLM would ask for a tool call that only it turns back into text."""
        mapped.pop("json_mode", None)
        if not mapped.keys() & _SCHEMAS:
            raise self._unserved("response_format", "Ask by a tool, as `parse` does.")

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

    def _refuse_lost(self, draft: Draft) -> None:
        for name, value in draft.asked.items():
            if name in _NEVER_LOST or _UNASKED.get(name) == value:
                continue
            text = json.dumps(copied(value))
            if not self._carries(draft.model, name, text, "tools" in draft.asked):
                raise self._unserved(name)

    def _is_carried(self, model: str, name: str, value: str, with_tools: bool) -> bool:
        """Return whether a small body is another one with the option; *value* is JSON."""
        without: dict[str, Any] = {"tools": [_SOME_TOOL]} if with_tools else {}
        both = without | {name: json.loads(value)}, without
        bodies = [self._written(Draft(model, asked, [*_SOME_MESSAGES])) for asked in both]
        return bodies[0] != bodies[1]

    def _refuse_lost_tools(self, draft: Draft, body: Mapping[str, Any]) -> None:
        """Raise where a tool is not in the body by its own name (a function) or type."""
        tools = draft.asked.get("tools") or ()
        declared = self._declared(body) if tools else ()
        for tool in tools:
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

    def _write_messages(self, draft: Draft, request: ProviderRequest) -> None:
        """Write copies of the messages as LiteLLM takes them, and the marks for caching."""
        marked = marked_messages(request, authored(self._kind, request.model), draft.asked)
        draft.messages = messages_for(marked)
        for message, turn in zip(marked, draft.messages, strict=True):
            self._check_parts(turn)
            if turn.get("role") == "developer":
                turn["role"] = "system"
            for call in turn.get("tool_calls") or ():
                call["function"]["arguments"] = call["function"].get("arguments") or "{}"
            self._adapt(draft, turn, message)

    def _check_parts(self, turn: Mapping[str, Any]) -> None:
        for part in parts_of(turn):
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

    def _adapt(self, draft: Draft, turn: dict[str, Any], message: Message) -> None:
        """Put into *turn* what *message* got from this wire to be sent back."""

    def _own(self, message: Message) -> list[Mapping[str, Any]]:
        """Return what *message* got from this wire."""
        details = message.get("reasoning_details") or ()
        return [one for one in details if one.get("format") == self.format]

    # --- the body ---

    def _written(self, draft: Draft) -> dict[str, Any]:
        """Return LiteLLM's body."""
        transform = self._targets(draft.model).config.transform_request
        mapped = self._mapped(draft.model, draft.asked)
        where = {"api_base": self.address, "custom_llm_provider": self._kind}
        body: dict[str, Any] = transform(draft.model, draft.messages, mapped, where, draft.added)
        return body

    def _restore(self, draft: Draft, body: dict[str, Any]) -> None:
        """Put what was kept into the finished body."""


class AnthropicBuilder(ForeignBuilder):
    """Requests of Anthropic's `/v1/messages`.

    A limit of tokens is a must there: without one LiteLLM's for the model is sent. Tools that
    were called earlier are declared again in a call without tools, and none may be called.
    """

    host = "https://api.anthropic.com"
    example = "claude-sonnet-4-5"
    path = "/v1/messages"
    variables = ("ANTHROPIC_API_KEY",)
    format = "anthropic"
    takes = frozenset({"text", "image_url", "file", "document"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k"}

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        super().__init__(litellm, row, name)
        self._plain = lru_cache(_KEPT)(self._validated)

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        asked = without_thinking(super()._asked(request))
        if not asked.get("tools") and (past := past_tools(request.messages)):
            asked |= {"tools": past, "tool_choice": "none"}
        return asked

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        if "response_format" in asked:
            self._require_schema(mapped)

    def _check_url(self, url: str) -> None:
        if not url.startswith("https://"):
            super()._check_url(url)

    def _adapt(self, draft: Draft, turn: dict[str, Any], message: Message) -> None:
        if own := self._own(message):
            turn["thinking_blocks"] = [
                {name: copied(value) for name, value in detail.items() if name != "format"}
                for detail in own
            ]
        for part in parts_of(turn):
            file = part.get("file") or {}
            if "://" in file.get("file_data", ""):  # LiteLLM would fetch it, and passes this one
                part["file"] = {"file_id": file["file_data"]}

    def _written(self, draft: Draft) -> dict[str, Any]:
        """Return LiteLLM's body; what of the API is beta and in it goes into a header."""
        config, mapped = self._targets(draft.model).config, self._mapped(draft.model, draft.asked)
        if all(is_plain(turn) for turn in (*draft.messages, mapped)):
            # Nothing in it can be beta but the model: a third of what the body costs is spared.
            found = dict(self._plain(draft.model, tuple(mapped.items())))
        else:
            found = self._validated(draft.model, mapped, draft.messages)
        body: dict[str, Any] = config.transform_request(
            draft.model, draft.messages, mapped, {}, found
        )
        draft.added |= {name: value for name, value in found.items() if name == _BETA}
        return body

    def _validated(
        self, model: str, mapped: Any, messages: Sequence[Message] = _SOME_MESSAGES
    ) -> dict[str, str]:
        """Return the headers that LiteLLM has for a body."""
        found: dict[str, str] = self._targets(model).config.validate_environment(
            {}, model, messages, dict(mapped), {}, api_key=STAND_IN
        )
        return found

    def _headers(self, draft: Draft) -> Mapping[str, str]:
        headers, added = self._targets(draft.model).headers, draft.added
        if not added:
            return headers
        theirs = {n: value for n, value in headers.items() if n.lower() == _BETA}
        both = {n: Secret(f"{value},{added[_BETA]}") for n, value in theirs.items()}
        return {**headers, **(both or added)}

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        return {tool[key] for tool in body["tools"] for key in ("name", "type") if key in tool}


class CohereBuilder(ForeignBuilder):
    """Requests of Cohere's `/v2/chat`, whose words are those of its reference for the endpoint.

    One function can be forced where it is the only one.
    """

    host = "https://api.cohere.com"
    example = "command-a-03-2025"
    path = "/v2/chat"
    variables = ("COHERE_API_KEY", "CO_API_KEY")
    format = "cohere"
    named: ClassVar[Mapping[str, str]] = {
        "top_k": "k",
        "logprobs": "logprobs",
        "thinking": "thinking",
        "response_format": "response_format",
        "tool_choice": "tool_choice",
    }

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        reasoning, request = _reasoning_apart(request)
        asked = super()._asked(request)
        if reasoning is not None:
            asked["thinking"] = self._thinking(reasoning)
        if "response_format" in asked:
            asked["response_format"] = _cohere_format(asked["response_format"])
        if asked.get("tool_choice") == "auto":
            del asked["tool_choice"]
        elif "tool_choice" in asked:
            asked["tool_choice"] = self._choice(asked)
        return asked

    def _thinking(self, reasoning: Mapping[str, Any]) -> dict[str, Any]:
        if reasoning.keys() - {"effort", "enabled", "max_tokens"}:
            raise self._unserved("reasoning but True, False or a budget")
        if budget := reasoning.get("max_tokens"):
            return {"type": "enabled", "token_budget": budget}
        if reasoning.get("effort") not in (None, "none"):
            raise self._unserved("reasoning effort", "It can be True, False or a budget.")
        enabled = reasoning.get("enabled", "effort" not in reasoning)
        return {"type": "enabled" if enabled else "disabled"}

    def _choice(self, asked: Mapping[str, Any]) -> str:
        choice, tools = asked["tool_choice"], asked["tools"]
        if isinstance(choice, str):
            return choice.upper()
        if [tool.get("function", {}).get("name") for tool in tools] != [choice["function"]["name"]]:
            raise self._unserved("tool_choice of one tool among others")
        return "REQUIRED"

    def _check_url(self, url: str) -> None:
        """Accept it: Cohere fetches images."""

    def _adapt(self, draft: Draft, turn: dict[str, Any], message: Message) -> None:
        for name in turn.keys() - _COHERES:
            del turn[name]
        for detail in self._own(message):
            turn["tool_plan"] = detail["tool_plan"]


class OllamaBuilder(ForeignBuilder):
    """Requests of Ollama's `/api/chat`, which streams unless it is told not to."""

    host = "http://localhost:11434"
    example = "llama3.2"
    path = "/api/chat"
    named: ClassVar[Mapping[str, str]] = {
        "top_k": "top_k",
        "min_p": "min_p",
        "frequency_penalty": "frequency_penalty",
        "presence_penalty": "presence_penalty",
        "repetition_penalty": "repeat_penalty",
        "think": "think",
    }

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        reasoning, request = _reasoning_apart(request)
        asked = super()._asked(request)
        if reasoning is not None:
            asked["think"] = self._think(reasoning, request.model)
        return asked

    def _think(self, reasoning: Mapping[str, Any], model: str) -> bool | str:
        """Return how much to think: gpt-oss takes levels, and only levels; the others none."""
        effort = reasoning.get("effort")
        if reasoning.keys() - {"effort", "enabled"}:
            raise self._unserved("reasoning but True, False or an effort")
        if effort in (None, "none"):
            return bool(reasoning.get("enabled", effort is None))
        if "gpt-oss" not in model:
            raise self._unserved(f"reasoning effort for {model}", "It can only be True there.")
        return str(effort)


def _with_ids(answer: Completion) -> tuple[ToolCall, ...]:
    """Return the calls, each with an id by which its result can refer to it.

    Older models of Gemini and older servers of Ollama give none, and need none back.
    """
    stem = answer.response_id or answer.created or "unknown"
    return tuple(
        call if call.id else replace(call, id=f"call_{stem}_{place}")
        for place, call in enumerate(answer.tool_calls)
    )


def joined(base: str, path: str) -> str:
    """Return *path* at *base*, which may end with the beginning of it."""
    ends = [place for place, letter in enumerate(path) if letter == "/" and place] + [len(path)]
    shared = next((end for end in reversed(ends) if base.endswith(path[:end])), 0)
    return base + path[shared:]


def without_thinking(asked: dict[str, Any]) -> dict[str, Any]:
    """Return options of Claude which say that it shall not think; LiteLLM would say nothing."""
    if asked.get("reasoning_effort") == "none":
        del asked["reasoning_effort"]
        asked["thinking"] = {"type": "disabled"}
    return asked


def past_tools(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return declarations of the functions that *messages* call, of which only names are known."""
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    names = dict.fromkeys(call["function"]["name"] for call in calls)
    schema = {"type": "object", "properties": {}}
    return [{"type": "function", "function": {"name": n, "parameters": schema}} for n in names]


def _reasoning_apart(
    request: ProviderRequest,
) -> tuple[dict[str, Any] | None, ProviderRequest]:
    """Return what is asked of reasoning, and the request without it."""
    params = dict(request.params)
    reasoning = normalise_reasoning(params.pop("reasoning", None))
    return reasoning, replace(request, params=params)


def _cohere_format(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    if asked.get("type") != "json_schema":
        return asked
    return {"type": "json_object", "json_schema": asked["json_schema"]["schema"]}
