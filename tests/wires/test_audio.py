"""Sound, and text out of sound."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.audio import Speech, Transcription
from llm_router.errors import EmptyResponseError, InvalidResponseError, ProviderError
from llm_router.wires.audio import read_speech, read_transcription
from llm_router.wires.openai import OpenAIWire
from tests import recordings

WIRE = OpenAIWire("openrouter")


def written(body: Any, **headers: str) -> Transcription:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_transcription(WIRE, 200, headers, raw)


def spoken(body: bytes, media_type: str) -> Speech:
    headers = {"Content-Type": media_type, "X-Generation-Id": "gen-tts-1", "X-Provider-Name": "Up"}
    return read_speech(WIRE, 200, headers, body, 7)


@pytest.mark.parametrize("name", [pytest.param("transcription", marks=recordings.needed)])
def test_recorded_transcriptions_are_read_rightly(name: str) -> None:
    meta = json.loads((recordings.FOLDER / f"{name}.meta.json").read_bytes())
    answer = written((recordings.FOLDER / f"{name}.json").read_bytes(), **meta["headers"])
    assert answer.text.startswith("Ruby is a programming language")
    usage = answer.usage
    assert (usage.total_tokens, usage.input_tokens, usage.output_tokens) == (49, 37, 12)
    assert answer.cost.total == Decimal("0.00010625")
    assert answer.response_id == "gen-stt-1787150067-A14GDegtQ71qajazQ6Yf"
    timed = written((recordings.FOLDER / "transcription_seconds.json").read_bytes())
    assert (timed.usage.units, timed.usage.unit) == (6, "second")
    assert timed.cost.total == Decimal("0.0006") and timed.usage.input_tokens is None


def test_silence_is_an_answer_and_nothing_is_none() -> None:
    assert written({"text": "", "usage": {"seconds": 2.5}}).usage.units == 2.5
    for body in ({"text": ""}, {"text": "", "usage": {"seconds": 0}}):
        with pytest.raises(EmptyResponseError):
            written(body)
    with pytest.raises(InvalidResponseError):
        written({"text": 3})


def test_times_that_are_none_are_left_out() -> None:
    words = [{"word": "a", "start": 0, "end": 0.5, "speaker": 1}, {"word": "b", "start": None}]
    answer = written({"text": "a b", "words": words})
    assert [(w.text, w.end, w.speaker) for w in answer.words] == [("a", 0.5, "1")]


def test_sound_has_its_type_and_rate_and_no_cost() -> None:
    answer = spoken(bytes(8), "audio/pcm;rate=24000; channels=1")
    assert (answer.media_type, answer.sample_rate, answer.channels) == ("audio/pcm", 24_000, 1)
    assert (answer.response_id, answer.upstream_provider) == ("gen-tts-1", "Up")
    assert answer.cost.source == "unknown" and answer.usage.units == 7
    assert spoken(b"ID3\x04", "application/octet-stream").media_type == "audio/mpeg"
    assert answer.to_dict()["data"] == "AAAAAAAAAAA="


@pytest.mark.parametrize(
    ("body", "media_type", "kind"),
    [
        (b"", "audio/mpeg", EmptyResponseError),
        (b'{"error": {"code": 502, "message": "no"}}', "application/json", ProviderError),
        (b'{"choices": []}', "application/json", ProviderError),
        (b"<html>", "text/html", InvalidResponseError),
    ],
)
def test_what_is_no_sound_is_an_error(
    body: bytes, media_type: str, kind: type[ProviderError]
) -> None:
    with pytest.raises(kind):
        spoken(body, media_type)
