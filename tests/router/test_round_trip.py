"""Law: any assistant message that the wire can carry goes back as it came."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_router.wires.openai import OpenAIWire

WIRE = OpenAIWire(kind="openrouter")
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
details = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("reasoning.text"), "text": words},
        optional={"signature": words | st.none(), "format": words, "index": st.integers(0, 3)},
    ),
    st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": words, "id": words}),
    st.fixed_dictionaries({"type": st.just("reasoning.summary"), "summary": words}),
    st.dictionaries(words, words | st.none() | st.integers(), min_size=1),
)
functions = st.fixed_dictionaries({"name": words}, optional={"arguments": words})
calls = st.fixed_dictionaries({"id": words, "type": st.just("function"), "function": functions})
files = st.fixed_dictionaries(
    {
        "type": st.just("file"),
        "file": st.fixed_dictionaries({"hash": words, "content": st.just([])}),
    }
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": words},
    optional={
        "reasoning": words,
        "reasoning_details": st.lists(details, min_size=1, max_size=4),
        "tool_calls": st.lists(calls, min_size=1, max_size=3),
        "annotations": st.lists(files, min_size=1, max_size=2),
        "refusal": words,
    },
)


@given(messages)
def test_a_message_goes_back_as_it_came(message: dict[str, Any]) -> None:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "gen-1", "model": "any/model", "choices": [choice]}
    reply = WIRE.read_answer(200, {}, json.dumps(body).encode())
    expected = json.loads(json.dumps(message))
    for call in expected.get("tool_calls", ()):
        call["function"].setdefault("arguments", "")
    assert reply.as_message() == expected
