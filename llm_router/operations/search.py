"""Search: the web, asked through a model or a search engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from llm_router.answers.search import SearchAnswer
from llm_router.operations.task import Task, checked_count, checked_text
from llm_router.options.questions import SearchQuestion

if TYPE_CHECKING:
    from llm_router.options.request import CommonOptions

MOST_RESULTS = 25
"""What OpenRouter's search tool takes."""


@dataclass(frozen=True, kw_only=True)
class Search(Task[SearchAnswer, SearchQuestion]):
    """Something to be looked for on the web."""

    serves: ClassVar[str] = "search"

    @classmethod
    def ask(cls, query: str, max_results: int | None, options: CommonOptions) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option, ValueError for
        no query, or for more than 25 results."""
        if (checked_count("max_results", max_results) or 1) > MOST_RESULTS:
            raise ValueError(f"max_results is at most {MOST_RESULTS}, not {max_results}")
        question = SearchQuestion(query=checked_text("query", query), max_results=max_results)
        return cls.of(question, options)
