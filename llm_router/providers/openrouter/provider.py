"""OpenRouter: a profile on the native provider, with a catalogue, prices and generations.

Every key that was asked for is sent, with the value that was asked for, and nothing else is: where
LiteLLM's OpenrouterConfig would drop, edit or add something, the caller's word stands. Nothing here
changes an object of the caller.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from llm_router.answers.answer import Answer
from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.errors import ProviderError, ProviderTimeoutError
from llm_router.options.policy import under_policy
from llm_router.options.reasoning import normalise_reasoning
from llm_router.options.request import refuse_ours
from llm_router.providers.caching import marked_messages
from llm_router.providers.http import STAND_IN, filled
from llm_router.providers.importing import load_here, quiet
from llm_router.providers.openai import CHAT
from llm_router.providers.openrouter.catalog import Catalog
from llm_router.providers.openrouter.generations import read_generation
from llm_router.providers.openrouter.sticking import Sticking
from llm_router.providers.openrouter.tasks import OpenRouterTasks
from llm_router.providers.requests import Prepared, dressed
from llm_router.wires.error_words import error_class
from llm_router.wires.openai import OpenAIWire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from pathlib import Path

    import aiohttp

    from llm_router.answers.models import ModelInfo
    from llm_router.answers.records import Generation
    from llm_router.config.model import AppConfig, ProviderConfig
    from llm_router.options.request import ProviderRequest
    from llm_router.providers.http import HttpClient
    from llm_router.providers.native import Asked
    from llm_router.providers.requests import Builder
    from llm_router.usage import Usage

A = TypeVar("A", bound=Answer)
# OpenrouterConfig edits these: it takes cache_control out of tools for most models, removes
# tool_choice where it sees no function tool, and turns reasoning_effort "max" into "xhigh".
# `extra_body` is laid over its work untouched.
_EDITED = frozenset({"tools", "tool_choice", "reasoning_effort"})
LOOK_UP_SECONDS = 10.0
"""How long a look-up beside the calls may take: a generation, the catalogue."""


class OpenRouterProvider(OpenRouterTasks):
    """A provider row at OpenRouter. *clock* is seconds since the epoch."""

    def __init__(
        self,
        name: str,
        row: ProviderConfig,
        *,
        policy: Mapping[str, Any] | None = None,
        cache_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name, row, OpenAIWire("openrouter", clock))
        self._policy = policy or {}
        self.sticking = Sticking(clock)
        self._base_url = (row.base_url or OPENROUTER_BASE_URL).removesuffix(CHAT)
        self.catalog = Catalog(self._base_url, self._fetch_models, folder=cache_dir, clock=clock)

    def _new_builder(self) -> Builder:
        load_here()
        with quiet():
            from litellm.llms.openrouter.chat.transformation import OpenrouterConfig

            return OpenRouterBuilder(OpenrouterConfig(), self._row)

    async def _send(self, request: ProviderRequest) -> tuple[aiohttp.ClientResponse, HttpClient]:
        await self.open(keyed=request.deployment.api_key is not None)
        self._ready()
        self.catalog.touch()
        return await super()._send(request)

    def _named(self, model: str) -> str:
        return wire_model(model)

    def _finished(self, prepared: Prepared, request: Asked) -> Prepared:
        """Put the session's upstream, and over whatever was asked for the policy, into a request
        of any operation."""
        endpoint = prepared.url.removeprefix(self._base_url)
        body, headers = prepared.body, prepared.headers
        if getattr(request, "stick", None) is not None:
            body = self.sticking.preferring(request, body)
        if self._policy:
            body = under_policy(self._policy, endpoint, body)
        if endpoint != CHAT and "session_id" in body:
            # The body of other operations has no such field in the specification.
            headers = {**headers, "x-session-id": str(body["session_id"])}
            body = {name: value for name, value in body.items() if name != "session_id"}
        return super()._finished(replace(prepared, body=body, headers=headers), request)

    def _priced(self, answer: A, request: Asked) -> A:
        """Add what the catalogue's prices make of the usage, where it is in memory."""
        if getattr(request, "stick", None) is not None:
            self.sticking.learn(request, answer)
        computed = self.catalog.cost_of(request.model, answer.model, answer.usage)
        if computed is None:
            return answer
        return replace(answer, cost=replace(answer.cost, computed=computed))

    def known(self, model: str) -> ModelInfo | None:
        """Return what the catalogue in memory says of *model*. No I/O."""
        return self.catalog.known(model)

    def cost_of(self, model: str, usage: Usage) -> Decimal | None:
        """Return what *usage* costs by the catalogue, its prices for long prompts included."""
        return self.catalog.cost_of(model, None, usage)

    async def look_up(self, model: str) -> None:
        """Wait for the catalogue, a few seconds at most."""
        await self.open()
        await self.catalog.get(model)

    def recall(self) -> None:
        """Read the catalogue that is kept on disk, where none is in memory. Blocks."""
        self.catalog.recall()

    async def fetch_generation(self, response_id: str) -> Generation | None:
        """Return the stored record of an answer; None while there is none (it lags by seconds)."""
        try:
            return read_generation(await self._get(f"/generation?id={quote(response_id)}"))
        except ProviderError as error:
            if error.status_code == 404:
                return None
            raise

    async def _get(self, path: str) -> bytes:
        """Return a body; the connection is not kept, for calls like these are rare.

        Raises ProviderTimeoutError after `LOOK_UP_SECONDS`.
        """
        await self.open()
        builder, http = self._ready()
        assert isinstance(builder, OpenRouterBuilder)
        headers = {**filled(builder.headers, builder.key), "Connection": "close"}
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


class OpenRouterBuilder:
    """The Builder of an OpenRouter row; `config` is an OpenrouterConfig."""

    def __init__(self, config: Any, row: ProviderConfig) -> None:
        self._config = config
        base = row.base_url or OPENROUTER_BASE_URL
        self.address: str = config.get_complete_url(base, STAND_IN, "", {}, {})
        found = config.validate_environment({}, "", [], {}, {}, api_key=STAND_IN)
        found |= attribution(row.app)
        self.key = row.key
        self.keyed = bool(row.key or row.headers)
        self.headers: Mapping[str, str] = dressed(found, row)

    def build(self, request: ProviderRequest) -> Prepared:
        """Return the request with every key that was asked for, and no other."""
        return Prepared(self.address, self.headers, self.body(request))

    def target(self, model: str) -> tuple[str, Mapping[str, str]]:
        return self.address, self.headers

    def body(self, request: ProviderRequest) -> dict[str, Any]:
        """Return the body: model, messages, `stream` for a stream, and the options asked for."""
        model = wire_model(request.model)
        asked = asked_options(request)
        messages = request.messages
        if request.cache != "off" or any(turn.get("cache_control") for turn in messages):
            messages = marked_messages(request, model, asked)
        mapped = self._config.map_openai_params(
            {name: value for name, value in asked.items() if name not in _EDITED}, {}, model, False
        )
        # map_openai_params leaves out what it does not know (user, metadata, top_k, provider, …).
        mapped["extra_body"] = {n: value for n, value in asked.items() if n not in mapped}
        # Without the messages: it would take None values and cache_control out of them, move the
        # images of tool results, fetch PDFs over the network, and write into the caller's lists.
        body: dict[str, Any] = self._config.transform_request(model, [], mapped, {}, {})
        sent = {"model": model, "messages": messages}
        # Not its `usage`, and also what it takes for its own (max_retries, extra_headers).
        return sent | {name: body.get(name, value) for name, value in asked.items()}


def asked_options(request: ProviderRequest) -> dict[str, Any]:
    """Return every key of the body but model and messages, by its name on the wire.

    Parameters come first, OpenRouter's options over them, `extra_body` over both.
    """
    asked = dict(request.params)
    if "reasoning" in asked:
        asked["reasoning"] = normalise_reasoning(asked["reasoning"])
    asked.update(request.openrouter)
    if request.user is not None:
        asked["user"] = request.user
    asked.update(request.extra_body)
    refuse_ours(asked)
    if request.stream:
        asked["stream"] = True
    return asked


def wire_model(model: str) -> str:
    """Return the model's name on the wire.

    OpenRouter's own models are `openrouter/auto`, …: the row's prefix and their author read the
    same, so a name without an author gets it back. Presets (`@preset/slug`) have no author.
    """
    author_and_slug = model.partition("@preset/")[0]
    if author_and_slug and "/" not in author_and_slug:
        return f"openrouter/{model}"
    return model


def attribution(app: AppConfig) -> dict[str, str]:
    """Return the headers that name the application in OpenRouter's rankings."""
    named = {
        "HTTP-Referer": app.url,
        "X-OpenRouter-Title": app.title,
        "X-OpenRouter-Categories": ",".join(app.categories),
    }
    return {name: value for name, value in named.items() if value}
