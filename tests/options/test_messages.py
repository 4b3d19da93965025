"""What a caller may pass as a prompt."""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any

import pytest

from llm_router.answers.completion import Completion, ToolCall
from llm_router.options.messages import normalise_messages
from llm_router.options.parts import ImagePart

IMAGE = ImagePart("https://example.org/cat.png")


def test_text_is_one_user_message() -> None:
    assert normalise_messages("Hi") == [{"role": "user", "content": "Hi"}]


def test_system_stands_before_everything() -> None:
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": "Hi"}
    assert normalise_messages("Hi", "Be brief.") == [system, user]
    assert normalise_messages([user], "Be brief.") == [system, user]


def test_messages_pass_through_with_keys_we_do_not_know() -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]},
        {"role": "assistant", "content": [], "tool_calls": [], "x_new": {"a": 1}},
        {"role": "assistant", "refusal": "No."},
        {"role": "tool", "tool_call_id": "c1", "content": "5", "name": "add"},
    ]
    result = normalise_messages(messages)
    assert result == messages
    assert all(given is got for given, got in zip(messages, result, strict=True))


def test_any_mapping_is_a_message() -> None:
    frozen = MappingProxyType({"role": "user", "content": "Hi"})
    assert normalise_messages((frozen,)) == [{"role": "user", "content": "Hi"}]


def test_text_and_parts_become_the_wires_list() -> None:
    message = {"role": "user", "content": ["What is this?", IMAGE, {"type": "text", "text": "!"}]}
    before = copy.copy(message)
    assert normalise_messages([message]) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
                {"type": "text", "text": "!"},
            ],
        }
    ]
    assert message == before


def test_an_answer_stands_for_its_own_turn() -> None:
    reply = Completion(text="Hello.")
    asked = {"role": "user", "content": "Hi"}
    assert normalise_messages([asked, reply, asked])[1] == {
        "role": "assistant",
        "content": "Hello.",
    }


def test_a_call_without_arguments_goes_back_with_its_empty_text() -> None:
    """OpenRouter requires the key; the text is the wire's own, unchanged."""
    reply = Completion(tool_calls=(ToolCall(id="c1", name="now", arguments={}),))
    assert reply.as_message()["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "now", "arguments": ""}}
    ]


@pytest.mark.parametrize(
    ("prompt", "error", "sentence"),
    [
        ([], ValueError, "no messages"),
        (None, TypeError, "not NoneType"),
        (b"Hi", TypeError, "not bytes"),
        ({"role": "user", "content": "Hi"}, TypeError, "put it into a list"),
        (Completion(text="Hi"), TypeError, "put it into a list"),
        (["Hi"], TypeError, r"messages\[0\] is str"),
        ([{"content": "Hi"}], ValueError, r"messages\[0\] has the role None"),
        ([{"role": "assitant"}], ValueError, "did you mean 'assistant'"),
        ([{"role": "user"}], ValueError, r"messages\[0\] \(user\) has no content"),
        ([{"role": "tool", "content": "5"}], ValueError, "without tool_call_id"),
        ([{"role": "user", "content": 5}], TypeError, "is int"),
        ([{"role": "user", "content": IMAGE}], TypeError, "put it into a list"),
        ([{"role": "user", "content": [5]}], TypeError, r"messages\[0\].content\[0\] is int"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], ValueError, "has no `type`"),
    ],
)
def test_a_mistake_is_named_by_its_place(prompt: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        normalise_messages(prompt)
