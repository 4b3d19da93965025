"""What is asked of a model beside chat, one class a question; who makes one checks its values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedQuestion:
    """Texts to be turned into vectors."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    input_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankQuestion:
    """Documents to be put in the order in which they answer a query."""

    query: str
    documents: tuple[str, ...]
    top_n: int | None = None
