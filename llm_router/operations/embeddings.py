"""Embeddings: texts as vectors of one model.

Vectors of two models cannot be compared, so a fallback must be the same model at another
provider: anything else is a ConfigurationError before a text is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from llm_router.answers.embeddings import Embeddings
from llm_router.operations.task import Task, checked_count, checked_texts
from llm_router.options.questions import EmbedQuestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_router.options.request import CommonOptions


@dataclass(frozen=True, kw_only=True)
class Embed(Task[Embeddings, EmbedQuestion]):
    """Texts to be turned into vectors."""

    serves: ClassVar[str] = "embed"
    same_model: ClassVar[bool] = True

    @classmethod
    def ask(
        cls,
        texts: str | Sequence[str],
        dimensions: int | None,
        input_type: str | None,
        options: CommonOptions,
    ) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option, ValueError for
        no text, an empty one, or no dimension."""
        question = EmbedQuestion(
            texts=checked_texts("texts", texts),
            dimensions=checked_count("dimensions", dimensions),
            input_type=input_type,
        )
        return cls.of(question, options)
