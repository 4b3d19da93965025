"""OpenRouter: LiteLLM's configuration builds the request, our session sends it, our wire reads it.

Through `litellm.acompletion` a third of the recorded answers would lose facts, and a call cost
ten times the CPU (a stream thirty times).
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.errors import ProviderError
from llm_router.options.request import RequestPreview
from llm_router.providers.http import HttpClient, encode_json
from llm_router.providers.importing import load_here
from llm_router.providers.openrouter.catalog import Catalog
from llm_router.providers.openrouter.generations import (
    KeyInfo,
    read_generation,
    read_key_info,
)
from llm_router.providers.openrouter.request import RequestBuilder, api_key, masked
from llm_router.providers.stream import HttpStream
from llm_router.wires.errors import read_error
from llm_router.wires.openai import read_answer
from llm_router.wires.statuses import error_class
from llm_router.wires.stream_reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import aiohttp

    from llm_router.answers.completion import Completion
    from llm_router.answers.models import ModelInfo
    from llm_router.answers.records import Generation
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest


class OpenRouterProvider:
    """A provider row that speaks OpenRouter's wire. *clock* is seconds since the epoch."""

    def __init__(
        self,
        name: str,
        row: ProviderConfig,
        *,
        cache_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._row = row
        self._base_url = (row.base_url or OPENROUTER_BASE_URL).removesuffix("/chat/completions")
        self._http = HttpClient(self._base_url)
        self._builder: RequestBuilder | None = None
        self._opening = threading.Lock()
        self.catalog = Catalog(self._base_url, self._fetch_models, folder=cache_dir, clock=clock)

    async def open(self) -> None:
        """Import LiteLLM and aiohttp in a thread. Without a key there is nothing to open."""
        if self._builder is None and self._row.key:
            await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        with self._opening:
            if self._builder is None:
                load_here()
                from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

                self._http.prepare()
                key = api_key(self._row, self.name)
                self._builder = RequestBuilder(OpenrouterConfig(), self._row, key)

    async def _opened(self) -> RequestBuilder:
        await self.open()
        return self._ready()

    def _ready(self) -> RequestBuilder:
        api_key(self._row, self.name)
        if self._builder is None:
            raise RuntimeError("await open() first")
        return self._builder

    async def complete(self, request: ProviderRequest) -> Completion:
        """Send one request and read one answer. Raises ProviderError."""
        with _naming(request):
            response = await self._send(request)
            body = await self._http.read(response)
        answer = read_answer(body, response.status, response.headers, request, self._secrets)
        return self._priced(answer, request)

    async def stream(self, request: ProviderRequest) -> HttpStream:
        """Send one request; return when the status is there. Raises ProviderError."""
        with _naming(request):
            response = await self._send(request)
            body = b"" if response.status == 200 else await self._http.read(response)
        if response.status != 200:
            raise read_error(response.status, response.headers, body, request, self._secrets)
        reader = StreamReader(request, response.headers, self._secrets)
        return HttpStream(response, reader, lambda answer: self._priced(answer, request))

    async def _send(self, request: ProviderRequest) -> aiohttp.ClientResponse:
        builder = self._builder or await self._opened()
        body = encode_json(builder.body(request))
        self.catalog.touch()
        response = await self._http.send("POST", builder.url, builder.headers, body)
        answer_id = response.headers.get("X-Generation-Id")
        if request.answering is not None and answer_id is not None:
            request.answering(answer_id)
        return response

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self._row.key,)

    def _priced(self, answer: Completion, request: ProviderRequest) -> Completion:
        """Add what the catalogue's prices make of the usage, where it is in memory."""
        computed = self.catalog.cost_of(request.model, answer.model, answer.usage)
        if computed is None:
            return answer
        return replace(answer, cost=replace(answer.cost, computed=computed))

    def known(self, model: str) -> ModelInfo | None:
        """Return what the catalogue in memory says of *model*. No I/O."""
        return self.catalog.known(model)

    def preview(self, request: ProviderRequest) -> RequestPreview:
        """Return the exact request, secrets masked. Needs `open()`; no I/O."""
        builder = self._ready()
        return RequestPreview(
            url=builder.url, headers=masked(builder.headers), body=builder.body(request)
        )

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
        """Return a body; the connection is not kept, for calls like these are rare."""
        builder = await self._opened()
        headers = builder.headers | {"Connection": "close"}
        response = await self._http.send("GET", self._base_url + path, headers)
        body = await self._http.read(response)
        if response.status != 200:
            error = error_class(response.status)
            raise error(
                f"{path.partition('?')[0]} answered {response.status}",
                status_code=response.status,
                provider=self.name,
            )
        return body

    async def _fetch_models(self) -> bytes:
        return await self._get("/models")

    async def aclose(self) -> None:
        """Stop the catalogue's look-up and close the connections of this loop. Idempotent."""
        await self.catalog.aclose()
        await self._http.aclose()


@contextmanager
def _naming(request: ProviderRequest) -> Iterator[None]:
    """Write into a failure of the connection whose it was."""
    try:
        yield
    except ProviderError as error:
        error.fill(
            alias=request.alias,
            model=request.deployment.name,
            provider=request.deployment.provider,
            request_id=request.request_id,
        )
        raise
