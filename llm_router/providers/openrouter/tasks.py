"""What OpenRouter serves beside chat: path, body and reader of each operation.

Its endpoints ignore what they do not know. A preference that binds (privacy, which upstreams) and
that an endpoint has no field for is therefore refused before anything is sent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llm_router.errors import UnsupportedFeatureError
from llm_router.options.policy import untaken_by
from llm_router.options.request import refuse_ours
from llm_router.providers.openai import CHAT, OpenAIProvider
from llm_router.wires.audio import read_speech, read_transcription
from llm_router.wires.images import read_chat_images, read_images
from llm_router.wires.rerank import read_ranking
from llm_router.wires.search import read_search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.audio import Speech, Transcription
    from llm_router.answers.images import Images
    from llm_router.answers.ranking import Ranking
    from llm_router.answers.search import SearchAnswer
    from llm_router.options.questions import (
        ImageQuestion,
        RerankQuestion,
        SearchQuestion,
        SpeechQuestion,
        TranscriptionQuestion,
    )
    from llm_router.options.request import TaskRequest

_SEARCH = "openrouter:web_search"
_CHAT_SIZES = ("1K", "2K", "4K")


class OpenRouterTasks(OpenAIProvider):
    """The operations of a row at OpenRouter; each sends one request and reads its answer."""

    async def rerank(self, request: TaskRequest[RerankQuestion]) -> Ranking:
        asked = request.question
        documents = list(asked.documents)
        fields = {"query": asked.query, "documents": documents, "top_n": asked.top_n}
        read = partial(read_ranking, documents=documents, top_n=asked.top_n)
        return await self._perform(request, "/rerank", fields, read)

    async def generate_image(self, request: TaskRequest[ImageQuestion]) -> Images:
        """Through `/images`, or through a chat where the deployment's `params` have modalities."""
        asked = request.question
        if request.deployment.params.get("modalities"):
            return await self._perform(request, CHAT, _drawing_chat(request), read_chat_images)
        references = [part.to_wire() for part in asked.references]
        fields = {
            "prompt": asked.prompt,
            "n": asked.n,
            "size": asked.size,
            "aspect_ratio": asked.aspect_ratio,
            "quality": asked.quality,
            "input_references": references or None,
        }
        return await self._perform(request, "/images", fields, read_images)

    async def speak(self, request: TaskRequest[SpeechQuestion]) -> Speech:
        """The format is always said: the wire's own default, pcm, cannot be played as it is."""
        asked = request.question
        fields = {
            "input": asked.text,
            "voice": asked.voice,
            "response_format": asked.format,
            "speed": asked.speed,
        }
        read = partial(read_speech, characters=len(asked.text))
        return await self._perform(request, "/audio/speech", fields, read)

    async def transcribe(self, request: TaskRequest[TranscriptionQuestion]) -> Transcription:
        asked = request.question
        timed = asked.timestamps is not None
        fields = {
            "input_audio": dict(asked.audio),
            "language": asked.language,
            "response_format": "verbose_json" if timed else None,
            "timestamp_granularities": [asked.timestamps] if timed else None,
        }
        return await self._perform(request, "/audio/transcriptions", fields, read_transcription)

    async def search(self, request: TaskRequest[SearchQuestion]) -> SearchAnswer:
        """As a chat that has to call the search tool: there is no endpoint for bare results."""
        asked = request.question
        most = {} if asked.max_results is None else {"max_results": asked.max_results}
        fields = {
            **request.deployment.params,
            "messages": [{"role": "user", "content": asked.query}],
            "tools": [{"type": _SEARCH, "parameters": most}],
            "tool_choice": {"type": _SEARCH},
        }
        return await self._perform(request, CHAT, fields, read_search)

    def _body(
        self, request: TaskRequest[Any], path: str, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the body, OpenRouter's own options in it."""
        _refuse_unheld(path, request.openrouter.get("provider") or {})
        body = super()._body(request, path, fields)
        refuse_ours(over := {**request.openrouter, **request.extra_body})
        return body | over


def _drawing_chat(request: TaskRequest[ImageQuestion]) -> dict[str, Any]:
    """Return the body of a chat that draws; UnsupportedFeatureError for what it cannot be told."""
    asked, params = request.question, request.deployment.params
    if (asked.n or 1) > 1 or asked.quality or asked.size not in (None, *_CHAT_SIZES):
        raise UnsupportedFeatureError(
            f"{request.deployment.name} draws in a chat: one image, its size {_CHAT_SIZES}, "
            "no quality",
            hint="Leave `modalities` out of its params where the model is served at /images.",
        )
    shape = {"aspect_ratio": asked.aspect_ratio, "image_size": asked.size}
    config = {**(params.get("image_config") or {}), **{n: v for n, v in shape.items() if v}}
    parts = [{"type": "text", "text": asked.prompt}, *(p.to_wire() for p in asked.references)]
    return {
        **params,
        "messages": [{"role": "user", "content": parts}],
        "image_config": config or None,
    }


def _refuse_unheld(path: str, preferences: Mapping[str, Any]) -> None:
    """Raise UnsupportedFeatureError for a preference that binds, and would not be held."""
    if untaken := untaken_by(path, preferences):
        raise UnsupportedFeatureError(
            f"OpenRouter's {path} cannot be told provider.{', '.join(sorted(untaken))}",
            hint="Leave it out of this call's or alias's `openrouter`, if that may be.",
        )
