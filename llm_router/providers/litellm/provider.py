"""LiteLLMProvider: any provider that LiteLLM knows, through `litellm.acompletion`.

One call is one HTTP request, through a client that belongs to this provider and to the loop it
runs on. Where LiteLLM insists on a client of its own (cohere, bedrock, …) the connection is
LiteLLM's, and so are its habits: it repeats a request once when the connection breaks.
A row with a `base_url` gets the row's key or none; a row without one is at LiteLLM's own address
for that provider, and LiteLLM may then use its own variables.

OpenRouter too comes this way with `path: acompletion`, for those who rely on LiteLLM's callbacks.
What is read is the wire itself, so answers and errors are those of the native way. Its losses:

- many times the CPU of the native way (`benchmarks/overhead.py` measures it);
- no catalogue: no `cost.computed`, no capabilities (`parse` finds modes by refusals), no context
  length for `explain`; no `reconcile`;
- after an error inside a stream nothing more is read: a bill that follows it stays unknown;
- what LiteLLM does to requests: `cache_control` is dropped for models it does not know to cache
  (qwen), and `usage: {include: true}` is added.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from llm_router.answers.models import ModelInfo
from llm_router.config.checks import missing_credentials
from llm_router.errors import ProviderError
from llm_router.options.request import RequestPreview
from llm_router.providers.importing import load
from llm_router.providers.litellm.arguments import (
    Target,
    call_arguments,
    target_of,
)
from llm_router.providers.litellm.errors import translate
from llm_router.providers.litellm.reading import priced, token_prices, wire_body
from llm_router.providers.openrouter.request import masked
from llm_router.providers.per_loop import PerLoop
from llm_router.wires.openai import read_answer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from llm_router.answers.completion import Completion
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest
    from llm_router.providers.litellm.connection import Exchange, WireClient
    from llm_router.providers.litellm.stream import LiteLLMStream

# LiteLLM's timeout is per socket read; the Router bounds the attempt, so this only must not.
_NO_TIMEOUT = 86_400.0
_MARKS_ITS_END = frozenset({"anthropic", "gemini", "vertex_ai"})
# Probed to send through the client they are given, beside all that is shaped like OpenAI.
_USE_OUR_CLIENT = frozenset({"anthropic", "databricks", "gemini", "huggingface", "mistral"})
_CANCEL_SECONDS = 1.0
_NOT_BUILT = "Invalid response object"


class LiteLLMProvider:
    """A provider row served by LiteLLM."""

    def __init__(self, name: str, row: ProviderConfig) -> None:
        self.name = name
        self._row = row
        self._litellm: Any = None
        self._target: Target | None = None
        self._clients: PerLoop[WireClient] = PerLoop(self._new_client, _close)
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Import LiteLLM in a thread. Idempotent; no request is sent."""
        if self._target is None:
            self._litellm = await load()
            self._target = target_of(self._litellm, self._row, self.name)

    async def complete(self, request: ProviderRequest) -> Completion:
        """Send one request and read one answer.

        Raises ProviderError, MissingCredentialsError before anything is sent, and
        UnsupportedFeatureError for an option that LiteLLM would leave out.
        """
        arguments, exchange = await self._prepare(request)
        try:
            response = await self._run(self._litellm.acompletion(**arguments), exchange)
        except Exception as error:  # LiteLLM raises builtin classes too; all are translated
            refused = self._refused(request, exchange, error)
            if refused is None:
                raise translate(error, request, exchange, self._secrets) from error
            return self._priced(request, refused)
        if self._reads_raw(request) and exchange.status is not None:
            body = exchange.take()
        else:
            body = wire_body(response)
        answer = read_answer(body, 200, exchange.headers, request, self._secrets)
        return self._priced(request, answer)

    async def stream(self, request: ProviderRequest) -> LiteLLMStream:
        """Send one request; return when the response has begun. Raises like `complete`."""
        from llm_router.providers.litellm.stream import LiteLLMStream

        arguments, exchange = await self._prepare(request)
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        _spare_streams_from_warnings()
        try:
            wrapper = await self._run(self._litellm.acompletion(**arguments), exchange)
        except Exception as error:  # LiteLLM raises builtin classes too; all are translated
            raise translate(error, request, exchange, self._secrets) from error
        return LiteLLMStream(
            wrapper,
            exchange,
            request,
            self._secrets,
            raw=self._reads_raw(request),
            marks_its_end=self._opened.name in _MARKS_ITS_END,
            finished=partial(self._priced, request),
        )

    def known(self, model: str) -> ModelInfo | None:
        """Return the prices that the row states for *model*. No I/O."""
        prices = self._row.prices.get(model)
        return None if prices is None else ModelInfo(id=model, prices=token_prices(prices))

    def preview(self, request: ProviderRequest) -> RequestPreview:
        """Return what LiteLLM is asked to send, secrets masked. Needs `open()`, no I/O.

        On OpenAI's wire that is the body; other wires have names of their own for its fields.
        """
        asked = call_arguments(self._litellm, self._opened, request)
        body = asked | asked.pop("extra_body", {})
        body["model"] = body["model"].partition("/")[2]
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        key = {"Authorization": "Bearer …"} if self._secrets else {}
        address = self._row.base_url or f"litellm:{self._opened.name}"
        path = "/chat/completions" if self._opened.openai_shaped and self._row.base_url else ""
        return RequestPreview(
            url=f"{address}{path}", headers=masked(key | self._headers()), body=body
        )

    async def aclose(self) -> None:
        """Close the connections of this loop. Idempotent."""
        here = asyncio.get_running_loop()
        for task in [t for t in self._abandoned if t.get_loop() is here]:
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)
        await self._clients.aclose()

    @property
    def _opened(self) -> Target:
        if self._target is None:
            raise RuntimeError("await open() first")
        return self._target

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self._row.key,) if self._row.key else ()

    def _reads_raw(self, request: ProviderRequest) -> bool:
        """Whether the raw answer is the answer.

        Some handlers ask for a schema as a tool call, and turn the answer back into text.
        """
        target = self._opened
        as_asked = target.uses_sdk or target.name == "openrouter"
        return target.openai_shaped and (as_asked or "response_format" not in request.params)

    async def _prepare(self, request: ProviderRequest) -> tuple[dict[str, Any], Exchange]:
        missing = missing_credentials(self.name, self._row)
        if missing is not None:
            raise missing
        await self.open()
        from llm_router.providers.litellm.connection import NO_KEY, Exchange

        asked = call_arguments(self._litellm, self._opened, request)
        base_url = self._row.base_url
        key = self._secrets[0] if self._secrets else NO_KEY if base_url else None
        given = {"api_key": key, "base_url": base_url, "extra_headers": self._headers()}
        client = await self._clients.get()
        return asked | {name: value for name, value in given.items() if value} | {
            "client": self._dressed(client, key),
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": False,
            "caching": False,
            "timeout": _NO_TIMEOUT,
        }, Exchange()  # fmt: skip

    def _headers(self) -> dict[str, str]:
        app, headers = self._row.app, {}
        if self._opened.name == "openrouter":
            named = {
                "HTTP-Referer": app.url,
                "X-OpenRouter-Title": app.title,
                "X-OpenRouter-Categories": ",".join(app.categories),
            }
            headers = {name: value for name, value in named.items() if value}
        return headers | self._row.headers

    def _new_client(self) -> WireClient:
        from llm_router.providers.litellm.connection import WireClient

        return WireClient(self._headers())

    def _dressed(self, client: WireClient, key: str | None) -> Any:
        """Return *client* in the wrapper that LiteLLM wants; it ignores any other."""
        if self._opened.uses_sdk:
            return _openai_client(self._litellm, self._opened, self._row.base_url, key, client)
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

        handler = AsyncHTTPHandler.__new__(AsyncHTTPHandler)
        handler.timeout, handler.event_hooks, handler.client_alias = None, None, None
        handler.client = client
        return handler

    async def _run(self, call: Coroutine[Any, Any, Any], exchange: Exchange) -> Any:
        """Await *call*; when cancelled, leave no coroutine behind that nobody awaited.

        `acompletion` builds the request in the loop's default executor. Cancelled there, it would
        drop the coroutine that the thread returns: so it goes on by itself, and sends nothing.
        """
        from llm_router.providers.litellm.connection import current_exchange

        values = contextvars.copy_context()
        values.run(current_exchange.set, exchange)
        task = asyncio.get_running_loop().create_task(call, context=values)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.abandoned = True
            self._abandoned.add(task)
            task.add_done_callback(self._forget)
            ours = self._opened.openai_shaped or self._opened.name in _USE_OUR_CLIENT
            if exchange.requests or not ours:
                task.cancel()
                await asyncio.wait([task], timeout=_CANCEL_SECONDS)
            raise

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio would report it as never retrieved

    def _refused(
        self, request: ProviderRequest, exchange: Exchange, error: Exception
    ) -> Completion | None:
        """Return the answer that LiteLLM could not make its object of, None for other failures.

        Raises what the wire itself says is wrong with a 200 that LiteLLM refused.
        """
        whole = exchange.status == 200 and exchange.failure is None
        if not (whole and self._opened.openai_shaped):
            return None
        body = b"".join(exchange.received)
        try:
            answer = read_answer(body, 200, exchange.headers, request, self._secrets)
        except ProviderError as said:
            raise said from error
        # Any other error stands: a callback of the host may have rejected the answer.
        return answer if _NOT_BUILT in str(error) and self._reads_raw(request) else None

    def _priced(self, request: ProviderRequest, answer: Completion) -> Completion:
        return priced(answer, self._row.prices.get(request.model))


def _openai_client(
    litellm: Any, target: Target, base_url: str | None, key: str | None, client: WireClient
) -> Any:
    from openai import AsyncOpenAI

    if base_url is None or key is None:
        # LiteLLM's own address for this provider, and its own variable for the key.
        _, _, found, address = litellm.get_llm_provider(model=f"{target.name}/any", api_key=key)
        base_url, key = base_url or address, key or found
    return AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=client)


def _spare_streams_from_warnings() -> None:
    """Ignore what LiteLLM's reading of every attribute of a chunk makes pydantic warn of.

    Where the application turns warnings into errors, each stream would break. It is done for each
    stream, since tests put the filters back; the same filter is never there twice.
    """
    warnings.filterwarnings(
        "ignore", r"Accessing the 'model_", DeprecationWarning, module=r"litellm\."
    )


async def _close(client: WireClient) -> None:
    await client.aclose()
