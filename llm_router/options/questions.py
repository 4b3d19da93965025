"""What is asked of a model beside chat, one class a question; who makes one checks its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.options.parts import ImagePart

ImageQuality = Literal["auto", "low", "medium", "high", "xhigh", "max"]
SpeechFormat = Literal["mp3", "pcm"]
Timestamps = Literal["segment", "word"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedQuestion:
    """Texts to be turned into vectors."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    input_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankQuestion:
    """Documents to be put in the order in which they answer a query."""

    query: str
    documents: tuple[str, ...]
    top_n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuestion:
    """A picture to be made."""

    prompt: str
    n: int | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    quality: ImageQuality | None = None
    references: tuple[ImagePart, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return what records keep: of the references their number."""
        return {
            "prompt": self.prompt,
            "n": self.n,
            "size": self.size,
            "aspect_ratio": self.aspect_ratio,
            "quality": self.quality,
            "references": len(self.references),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechQuestion:
    """Text to be spoken."""

    text: str
    voice: str | None = None
    format: SpeechFormat = "mp3"
    speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionQuestion:
    """Sound to be written down."""

    audio: Mapping[str, str]
    """`data`, which is base64, and `format`, as OpenAI's wire names it."""
    name: str
    """The file's name, or one made of the format."""
    language: str | None = None
    timestamps: Timestamps | None = None

    def content(self) -> dict[str, Any]:
        """Return what records keep: of the sound its format and size."""
        return {
            "format": self.audio["format"],
            "bytes": len(self.audio["data"]) * 3 // 4,
            "language": self.language,
            "timestamps": self.timestamps,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuestion:
    """Something to be looked for on the web."""

    query: str
    max_results: int | None = None
