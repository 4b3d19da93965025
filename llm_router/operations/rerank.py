"""Rerank: documents in the order in which they answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from llm_router.answers.ranking import Ranking
from llm_router.operations.task import Task, checked_count, checked_text, checked_texts
from llm_router.options.questions import RerankQuestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_router.options.request import CommonOptions


@dataclass(frozen=True, kw_only=True)
class Rerank(Task[Ranking, RerankQuestion]):
    """A query, and the documents that may answer it.

    Any model may stand in: its scores are its own, and the order is what was asked for.
    """

    serves: ClassVar[str] = "rerank"

    @classmethod
    def ask(
        cls, query: str, documents: Sequence[str], top_n: int | None, options: CommonOptions
    ) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option, ValueError for
        an empty query or document, none at all, or a `top_n` below 1."""
        if isinstance(documents, str):
            raise TypeError("documents is a list of str, not str")
        question = RerankQuestion(
            query=checked_text("query", query),
            documents=checked_texts("documents", documents),
            top_n=checked_count("top_n", top_n),
        )
        return cls.of(question, options)
