"""SearchAnswer: what `search` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import Answer, clipped, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.completion import Citation


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SearchAnswer(Answer):
    """What was found on the web."""

    text: str = ""
    """What a model makes of it; "" from a search engine, which returns sources alone."""
    citations: tuple[Citation, ...] = ()
    """The sources, each once for every place where the text rests on it."""

    @property
    def searches(self) -> int | None:
        """How many searches were made; None where nobody said."""
        counted = self.usage.units if self.usage.unit == "search" else None
        return None if counted is None else int(counted)

    def payload(self) -> Mapping[str, Any]:
        return {"text": self.text, "citations": plain(self.citations)}

    def gist(self) -> str:
        return f"{len(self.citations)} sources {clipped(self.text)!r}"
