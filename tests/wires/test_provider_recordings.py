"""Recorded bodies of the providers, each on its wire: as its `truth` says, whole or not at all."""

from __future__ import annotations

import json
import random
import re
import time
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.completion import Completion
from llm_router.errors import ProviderError
from llm_router.wires.anthropic import AnthropicWire
from llm_router.wires.cohere import CohereWire
from llm_router.wires.converse import ConverseWire
from llm_router.wires.gemini import GeminiWire
from llm_router.wires.ollama import OllamaWire
from llm_router.wires.openai import OpenAIWire
from llm_router.wires.reading import Wire
from tests import recordings
from tests.wires.figures import assert_nothing_invented, read_by
from tests.wires.frames import frames_in
from tests.wires.mutations import damaged, verdict
from tests.wires.wire_bodies import cut_points, pieces

FOLDER = recordings.FOLDER / "providers"
WIRES: dict[str, Wire] = {
    "anthropic": AnthropicWire(),
    "bedrock": ConverseWire(),
    "cohere": CohereWire(),
    "gemini": GeminiWire(),
    "ollama": OllamaWire(),
}
# Before these bytes no answer is whole.
ENDS = {
    "anthropic": rb'"stop_reason": ?"',
    "bedrock": b"messageStop",
    "cohere": rb'"type": ?"message-end"',
    "gemini": rb'"finishReason": ?"',
    "ollama": rb'"done": ?true',
}
# What a wire calls the model and the answer; some name one of them, or neither.
NAMES = {
    "bedrock": ("", ""),
    "cohere": ("", "id"),
    "gemini": ("modelVersion", "responseId"),
    "ollama": ("model", ""),
}
pytestmark = recordings.needed


def our_recordings() -> dict[str, dict[str, Any]]:
    metas = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.meta.json")}
    return {name.removesuffix(".meta.json"): meta for name, meta in sorted(metas.items())}


RECORDINGS = our_recordings()
STREAMS = [name for name, meta in RECORDINGS.items() if meta["stream"]]


def wire_of(name: str) -> Wire:
    provider = RECORDINGS[name]["provider"]
    return WIRES.get(provider) or OpenAIWire(kind=provider)


def outcome(name: str, packets: list[bytes]) -> Completion | ProviderError:
    meta = RECORDINGS[name]
    wire = wire_of(name)
    try:
        if not meta["stream"]:
            return wire.read_answer(meta["status"], meta["headers"], b"".join(packets))
        reader = wire.reader(meta["headers"])
        for packet in packets:
            reader.feed(packet)
        reader.close()
        return reader.snapshot()
    except ProviderError as error:
        return error


def body_of(name: str) -> bytes:
    found = [FOLDER / f"{name}.{suffix}" for suffix in ("json", "sse", "bin")]
    return next(path.read_bytes() for path in found if path.is_file())


def said(found: Completion) -> dict[str, Any]:
    """Return a Completion in the words of `truth`."""
    usage = found.usage
    return {
        "outcome": "ok",
        "text": found.text,
        "reasoning": found.reasoning or "",
        "refusal": found.refusal,
        "tools": [[call.name, call.raw_arguments] for call in found.tool_calls],
        "finish": found.finish_reason,
        "tokens": {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cached": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
            "reasoning": usage.reasoning_tokens,
        },
        "cost": found.cost.total,
    }


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_field_is_what_the_bytes_say(name: str) -> None:
    truth = RECORDINGS[name]["truth"]
    found = outcome(name, [body_of(name)])
    if truth["outcome"] == "error":
        assert isinstance(found, ProviderError)
        assert (found.status_code, found.message) == (truth["status"], truth["message"])
        return
    assert isinstance(found, Completion), found
    assert said(found) == truth | {"cost": truth["cost"] and Decimal(truth["cost"])}
    names = NAMES.get(RECORDINGS[name]["provider"], ("model", "id"))
    named = tuple(bool(word) and f'"{word}":'.encode() in body_of(name) for word in names)
    assert (bool(found.model), bool(found.response_id)) == named


@pytest.mark.parametrize("name", STREAMS)
def test_packets_of_any_size_mean_the_same(name: str) -> None:
    raw, dice = body_of(name), random.Random(name)
    whole = outcome(name, [raw])
    assert isinstance(whole, Completion)
    for longest in (2, 50, 2000):
        assert outcome(name, pieces(raw, dice, longest)) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_before_its_end_is_never_a_whole_answer(name: str) -> None:
    raw, dice = body_of(name), random.Random(name)
    end = re.search(ENDS.get(RECORDINGS[name]["provider"], b'"finish_reason":"'), raw)
    lines = [found.end() for found in re.finditer(rb"\n(?=.)", raw)]
    for cut in (*cut_points(raw, dice), *lines, *frames_in(raw)):
        found = outcome(name, [raw[:cut]])
        assert isinstance(found, ProviderError) or (end and end.start() < cut)


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_an_answer_counts_and_names_stands_in_its_bytes(name: str) -> None:
    raw, dice = body_of(name), random.Random(name)
    headers, wire = RECORDINGS[name]["headers"], wire_of(name)
    for body in (raw, *(damaged(raw, dice) for _ in range(50))):
        for said in read_by(wire, RECORDINGS[name]["status"], headers, body):
            assert_nothing_invented(said, body, headers)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_damaged_recording_is_an_answer_or_one_of_our_errors(name: str) -> None:
    raw, dice = body_of(name), random.Random(name)
    for _ in range(100):
        body, started = damaged(raw, dice), time.process_time()
        assert verdict(body, dice, wire_of(name))
        assert time.process_time() - started < 3
