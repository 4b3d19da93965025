"""From a configuration row to the object that serves it: which kinds have a wire that we read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.providers.bedrock import ConverseBuilder
from llm_router.providers.foreign import (
    AnthropicBuilder,
    CohereBuilder,
    ForeignProvider,
    OllamaBuilder,
)
from llm_router.providers.google import GeminiBuilder, VertexBuilder
from llm_router.wires.anthropic import AnthropicWire
from llm_router.wires.cohere import CohereWire
from llm_router.wires.converse import ConverseWire
from llm_router.wires.gemini import GeminiWire
from llm_router.wires.ollama import OllamaWire
from llm_router.wires.openai import OpenAIWire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.config.model import ProviderConfig
    from llm_router.providers.base import Chat
    from llm_router.providers.foreign import ForeignBuilder
    from llm_router.wires.reading import Wire

# LiteLLM's names for those who speak OpenAI's wire: its `openai_compatible_providers` (a contract
# test compares) and four that it leaves out there. `chatgpt` and `github_copilot`, for which it
# logs in over the network, and `ragflow` with its models of another shape stay with its own call.
_OPENAI_SHAPED = (
    "ai21", "ai21_chat", "aiand", "aiml", "anyscale", "apertis", "azure", "azure_ai", "baseten",
    "cerebras", "chutes", "clarifai", "clf_ai_gateway", "codestral", "cognition", "cometapi",
    "coralbricks", "cortecs", "custom_openai", "darkbloom", "dashscope", "deepinfra", "deepseek",
    "docker_model_runner", "edenai", "empower", "featherless_ai", "fireworks_ai", "friendliai",
    "galadriel", "github", "groq", "helicone", "hosted_vllm", "hostinger_router", "huggingface",
    "hyperbolic", "inception", "lambda_ai", "libertai", "litellm_proxy", "llamafile", "lm_studio",
    "meta", "meta_llama", "minimax", "mistral", "modelscope", "moonshot", "morph", "nano-gpt",
    "nebius", "novita", "nscale", "nvidia_nim", "openai", "opencode_go", "openinfer", "openrouter",
    "parasail", "perplexity", "pinstripes", "poe", "prism", "publicai", "qwen_ai_platform",
    "qwencloud", "reka", "sail", "sambanova", "scx-ai", "streamlake", "synthetic",
    "tencent", "tensormesh", "together_ai", "v0", "vercel_ai_gateway", "volcengine", "wally",
    "wandb", "xai", "xinference", "zai", "zerogpu",
)  # fmt: skip
WIRES: dict[str, Callable[[str], Wire]] = dict.fromkeys(_OPENAI_SHAPED, OpenAIWire)
"""Those who speak OpenAI's wire, by LiteLLM's name of the provider."""
FOREIGN: dict[str, tuple[Callable[[str], Wire], type[ForeignBuilder]]] = {
    "anthropic": (AnthropicWire, AnthropicBuilder),
    "bedrock": (ConverseWire, ConverseBuilder),
    "cohere": (CohereWire, CohereBuilder),
    "cohere_chat": (CohereWire, CohereBuilder),
    "gemini": (GeminiWire, GeminiBuilder),
    "ollama_chat": (OllamaWire, OllamaBuilder),
    "vertex_ai": (GeminiWire, VertexBuilder),
}
"""Those with a wire of their own. A kind without a wire goes through LiteLLM's own call."""


def build_provider(name: str, row: ProviderConfig, policy: Mapping[str, Any] | None = None) -> Chat:
    """Return the provider for *row*; *policy* goes into every request to OpenRouter."""
    kind = row.kind(name)
    wire = WIRES.get(kind)
    if row.path == "native" and kind in FOREIGN:
        foreign, builder = FOREIGN[kind]
        return ForeignProvider(name, row, foreign(kind), builder)
    if wire is None or row.path == "acompletion":
        from llm_router.providers.acompletion.provider import AcompletionProvider

        return AcompletionProvider(name, row, any_field=wire is not None, policy=policy)
    if kind == "openrouter":
        from llm_router.providers.openrouter.provider import OpenRouterProvider

        return OpenRouterProvider(name, row, policy=policy)
    from llm_router.providers.openai import OpenAIProvider

    return OpenAIProvider(name, row, OpenAIWire(kind))
