"""Images: what `generate_image` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_router.answers.answer import Answer

if TYPE_CHECKING:
    from llm_router.answers.completion import Image


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Images(Answer):
    """Generated pictures, at least one. `store: full` keeps none of them."""

    images: tuple[Image, ...] = ()
    """Fewer than were asked for is an answer: `n` is an upper bound."""
    text: str = ""
    """What a chat model wrote beside them."""

    def gist(self) -> str:
        kinds = {image.media_type or "at a URL" for image in self.images}
        return f"{len(self.images)} ({', '.join(sorted(kinds))})"
