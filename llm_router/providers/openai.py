"""OpenAIProvider: chat, and vectors, of rows that speak OpenAI's wire, OpenRouter's among them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llm_router.answers.answer import Answer
from llm_router.errors import UnsupportedFeatureError
from llm_router.providers.native import NativeProvider
from llm_router.providers.requests import Prepared
from llm_router.wires.embeddings import read_embeddings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.embeddings import Embeddings
    from llm_router.config.model import ProviderConfig
    from llm_router.options.questions import EmbedQuestion
    from llm_router.options.request import TaskRequest
    from llm_router.wires.openai import OpenAIWire

A = TypeVar("A", bound=Answer)
A_co = TypeVar("A_co", covariant=True, bound=Answer)
CHAT = "/chat/completions"


class Reader(Protocol[A_co]):
    """Reads the answer of one operation; a ProviderError where it is none."""

    def __call__(
        self, wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes
    ) -> A_co: ...


class OpenAIProvider(NativeProvider):
    """A provider row that speaks OpenAI's wire: chat, and vectors."""

    def __init__(self, name: str, row: ProviderConfig, wire: OpenAIWire) -> None:
        super().__init__(name, row, wire)
        self._openai = wire

    async def embed(self, request: TaskRequest[EmbedQuestion]) -> Embeddings:
        """Send one request and read its vectors.

        Floats are asked for: upstreams that know no base64 answer it with no data at all.
        """
        asked = request.question
        fields = {
            "input": list(asked.texts),
            "encoding_format": "float",
            "dimensions": asked.dimensions,
            "input_type": asked.input_type,
        }
        read = partial(read_embeddings, count=len(asked.texts))
        return await self._perform(request, "/embeddings", fields, read)

    async def _perform(
        self, request: TaskRequest[Any], path: str, fields: Mapping[str, Any], read: Reader[A]
    ) -> A:
        """Send one request to *path* and read its answer; exactly one HTTP request goes out.

        *fields* are the operation's own; those that are None are not sent.
        """
        await self.open(keyed=request.deployment.api_key is not None)
        builder, http = self._ready()
        url, headers = builder.target(request.model)
        prepared = Prepared(self._address(url, path), headers, self._body(request, path, fields))
        response = await self._post(http, prepared, request)
        answer = await http.read_as(response, partial(read, self._openai))
        return self._priced(answer, request)

    def _body(
        self, request: TaskRequest[Any], path: str, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the body: what was asked and nothing else."""
        given = {"model": self._named(request.model), **fields, "user": request.user}
        asked = {name: value for name, value in given.items() if value is not None}
        return asked | dict(request.extra_body)

    def _named(self, model: str) -> str:
        """Return the model's name on the wire."""
        return model

    def _address(self, chat: str, path: str) -> str:
        base, found, query = chat.partition(CHAT)
        if not found:
            raise UnsupportedFeatureError(f"{self.name} has no address for {path} beside {chat}")
        return f"{base}{path}{query}"
