"""Ranking: what `rerank` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_router.answers.answer import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One document and how well it answers the query."""

    index: int
    """Its place among the documents that were passed."""
    score: float
    """Higher is better. Scores of two models cannot be compared."""
    document: str

    def to_dict(self) -> dict[str, Any]:
        return {"index": self.index, "score": self.score, "document": self.document}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ranking(Answer):
    """The documents that answer a query best, the best one first. `store: full` keeps no scores."""

    results: tuple[Ranked, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        # super() does not work here: a dataclass with slots is another class than this body's.
        return {**Answer.to_dict(self), "results": [result.to_dict() for result in self.results]}

    def gist(self) -> str:
        best = self.results[0] if self.results else None
        return "" if best is None else f"{best.index} first of {len(self.results)}"
