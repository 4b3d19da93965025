"""OpenRouter: a profile on the native provider, with a catalogue, prices and generations."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from llm_router.answers.answer import Answer
from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.errors import ProviderError, ProviderTimeoutError
from llm_router.providers.embeddings import OpenAIProvider
from llm_router.providers.importing import load_here, quiet
from llm_router.providers.openrouter.catalog import Catalog
from llm_router.providers.openrouter.generations import (
    KeyInfo,
    read_generation,
    read_key_info,
)
from llm_router.providers.openrouter.request import OpenRouterBuilder, wire_model
from llm_router.wires.errors import error_class
from llm_router.wires.openai import OpenAIWire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import aiohttp

    from llm_router.answers.models import ModelInfo
    from llm_router.answers.records import Generation
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import EmbedRequest, ProviderRequest
    from llm_router.providers.http import HttpClient
    from llm_router.providers.native import Asked
    from llm_router.providers.requests import Builder

A = TypeVar("A", bound=Answer)
LOOK_UP_SECONDS = 10.0
"""How long a look-up beside the calls may take: a generation, the key, the catalogue."""


class OpenRouterProvider(OpenAIProvider):
    """A provider row at OpenRouter. *clock* is seconds since the epoch."""

    def __init__(
        self,
        name: str,
        row: ProviderConfig,
        *,
        cache_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name, row, OpenAIWire("openrouter", clock))
        self._base_url = (row.base_url or OPENROUTER_BASE_URL).removesuffix("/chat/completions")
        self.catalog = Catalog(self._base_url, self._fetch_models, folder=cache_dir, clock=clock)

    def _new_builder(self) -> Builder:
        load_here()
        with quiet():
            from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

            return OpenRouterBuilder(OpenrouterConfig(), self._row)

    async def _send(self, request: ProviderRequest) -> tuple[aiohttp.ClientResponse, HttpClient]:
        await self.open()
        self._ready()
        self.catalog.touch()
        return await super()._send(request)

    def embed_body(self, request: EmbedRequest) -> dict[str, Any]:
        """Return the body, OpenRouter's own options in it."""
        body = super().embed_body(request) | {"model": wire_model(request.model)}
        return {**body, **request.openrouter, **request.extra_body}

    def _priced(self, answer: A, request: Asked) -> A:
        """Add what the catalogue's prices make of the usage, where it is in memory."""
        computed = self.catalog.cost_of(request.model, answer.model, answer.usage)
        if computed is None:
            return answer
        return replace(answer, cost=replace(answer.cost, computed=computed))

    def known(self, model: str) -> ModelInfo | None:
        """Return what the catalogue in memory says of *model*. No I/O."""
        return self.catalog.known(model)

    async def fetch_generation(self, response_id: str) -> Generation | None:
        """Return the stored record of an answer; None while there is none (it lags by seconds)."""
        try:
            return read_generation(await self._get(f"/generation?id={quote(response_id)}"))
        except ProviderError as error:
            if error.status_code == 404:
                return None
            raise

    async def key_info(self) -> KeyInfo:
        """Return limits and spending of the key in use."""
        return read_key_info(await self._get("/key"))

    async def _get(self, path: str) -> bytes:
        """Return a body; the connection is not kept, for calls like these are rare.

        Raises ProviderTimeoutError after `LOOK_UP_SECONDS`.
        """
        await self.open()
        builder, http = self._ready()
        assert isinstance(builder, OpenRouterBuilder)
        headers = {**builder.headers, "Connection": "close"}
        what = path.partition("?")[0]
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                response = await http.send("GET", self._base_url + path, headers)
                body = await http.read(response)
        except TimeoutError:
            raise ProviderTimeoutError(
                f"{what} gave no answer within {LOOK_UP_SECONDS:g} s", provider=self.name
            ) from None
        if response.status == 200:
            return body
        error = error_class(response.status)
        raise error(
            f"{what} answered {response.status}",
            status_code=response.status,
            provider=self.name,
        )

    async def _fetch_models(self) -> bytes:
        return await self._get("/models")

    async def aclose(self) -> None:
        """Stop the catalogue's look-up and close the connections. Idempotent."""
        await self.catalog.aclose()
        await super().aclose()
