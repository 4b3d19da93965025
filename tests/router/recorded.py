"""Recorded requests and answers, and the body that our public API makes of the same words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_router.options.request import PARAM_NAMES
from tests import recordings

if TYPE_CHECKING:
    from llm_router.router import Router

RECORDINGS = recordings.FOLDER
# Without effect since usage is always complete, the default written out, or what the method
# (`complete` or `stream`) decides.
_NO_EFFECT = ("stream_options", "usage", "n", "stream")


def requests() -> dict[str, dict[str, Any]]:
    """Return the chat requests that were recorded whole, by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RECORDINGS.glob("*.meta.json")):
        meta = json.loads(path.read_text())
        if "/chat/completions" in meta["url"] and isinstance(meta["request"], dict):
            found[path.name.removesuffix(".meta.json")] = meta["request"]
    return found


def answers() -> dict[str, dict[str, Any]]:
    """Return the recorded JSON answers that have an assistant's message, by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RECORDINGS.glob("*.json")):
        body = {} if path.name.endswith(".meta.json") else json.loads(path.read_bytes())
        if body.get("choices"):
            found[path.stem] = body
    return found


def body_of(router: Router, model: str, messages: Any, **options: Any) -> Any:
    """Return the body that a call with these words sends."""
    explanation = router.explain(f"openrouter/{model}", messages, **options)
    request = explanation.candidates[0].request
    assert request is not None
    return request.body


def options_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a call that say what a recorded request says beside its messages."""
    rest = {name: item for name, item in request.items() if name not in ("model", "messages")}
    options = {name: item for name, item in rest.items() if name in PARAM_NAMES}
    vendor = {name: item for name, item in rest.items() if name not in (*options, *_NO_EFFECT)}
    if "reasoning_effort" in vendor:
        options["reasoning"] = vendor.pop("reasoning_effort")
    extra = {name: vendor.pop(name) for name in ("include_reasoning",) if name in vendor}
    return (
        options
        | ({"openrouter": vendor} if vendor else {})
        | ({"extra_body": extra} if extra else {})
    )


def meaning(body: Any) -> dict[str, Any]:
    """Return a body with one spelling for what the API takes as the same."""
    meant = {name: item for name, item in body.items() if name not in _NO_EFFECT}
    if "reasoning_effort" in meant:
        meant["reasoning"] = {"effort": meant.pop("reasoning_effort")}
    meant["messages"] = [_message(message) for message in meant["messages"]]
    if "tools" in meant:
        meant["tools"] = [_tool(tool) for tool in meant["tools"]]
    return meant


def _message(message: Any) -> Any:
    """An assistant's empty content is written "", [] or null."""
    empty = message["role"] == "assistant" and not message.get("content")
    return message | {"content": None} if empty else message


def _tool(tool: Any) -> Any:
    """No description is also written "", and no required argument []."""
    if "function" not in tool:
        return tool
    function = {name: item for name, item in tool["function"].items() if item != ""}
    parameters = function["parameters"]
    function["parameters"] = {name: item for name, item in parameters.items() if item != []}
    return tool | {"function": function}
