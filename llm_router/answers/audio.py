"""Speech and Transcription: what `speak` and `transcribe` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import Answer, clipped

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Speech(Answer):
    """Spoken text. OpenRouter tells its cost only afterwards (`router.reconcile()`).

    `store: full` keeps no sound.
    """

    data: bytes = b""
    media_type: str = ""
    """`audio/mpeg`, or `audio/pcm`: samples of 16 bits, little-endian, without a header."""
    sample_rate: int | None = None
    """Samples a second, and channels, where the media type says them."""
    channels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; the sound as base64."""
        import base64

        # super() does not work here: a dataclass with slots is another class than this body's.
        sound = base64.b64encode(self.data).decode()
        return {**Answer.to_dict(self), "data": sound}

    def gist(self) -> str:
        return f"{len(self.data):,} bytes of {self.media_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A word or a passage, and when it was said, in seconds from the beginning."""

    text: str
    start: float
    end: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Transcription(Answer):
    """What was said; "" of silence."""

    text: str = ""
    language: str | None = None
    duration_s: float | None = None
    """Seconds of sound, where the provider says them."""
    segments: tuple[Span, ...] = ()
    """With `timestamps="segment"`."""
    words: tuple[Span, ...] = ()
    """With `timestamps="word"`."""

    def payload(self) -> Mapping[str, Any]:
        return {"text": self.text, "language": self.language}

    def gist(self) -> str:
        return repr(clipped(self.text))
