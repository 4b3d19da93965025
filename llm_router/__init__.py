"""One routing layer over LiteLLM and OpenRouter: ask for an alias, get a typed answer.

`from llm_router import Router` is the whole start; README.md is the guide.
"""

from __future__ import annotations

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
from llm_router.completions.tools import tool_result
from llm_router.config import RouterConfig
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.streams import CompletionStream
from llm_router.sync import SyncCompletionStream, SyncRouter
from llm_router.usage import Cost, Usage

__version__ = "0.1.0"

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
    "tool_result",
]
