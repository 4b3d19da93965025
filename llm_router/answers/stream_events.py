"""The typed events of a stream, in the order the wire gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.completion import Citation, FinishReason, Image
    from llm_router.usage import Cost, Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More reasoning text; `details` are the wire's fragments that came with it."""

    text: str
    details: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of the sentence with which the model refuses."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of the tool call at `index`; `id` and `name` are given when they are known."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CitationDelta:
    """A source was cited."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class ImageDelta:
    """An image is whole."""

    image: Image


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """More audio: base64 `data`, or more of its `transcript`."""

    data: str | None = None
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The bill of this attempt; it comes near the end."""

    usage: Usage
    cost: Cost


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer ended."""

    finish_reason: FinishReason
    native_finish_reason: str | None = None


StreamEvent = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | CitationDelta
    | ImageDelta
    | AudioDelta
    | UsageReport
    | Finish
)
