"""AWS event-stream frames: cut anywhere, damaged, or no frames at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.wires.frames import FrameDecoder
from llm_router.wires.json_values import UnreadableError
from tests.pace import cpu_seconds
from tests.wires.frames import frame, framed
from tests.wires.wire_bodies import pieces

STREAM = frame("a", {"n": 1}) + frame("b", {}) + frame("c", {"text": "é" * 300})
EVENTS = [{"a": {"n": 1}}, {"b": {}}, {"c": {"text": "é" * 300}}]


def decoded(packets: Iterable[bytes]) -> list[object]:
    decoder = FrameDecoder()
    return [json.loads(event) for packet in packets for event in decoder.feed(packet)]


@given(st.integers(), st.integers(1, 100))
def test_frames_are_the_same_however_they_are_cut(seed: int, longest: int) -> None:
    assert decoded(pieces(STREAM, Random(seed), longest)) == EVENTS


def test_an_exception_is_named_by_its_type_and_may_be_plain_text() -> None:
    assert decoded([frame("throttlingException", {"message": "Slow"}, "exception")]) == [
        {"throttlingException": {"message": "Slow"}}
    ]
    assert decoded([frame("x", b"Gateway gone", "exception")]) == [
        {"x": {"message": "Gateway gone"}}
    ]


def test_an_error_frame_has_its_code_and_sentence_in_headers() -> None:
    headers = {":message-type": "error", ":error-code": "500", ":error-message": "Failed"}
    assert decoded([framed(headers, b"")]) == [{"error": {"code": "500", "message": "Failed"}}]


def test_a_damaged_frame_ends_the_stream_and_what_came_before_it_stays() -> None:
    damaged = bytearray(STREAM)
    damaged[-10] ^= 1
    events = FrameDecoder().feed(bytes(damaged))
    assert [json.loads(next(events)) for _ in range(2)] == EVENTS[:2]
    with pytest.raises(UnreadableError, match="damaged event-stream frame"):
        next(events)


@pytest.mark.parametrize(
    "bad",
    [
        b"<html>nothing</html>",
        (20 * 2**20).to_bytes(4) + (2**20).to_bytes(4) + bytes(8),
        (30 * 2**20).to_bytes(4) + bytes(12),
        (5).to_bytes(4) + bytes(12),
        b"\0\0\0\x10\0\0\0\0" + bytes(8),
    ],
    ids=["text", "huge headers", "huge", "tiny", "checksum"],
)
def test_what_is_no_frame_is_said_after_frames_and_left_alone_before_them(bad: bytes) -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(bad)) == []
    assert list(decoder.feed(STREAM)) == []
    assert not decoder.seen
    with pytest.raises(UnreadableError):
        decoded([STREAM, bad])


def test_a_frame_that_was_cut_is_nothing() -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(STREAM[:-1])) and decoder.flush() is None


def test_many_frames_in_one_packet_and_one_in_many_take_linear_time() -> None:
    many, large = frame("a", {}) * 20_000, frame("a", {"text": "x" * 8 * 2**20})
    assert cpu_seconds(lambda: decoded([many])) < 2
    packets = [large[at : at + 1024] for at in range(0, len(large), 1024)]
    assert cpu_seconds(lambda: decoded(packets)) < 1
