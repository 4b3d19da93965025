"""What a chat call returns: Completion and its parts. All frozen; None means that nobody said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from llm_router.answers.answer import Answer, clipped

if TYPE_CHECKING:
    from collections.abc import Mapping

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool the model wants called."""

    id: str | None = None
    name: str
    arguments: dict[str, Any] | None = None
    """The arguments as an object; None when the text cannot be read as one JSON object."""
    raw_arguments: str = ""
    """The wire's own text; "" when the wire had no arguments (then `arguments` is {})."""
    complete: bool = True
    """False when the answer was cut by its length: do not execute a cut call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source the answer cites (`annotations` of type `url_citation`)."""

    url: str
    title: str | None = None
    content: str | None = None
    start_index: int | None = None
    end_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A generated image."""

    url: str
    """A data URL or an https URL, as it came."""

    @property
    def media_type(self) -> str | None:
        """The media type of a data URL, else None."""
        head = self.url.partition(",")[0]
        return head[5:].partition(";")[0] or None if head.startswith("data:") else None

    def data(self) -> bytes:
        """Return the bytes of a base64 data URL; ValueError for anything else."""
        import base64

        head, comma, body = self.url.partition(",")
        if not (comma and head.startswith("data:") and head.endswith(";base64")):
            raise ValueError("not a base64 data URL: fetch it from `.url`")
        return base64.b64decode(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Generated speech: base64 `data`, its `transcript`, and the id to refer to it next turn."""

    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Completion(Answer):
    """A whole chat answer."""

    text: str = ""
    reasoning: str | None = None
    """The reasoning text of the message itself, never rebuilt from `reasoning_details`."""
    reasoning_details: tuple[Mapping[str, Any], ...] = ()
    """As the wire sent them; `as_message()` sends them back unchanged and in order."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    citations: tuple[Citation, ...] = ()
    annotations: tuple[Mapping[str, Any], ...] = ()
    """The wire's annotations whole: url citations, and parsed files (which save a second parse)."""
    images: tuple[Image, ...] = ()
    audio: Audio | None = None
    logprobs: Mapping[str, Any] | None = None
    finish_reason: FinishReason = "unknown"
    native_finish_reason: str | None = None
    """The upstream's own word (`end_turn`, `MAX_TOKENS`, …)."""

    service_tier: str | None = None
    created: int | None = None
    """When the provider says it began, seconds since the epoch."""
    time_to_first_token_ms: float | None = None

    def as_message(self) -> dict[str, Any]:
        """Return the assistant turn for the next call, lossless, in the shape of the wire.

        The text of a call's arguments is the wire's own, also where it was empty or cut.
        """
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if not self.tool_calls and self.refusal is None:
            message["content"] = self.text
        optional: dict[str, Any] = {
            "reasoning": self.reasoning,
            "refusal": self.refusal,
            "reasoning_details": list(self.reasoning_details),
            "annotations": list(self.annotations),
            "tool_calls": [_tool_call_message(call) for call in self.tool_calls],
            "images": [{"type": "image_url", "image_url": {"url": i.url}} for i in self.images],
            "audio": {"id": self.audio.id} if self.audio and self.audio.id else None,
        }
        return message | {name: value for name, value in optional.items() if value}

    def payload(self) -> Mapping[str, Any] | None:
        """Return the assistant turn."""
        return self.as_message()

    def gist(self) -> str:
        said = self.text or self.refusal or ""
        calls = [f"{call.name}(…)" for call in self.tool_calls]
        return " ".join([*([repr(clipped(said))] if said or not calls else []), *calls])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ParsedCompletion(Completion, Generic[T]):
    """A Completion whose text was read into an object of the schema that was asked for."""

    parsed: T
    mode_used: str
    """How the schema was asked for: "json_schema", "tool", "json_object" or "prompt"."""
    reasks: int = 0
    """How many answers had to be asked for again because they did not fit."""
    repairs: int = 0
    """How many steps it took to find the object in the text; 0 when it was plain JSON."""

    def gist(self) -> str:
        return clipped(repr(self.parsed))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `parsed` as pydantic writes it."""
        from pydantic_core import to_jsonable_python

        # super() does not work here: a dataclass with slots is another class than this body's.
        parsed = to_jsonable_python(self.parsed, fallback=str)
        return {**Completion.to_dict(self), "parsed": parsed}


def _tool_call_message(call: ToolCall) -> dict[str, Any]:
    # The wire's own text, also where it was empty: what is sent back is what was received.
    function = {"name": call.name, "arguments": call.raw_arguments}
    return {"id": call.id, "type": "function", "function": function}
