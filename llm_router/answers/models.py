"""ModelInfo: what a catalogue says of a model, its prices and what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per token (per request for `request`); None where the catalogue does not say."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal | None = None

    def cost_of(self, usage: Usage) -> Decimal | None:
        """Return tokens times prices; None when a needed price or count is unknown.

        Cached tokens are inside the input; they are charged at the input price where the
        catalogue has no price of their own.
        """
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if tokens_out is None and self.output == 0:
            tokens_out = 0  # embeddings: nobody counts what costs nothing
        if self.input is None or self.output is None or tokens_in is None or tokens_out is None:
            return None
        read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        # Gemini was recorded reporting the same tokens as read and as written: charge them once.
        write = min(write, max(tokens_in - read, 0))
        plain = max(tokens_in - read - write, 0)
        return (
            plain * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + write * (self.input if self.cache_write is None else self.cache_write)
            + tokens_out * self.output
            + (self.request or Decimal(0))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A catalogue's entry. `supported_parameters` is None when the catalogue is silent."""

    id: str
    name: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    supported_parameters: frozenset[str] | None = None
    input_modalities: frozenset[str] = frozenset()
    output_modalities: frozenset[str] = frozenset()
    prices: Prices = field(default_factory=Prices)
    raw: Mapping[str, Any] = field(default_factory=dict)
