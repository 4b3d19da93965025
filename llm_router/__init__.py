"""One routing layer over LiteLLM and OpenRouter: ask for an alias, get a typed answer.

`from llm_router import Router` is the whole start; README.md is the guide. Names are imported
when they are first used, so that `import llm_router` itself costs a millisecond.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_router.completions.completion import (
        Attempt,
        Audio,
        Citation,
        Completion,
        Image,
        ParsedCompletion,
        ToolCall,
    )
    from llm_router.completions.parts import AudioPart, FilePart, ImagePart, VideoPart
    from llm_router.completions.tools import arguments_for, tool_result
    from llm_router.config import RouterConfig
    from llm_router.router import Router
    from llm_router.routing.clock import Clock
    from llm_router.streams import CompletionStream
    from llm_router.sync import SyncCompletionStream, SyncRouter
    from llm_router.usage import Cost, Usage

_HOMES = {
    "Attempt": "completions.completion",
    "Audio": "completions.completion",
    "AudioPart": "completions.parts",
    "Citation": "completions.completion",
    "Clock": "routing.clock",
    "Completion": "completions.completion",
    "CompletionStream": "streams",
    "Cost": "usage",
    "FilePart": "completions.parts",
    "Image": "completions.completion",
    "ImagePart": "completions.parts",
    "ParsedCompletion": "completions.completion",
    "Router": "router",
    "RouterConfig": "config",
    "SyncCompletionStream": "sync",
    "SyncRouter": "sync",
    "ToolCall": "completions.completion",
    "Usage": "usage",
    "VideoPart": "completions.parts",
    "arguments_for": "completions.tools",
    "tool_result": "completions.tools",
}

__all__ = [
    "Attempt",
    "Audio",
    "AudioPart",
    "Citation",
    "Clock",
    "Completion",
    "CompletionStream",
    "Cost",
    "FilePart",
    "Image",
    "ImagePart",
    "ParsedCompletion",
    "Router",
    "RouterConfig",
    "SyncCompletionStream",
    "SyncRouter",
    "ToolCall",
    "Usage",
    "VideoPart",
    "arguments_for",
    "tool_result",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
