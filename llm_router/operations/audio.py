"""Speech and transcription: text spoken, and speech written down.

What timed out may have been billed: as of a chat, the same deployment is not asked again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, get_args

from llm_router.answers.audio import Speech, Transcription
from llm_router.operations.task import Task, checked_text, checked_word
from llm_router.options.parts import AudioPart
from llm_router.options.questions import (
    SpeechFormat,
    SpeechQuestion,
    Timestamps,
    TranscriptionQuestion,
)

if TYPE_CHECKING:
    from llm_router.options.parts import Source
    from llm_router.options.request import CommonOptions


@dataclass(frozen=True, kw_only=True)
class Speak(Task[Speech, SpeechQuestion]):
    """Text to be spoken."""

    serves: ClassVar[str] = "speak"

    @classmethod
    def ask(
        cls,
        text: str,
        voice: str | None,
        format: SpeechFormat,
        speed: float | None,
        options: CommonOptions,
    ) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option, ValueError for
        no text, another format than mp3 and pcm, or a speed that is not above 0."""
        checked_word("format", format, get_args(SpeechFormat))
        if voice is not None:
            checked_text("voice", voice)
        if speed is not None and not (isinstance(speed, int | float) and speed > 0):
            raise ValueError(f"speed is a number above 0, not {speed!r:.100}")
        text = checked_text("text", text)
        return cls.of(SpeechQuestion(text=text, voice=voice, format=format, speed=speed), options)


@dataclass(frozen=True, kw_only=True)
class Transcribe(Task[Transcription, TranscriptionQuestion]):
    """Sound to be written down."""

    serves: ClassVar[str] = "transcribe"

    @classmethod
    def ask(
        cls,
        audio: Source | AudioPart,
        language: str | None,
        timestamps: Timestamps | None,
        options: CommonOptions,
    ) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option; ValueError for
        what is no sound by its first bytes, empty, or more than 25 MiB (an AudioPart says more).
        """
        checked_word("timestamps", timestamps, get_args(Timestamps))
        if language is not None:
            checked_text("language", language)
        part = audio if isinstance(audio, AudioPart) else AudioPart(audio)
        sound = part.to_wire()["input_audio"]
        question = TranscriptionQuestion(
            audio=sound,
            name=part.name or f"audio.{sound['format']}",
            language=language,
            timestamps=timestamps,
        )
        return cls.of(question, options)
