"""NativeProvider: LiteLLM's configuration builds the request, our session sends it, our wire reads.

What is read from the wire's own bytes is right in 99 to 100 of 100 recorded interactions, what
comes back as LiteLLM's objects in 25 to 85, at ten times the CPU (a stream thirty times).
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, TypeVar

from llm_router.answers.answer import Answer
from llm_router.answers.models import ModelInfo
from llm_router.config.checks import missing_credentials
from llm_router.options.request import RequestPreview
from llm_router.providers.http import HttpClient, Secret, encode_json
from llm_router.providers.importing import load_here
from llm_router.providers.requests import RequestBuilder, masked
from llm_router.providers.stream import HttpStream
from llm_router.redaction import MASK
from llm_router.usage import Prices

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from llm_router.answers.completion import Completion
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest
    from llm_router.providers.requests import Builder, Prepared
    from llm_router.wires.reading import Wire

A = TypeVar("A", bound=Answer)
_MILLION = Decimal(1_000_000)
_SHORTEST_SECRET = 8
"""Shorter values are words of every text: masking them by value would hide nothing and more."""


class Asked(Protocol):
    """A request of any operation."""

    @property
    def model(self) -> str: ...


class NativeProvider:
    """A provider row whose wire we read: its answers and errors are those of the bytes."""

    def __init__(self, name: str, row: ProviderConfig, wire: Wire) -> None:
        self.name = name
        self.secrets: tuple[str, ...] = secrets_of(row, row.key)
        self._row = row
        self._wire = wire
        self._builder: Builder | None = None
        self._http: HttpClient | None = None
        self._opening = threading.Lock()

    async def open(self) -> None:
        """Import LiteLLM and aiohttp in a thread. Without a needed key there is nothing to open."""
        if self._builder is None and missing_credentials(self.name, self._row) is None:
            await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        with self._opening:
            if self._builder is None:
                builder = self._new_builder()
                self.secrets = secrets_of(self._row, builder.key)
                self._http = HttpClient(builder.address, keyed=builder.keyed)
                self._http.prepare()
                self._builder = builder

    def _new_builder(self) -> Builder:
        return RequestBuilder(load_here(), self._row, self.name)

    def _ready(self) -> tuple[Builder, HttpClient]:
        if self._builder is None or self._http is None:
            raise missing_credentials(self.name, self._row) or RuntimeError("await open() first")
        return self._builder, self._http

    async def complete(self, request: ProviderRequest) -> Completion:
        """Send one request and read one answer; exactly one HTTP request goes out."""
        response, http = await self._send(request)
        body = await http.read(response)
        answer = self._wire.read_answer(response.status, response.headers, body)
        return self._priced(answer, request)

    async def stream(self, request: ProviderRequest) -> HttpStream:
        """Send one request; return when the response has begun."""
        response, http = await self._send(request)
        if response.status != 200:
            body = await http.read(response)
            raise self._wire.read_error(response.status, response.headers, body)
        reader = self._wire.reader(response.headers)
        return HttpStream(response, reader, lambda answer: self._priced(answer, request))

    async def _send(self, request: ProviderRequest) -> tuple[aiohttp.ClientResponse, HttpClient]:
        await self.open()
        builder, http = self._ready()
        return await self._post(http, builder.build(request), request.answering), http

    async def _post(
        self, http: HttpClient, prepared: Prepared, answering: Callable[[str], None] | None
    ) -> aiohttp.ClientResponse:
        """Send one request of any operation; tell the id of its answer as soon as it is known.

        The one place where content leaves for a provider whose wire we read.
        """
        prepared = self._finished(prepared)
        body, headers = encode_json(prepared.body), prepared.headers
        if prepared.sign is not None:
            headers = {**headers, **await prepared.sign(prepared.url, body)}
        response = await http.send("POST", prepared.url, headers, body)
        answer_id = response.headers.get("X-Generation-Id")
        if answering is not None and answer_id is not None:
            answering(answer_id)
        return response

    def _finished(self, prepared: Prepared) -> Prepared:
        """Return what goes out of *prepared*: the last word on a request of any operation."""
        return prepared

    def _priced(self, answer: A, request: Asked) -> A:
        return priced(answer, stated(self._row, request.model))

    def known(self, model: str) -> ModelInfo | None:
        """Return the prices that the row states for *model*. No I/O."""
        return stated(self._row, model)

    def preview(self, request: ProviderRequest) -> RequestPreview:
        """Return the exact request, secrets masked. Needs `open()`; no I/O."""
        builder, _ = self._ready()
        prepared = self._finished(builder.build(request))
        headers = masked(prepared.headers)
        if prepared.sign is not None:
            headers |= dict.fromkeys(prepared.sign.names, MASK)
        return RequestPreview(url=prepared.url, headers=headers, body=prepared.body)

    async def aclose(self) -> None:
        """Close the connections. Idempotent; a later request opens new ones."""
        if self._http is not None:
            await self._http.aclose()


def secrets_of(row: ProviderConfig, key: str) -> tuple[Secret, ...]:
    """Return *key* and the values of the row's headers, where they are long enough to be one."""
    values = (key, *row.headers.values())
    return tuple(Secret(value) for value in values if len(value) >= _SHORTEST_SECRET)


def stated(row: ProviderConfig, model: str) -> ModelInfo | None:
    """Return the prices that *row* states for *model*: USD per million there, per token here."""
    prices = row.prices.get(model)
    if prices is None:
        return None
    names = ("input", "output", "cache_read", "cache_write")
    given = {name: getattr(prices, name) for name in names}
    per_token = {n: None if price is None else price / _MILLION for n, price in given.items()}
    return ModelInfo(id=model, prices=Prices(**per_token))


def priced(answer: A, info: ModelInfo | None) -> A:
    """Return *answer* with what the row's prices make of its tokens.

    They become the total only where the provider reported no cost.
    """
    computed = None if info is None else info.prices.cost_of(answer.usage)
    if computed is None:
        return answer
    cost = replace(answer.cost, computed=computed)
    if cost.reported is None and cost.total is None:
        cost = replace(cost, total=computed, source="local")
    return replace(answer, cost=cost)
