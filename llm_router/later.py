"""Operations that have a name and a signature, and nobody who serves them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llm_router.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from collections.abc import Sequence


class LaterOperations:
    """Each raises UnsupportedFeatureError, which says what is served."""

    async def embed(self, model: str, texts: str | Sequence[str]) -> NoReturn:
        """Not served yet."""
        raise _not_served("embed")

    async def generate_image(self, model: str, prompt: str) -> NoReturn:
        """Not served yet; models that answer with images do so in `complete` (`reply.images`)."""
        raise _not_served("generate_image")

    async def transcribe(self, model: str, audio: bytes) -> NoReturn:
        """Not served yet; models that hear take an `AudioPart` in `complete`."""
        raise _not_served("transcribe")

    async def speak(self, model: str, text: str, *, voice: str | None = None) -> NoReturn:
        """Not served yet."""
        raise _not_served("speak")

    async def search(self, model: str, query: str) -> NoReturn:
        """Not served yet; OpenRouter's web search is a tool of `complete`."""
        raise _not_served("search")

    async def rerank(self, model: str, query: str, documents: Sequence[str]) -> NoReturn:
        """Not served yet."""
        raise _not_served("rerank")


def _not_served(operation: str) -> UnsupportedFeatureError:
    return UnsupportedFeatureError(
        f"{operation} is not served yet: this version serves complete, parse and stream"
    )
