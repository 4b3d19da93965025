"""One routing layer over LiteLLM and OpenRouter: ask for an alias, get a typed answer.

`from llm_router import Router` is the whole start; README.md is the guide. Names are imported
when they are first used, so that `import llm_router` itself costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_router.answers.answer import Answer, Attempt
    from llm_router.answers.audio import Span, Speech, Transcription
    from llm_router.answers.completion import (
        Audio,
        Citation,
        Completion,
        Image,
        ParsedCompletion,
        ToolCall,
    )
    from llm_router.answers.embeddings import Embeddings
    from llm_router.answers.images import Images
    from llm_router.answers.partial import Partial
    from llm_router.answers.ranking import Ranked, Ranking
    from llm_router.answers.search import SearchAnswer
    from llm_router.config.model import RouterConfig
    from llm_router.errors import *
    from llm_router.options.parts import AudioPart, FilePart, ImagePart, VideoPart
    from llm_router.options.tools import arguments_for, tool_result
    from llm_router.router import Router
    from llm_router.routing.clock import Clock
    from llm_router.streams import CompletionStream, ParsedStream
    from llm_router.sync import SyncCompletionStream, SyncParsedStream, SyncRouter
    from llm_router.usage import Cost, Usage, format_usd

    __version__: str

__all__ = [
    "AllDeploymentsFailedError", "Answer", "Attempt", "Audio", "AudioPart", "AuthenticationError",
    "BudgetExceededError", "Citation", "Clock", "Completion", "CompletionStream",
    "ConfigurationError", "ContentFilteredError", "ContextWindowExceededError", "Cost",
    "DeadlineExceededError", "Embeddings", "EmptyResponseError", "FilePart", "Image", "ImagePart",
    "Images", "InsufficientCreditsError", "InvalidRequestError", "InvalidResponseError",
    "LLMRouterError", "LedgerError", "MissingCredentialsError", "ModelNotFoundError",
    "NoEndpointError", "ParsedCompletion", "ParsedStream", "Partial", "PermissionDeniedError",
    "ProviderConnectionError", "ProviderError", "ProviderTimeoutError",
    "ProviderUnavailableError", "Ranked", "Ranking", "RateLimitError", "RefusalError",
    "RequestTooLargeError", "Router", "RouterConfig", "SchemaValidationError", "SearchAnswer",
    "Span", "Speech", "StateUnavailableError", "StreamInterruptedError", "StructuredOutputError",
    "SyncCompletionStream", "SyncParsedStream", "SyncRouter", "ToolCall", "Transcription",
    "TruncatedOutputError", "UnknownAliasError", "UnsupportedFeatureError", "Usage", "VideoPart",
    "arguments_for", "format_usd", "tool_result",
]  # fmt: skip

_HOMES = {
    "answers.answer": ("Answer", "Attempt"),
    "answers.completion": (
        "Audio", "Citation", "Completion", "Image", "ParsedCompletion", "ToolCall",
    ),
    "answers.embeddings": ("Embeddings",),
    "answers.audio": ("Span", "Speech", "Transcription"),
    "answers.images": ("Images",),
    "answers.ranking": ("Ranked", "Ranking"),
    "answers.search": ("SearchAnswer",),
    "answers.partial": ("Partial",),
    "config.model": ("RouterConfig",),
    "options.parts": ("AudioPart", "FilePart", "ImagePart", "VideoPart"),
    "options.tools": ("arguments_for", "tool_result"),
    "router": ("Router",),
    "routing.clock": ("Clock",),
    "streams": ("CompletionStream", "ParsedStream"),
    "sync": ("SyncCompletionStream", "SyncParsedStream", "SyncRouter"),
    "usage": ("Cost", "Usage", "format_usd"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = frozenset(("config", "errors", "events", "ledger", "testing", "usage"))


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("llm-router-litellm")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOME_OF.get(name, 'errors')}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
