"""What the sandbox answers: a `Reply` as a test scripts it, or the one composed from the prompt."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_router.testing.billing import dumps, parts_of, text_of, texts_in, tokens_of
from llm_router.testing.operations import drawn, found, searches
from llm_router.testing.schema_instances import find_schema, instance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.testing.catalog import Output, SandboxModel

UsageChunk = Literal["repeated", "null", "empty", "absent"]

_NATIVE_REASONS = {
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"},
    "google": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"},
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request to a model as the sandbox received it; what `match` functions look at."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    """The model id asked for: of a `models` list, the one whose turn it is."""
    output: Output = "text"
    """What is asked for: the output modality of the models that serve it."""

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.body.get("messages") or ()

    @property
    def prompt(self) -> str:
        """The text of the last user message, or all texts of another operation."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _text_of(message)
        return " ".join(texts_in(self.body))

    @property
    def wants_reasoning(self) -> bool:
        asked = self.body.get("reasoning")
        if isinstance(asked, dict):
            return bool(asked) and asked.get("enabled", True) and asked.get("effort") != "none"
        effort = self.body.get("reasoning_effort")
        return effort not in (None, "none") or bool(self.body.get("include_reasoning"))

    @property
    def shows_reasoning(self) -> bool:
        asked = self.body.get("reasoning")
        return not (isinstance(asked, dict) and asked.get("exclude"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scripted answer. Everything left out is as the sandbox would answer by itself.

    >>> Reply(text="Paris", usage={"prompt_tokens": 12}, provider="Azure", delay=0.1)
    >>> Reply(tool_calls=[{"name": "weather", "arguments": {"city": "Oslo"}}])
    >>> Reply(text="a b c", chunks=["a ", "b ", "c"])
    >>> Reply(raw_body=b'{"id": "gen-1", "choices": []}')
    """

    text: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    """Each `{"name", "arguments": dict | str, "id"?}`, or in the wire's own shape."""
    reasoning: str | None = None
    reasoning_details: Sequence[Mapping[str, Any]] | None = None
    refusal: str | None = None
    annotations: Sequence[Mapping[str, Any]] | None = None
    images: Sequence[Mapping[str, Any]] | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the message, laid over the others, such as `{"content": None}`."""
    logprobs: Mapping[str, Any] | None = None
    finish_reason: str | None = "auto"
    native_finish_reason: str | None = "auto"
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the wire's `usage`. Token counts given here are what is billed, unless `cost` is
    given too, which then is the bill."""
    byok: bool = False
    """Whether the caller's own key paid: `cost` is the fee, 0, and the bill is the upstream's."""
    provider: str | None = None
    """Display name of the upstream provider, such as "Amazon Bedrock"."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More top-level fields of the body, and of each chunk, such as `service_tier` or `model`."""
    omit: Sequence[str] = ()
    """Paths left out of the body, such as "usage.cost", "provider", "system_fingerprint"."""
    chunks: int | Sequence[str] | None = None
    """In a stream: the pieces of the text, or how many; by default a piece is a word."""
    usage_chunk: UsageChunk = "repeated"
    """The last chunk: finish reason repeated (since 2026), null (2025), no choices, no chunk."""
    comments: int = 1
    """Keep-alive comments in a stream: one at the start, the others between the chunks."""
    padding: int | None = None
    """Blocks of keep-alive whitespace before a JSON body; None is the sandbox's `padding`."""
    delay: float = 0.0
    """Seconds before the answer. With padding, or in a stream, the 200 is committed before it."""
    chunk_delay: float = 0.0
    """Seconds between two chunks, or between two pieces of `raw_body`."""
    raw_body: str | bytes | Sequence[bytes] | None = None
    """Sent instead of an answer, and not billed; a list goes out piece by piece."""
    status: int = 200
    """Status of a `raw_body`."""
    content_type: str | None = None
    """Content type of a `raw_body`; by default JSON or an event stream, as was asked for."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def completed(self, request: ChatRequest, model: SandboxModel) -> Reply:
        """Fill in what the script left out."""
        content = (self.text, self.tool_calls, self.refusal, self.images)
        if any(part is not None for part in content) or "content" in self.message:
            return self
        composed = compose(request, model, words=self.chunks)
        given: dict[str, Any] = {} if self.reasoning is None else {"reasoning": self.reasoning}
        for name in ("finish_reason", "native_finish_reason"):
            if getattr(self, name) != "auto":
                given[name] = getattr(self, name)
        written = ("text", "tool_calls", "reasoning", "finish_reason", "native_finish_reason")
        if searches(request.body) and self.annotations is None:
            given["annotations"] = found(request.prompt)
        if "image" in (request.body.get("modalities") or ()):
            given["images"] = drawn(request.prompt)
        return replace(self, **({name: getattr(composed, name) for name in written} | given))

    def finish(self, model: SandboxModel) -> tuple[str | None, str | None]:
        """Return the finish reason and the provider's own word for it."""
        reason, native = self.finish_reason, self.native_finish_reason
        if reason == "auto":
            reason = "tool_calls" if self.tool_calls else "stop"
        if native == "auto":
            native = reason and _NATIVE_REASONS.get(model.author, {}).get(reason, reason)
        return reason, native

    def content_message(self, request: ChatRequest, model: SandboxModel) -> dict[str, Any]:
        """Return the assistant message of the wire."""
        reasoning = self.reasoning if request.shows_reasoning else None
        details = self.reasoning_details
        if details is None and reasoning is not None:
            details = reasoning_details(reasoning, model)
        message = {
            "role": "assistant",
            "content": (self.text or "") if self.refusal is None else None,
            "refusal": self.refusal,
            "reasoning": reasoning,
        }
        optional = {
            "reasoning_details": details,
            "tool_calls": [_wire_call(i, call) for i, call in enumerate(self.tool_calls or ())],
            "annotations": self.annotations,
            "images": self.images,
        }
        kept = {key: list(value) for key, value in optional.items() if value}
        return {**message, **kept, **self.message}


def compose(request: ChatRequest, model: SandboxModel, words: Any = None) -> Reply:
    """Compose the deterministic answer: a tool call, JSON, or a text about the prompt."""
    reasoning = None
    if request.wants_reasoning and "reasoning" in model.supports:
        reasoning = f"The question is: {_first_words(request.prompt)}. I answer it directly."
    calls = _tool_calls(request)
    if calls:
        return _within_limit(Reply(text="", tool_calls=calls, reasoning=reasoning), request.body)
    text = _answer_text(request, model)
    missing = (words if isinstance(words, int) else 0) - len(text.split())
    text += "".join(f" word{n}" for n in range(1, missing + 1))
    return _within_limit(Reply(text=text, reasoning=reasoning), request.body)


def _answer_text(request: ChatRequest, model: SandboxModel) -> str:
    form = request.body.get("response_format") or {}
    kind = form.get("type")
    if kind == "json_schema" and "structured_outputs" in model.supports:
        return dumps(instance(form["json_schema"].get("schema") or {"type": "object"}))
    wants_json = kind in ("json_object", "json_schema") and "response_format" in model.supports
    schema = find_schema(" ".join(_text_of(message) for message in request.messages))
    if schema is not None:
        text = dumps(instance(schema))
        return text if wants_json else f"Here it is:\n\n```json\n{text}\n```"
    if wants_json:
        return dumps({"answer": _first_words(request.prompt)})
    if _is_tool_result(request):
        return f"The tool answered: {_first_words(_text_of(request.messages[-1]))}"
    return f"This is the sandbox's answer to: {_first_words(request.prompt)}"


def _is_tool_result(request: ChatRequest) -> bool:
    return bool(request.messages) and request.messages[-1].get("role") == "tool"


def _first_words(text: str, limit: int = 120) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " …"


def _tool_calls(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the calls this request asks for: a required or named tool, or one the prompt names."""
    body = request.body
    tools = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    choice = body.get("tool_choice") or "auto"
    if not tools or choice == "none" or _is_tool_result(request):
        return []
    if isinstance(choice, dict):
        named = choice["function"]["name"] if choice["type"] == "function" else None
        wanted = [tool for tool in tools if tool["name"] == named]
    else:
        wanted = [tool for tool in tools if _names(request.prompt, tool["name"])]
        if choice == "required":
            wanted = wanted or tools[:1]
    if body.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [
        {"name": tool["name"], "arguments": instance(tool.get("parameters") or {"type": "object"})}
        for tool in wanted
    ]


def _names(prompt: str, tool: str) -> bool:
    prompt = prompt.lower()
    return tool.lower() in prompt or tool.lower().replace("_", " ") in prompt


def _within_limit(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """Cut a composed answer at `max_tokens`, as a real model does, tool arguments included."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    calls = [_wire_call(i, call) for i, call in enumerate(reply.tool_calls or ())]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    written = (reply.reasoning or "") + (reply.text or "") + arguments
    if not limit or tokens_of(len(written)) <= limit:
        return reply
    room = 4 * limit
    cut = replace(reply, reasoning=reply.reasoning and reply.reasoning[:room])
    room -= len(cut.reasoning or "")
    if not calls:
        return replace(cut, text=(reply.text or "")[:room], finish_reason="length")
    calls[0]["function"]["arguments"] = calls[0]["function"]["arguments"][:room]
    # As recorded: a truncated call is still labelled `tool_calls`; only the native reason tells.
    return replace(cut, tool_calls=calls[:1], native_finish_reason="max_output_tokens")


def reasoning_details(text: str, model: SandboxModel) -> list[dict[str, Any]]:
    """Return reasoning as a model of this author details it."""
    signature = secrets.token_urlsafe(24)
    if model.author == "openai":
        form = {"format": "openai-responses-v1"}
        return [
            {"type": "reasoning.summary", "summary": text, "index": 0, **form},
            {"type": "reasoning.encrypted", "data": signature, "id": "rs_1", "index": 1, **form},
        ]
    shown = {"type": "reasoning.text", "text": text, "index": 0}
    if model.author == "anthropic":
        return [shown | {"signature": signature, "format": "anthropic-claude-v1"}]
    return [shown | {"format": "google-gemini-v1" if model.author == "google" else None}]


def _wire_call(index: int, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call in the wire's shape; without `arguments` where the script has none."""
    identity = {"id": call.get("id") or f"call_{secrets.token_hex(12)}", "type": "function"}
    if "function" in call:
        return {"index": index, **identity, **call, "function": dict(call["function"])}
    function = {"name": call["name"]}
    if "arguments" in call:
        given = call["arguments"]
        function["arguments"] = given if isinstance(given, str) else json.dumps(given)
    return {"index": index, **identity, "function": function}


def _text_of(message: Mapping[str, Any]) -> str:
    return " ".join(text_of(part) for part in parts_of(message))
