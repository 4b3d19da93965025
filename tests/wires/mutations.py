"""Damaged bodies by the thousand, and what must hold for each: for the suite and the fuzzer."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from llm_router.answers.completion import Completion
from llm_router.errors import ProviderError
from llm_router.wires.reading import Wire
from tests.wires.wire_bodies import DONE, USAGE, WIRE, answer, chunk, error_body

_CALL = {"id": "c", "index": 0, "function": {"name": "f", "arguments": '{"a": [1, {"b": "c"}]}'}}
_DETAIL = {"type": "reasoning.text", "text": "hm", "index": 0, "signature": None, "format": "f"}
_NOTE = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}
_PARTS: dict[str, Any] = {
    "content": "Olá 👋 \ud83d",
    "reasoning": "hm",
    "reasoning_details": [_DETAIL],
    "tool_calls": [_CALL],
    "annotations": [_NOTE],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
    "audio": {"id": "a", "data": "AA==", "transcript": "hi", "expires_at": 1},
    "refusal": None,
}
_LOGPROBS = {"logprobs": {"content": [{"token": "a", "logprob": -0.5}], "refusal": None}}
_METADATA = {
    "provider_name": "Up",
    "raw": '{"error": {"message": "inner"}}',
    "headers": {"X-RateLimit-Reset": "1759845420000", "X-RateLimit-Limit": "20"},
    "reasons": ["misc"],
    "retry_after_seconds": 3,
}
_AVAILABILITY = {"code": "no_endpoints", "retryable": True, "retry_after": 7}
_ERROR = error_body(429, "Slow down", metadata=_METADATA, availability=_AVAILABILITY)
_STREAM = (
    b": OPENROUTER PROCESSING\n\n"
    + chunk(_PARTS, choice=_LOGPROBS)
    + chunk(_PARTS | {"content": "\ude00!"}, citations=["https://b"])
    + chunk(None, "tool_calls", "max_output_tokens")
    + chunk(usage=USAGE)
    + DONE
)
_FAILED = chunk({"content": "Hi"}) + b"data: " + _ERROR + b"\n\n" + chunk(usage=USAGE)
_DIALECT: dict[str, Any] = {
    "citations": ["https://a"],
    "search_results": [{"url": "https://a", "title": "A", "snippet": "s"}],
    "base_resp": {"status_code": 0, "status_msg": ""},
    "usage": {"cost": {"total_cost": 0.5}, "cost_in_usd_ticks": 7, "num_cached_tokens": 3},
    "x_groq": {"usage": USAGE},
}
_THINKING = {"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"text": "yes"}]}
_OTHERS = answer(_THINKING, **_DIALECT)
_OTHER_STREAM = chunk(_THINKING, **_DIALECT) + chunk(None, "stop", choice={"usage": USAGE}) + DONE
_FLAT = b'{"object": "error", "message": "m", "type": "t", "code": 400, "detail": [{"msg": "x"}]}'
SEEDS = [
    answer(),
    answer(_PARTS, choice=_LOGPROBS, citations=["u"]),
    _ERROR,
    _STREAM,
    _FAILED,
    _OTHERS,
    _OTHER_STREAM,
    _FLAT,
]

_ODD: list[Callable[[Random], bytes]] = [
    lambda dice: b"null",
    lambda dice: b"true",
    lambda dice: b"-1",
    lambda dice: b"0.1e-7",
    lambda dice: b"1e999999999999",
    lambda dice: b"9" * dice.choice([20, 400, 5000]),
    lambda dice: b"NaN",
    lambda dice: b"-Infinity",
    lambda dice: b'""',
    lambda dice: rb'"\ud83d"',
    lambda dice: b'"\xff"',
    lambda dice: b"[]",
    lambda dice: b"{}",
    lambda dice: b"[" * (n := dice.choice([3, 120, 900, 3000])) + b"]" * n,
    lambda dice: b'{"a":' * (n := dice.choice([3, 120, 900])) + b"1" + b"}" * n,
    lambda dice: b'{"error":{"code":502,"message":"x"}}',
    lambda dice: b'"error"',
    lambda dice: b'"' + b"x" * dice.choice([1, 5000]) + b'"',
]
_TOKENS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\\", b"data: ", b"\n\n", b"<"]


def mutated(dice: Random) -> bytes:
    """Return a seed with one to three things wrong with it."""
    return damaged(dice.choice(SEEDS), dice)


def damaged(body: bytes, dice: Random) -> bytes:
    """Return *body* with one to three things wrong with it."""
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        body = dice.choice(_MUTATIONS)(body, dice)
    return body


def _cut(body: bytes, dice: Random) -> bytes:
    return body[: dice.randint(0, len(body))]


def _drop(body: bytes, dice: Random) -> bytes:
    start = dice.randint(0, len(body))
    return body[:start] + body[start + dice.randint(1, 30) :]


def _flip(body: bytes, dice: Random) -> bytes:
    at = dice.randint(0, len(body))
    return body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :]


def _insert(body: bytes, dice: Random) -> bytes:
    at = dice.randint(0, len(body))
    return body[:at] + dice.choice(_TOKENS) + body[at:]


def _repeat(body: bytes, dice: Random) -> bytes:
    at = dice.randint(0, len(body))
    return body[:at] + body[dice.randint(0, at) :]


def _replace_value(body: bytes, dice: Random) -> bytes:
    """Put another value behind one of the keys, the rest of the JSON being left whole."""
    keys = [found.end() for found in re.finditer(rb'": *', body)]
    if not keys:
        return body
    start = dice.choice(keys)
    try:
        text = body[start:].decode()
        _, length = json.JSONDecoder().raw_decode(text)
        end = start + len(text[:length].encode())
    except (ValueError, RecursionError):
        return body
    return body[:start] + dice.choice(_ODD)(dice) + body[end:]


def _pad(body: bytes, dice: Random) -> bytes:
    return b"\n         \n" * dice.randint(1, 20) + body


_MUTATIONS: list[Callable[[bytes, Random], bytes]] = [
    _cut,
    _drop,
    _flip,
    _insert,
    _repeat,
    _pad,
    *[_replace_value] * 6,
]


def verdict(body: bytes, dice: Random, wire: Wire = WIRE) -> str:
    """Read *body* as a text and as a stream; say what it was, AssertionError for a wrong kind."""
    status = dice.choice([200, 200, 200, 400, 403, 404, 429, 502, 302])
    headers = dice.choice([{}, {"Retry-After": "3"}, {"x-generation-id": "gen-1"}])
    if dice.random() < 0.5:
        return _judged(lambda: wire.read_answer(status, headers, body))
    return _judged(lambda: _streamed(wire, body, headers, dice))


def _streamed(wire: Wire, body: bytes, headers: dict[str, str], dice: Random) -> Completion:
    reader = wire.reader(headers)
    while body:
        size = dice.choice([1, 7, 100, 5000])
        for event in reader.feed(body[:size]):
            assert repr(event).encode()
        body = body[size:]
        if dice.random() < 0.02:
            _check(reader.snapshot())
    try:
        reader.close()
    except ProviderError:
        _check(reader.snapshot())
        raise
    return reader.snapshot()


def _judged(reading: Callable[[], Completion]) -> str:
    try:
        found = reading()
    except ProviderError as error:
        assert str(error).encode()
        assert json.dumps(error.raw, ensure_ascii=False, allow_nan=False).encode()
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        return type(error).__name__
    _check(found)
    return "Completion"


def _check(found: Completion) -> None:
    """What holds for every Completion: it is plain, finite and can be written as UTF-8."""
    assert json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    assert json.dumps(found.as_message(), ensure_ascii=False, allow_nan=False).encode()
    for count in found.usage.to_dict().values():
        assert count is None or (type(count) is int and count >= 0)
    for money in (found.cost.total, found.cost.reported, found.cost.upstream):
        assert money is None or (type(money) is Decimal and money.is_finite() and money >= 0)
    assert (found.cost.source == "unknown") is (found.cost.total is None)
