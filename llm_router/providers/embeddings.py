"""Vectors from rows of OpenAI's wire, OpenRouter's among them: `POST …/embeddings`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from llm_router.errors import UnsupportedFeatureError
from llm_router.providers.native import NativeProvider
from llm_router.providers.requests import Prepared
from llm_router.wires.embeddings import read_embeddings

if TYPE_CHECKING:
    from llm_router.answers.embeddings import Embeddings
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import EmbedRequest
    from llm_router.wires.openai import OpenAIWire

_CHAT = "/chat/completions"


class OpenAIProvider(NativeProvider):
    """A provider row that speaks OpenAI's wire: chat, and vectors."""

    def __init__(self, name: str, row: ProviderConfig, wire: OpenAIWire) -> None:
        super().__init__(name, row, wire)
        self._openai = wire

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Send one request and read its vectors; exactly one HTTP request goes out.

        Raises ProviderError; EmptyResponseError or InvalidResponseError for an answer that has
        not one vector for each text.
        """
        await self.open()
        builder, http = self._ready()
        url, headers = builder.target(request.model)
        prepared = Prepared(_address(url, request), headers, self.embed_body(request))
        response = await self._post(http, prepared, request.answering)
        answer = await http.read_as(
            response, functools.partial(read_embeddings, self._openai, len(request.texts))
        )
        return self._priced(answer, request)

    def embed_body(self, request: EmbedRequest) -> dict[str, Any]:
        """Return the body: what was asked and nothing else.

        Floats are asked for: upstreams that know no base64 answer it with no data at all.
        """
        given = {
            "dimensions": request.dimensions,
            "input_type": request.input_type,
            "user": request.user,
        }
        asked = {name: value for name, value in given.items() if value is not None}
        body = {"model": request.model, "input": list(request.texts), "encoding_format": "float"}
        return body | asked | dict(request.extra_body)


def _address(chat: str, request: EmbedRequest) -> str:
    base, found, query = chat.partition(_CHAT)
    if not found:
        raise UnsupportedFeatureError(
            f"{request.deployment.provider} has no address for embeddings beside {chat}"
        )
    return f"{base}/embeddings{query}"
