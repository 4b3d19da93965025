"""Work that no sender can stretch: errors of any size, streams of any number of parts."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from llm_router.errors import InvalidRequestError, ProviderUnavailableError, RequestTooLargeError
from tests.pace import cpu_seconds
from tests.wires.wire_bodies import (
    BILL,
    DONE,
    USAGE,
    WIRE,
    answer,
    chunk,
    error_body,
    play,
    read,
)

MIB = 2**20
# Some 10 to 50 ms on an idle machine; seconds when the work grows faster than the text.
ERROR_SECONDS = 0.25
STREAM_SECONDS = 3.0


def error_with(message: str = "m", **more: Any) -> bytes:
    return error_body(502, message, **more)


HUGE = {
    "a message": error_with("x " * (MIB // 2)),
    "a message of named secrets": error_with("team:" * (MIB // 5)),
    "half characters": error_with("\ud83d" * (MIB // 6)),
    "raw like keys": error_with(metadata={"raw": "eyJ-" * (MIB // 4)}),
    "raw of JSON": error_with(metadata={"raw": "[" + "[]," * (MIB // 3) + "1]"}),
    "raw of JSON in texts": error_with(metadata={"raw": {"errors": ['{"a":"b"}'] * 80_000}}),
    "a code": error_body("model " * (MIB // 6), "m"),
    "many names": error_with(**{f"k{i}": "user_id: 12345678" for i in range(24_000)}),
    "many values": b'{"error":[' + b"1.5," * (MIB // 4) + b"1]}",
    "names of providers": error_with(metadata={"available_providers": ["a" * 100] * 9_000}),
    "a page of words": b"x " * (MIB // 2),
    "a page of tags": b"<" * MIB,
    "a page of titles": b"<title>" * (MIB // 7),
    "a page of titles that never open": b"<title" * (MIB // 6),
    "five mebibytes": error_with("x" * 5 * MIB),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_error_is_read_at_once_and_is_small(name: str) -> None:
    body = HUGE[name]
    for status in (400, 502):
        assert cpu_seconds(functools.partial(WIRE.read_error, status, {}, body)) < ERROR_SECONDS
        found = WIRE.read_error(status, {}, body)
        assert len(str(found)) < 15_000
        assert len(json.dumps(found.raw)) < 400_000
        assert len(found.code or "") < 300
        assert found.status_code == status


def test_a_body_too_large_to_be_parsed_still_says_what_it_is_about() -> None:
    error = WIRE.read_error(413, {}, error_body(413, "Too large") + b" " * 9 * MIB)
    assert type(error) is RequestTooLargeError
    assert "Too large" in str(error)
    dense = b'{"error":{"message":"Bad input","input":[' + b"1," * 60_000 + b"1]}}"
    assert "Bad input" in str(WIRE.read_error(400, {}, dense))


def test_what_is_cut_says_so_and_what_is_short_is_whole() -> None:
    error = WIRE.read_error(502, {}, error_with("x" * 20_000, z="y" * 60_000, last="gone"))
    assert type(error) is ProviderUnavailableError
    assert error.message == "x" * 10_000 + "…"
    assert error.raw["message"] == "x" * 20_000
    assert error.raw["z"].endswith("y…")
    assert "last" not in error.raw


def test_words_far_into_a_message_do_not_choose_the_class() -> None:
    near, far = "x " * 1_000 + "context window", "x " * 4_000 + "context window"
    assert type(WIRE.read_error(400, {}, error_body(400, near))) is not InvalidRequestError
    assert type(WIRE.read_error(400, {}, error_body(400, far))) is InvalidRequestError


# --- streams --------------------------------------------------------------------------------

MANY = 8_000


def detail(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": "t", "index": number, "id": f"i{number}"} | more


def call(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "function": {"name": "f", "arguments": "{}"}} | more


PARTS = {
    "details": {"reasoning_details": [detail(n) for n in range(MANY)]},
    "details of one index": {"reasoning_details": [detail(n, index=0) for n in range(MANY)]},
    "details without text": {
        "reasoning_details": [{"type": "reasoning.server_tool_call", "index": 0}] * MANY
    },
    "calls": {"tool_calls": [call(n, index=n) for n in range(MANY)]},
    "calls of one index": {"tool_calls": [call(n, index=0) for n in range(MANY)]},
    "calls without an index": {"tool_calls": [call(n) for n in range(MANY)]},
    "annotations": {
        "annotations": [{"url_citation": {"url": f"https://{n}"}} for n in range(MANY)]
    },
}


@pytest.mark.parametrize("name", PARTS)
def test_thousands_of_parts_are_collected_in_linear_time(name: str) -> None:
    part = PARTS[name]
    packets = (chunk(part), BILL, DONE)
    assert cpu_seconds(lambda: play(*packets)) < STREAM_SECONDS
    streamed, _ = play(*packets)
    whole = read(answer(part | {"content": ""}))
    assert streamed.tool_calls == whole.tool_calls
    assert streamed.citations == whole.citations
    assert streamed.reasoning_details == whole.reasoning_details


@pytest.mark.parametrize(
    "one",
    [
        chunk({"content": "x"}, usage=USAGE),
        chunk({"content": "x"}, citations=[f"https://{n}" for n in range(9)]),
        chunk(PARTS["calls"] | {"tool_calls": [call(0, index=0)]}),
        chunk({"content": "x"}, choice={"logprobs": {"content": [{"token": "x"}]}}),
    ],
    ids=["usage", "citations", "a call", "logprobs"],
)
def test_what_comes_with_every_chunk_costs_the_same_every_time(one: bytes) -> None:
    assert cpu_seconds(lambda: play(*[one] * MANY, BILL, DONE)) < STREAM_SECONDS
