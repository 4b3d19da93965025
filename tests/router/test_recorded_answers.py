"""Law: what an assistant said goes back as it came, whatever it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_router.answers.completion import Completion
from llm_router.errors import ProviderError
from llm_router.options.messages import normalise_messages
from llm_router.wires.openai import OpenAIWire
from tests import recordings
from tests.router.recorded import RECORDINGS, answers

pytestmark = recordings.needed
WIRE = OpenAIWire(kind="openrouter")
KEPT = ("reasoning", "reasoning_details", "annotations", "refusal", "audio")


def read(body: dict[str, Any]) -> Completion:
    """Return the answer; a failed one without its error, for what it holds goes back as well."""
    whole = json.loads(json.dumps(body))
    for choice in whole["choices"]:
        choice.pop("error", None)
    return WIRE.read_answer(200, {}, json.dumps(whole).encode())


@pytest.mark.parametrize("name", answers())
def test_an_answer_goes_back_unchanged(name: str) -> None:
    said = answers()[name]["choices"][0]["message"]
    try:
        reply = read(answers()[name])
    except ProviderError:
        assert not any(said.get(part) for part in (*KEPT, "content", "tool_calls"))
        return
    message = normalise_messages([reply])[0]
    assert message["role"] == "assistant"
    assert (message["content"] or "") == (said["content"] or "")
    for part in KEPT:
        assert message.get(part) == (said.get(part) or None), part
    assert _calls(message, missing="") == _calls(said, missing="")


def _calls(message: dict[str, Any], missing: str) -> list[Any]:
    """Return id, name and argument text of each call; *missing* where there is no text."""
    return [
        (call["id"], call["function"]["name"], call["function"].get("arguments", missing))
        for call in message.get("tool_calls", ())
    ]


def test_the_recordings_cover_what_can_be_lost() -> None:
    messages = [body["choices"][0]["message"] for body in answers().values()]
    for part in ("tool_calls", "reasoning_details", "annotations", "refusal", "reasoning"):
        assert any(message.get(part) for message in messages), part


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.sse")), ids=lambda path: path.stem)
def test_a_streamed_answer_goes_back_whole(path: Path) -> None:
    reader = WIRE.reader({})
    reader.feed(path.read_bytes())
    message = reader.snapshot().as_message()
    deltas = list(_deltas(path))
    said = "".join(delta.get("content") or "" for delta in deltas)
    assert (message["content"] or "") == said
    thought = "".join(delta.get("reasoning") or "" for delta in deltas)
    assert (message.get("reasoning") or "") == thought
    assert _calls(message, missing="") == _streamed_calls(deltas)
    assert _joined(message.get("reasoning_details", [])) == _joined(
        [detail for delta in deltas for detail in delta.get("reasoning_details") or ()]
    )
    notes = [note for delta in deltas for note in delta.get("annotations") or ()]
    assert message.get("annotations", []) == notes


def _deltas(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices") or ():
                yield choice.get("delta") or {}


def _streamed_calls(deltas: list[dict[str, Any]]) -> list[Any]:
    """Return the calls; a new id under an old index is another call (Gemini does that)."""
    calls: dict[int, list[Any]] = {}
    done: list[list[Any]] = []
    for delta in deltas:
        for part in delta.get("tool_calls") or ():
            call = calls.get(part["index"])
            if call is None or part.get("id") not in (None, call[0]):
                call = calls[part["index"]] = [part.get("id"), part["function"]["name"], ""]
                done.append(call)
            call[2] += part["function"].get("arguments") or ""
    return [(call[0], call[1], call[2]) for call in done]


def _joined(details: list[dict[str, Any]]) -> dict[Any, str]:
    """Return what the details say, by place, kind and field, in the order of the wire."""
    said: dict[Any, str] = {}
    for detail in details:
        for name in ("text", "summary", "data", "signature"):
            place = (detail.get("index"), detail["type"], name)
            said[place] = said.get(place, "") + (detail.get(name) or "")
    return {place: text for place, text in said.items() if text}
