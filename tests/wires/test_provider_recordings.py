"""Recorded bodies of the providers that speak OpenAI's wire: each as its `truth` says."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.completion import Completion
from llm_router.errors import ProviderError
from llm_router.wires.openai import OpenAIWire
from tests import recordings
from tests.wires.wire_bodies import cut_points, pieces

FOLDER = recordings.FOLDER / "providers"
OTHER_WIRES = ("anthropic", "gemini", "cohere", "bedrock", "ollama")
pytestmark = recordings.needed


def our_recordings() -> dict[str, dict[str, Any]]:
    metas = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.meta.json")}
    ours = {n: meta for n, meta in metas.items() if meta["provider"] not in OTHER_WIRES}
    return {
        name.replace(".meta.json", ".sse" if meta["stream"] else ".json"): meta
        for name, meta in sorted(ours.items())
    }


RECORDINGS = our_recordings()
STREAMS = [name for name, meta in RECORDINGS.items() if meta["stream"]]


def outcome(name: str, packets: list[bytes]) -> Completion | ProviderError:
    meta = RECORDINGS[name]
    wire = OpenAIWire(kind=meta["provider"])
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
    return (FOLDER / name).read_bytes()


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
    assert found.model
    assert found.response_id


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
    ended = raw.find(b'"finish_reason":"')
    for cut in cut_points(raw, dice):
        found = outcome(name, [raw[:cut]])
        assert isinstance(found, ProviderError) or 0 <= ended < cut
