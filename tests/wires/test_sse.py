"""Server-sent events: the same events however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.wires import sse
from llm_router.wires.sse import EventTooLongError, SSEDecoder


def decoded(*packets: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    events = [event for packet in packets for event in decoder.feed(packet)]
    last = decoder.flush()
    return events if last is None else [*events, last]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b": OPENROUTER PROCESSING\n\n: \n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\n: between\ndata: b\n\n", [b"a\nb"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data\n\ndata:\n\n", [b""]),
        (b"", []),
        (b"not sse at all\n\n", []),
    ],
)
def test_events_are_found_however_the_bytes_are_cut(body: bytes, events: list[bytes]) -> None:
    assert decoded(body) == events
    assert decoded(*(body[i : i + 1] for i in range(len(body)))) == events
    for cut in range(len(body)):
        assert decoded(body[:cut], b"", body[cut:]) == events


@given(
    st.lists(st.binary().filter(lambda b: b"\n" not in b and b"\r" not in b)),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 400)),
)
def test_what_was_sent_is_what_is_read(
    payloads: list[bytes], newline: bytes, cuts: list[int]
) -> None:
    body = b"".join(b"data: " + payload + newline * 2 for payload in payloads)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    packets = [body[a:b] for a, b in pairwise(places)]
    assert decoded(*packets) == payloads


def test_seen_tells_a_stream_from_another_kind_of_body() -> None:
    for line, seen in ((b": hi\n", True), (b"data: x\n", True), (b'{"data": 1}\n', False)):
        decoder = SSEDecoder()
        decoder.feed(line)
        assert decoder.seen is seen


def test_an_endless_event_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(EventTooLongError):
        decoded(b"data: " + b"x" * 600, b"x" * 600)
    with pytest.raises(EventTooLongError):
        decoded(*[b"data: xxxxxxxxxxxxxxxxxxxxxx\n"] * 60)


def test_a_long_event_within_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    packets = [b"data: ", b"x" * 450, b"x" * 450, b"\n\n"] * 5
    assert decoded(*packets) == [b"x" * 900] * 5
