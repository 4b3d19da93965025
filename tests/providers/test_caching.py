"""Prompt-cache breakpoints: where each vendor wants them, never too many, never twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.providers.caching import place_breakpoints

CLAUDE = "anthropic/claude-haiku-4.5"
QWEN = "qwen/qwen3-coder-plus"
GEMINI = "google/gemini-2.5-flash"
MARK = {"type": "ephemeral"}
FUNCTION = {"type": "function", "function": {"name": "add"}}
SEARCH = {"type": "openrouter:web_search"}


def message(role: str, text: str = "text", mark: Any = None) -> dict[str, Any]:
    if mark is None:
        return {"role": role, "content": text}
    return {"role": role, "content": [{"type": "text", "text": text, "cache_control": mark}]}


CONVERSATION = [
    message("system"),
    message("user"),
    message("assistant"),
    message("tool", "first result"),
    message("tool", "second result"),
    message("assistant"),
    message("user", "And now?"),
]


def marks(messages: Any, tools: Any = ()) -> list[Any]:
    """Return the places that are marked: message indices, then ("tool", index)."""
    found: list[Any] = []
    for place, item in enumerate(messages):
        parts = item["content"] if isinstance(item["content"], list) else []
        found += [place for part in parts if "cache_control" in part]
    return found + [("tool", place) for place, tool in enumerate(tools) if "cache_control" in tool]


@pytest.mark.parametrize("model", [CLAUDE, QWEN, "~anthropic/claude-opus-latest"])
def test_system_tools_and_the_last_two_turns_are_marked_in_a_conversation(model: str) -> None:
    messages, tools = place_breakpoints(CONVERSATION, [FUNCTION, FUNCTION, SEARCH], model, "auto")
    assert marks(messages, tools) == [0, 4, 6, ("tool", 1)]
    assert messages[0]["content"] == [{"type": "text", "text": "text", "cache_control": MARK}]
    assert tools[1] == FUNCTION | {"cache_control": MARK}


def test_the_next_call_reads_what_this_one_wrote() -> None:
    """The newest mark of one call is marked again in the next, so its prefix is found."""
    now, _ = place_breakpoints(CONVERSATION, [], CLAUDE, "auto")
    longer = [*CONVERSATION, message("assistant"), message("user", "More?")]
    later, _ = place_breakpoints(longer, [], CLAUDE, "auto")
    assert marks(now)[-1] in marks(later)


def test_a_single_question_is_not_written_to_the_cache() -> None:
    messages, tools = place_breakpoints(
        [message("system"), message("user")], [FUNCTION], CLAUDE, "auto"
    )
    assert marks(messages, tools) == [0, ("tool", 0)]


@pytest.mark.parametrize("policy", ["5m", "1h"])
def test_a_lifetime_is_sent_where_it_can_be_chosen(policy: Any) -> None:
    messages, _ = place_breakpoints(CONVERSATION, [], CLAUDE, policy)
    assert messages[0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": policy}
    messages, _ = place_breakpoints(CONVERSATION, [], GEMINI, policy)
    assert messages[0]["content"][0]["cache_control"] == MARK


def test_gemini_gets_one_mark_on_the_system_message() -> None:
    messages, tools = place_breakpoints(CONVERSATION, [FUNCTION], GEMINI, "auto")
    assert marks(messages, tools) == [0]
    theirs = [message("system"), message("user", mark=MARK), message("user")]
    assert place_breakpoints(theirs, [], GEMINI, "auto") == (theirs, [])


@pytest.mark.parametrize(
    ("model", "policy"),
    [
        (CLAUDE, "off"),
        ("openai/gpt-4o-mini", "auto"),
        ("google/gemma-3-27b-it", "auto"),
        ("deepseek/deepseek-chat", "1h"),
        ("openrouter/auto", "auto"),
    ],
)
def test_nothing_is_touched_where_no_marks_are_needed(model: str, policy: Any) -> None:
    tools = [FUNCTION]
    result = place_breakpoints(CONVERSATION, tools, model, policy)
    assert result[0] is CONVERSATION
    assert result[1] is tools


def test_the_callers_own_marks_count_and_are_never_doubled() -> None:
    theirs = [
        message("system", mark=MARK),
        message("user", mark=MARK),
        message("assistant"),
        message("user", mark=MARK),
    ]
    messages, tools = place_breakpoints(theirs, [FUNCTION], CLAUDE, "auto")
    assert marks(messages, tools) == [0, 1, 3, ("tool", 0)]
    full = [*theirs, message("assistant"), message("user", mark=MARK)]
    assert place_breakpoints(full, [FUNCTION], CLAUDE, "auto") == (full, [FUNCTION])


def test_nothing_is_added_where_the_callers_marks_live_longer_or_shorter() -> None:
    theirs = [message("system"), message("user", mark=MARK | {"ttl": "1h"})]
    assert place_breakpoints(theirs, [], CLAUDE, "5m") == (theirs, [])
    assert marks(place_breakpoints(theirs, [], CLAUDE, "1h")[0]) == [0, 1]


def test_a_marked_tool_or_message_is_left_as_it_is() -> None:
    tools = [FUNCTION | {"cache_control": MARK}, FUNCTION]
    assert place_breakpoints([message("user")], tools, CLAUDE, "auto")[1] == tools
    own = [message("system") | {"cache_control": MARK}, message("user")]
    assert place_breakpoints(own, [SEARCH], CLAUDE, "auto") == (own, [SEARCH])


def test_only_text_is_marked() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    text = {"type": "text", "text": "See:"}
    messages, _ = place_breakpoints(
        [{"role": "system", "content": [text, image]}, message("user")], [], CLAUDE, "auto"
    )
    assert messages[0]["content"] == [text | {"cache_control": MARK}, image]
    blank = [message("system", "  "), {"role": "user", "content": [image]}, message("assistant")]
    assert place_breakpoints(blank, [], CLAUDE, "auto") == (blank, [])


contents = st.sampled_from(["", "text"]) | st.lists(
    st.sampled_from(
        [
            {"type": "text", "text": "a"},
            {"type": "text", "text": ""},
            {"type": "text", "text": "b", "cache_control": MARK},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ]
    ),
    max_size=3,
)
chats = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
            "content": contents,
        }
    ),
    max_size=8,
)
toolboxes = st.lists(st.sampled_from([FUNCTION, SEARCH, FUNCTION | {"cache_control": MARK}]))


@given(chats, toolboxes, st.sampled_from([CLAUDE, GEMINI]), st.sampled_from(["auto", "5m", "1h"]))
def test_marks_are_few_on_text_and_the_only_change(
    messages: Any, tools: Any, model: str, policy: Any
) -> None:
    before = copy.deepcopy((messages, tools))
    marked, toolbox = place_breakpoints(messages, tools, model, policy)
    assert (messages, tools) == before
    assert len(marks(marked, toolbox)) <= max(4, len(marks(messages, tools)))
    assert set(map(str, marks(messages, tools))) <= set(map(str, marks(marked, toolbox)))
    assert _without_marks(marked) == _without_marks(messages)
    assert _without_marks(toolbox) == _without_marks(tools)
    assert all(part["text"] for item in marked for part in _marked_parts(item))


def _marked_parts(item: Any) -> list[Any]:
    parts = item["content"] if isinstance(item["content"], list) else []
    return [part for part in parts if "cache_control" in part]


def _without_marks(value: Any) -> Any:
    """Return *value* without marks, its text content as a list of one part."""
    if isinstance(value, list | tuple):
        return [_without_marks(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _without_marks(item) for name, item in value.items() if name != "cache_control"}
    if isinstance(plain.get("content"), str):
        text = plain["content"]
        plain["content"] = [{"type": "text", "text": text}]
    return plain
