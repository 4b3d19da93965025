"""Law: what an assistant said goes back as it came, whatever it was made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_router.completions.completion import Completion
from llm_router.completions.messages import normalise_messages
from llm_router.completions.request import Deployment, ProviderRequest
from llm_router.errors import ProviderError
from llm_router.providers.openrouter.wire import read_answer
from tests.turns.recorded import RECORDINGS, answers

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not here"),
]
REQUEST = ProviderRequest(
    request_id="r",
    alias=None,
    deployment=Deployment(provider="openrouter", model="any/model"),
    messages=[{"role": "user", "content": "Hi"}],
)
KEPT = ("reasoning", "reasoning_details", "annotations", "refusal", "audio")


def read(body: dict[str, Any]) -> Completion:
    """Return the answer; a failed one without its error, for what it holds goes back as well."""
    whole = json.loads(json.dumps(body))
    for choice in whole["choices"]:
        choice.pop("error", None)
    return read_answer(json.dumps(whole).encode(), 200, {}, REQUEST)


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
    assert _calls(message, missing="") == _calls(said, missing="{}")


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
