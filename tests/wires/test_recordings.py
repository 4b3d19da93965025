"""Recorded traffic, where the folder is there: every field, derived here from the raw JSON again.

Nothing below calls the code under test to know what is right: it reads the recordings with the
standard library, in its own way.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_router.answers.completion import Completion
from llm_router.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    EmptyResponseError,
    InsufficientCreditsError,
    InvalidRequestError,
    ModelNotFoundError,
    NoEndpointError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
)
from tests import recordings
from tests.wires.wire_bodies import WIRE

FOLDER = recordings.FOLDER
pytestmark = recordings.needed


def chat_recordings() -> list[dict[str, Any]]:
    metas = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.meta.json"))]
    return [meta for meta in metas if meta["url"].endswith("/chat/completions")]


RECORDINGS = {meta["body_file"]: meta for meta in chat_recordings()}
TEXTS = [name for name in RECORDINGS if name.endswith(".json")]
STREAMS = [name for name in RECORDINGS if name.endswith(".sse")]


def body_of(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def outcome(name: str, body: bytes, sizes: list[int] | None = None) -> Completion | ProviderError:
    meta = RECORDINGS[name]
    try:
        if name.endswith(".json"):
            return WIRE.read_answer(meta["status"], meta["headers"], body)
        reader = WIRE.reader(meta["headers"])
        at = 0
        for size in sizes or [len(body)]:
            reader.feed(body[at : at + size])
            at += size
        reader.feed(body[at:])
        reader.close()
        return reader.snapshot()
    except ProviderError as error:
        return error


# --- what is right, found out again ---------------------------------------------------------


def events_of(body: bytes) -> list[dict[str, Any]]:
    lines = body.decode().replace("\r\n", "\n").split("\n")
    data = [line[5:].strip() for line in lines if line.startswith("data:")]
    return [json.loads(text, parse_float=Decimal) for text in data if text != "[DONE]"]


def unstreamed(body: bytes) -> dict[str, Any]:
    """Fold a stream's events into the body that the same answer would have been unstreamed."""
    whole: dict[str, Any] = {}
    message: dict[str, Any] = defaultdict(str)
    calls: dict[tuple[int, str], dict[str, Any]] = {}
    details: dict[tuple[Any, Any], dict[str, Any]] = {}
    choice: dict[str, Any] = {}
    annotations: list[Any] = []
    tokens: list[Any] = []
    last_key: dict[int, tuple[int, str]] = {}
    for event in events_of(body):
        for name in ("id", "model", "provider", "created", "service_tier", "usage", "error"):
            if event.get(name) is not None:
                whole.setdefault(name, event[name])
        for part in event.get("choices", []):
            delta = part["delta"]
            for name in ("content", "reasoning", "refusal"):
                message[name] += delta.get(name) or ""
            annotations += delta.get("annotations") or []
            tokens += (part.get("logprobs") or {}).get("content") or []
            for name in ("finish_reason", "native_finish_reason"):
                choice[name] = part.get(name) or choice.get(name)
            for call in delta.get("tool_calls") or []:
                if call.get("id"):
                    last_key[call["index"]] = (call["index"], call["id"])
                known = calls.setdefault(last_key[call["index"]], {"arguments": ""})
                known["id"] = call.get("id") or known.get("id")
                known["name"] = call["function"].get("name") or known.get("name")
                known["arguments"] += call["function"].get("arguments") or ""
            for detail in delta.get("reasoning_details") or []:
                known = details.setdefault((detail["type"], detail.get("index")), {})
                for name, value in detail.items():
                    joined = name in ("text", "summary", "data")
                    known[name] = known.get(name, "") + value if joined else value
    functions = [
        {"id": call["id"], "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls.values()
    ]
    said: dict[str, Any] = {name: text or None for name, text in message.items()}
    said |= {"tool_calls": functions, "annotations": annotations}
    said["reasoning_details"] = list(details.values())
    choice |= {
        "message": said,
        "logprobs": {"content": tokens, "refusal": None} if tokens else None,
    }
    return whole | {"choices": [choice]}


def as_float(value: Any) -> Any:
    return json.loads(json.dumps(value, default=float))


def facts(body: dict[str, Any]) -> dict[str, Any]:
    """Return what the wire says, field by field, under the names of a Completion."""
    choice = body["choices"][0]
    message = choice["message"]
    usage = body.get("usage") or {}
    into = usage.get("prompt_tokens_details") or {}
    out = usage.get("completion_tokens_details") or {}
    cost = usage.get("cost")
    upstream = (usage.get("cost_details") or {}).get("upstream_inference_cost")
    byok = usage.get("is_byok")
    native = choice.get("native_finish_reason")
    cut = str(native).lower() in ("length", "max_tokens", "max_output_tokens")
    finish = choice.get("finish_reason") or "unknown"
    notes = [n["url_citation"] for n in message.get("annotations") or [] if "url_citation" in n]
    return {
        "text": message["content"] or "",
        "reasoning": message.get("reasoning"),
        "refusal": message.get("refusal"),
        "reasoning_details": as_float(message.get("reasoning_details") or []),
        "tool_calls": [
            (c["id"], c["function"]["name"], c["function"].get("arguments", ""), not cut)
            for c in message.get("tool_calls") or []
        ],
        "annotations": as_float(message.get("annotations") or []),
        "citations": [(n["url"], n.get("title"), n.get("content")) for n in notes],
        "logprobs": as_float(choice.get("logprobs")),
        "finish": "length" if cut else finish,
        "native": native,
        "names": (body["id"], body["model"], body["provider"], body["created"]),
        "service_tier": body.get("service_tier"),
        "usage": (
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            usage.get("total_tokens"),
            into.get("cached_tokens"),
            into.get("cache_write_tokens"),
            out.get("reasoning_tokens"),
        ),
        "cost": (
            None if cost is None else cost + (upstream if byok else 0),
            cost,
            upstream if byok else None,
            byok,
            "unknown" if cost is None else "provider",
        ),
    }


def read_facts(found: Completion) -> dict[str, Any]:
    """Return the same of what our code read."""
    usage, cost = found.usage, found.cost
    return {
        "text": found.text,
        "reasoning": found.reasoning,
        "refusal": found.refusal,
        "reasoning_details": list(found.reasoning_details),
        "tool_calls": [(c.id, c.name, c.raw_arguments, c.complete) for c in found.tool_calls],
        "annotations": list(found.annotations),
        "citations": [(c.url, c.title, c.content) for c in found.citations],
        "logprobs": found.logprobs,
        "finish": found.finish_reason,
        "native": found.native_finish_reason,
        "names": (found.response_id, found.model, found.upstream_provider, found.created),
        "service_tier": found.service_tier,
        "usage": (
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        ),
        "cost": (cost.total, cost.reported, cost.upstream, cost.is_byok, cost.source),
    }


# Recorded sentences and what they mean; a status alone decides the rest.
MEANINGS: list[tuple[int, str, type[ProviderError]]] = [
    (400, "maximum context length", ContextWindowExceededError),
    (400, "not a valid model ID", ModelNotFoundError),
    (400, "", InvalidRequestError),
    (401, "", AuthenticationError),
    (402, "", InsufficientCreditsError),
    (403, "Key limit exceeded", InsufficientCreditsError),
    (403, "moderation", ContentFilteredError),
    (403, "Content violates", ContentFilteredError),
    (404, "", NoEndpointError),
    (429, "", RateLimitError),
    (502, "", ProviderUnavailableError),
    (503, "", ProviderUnavailableError),
]


def meaning(error: dict[str, Any]) -> type[ProviderError]:
    words = json.dumps(error)
    return next(kind for code, part, kind in MEANINGS if code == error["code"] and part in words)


def told_error(body: dict[str, Any]) -> dict[str, Any] | None:
    if body.get("error"):
        return dict(body["error"])
    found = [choice["error"] for choice in body.get("choices", []) if choice.get("error")]
    return found[0] if found else None


def check_error(found: Completion | ProviderError, body: dict[str, Any]) -> None:
    error = told_error(body)
    assert error is not None
    assert isinstance(found, ProviderError)
    assert type(found) is meaning(error)
    assert (found.status_code, found.message) == (error["code"], error["message"])
    metadata = error.get("metadata") or {}
    assert found.upstream_provider == (body.get("provider") or metadata.get("provider_name"))
    assert found.response_id == body.get("id")
    usage = body.get("usage")
    assert (found.usage is None) is (usage is None)
    if found.usage is not None and found.cost is not None and usage is not None:
        assert found.usage.output_tokens == usage["completion_tokens"]
        assert found.cost.reported == usage.get("cost")
    assert "user_" not in str(found) + repr(found.raw)


# --- the tests ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_every_recorded_answer_is_read_rightly(name: str) -> None:
    raw = body_of(name)
    body = json.loads(raw, parse_float=Decimal)
    found = outcome(name, raw)
    if told_error(body):
        check_error(found, body)
    elif body["choices"][0]["message"]["content"] or body["choices"][0].get("finish_reason"):
        assert isinstance(found, Completion)
        assert read_facts(found) == facts(body)
        assert json.dumps(found.to_dict())
    else:
        assert type(found) is EmptyResponseError


@pytest.mark.parametrize("name", STREAMS)
def test_every_recorded_stream_is_read_rightly(name: str) -> None:
    raw = body_of(name)
    body = unstreamed(raw)
    found = outcome(name, raw)
    if body.get("error"):
        check_error(found, body)
    else:
        assert isinstance(found, Completion)
        assert read_facts(found) == facts(body)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_in_packets_of_any_size_is_the_same(name: str) -> None:
    raw, dice = body_of(name), random.Random(name)
    whole = outcome(name, raw)
    for longest in (2, 50, 2000):
        sizes = [dice.randint(1, longest) for _ in range(2 * len(raw) // longest)]
        again = outcome(name, raw, sizes)
        assert type(again) is type(whole)
        if isinstance(whole, Completion):
            assert again == whole
        else:
            assert str(again) == str(whole)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_cut_at_any_byte_is_never_a_wrong_success(name: str) -> None:
    """What a finish reason made whole is the same answer; only its bill may be unknown."""
    raw = body_of(name)
    whole = outcome(name, raw)
    ended = raw.find(b'"finish_reason":"')
    for cut in range(0, len(raw), len(raw) // 2500 + 1):
        found = outcome(name, raw[:cut])
        if not isinstance(found, Completion):
            continue
        assert 0 <= ended < cut
        if isinstance(whole, Completion):
            check_same_but_for_the_bill(found, whole)
        else:
            # One recorded answer was whole, by its finish reason, before its error came.
            assert name == "sse_err_400_with_usage_pydantic.sse"


def check_same_but_for_the_bill(found: Completion, whole: Completion) -> None:
    seen, right = read_facts(found), read_facts(whole)
    for late in ("usage", "cost", "service_tier"):
        bill = seen.pop(late)
        nothing = (None,) * 6 if late == "usage" else (None, None, None, None, "unknown")
        assert bill in (right.pop(late), nothing, None)
    assert seen == right


@pytest.mark.parametrize("path", [*sorted(FOLDER.glob("observed/4*")), *FOLDER.glob("observed/5*")])
def test_every_observed_error_is_understood(path: Path) -> None:
    seen = json.loads(path.read_text())
    body, status = seen["body"], seen["http_status"]
    with pytest.raises(ProviderError) as raised:
        WIRE.read_answer(status, {}, json.dumps(body).encode())
    check_error(raised.value, body)
    assert "user_" not in str(vars(raised.value))


@pytest.mark.parametrize("name", TEXTS)
def test_a_recorded_answer_cut_anywhere_is_an_error(name: str) -> None:
    raw = body_of(name).rstrip()
    dice = random.Random(name)
    for cut in {dice.randrange(len(raw)) for _ in range(200)} | {0, 1, len(raw) - 1}:
        assert isinstance(outcome(name, raw[:cut]), ProviderError)
