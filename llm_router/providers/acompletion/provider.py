"""AcompletionProvider: a row through LiteLLM's own call, reading LiteLLM's objects.

For kinds whose wire we do not read, and for hosts that rely on LiteLLM's callbacks (`path:
acompletion`). What it loses against the wire's own bytes:

- ten times the CPU and more, and a thread of the loop's pool for each call, which may be busy;
- no catalogue: no `cost.computed`, no capabilities, no context length, no `reconcile`; a cost is
  known where LiteLLM passes the provider's on, and from the row's prices, never from its own map;
- an unstreamed answer without usage may carry counts that LiteLLM made; in a stream they are told
  apart and left out;
- a null or unknown finish reason reads as "stop", `native_finish_reason` is mostly gone, and a
  choice that failed reads as a good answer;
- a stream that is cut without an error may pass for a whole one at gemini and vertex_ai;
- after an error inside a stream nothing more is read: a bill that follows it stays unknown, as do
  `is_byok` and `cost_details` of OpenRouter's streams;
- the connection is LiteLLM's: it asks once more by itself when a connection breaks, follows
  redirects, inflates bodies without a bound, and keeps connections open after `aclose()`;
- with a `base_url` and no key it sends the word "llm-router-no-key" as the key;
- `idle_timeout` counts the chunks that LiteLLM passes on; it keeps empty ones back.
"""

from __future__ import annotations

import asyncio
import json
import types
from typing import TYPE_CHECKING, Any

from llm_router.config.checks import missing_credentials
from llm_router.errors import UnsupportedFeatureError, forget_frames
from llm_router.options.policy import under_policy
from llm_router.options.request import RequestPreview
from llm_router.providers.acompletion.errors import translate
from llm_router.providers.caching import authored, marked_messages
from llm_router.providers.http import STAND_IN
from llm_router.providers.importing import ignore_litellms_warnings, load_for_calls_here, quiet
from llm_router.providers.native import priced, secrets_of, stated
from llm_router.providers.openrouter.provider import asked_options, attribution, wire_model
from llm_router.providers.requests import config_of, copied, given_options, masked, messages_for
from llm_router.providers.stream import EventStream
from llm_router.redaction import Secret
from llm_router.wires.openai import OpenAIWire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping
    from decimal import Decimal

    from llm_router.answers.completion import Completion
    from llm_router.answers.models import ModelInfo
    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import ProviderRequest
    from llm_router.usage import Usage

# LiteLLM's timeout is per socket read; the attempt is bounded by the Router, so this only must not.
_NO_TIMEOUT = 86_400.0
_STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


class AcompletionProvider:
    """A row served by LiteLLM. *any_field*: its wire takes what LiteLLM does not list."""

    def __init__(
        self,
        name: str,
        row: ProviderConfig,
        *,
        any_field: bool,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.secrets: tuple[str, ...] = secrets_of(row, row.key)
        self._row = row
        self._kind = row.kind(name)
        self._any_field = any_field
        self._policy = policy or {}
        self._wire = OpenAIWire(self._kind)
        self._litellm: Any = None

    async def open(self, *, keyed: bool = False) -> None:
        """Import LiteLLM, with what its first call would import, in a thread. Idempotent."""
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(self._load)

    def _load(self) -> Any:
        litellm = load_for_calls_here()
        with quiet():
            config_of(litellm, self._kind, "any")
        return litellm

    async def complete(self, request: ProviderRequest) -> Completion:
        """Send one request and read LiteLLM's answer."""
        response = await self._call(request)
        body = json.dumps(_as_on_the_wire(response), default=str).encode()
        answer = self._wire.read_answer(200, _headers_of(response), body)
        return priced(answer, stated(self._row, request.model))

    async def stream(self, request: ProviderRequest) -> AcompletionStream:
        """Send one request; return when LiteLLM's stream is there."""
        info = stated(self._row, request.model)
        wrapper = await self._call(request)
        return AcompletionStream(wrapper, self._wire, lambda answer: priced(answer, info))

    async def _call(self, request: ProviderRequest) -> Any:
        own = request.deployment.api_key
        missing = missing_credentials(self.name, self._row)
        if missing is not None and own is None:
            raise missing
        await self.open()
        arguments = self._arguments(request) | self._connection(own)
        ignore_litellms_warnings()
        try:
            return await _without_leftovers(self._litellm.acompletion(**arguments))
        except Exception as error:  # LiteLLM raises builtin classes too; all are translated
            failure = translate(error, self._wire)
        except asyncio.CancelledError as error:
            forget_frames(error)  # LiteLLM's hold the key in clear
            raise
        raise failure

    def _connection(self, own: str | None) -> dict[str, Any]:
        """Return where and with which key, the call's *own* or the row's; a key of the
        environment never goes to a base_url."""
        base_url, headers = self._row.base_url, self._headers()
        key = own or self._row.key or (STAND_IN if base_url else None)
        region = "vertex_location" if self._kind.startswith("vertex_ai") else "aws_region_name"
        named = {
            "api_key": key,
            "base_url": base_url,
            "extra_headers": headers,
            region: self._row.region,
        }
        return {name: value for name, value in named.items() if value} | {
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": False,
            "caching": False,
            "timeout": _NO_TIMEOUT,
        }

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self._kind == "openrouter":
            # LiteLLM would name itself; an empty name is none.
            headers = {"HTTP-Referer": "", "X-Title": ""} | attribution(self._row.app)
        return headers | self._row.headers

    def _arguments(self, request: ProviderRequest) -> dict[str, Any]:
        """Return model, messages and options as keyword arguments of `acompletion`.

        Raises UnsupportedFeatureError for what LiteLLM would leave out of the request.
        """
        if self._kind == "openrouter":
            model, extra = wire_model(request.model), asked_options(request)
            if self._policy:
                extra = {**under_policy(self._policy, "/chat/completions", extra)}
            known: dict[str, Any] = {}
            messages = copied(marked_messages(request, model, extra))
        else:
            known, extra = self._known_and_extra(request)
            model = request.model
            messages = messages_for(marked_messages(request, authored(self._kind, model), known))
        arguments: dict[str, Any] = {"model": f"{self._kind}/{model}", "messages": messages}
        arguments |= copied(known)
        if extra:  # laid over LiteLLM's own work untouched
            arguments["extra_body"] = copied(extra)
        return arguments | (_STREAMED if request.stream else {})

    def _known_and_extra(self, request: ProviderRequest) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what LiteLLM maps to the provider's names, and what is sent as it is."""
        listed = self._litellm.get_supported_openai_params(
            model=request.model, custom_llm_provider=self._kind
        )
        supported = frozenset(listed or ())
        asked = given_options(request, self._kind, supported)
        # LiteLLM takes `metadata` and `user` for its own, to log and to authenticate by.
        by_litellm = supported - {"metadata", "user"}
        known = {name: value for name, value in asked.items() if name in by_litellm}
        extra = {n: value for n, value in asked.items() if n not in known}
        extra |= request.extra_body
        if extra and not self._any_field:
            raise UnsupportedFeatureError(
                f"LiteLLM does not send {sorted(extra)[0]!r} to {request.deployment.name}",
                provider=self.name,
                hint="Leave it out, or ask another deployment",
            )
        return known, extra

    def known(self, model: str) -> ModelInfo | None:
        """Return the prices that the row states for *model*. No I/O."""
        return stated(self._row, model)

    def cost_of(self, model: str, usage: Usage) -> Decimal | None:
        """Return what *usage* costs by the row's prices; None where there are none. No I/O."""
        info = self.known(model)
        return None if info is None else info.prices.cost_of(usage)

    async def look_up(self, model: str) -> None:
        """Wait until `known` knows what can be known: a row states it from the start."""

    def preview(self, request: ProviderRequest) -> RequestPreview:
        """Return what LiteLLM is asked to send, in OpenAI's names. Needs `open()`, no I/O."""
        if self._litellm is None:
            raise RuntimeError("await open() first")
        body = self._arguments(request)
        body |= body.pop("extra_body", {})
        body["model"] = body["model"].partition("/")[2]
        own = request.deployment.api_key
        key = {"Authorization": Secret("…")} if own or self._row.key else {}
        address = self._row.base_url or f"litellm:{self._kind}"
        return RequestPreview(url=address, headers=masked(key | self._headers()), body=body)

    async def aclose(self) -> None:
        """Do nothing: the connections are LiteLLM's, and the host may use them too."""


class AcompletionStream(EventStream):
    """The ProviderStream over LiteLLM's CustomStreamWrapper, read back as OpenAI's wire."""

    def __init__(
        self, wrapper: Any, wire: OpenAIWire, finished: Callable[[Completion], Completion]
    ) -> None:
        super().__init__(wire.reader(_headers_of(wrapper)), finished)
        self._wrapper, self._wire = wrapper, wire

    async def _fill(self) -> None:
        try:
            async with asyncio.timeout(self.idle_timeout) as idle:
                chunk = await anext(self._wrapper)
        except StopAsyncIteration:
            self._over = True
            return self._give(self._reader.close())
        except Exception as error:  # LiteLLM raises builtin classes too; all are translated
            told = self._reader.error or translate(error, self._wire)
            failure = self._idle_error() if idle.expired() else told
        else:
            return self._give(self._reader.feed(self._event(chunk)))
        await self.aclose()
        raise failure

    def _event(self, chunk: Any) -> bytes:
        """Return *chunk* as a server-sent event, without what LiteLLM made up.

        Cut streams get a finish reason from it, uncounted ones usage.
        """
        wrapper = self._wrapper
        body = _as_on_the_wire(chunk)
        if not (wrapper.received_finish_reason or wrapper.intermittent_finish_reason):
            for choice in body["choices"]:
                choice["finish_reason"] = None
        if "usage" in body and not any(getattr(one, "usage", None) for one in wrapper.chunks):
            del body["usage"]
        return b"data: " + json.dumps(body, default=str).encode() + b"\n\n"

    async def aclose(self) -> None:
        """Close the stream. Idempotent."""
        self._over = True
        close = getattr(self._wrapper, "aclose", None)
        if close is not None:
            await close()


@types.coroutine
def _without_leftovers(call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await `acompletion`; cancelled in its first wait, close what that would still bring.

    It builds the request in a thread, which returns a coroutine that then sends it. Cancelled in
    between, asyncio would drop that coroutine, and Python warn that nobody awaited it.
    """
    steps = call.__await__()
    first = steps.send(None)
    if isinstance(first, asyncio.Future):
        try:
            yield from asyncio.shield(first)
        except asyncio.CancelledError as cancelled:
            first.add_done_callback(_close_result)
            return steps.throw(cancelled)
        except Exception:  # raised again where `acompletion` looks at its result
            pass
    else:
        yield first
    return (yield from steps)


def _close_result(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None:
        result = future.result()
        if asyncio.iscoroutine(result):
            result.close()


def _as_on_the_wire(source: Any) -> dict[str, Any]:
    """Return an answer or a chunk of LiteLLM in the shape in which the provider sent it."""
    body: dict[str, Any] = source.model_dump(mode="json", exclude_none=True)
    for choice in body["choices"]:
        for part in (choice, choice.get("message", {}), choice.get("delta", {})):
            # What LiteLLM moved aside as specific to a provider.
            for name, value in part.pop("provider_specific_fields", {}).items():
                part.setdefault(name, value)
    upstream = (getattr(source, "_hidden_params", None) or {}).get("upstream_provider")
    return {"provider": upstream} | body


def _headers_of(source: Any) -> dict[str, str]:
    """Return the answer's headers, where LiteLLM keeps them."""
    hidden = getattr(source, "_hidden_params", None) or {}
    return {
        str(name).removeprefix("llm_provider-"): str(value)
        for name, value in (hidden.get("additional_headers") or {}).items()
    }
