"""Sound and its text out of OpenRouter's `/audio/speech` and `/audio/transcriptions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.answers.audio import Span, Speech, Transcription
from llm_router.errors import EmptyResponseError, InvalidResponseError
from llm_router.options.parts import type_of
from llm_router.usage import Usage
from llm_router.wires.errors import header
from llm_router.wires.json_values import money, objects, text_or_none
from llm_router.wires.tasks import bill, known, object_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.wires.openai import OpenAIWire

_BYTES = "application/octet-stream"


def read_speech(
    wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes, characters: int
) -> Speech:
    """Return the sound, or raise the ProviderError that the answer is.

    JSON or a page under 200 is no sound, and nor are no bytes. *characters* were sent: they are
    what is billed, and no wire says so.
    """
    if status != 200:
        raise wire.read_error(status, headers, body)
    said = header(headers, "Content-Type") or _BYTES
    media_type, *parameters = (piece.strip() for piece in said.split(";"))
    if not body:
        raise EmptyResponseError("The answer has no sound in it", **bill(headers))
    if media_type == _BYTES:
        media_type = type_of(body) or _BYTES
    elif not media_type.startswith("audio/"):
        wire.read_answer(status, headers, body)
        raise InvalidResponseError(f"The answer is {media_type}, not sound", **bill(headers))
    told = dict(piece.partition("=")[::2] for piece in parameters)
    return Speech(
        data=body,
        media_type=media_type,
        sample_rate=_count(told.get("rate")),
        channels=_count(told.get("channels")),
        **known(headers, {}) | {"usage": Usage(units=characters, unit="character")},
    )


def read_transcription(
    wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes
) -> Transcription:
    """Return the text, or raise the ProviderError that the answer is.

    No text is right of silence, as long as something was listened to.
    """
    answer = object_with("text", wire, status, headers, body)
    text = answer["text"]
    if not isinstance(text, str):
        raise InvalidResponseError("The text of the answer is none", **bill(headers, answer))
    fields = known(headers, answer)
    duration = _seconds(answer.get("duration"))
    usage = fields.get("usage") or Usage()
    if not (text or duration or usage.units or usage.input_tokens):
        silent = "The answer has no text, and nothing was listened to"
        raise EmptyResponseError(silent, **bill(headers, answer))
    return Transcription(
        text=text,
        language=text_or_none(answer.get("language")),
        duration_s=duration,
        segments=_spans(answer.get("segments"), "text"),
        words=_spans(answer.get("words"), "word"),
        **fields,
    )


def _spans(items: Any, name: str) -> tuple[Span, ...]:
    found = []
    for item in objects(items):
        text, start, end = item.get(name), _seconds(item.get("start")), _seconds(item.get("end"))
        if isinstance(text, str) and start is not None and end is not None:
            speaker = item.get("speaker")
            who = None if speaker is None else str(speaker)
            found.append(Span(text=text, start=start, end=end, speaker=who))
    return tuple(found)


def _seconds(value: Any) -> float | None:
    number = money(value)
    return None if number is None else float(number)


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
