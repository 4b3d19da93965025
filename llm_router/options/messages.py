"""What a caller may pass as a prompt, turned into the messages of a request.

A prompt is text, or a list of chat messages of the OpenAI shape; keys we do not know pass
through. In it a `Completion` stands for its own assistant turn, and a content list may hold text
and parts (`ImagePart`, …) beside the wire's own dicts. Nothing of the caller's is changed.
A mistake is a ValueError (a wrong type a TypeError) that names the message by its index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Completion
from llm_router.options.parts import Part
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from llm_router.options.request import Prompt

ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
_PLAIN_ROLES = ROLES - {"tool"}


def normalise_messages(prompt: Prompt, system: str | None = None) -> list[dict[str, Any]]:
    """Return *prompt* as messages, *system* before them as the system message.

    Messages that need no change are the caller's own objects: read them, never write.
    """
    head: list[dict[str, Any]] = []
    if system is not None:
        head.append({"role": "system", "content": system})
    if isinstance(prompt, str):
        return [*head, {"role": "user", "content": prompt}]
    items = _as_list(prompt)
    for place, item in enumerate(items):
        head.append(item if _is_plain(item) else _message(item, f"messages[{place}]"))
    return head


def _is_plain(item: Any) -> bool:
    """Return whether nothing is to be checked or changed: most messages, so the quick way."""
    return (
        type(item) is dict and type(item.get("content")) is str and item.get("role") in _PLAIN_ROLES
    )


def _as_list(prompt: Any) -> Sequence[Any]:
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes | bytearray):
        kind = type(prompt).__name__
        hint = ": put it into a list" if isinstance(prompt, Mapping | Completion) else ""
        raise TypeError(f"a prompt is a str or a list of messages, not {kind}{hint}")
    if not prompt:
        raise ValueError("there are no messages: pass at least one")
    return prompt


def _message(item: Any, where: str) -> dict[str, Any]:
    if isinstance(item, Completion):
        return item.as_message()
    if not isinstance(item, Mapping):
        kind = type(item).__name__
        raise TypeError(f"{where} is {kind}: a message is a mapping with `role` and `content`")
    message = item if isinstance(item, dict) else dict(item)
    role = message.get("role")
    if role not in ROLES:
        hint = did_you_mean(str(role), ROLES)
        raise ValueError(f"{where} has the role {role!r}{hint} (one of {', '.join(sorted(ROLES))})")
    if role == "tool" and not message.get("tool_call_id"):
        raise ValueError(f"{where} is a tool's result without tool_call_id; see tool_result()")
    content = message.get("content")
    if isinstance(content, str):
        return message
    if content is None:
        # An assistant turn may be tool calls, audio or a refusal alone.
        if role != "assistant":
            raise ValueError(f"{where} ({role}) has no content")
        return message
    wire = content_list(content, f"{where}.content")
    return message if wire is content else message | {"content": wire}


def content_list(content: Any, where: str = "content") -> list[Any]:
    """Return *content* as the wire's list of parts; the same object when it is one already."""
    if isinstance(content, Part):
        raise TypeError(f"{where} is a part: put it into a list")
    if not isinstance(content, Sequence):
        raise TypeError(f"{where} is {type(content).__name__}: text, or a list of text and parts")
    if isinstance(content, list) and all(isinstance(p, dict) and "type" in p for p in content):
        return content
    return [_part(item, f"{where}[{place}]") for place, item in enumerate(content)]


def _part(item: Any, where: str) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    if isinstance(item, Part):
        return item.to_wire()
    if not isinstance(item, Mapping):
        raise TypeError(f"{where} is {type(item).__name__}: a part is text, a mapping or a Part")
    if "type" not in item:
        raise ValueError(f"{where} has no `type`: {{'type': 'text', 'text': …}}")
    return dict(item)
