"""Prompt-cache breakpoints, where the model needs them to cache at all.

Anthropic and Qwen cache only what is marked: the end of the system message, the last two turns
of the user's side (the older one reads what the previous call wrote, the newer one writes for the
next call), and the tools. Gemini heeds only the last mark and fixes the lifetime, and caches
conversations by itself: it gets one mark, on the system message. All others cache by themselves,
or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.options.request import CachePolicy, Message, ProviderRequest

MAX_BREAKPOINTS = 4
_SYSTEM = ("system", "developer")
_USER_SIDE = ("user", "tool")
_Messages = Sequence[Mapping[str, Any]]
_Tools = Sequence[Mapping[str, Any]]


def marked_messages(
    request: ProviderRequest, model: str, options: dict[str, Any]
) -> Sequence[Message]:
    """Return the messages of *request* with the marks it wants; *options* get the marked tools."""
    messages: _Messages = [_in_last_block(message) for message in request.messages]
    tools = options.get("tools") or ()
    if request.cache != "off":
        messages, tools = place_breakpoints(messages, tools, model, request.cache)
    if tools:
        options["tools"] = tools
    return messages


def authored(kind: str, model: str) -> str:
    """Return `author/model`, as this rule knows models: Claude is Anthropic's wherever it is."""
    return f"{'anthropic' if 'claude' in model else kind}/{model}"


def _in_last_block(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *message* with a mark of its whole (LiteLLM's form) in its last block."""
    mark, parts = message.get("cache_control"), _parts(message)
    if not mark or not parts:
        return message
    parts[-1] = {"cache_control": mark, **parts[-1]}  # the block's own mark, where it has one
    rest = {name: value for name, value in message.items() if name != "cache_control"}
    return {**rest, "content": parts}


def place_breakpoints(
    messages: _Messages, tools: _Tools, model: str, policy: CachePolicy
) -> tuple[_Messages, _Tools]:
    """Return *messages* and *tools* with the marks that *model* needs; the arguments stay as is.

    The caller's own marks are kept and count. None is added where theirs have another lifetime
    (Anthropic refuses a long one after a short one), nor for Gemini where there is one already.
    """
    style = None if policy == "off" else _style(model)
    if style is None:
        return messages, tools
    mark: dict[str, Any] = {"type": "ephemeral"}
    if policy in ("5m", "1h") and style == "explicit":
        mark["ttl"] = policy
    own = list(_marks(messages, tools))
    room = (MAX_BREAKPOINTS if style == "explicit" else 1) - len(own)
    if room <= 0 or any(theirs.get("ttl", "5m") != mark.get("ttl", "5m") for theirs in own):
        return messages, tools
    places = _places(messages, style)[:room]
    marked = list(messages)
    for place in places:
        marked[place] = _mark_message(messages[place], mark)
    if style == "explicit" and len(places) < room:
        tools = _mark_tools(tools, mark)
    return marked, tools


def _style(model: str) -> str | None:
    """Return how *model* (`anthropic/claude-haiku-4.5`) wants to be told."""
    author, _, name = model.removeprefix("~").partition("/")
    if author in ("anthropic", "qwen"):
        return "explicit"
    return "last" if author == "google" and name.startswith("gemini") else None


def _marks(messages: _Messages, tools: _Tools) -> Iterator[Mapping[str, Any]]:
    """Yield the caller's own marks."""
    for message in messages:
        content = message.get("content")
        for holder in (message, *(content if isinstance(content, list) else ())):
            if isinstance(holder.get("cache_control"), Mapping):
                yield holder["cache_control"]
    yield from (tool["cache_control"] for tool in tools if tool.get("cache_control"))


def _places(messages: _Messages, style: str) -> list[int]:
    """Return which messages to mark, the most useful first.

    Turns of the user's side are marked in a conversation only: a question that is asked once
    would be written to the cache, which costs more, and never read.
    """
    roles = [message.get("role") for message in messages]
    start = next((place for place, role in enumerate(roles) if role not in _SYSTEM), len(roles))
    system = [place for place in range(start) if _can_be_marked(messages[place])][-1:]
    if style == "last" or "assistant" not in roles:
        return system
    ends = (place for place in reversed(range(start, len(roles))) if _ends_turn(roles, place))
    return system + list(islice((end for end in ends if _can_be_marked(messages[end])), 2))


def _ends_turn(roles: Sequence[Any], place: int) -> bool:
    """Return whether a turn of the user's side ends here; several results make one turn."""
    after = roles[place + 1] if place + 1 < len(roles) else None
    return roles[place] in _USER_SIDE and after not in _USER_SIDE


def _can_be_marked(message: Mapping[str, Any]) -> bool:
    """Return whether there is text to mark that has no mark yet; empty text is refused."""
    parts = _parts(message)
    marked = any(holder.get("cache_control") for holder in (message, *parts))
    return not marked and _last_text(parts) is not None


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _last_text(parts: Sequence[Mapping[str, Any]]) -> int | None:
    for place in reversed(range(len(parts))):
        if parts[place].get("type") == "text" and parts[place].get("text", "").strip():
            return place
    return None


def _mark_message(message: Mapping[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    parts = _parts(message)
    place = _last_text(parts)
    assert place is not None  # it was chosen because there is text
    parts[place] = {**parts[place], "cache_control": mark}
    return {**message, "content": parts}


def _mark_tools(tools: _Tools, mark: Mapping[str, Any]) -> _Tools:
    """Mark the last function, unless one is marked; server tools take no mark."""
    functions = [place for place, tool in enumerate(tools) if tool.get("type") == "function"]
    if not functions or any(tool.get("cache_control") for tool in tools):
        return tools
    marked = list(tools)
    marked[functions[-1]] = {**tools[functions[-1]], "cache_control": mark}
    return marked
