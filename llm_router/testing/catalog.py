"""The sandbox's own small catalogue: models, upstream providers, prices, capabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Caching = Literal["none", "automatic", "explicit"]
Output = Literal["text", "embeddings", "rerank", "image", "speech", "transcription"]

_SAMPLING = ("max_tokens", "temperature", "top_p", "stop", "seed")
_TOOLS = ("tools", "tool_choice")
_JSON = ("response_format", "structured_outputs")
_THINKING = ("reasoning", "include_reasoning")
_DOCUMENTS = ("text", "image", "file")
_VARIANTS = ("free", "nitro", "floor", "online", "exacto", "extended", "thinking")
_CREATED = 1_750_000_000
_UNMEASURED = (
    "max_prompt_tokens", "quantization", "uptime_last_5m", "uptime_last_1d", "latency_last_30m",
    "throughput_last_30m",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An upstream provider: its display name, its routing slug, and whether it stops on demand."""

    name: str
    slug: str
    cancels: bool = True
    """Whether a stream that the client leaves is billed only up to there."""

    def is_among(self, names: Iterable[str]) -> bool:
        """Return whether *names*, slugs or display names, have it."""
        return not {self.name, self.slug}.isdisjoint(names)


_OPENAI = Upstream(name="OpenAI", slug="openai")
_AZURE = Upstream(name="Azure", slug="azure")
_ANTHROPIC = Upstream(name="Anthropic", slug="anthropic")
_BEDROCK = Upstream(name="Amazon Bedrock", slug="amazon-bedrock", cancels=False)
_AI_STUDIO = Upstream(name="Google AI Studio", slug="google-ai-studio", cancels=False)
_VERTEX = Upstream(name="Google", slug="google-vertex", cancels=False)
_ALIBABA = Upstream(name="Alibaba", slug="alibaba", cancels=False)
_DEEPINFRA = Upstream(name="DeepInfra", slug="deepinfra")
_MISTRAL = Upstream(name="Mistral", slug="mistral", cancels=False)
_COHERE = Upstream(name="Cohere", slug="cohere", cancels=False)
_SEED = Upstream(name="Seed", slug="seed", cancels=False)
_MINIMAX = Upstream(name="Minimax", slug="minimax", cancels=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxModel:
    """One row of the catalogue. Prices are USD per token, as decimal text like on the wire."""

    id: str
    prompt: str
    completion: str = "0"
    upstreams: tuple[Upstream, ...]
    canonical_slug: str = ""
    """The name that answers carry; the id when blank."""
    context_length: int = 128_000
    max_completion_tokens: int | None = None
    supports: tuple[str, ...] = (*_SAMPLING, *_TOOLS, *_JSON)
    inputs: tuple[str, ...] = ("text",)
    caching: Caching = "none"
    cache_minimum: int = 1024
    """Tokens below which a prefix is not cached."""
    cache_read: str | None = None
    cache_write: str | None = None
    answered_by: str | None = None
    """For a router model: the id of the model that answers and is billed."""
    refuses_response_format: bool = False
    """Whether its upstream answers 400 to any `response_format` of JSON."""
    output: Output = "text"
    """Its output modality."""
    expires: str | None = None
    """The date after which it may be removed, as the catalogue writes it: `2026-12-31`."""
    dimensions: int | None = None
    """Of a model for embeddings: how long its vectors are."""
    most_inputs: int | None = None
    """Of a model for embeddings: how many texts a request may have; None is any number."""
    unit_price: str = "0.005"
    """USD for each unit that the operation counts: an image, a character to speak, a second of
    sound, a search unit; of text models a web search."""

    @property
    def echoed(self) -> str:
        return self.canonical_slug or self.id

    @property
    def author(self) -> str:
        return self.id.partition("/")[0]

    def to_wire(self) -> dict[str, Any]:
        """Return the model object of `GET /models`."""
        prices = {"prompt": self.prompt, "completion": self.completion}
        optional = {"input_cache_read": self.cache_read, "input_cache_write": self.cache_write}
        return {
            "id": self.id,
            "canonical_slug": self.echoed,
            "name": self.id.split("/")[-1],
            "created": _CREATED,
            "context_length": self.context_length,
            "architecture": {
                "modality": f"{'+'.join(self.inputs)}->{self.output}",
                "input_modalities": list(self.inputs),
                "output_modalities": [self.output],
                "tokenizer": "Other",
                "instruct_type": None,
            },
            "pricing": prices | {key: price for key, price in optional.items() if price},
            "top_provider": {
                "context_length": self.context_length,
                "max_completion_tokens": self.max_completion_tokens,
                "is_moderated": False,
            },
            "per_request_limits": None,
            "supported_parameters": list(self.supports),
            "supported_voices": None,
            "default_parameters": None,
            "expiration_date": self.expires,
            "links": {"details": f"/api/v1/models/{self.echoed}/endpoints"},
        }

    def endpoints(self) -> dict[str, Any]:
        """Return the `data` of `GET /models/{author}/{slug}/endpoints`."""
        model = self.to_wire()
        shared = {
            "model_id": self.id,
            "model_name": model["name"],
            "context_length": self.context_length,
            "max_completion_tokens": self.max_completion_tokens,
            "pricing": model["pricing"],
            "supported_parameters": model["supported_parameters"],
            "supports_implicit_caching": self.caching == "automatic",
            "status": 0,
            "uptime_last_30m": 100,
            **dict.fromkeys(_UNMEASURED),
        }
        rows = [
            {
                "name": f"{up.name} | {self.echoed}",
                "provider_name": up.name,
                "tag": up.slug,
                **shared,
            }
            for up in self.upstreams
        ]
        told = {key: model[key] for key in ("id", "name", "created", "architecture")}
        return {**told, "description": "", "endpoints": rows}


# fmt: off
_GPT: dict[str, Any] = {
    "upstreams": (_OPENAI, _AZURE), "inputs": _DOCUMENTS, "caching": "automatic"}
_CLAUDE: dict[str, Any] = {
    "upstreams": (_ANTHROPIC, _BEDROCK, _VERTEX), "inputs": _DOCUMENTS, "caching": "explicit",
    "supports": (*_SAMPLING, *_TOOLS, *_JSON, *_THINKING), "max_completion_tokens": 64_000}
CATALOG: tuple[SandboxModel, ...] = (
    SandboxModel(
        id="openai/gpt-4o-mini", max_completion_tokens=16_384,
        prompt="0.00000015", completion="0.0000006", cache_read="0.000000075", **_GPT),
    SandboxModel(
        id="openai/gpt-5.5", canonical_slug="openai/gpt-5.5-20260423",
        prompt="0.00000125", completion="0.00001", cache_read="0.000000125",
        context_length=400_000, max_completion_tokens=128_000,
        supports=("max_tokens", "seed", *_TOOLS, *_JSON, *_THINKING), **_GPT),
    SandboxModel(
        id="anthropic/claude-haiku-4.5", canonical_slug="anthropic/claude-4.5-haiku-20251001",
        prompt="0.000001", completion="0.000005", cache_read="0.0000001", cache_write="0.00000125",
        context_length=200_000, cache_minimum=4096, **_CLAUDE),
    SandboxModel(
        id="anthropic/claude-sonnet-4.5", canonical_slug="anthropic/claude-4.5-sonnet-20250929",
        prompt="0.000003", completion="0.000015", cache_read="0.0000003", cache_write="0.00000375",
        context_length=1_000_000, **_CLAUDE),
    SandboxModel(
        id="google/gemini-2.5-flash", upstreams=(_AI_STUDIO, _VERTEX), caching="automatic",
        prompt="0.0000003", completion="0.0000025",
        cache_read="0.000000075", cache_write="0.0000003833",
        context_length=1_048_576, max_completion_tokens=65_535,
        supports=(*_SAMPLING, *_TOOLS, *_JSON, *_THINKING), inputs=(*_DOCUMENTS, "audio", "video")),
    SandboxModel(
        id="qwen/qwen-plus", canonical_slug="qwen/qwen-plus-2025-01-25", upstreams=(_ALIBABA,),
        prompt="0.0000004", completion="0.0000012",
        cache_read="0.00000004", cache_write="0.0000005", caching="explicit",
        context_length=131_072, supports=(*_SAMPLING, *_TOOLS, "response_format")),
    SandboxModel(
        id="qwen/qwen3-8b:free", canonical_slug="qwen/qwen3-8b-04-28", upstreams=(_DEEPINFRA,),
        prompt="0", context_length=40_960, supports=(*_SAMPLING, "reasoning")),
    SandboxModel(
        id="meta-llama/llama-3.3-70b-instruct", upstreams=(_DEEPINFRA,), prompt="0.0000001",
        completion="0.00000032", supports=(*_SAMPLING, *_TOOLS, "response_format")),
    SandboxModel(
        id="deepseek/deepseek-r1", upstreams=(_DEEPINFRA,), prompt="0.0000007",
        completion="0.0000025", context_length=64_000, supports=(*_SAMPLING, *_THINKING)),
    SandboxModel(
        id="mistralai/mistral-7b-instruct", upstreams=(_MISTRAL,), prompt="0.000000028",
        completion="0.000000054", context_length=32_768, supports=(*_SAMPLING, "tools", *_JSON),
        refuses_response_format=True),
    SandboxModel(
        id="minimax/minimax-01", upstreams=(_MINIMAX,), prompt="0.0000002", completion="0.0000011",
        context_length=1_000_192, supports=_SAMPLING),
    SandboxModel(
        id="openrouter/auto", upstreams=(), prompt="-1", completion="-1", context_length=2_000_000,
        supports=(*_SAMPLING, *_TOOLS, *_JSON, "reasoning"), answered_by="openai/gpt-4o-mini"),
    SandboxModel(
        id="openai/text-embedding-3-small", upstreams=(_OPENAI, _AZURE), prompt="0.00000002",
        context_length=8192, supports=(), output="embeddings", dimensions=1536),
    SandboxModel(
        id="qwen/text-embedding-v4", upstreams=(_ALIBABA,), prompt="0.00000007",
        context_length=8192, supports=(), output="embeddings", dimensions=1024, most_inputs=10),
    SandboxModel(
        id="cohere/rerank-v3.5", upstreams=(_COHERE,), prompt="0", context_length=4096,
        supports=(), output="rerank", unit_price="0.001"),
    SandboxModel(
        id="bytedance-seed/seedream-4.5", upstreams=(_SEED,), prompt="0", context_length=4096,
        supports=(), output="image", unit_price="0.04"),
    SandboxModel(
        id="openai/gpt-4o-mini-tts", upstreams=(_OPENAI,), prompt="0", context_length=4096,
        supports=(), output="speech", unit_price="0.0000006"),
    SandboxModel(
        id="openai/whisper-1", upstreams=(_OPENAI,), prompt="0", context_length=4096,
        supports=(), inputs=("audio",), output="transcription", unit_price="0.0001"),
)
# fmt: on


class Catalog:
    """Finds the model that answers to an id, with variants and presets taken off."""

    def __init__(self, models: tuple[SandboxModel, ...] = CATALOG) -> None:
        self.models = models
        self._by_id = {name: model for model in models for name in (model.echoed, model.id)}

    def find(self, model_id: str) -> SandboxModel | None:
        """Return the model that would answer *model_id*, or None for an unknown id."""
        if not model_id or model_id.startswith("@preset/"):
            return self._answering(self.models[0])
        name, *variants = model_id.split("@preset/")[0].split(":")
        if not set(variants) <= set(_VARIANTS):
            return None
        free = "free" in variants
        if free and f"{name}:free" in self._by_id:
            return self._by_id[f"{name}:free"]
        model = self._by_id.get(name)
        if model is None or not free:
            return model and self._answering(model)
        return replace(model, prompt="0", completion="0", cache_read=None, cache_write=None)

    def stand_in(self, output: Output) -> SandboxModel:
        """Return the model behind a `demo/…` id."""
        fitting = (model for model in self.models if model.output == output)
        return next(fitting, self.models[0])

    def _answering(self, model: SandboxModel) -> SandboxModel:
        return self._by_id[model.answered_by] if model.answered_by else model


def price(text: str | None) -> Decimal:
    """Return a price as Decimal; a router's "-1" and an absent price cost nothing."""
    return max(Decimal(text or "0"), Decimal(0))
