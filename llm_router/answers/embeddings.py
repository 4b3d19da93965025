"""Embeddings: what `embed` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import Answer

if TYPE_CHECKING:
    from array import array


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Embeddings(Answer):
    """One vector a text, in the order of the texts. `store: full` keeps no vectors."""

    vectors: tuple[array[float], ...] = ()
    """Single-precision floats (`array('f')`), all of one length."""

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 where there is none."""
        return len(self.vectors[0]) if self.vectors else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; the vectors as lists of numbers."""
        # super() does not work here: a dataclass with slots is another class than this body's.
        return {**Answer.to_dict(self), "vectors": [vector.tolist() for vector in self.vectors]}

    def gist(self) -> str:
        return f"{len(self.vectors)} of {self.dimensions}"
