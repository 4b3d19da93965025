"""Bodies of the wire, written by hand: small, and each with the one thing a test is about."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

from llm_router.answers.completion import Completion
from llm_router.answers.stream_events import StreamEvent
from llm_router.errors import ProviderError
from llm_router.wires.openai import OpenAIWire
from llm_router.wires.reading import Wire

NOW = 1_759_845_400.0
WIRE = OpenAIWire(kind="openrouter", clock=lambda: NOW)
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "cost": 0.0000039,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1},
    "cost_details": {"upstream_inference_cost": 0.0000039},
}
HEAD = {
    "id": "gen-1-abc",
    "model": "openai/gpt-4o-mini",
    "provider": "Azure",
    "created": 1766949599,
}


def answer(
    message: Mapping[str, Any] | None = None,
    finish: str | None = "stop",
    native: str | None = "stop",
    *,
    choice: Mapping[str, Any] | None = None,
    **top: Any,
) -> bytes:
    """Return an unstreamed answer's body."""
    said = {"role": "assistant", "content": "Hello!", "refusal": None, "reasoning": None}
    one = {"index": 0, "message": said | dict(message or {}), "finish_reason": finish}
    one |= {"native_finish_reason": native, "logprobs": None} | dict(choice or {})
    return json.dumps(HEAD | {"choices": [one], "usage": USAGE} | top).encode()


def read(
    body: bytes,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    wire: Wire = WIRE,
) -> Completion:
    return wire.read_answer(status, headers or {}, body)


def failure(
    body: bytes,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    wire: Wire = WIRE,
) -> ProviderError:
    """Return the error that a body is; AssertionError when it is an answer."""
    try:
        found = read(body, status, headers, wire)
    except ProviderError as error:
        return error
    raise AssertionError(f"an answer, not an error: {found}")


def error_body(code: Any, message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"code": code, "message": message} | more}).encode()


def chunk(
    delta: Mapping[str, Any] | None = None,
    finish: str | None = None,
    native: str | None = None,
    *,
    choice: Mapping[str, Any] | None = None,
    **top: Any,
) -> bytes:
    """Return one event of a stream."""
    said = {"role": "assistant", "content": ""} | dict(delta or {})
    one = {"index": 0, "delta": said, "finish_reason": finish, "native_finish_reason": native}
    return event(HEAD | {"choices": [one | dict(choice or {})]} | top)


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


WAITING = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
BILL = chunk(None, "stop", "stop", usage=USAGE)


def call_delta(index: int | None = 0, **fields: Any) -> dict[str, Any]:
    """Return a delta with a piece of a tool call."""
    function = {k: v for k, v in fields.items() if k in ("name", "arguments")}
    delta = {k: v for k, v in fields.items() if k not in function}
    where = {} if index is None else {"index": index}
    return {"content": None, "tool_calls": [where | delta | {"function": function}]}


def play(
    *packets: bytes, headers: Mapping[str, str] | None = None, wire: Wire = WIRE
) -> tuple[Completion, list[StreamEvent]]:
    """Read a stream to its end: the whole answer and its events."""
    reader = wire.reader(headers or {})
    events = [found for packet in packets for found in reader.feed(packet)]
    events += reader.close()
    return reader.snapshot(), events


def broken(
    *packets: bytes, headers: Mapping[str, str] | None = None, wire: Wire = WIRE
) -> ProviderError:
    """Return the error that a stream ends in."""
    try:
        found = play(*packets, headers=headers, wire=wire)
    except ProviderError as error:
        return error
    raise AssertionError(f"a whole stream, not an error: {found}")


def pieces(body: bytes, dice: Random, longest: int) -> list[bytes]:
    """Return *body* in packets of random sizes."""
    ends = [0]
    while ends[-1] < len(body):
        ends.append(ends[-1] + dice.randint(1, longest))
    return [body[start:end] for start, end in pairwise(ends)]


def cut_points(body: bytes, dice: Random) -> list[int]:
    """Return where to cut a stream: after each event, and at 300 random bytes."""
    after_events = [found.end() for found in re.finditer(rb"\n\n", body)]
    return [*after_events[:-1], *(dice.randrange(len(body)) for _ in range(300))]
