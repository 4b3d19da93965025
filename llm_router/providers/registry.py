"""From a configuration row to the object that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_router.config.model import ProviderConfig
    from llm_router.providers.base import Provider


def build_provider(name: str, row: ProviderConfig) -> Provider:
    """Return the provider for *row*: code of its own for OpenRouter, LiteLLM for all others."""
    if (row.litellm or name) == "openrouter" and row.path == "native":
        from llm_router.providers.openrouter.provider import OpenRouterProvider

        return OpenRouterProvider(name, row)
    from llm_router.providers.litellm.provider import LiteLLMProvider

    return LiteLLMProvider(name, row)
