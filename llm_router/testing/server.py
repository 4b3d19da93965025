"""The HTTP side of the sandbox: endpoints, authorisation, and sending with all its faults."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from llm_router.testing.answers import make_answer
from llm_router.testing.billing import Accounts, PromptCache, count_prompt, dumps
from llm_router.testing.catalog import Catalog, SandboxModel, Upstream
from llm_router.testing.faults import Fault, FaultPlan
from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.sending import (
    Sending,
    answer_sending,
    error_sending,
    fault_sending,
    http_fault_sending,
    raw_sending,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from llm_router.testing.script import Action, Script

_DRIP_SECONDS = 0.05
_PREFIX = "/api/v1"


@dataclass(slots=True)
class ReceivedRequest:
    """A request as the sandbox received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """With the key masked."""
    body: Any = None
    status: int | None = None
    """The status that was answered; None while it is not, or when the connection was dropped."""
    fault: str | None = None
    """The fault that was played on it."""
    disconnected: bool = False
    """Whether the client left before the end of the answer."""


@dataclass(slots=True)
class Settings:
    """What a sandbox is set to; see `Sandbox`."""

    api_key: str
    catalog: Catalog
    padding: int
    chunks: int | None
    generation_lookups: int
    generation_seconds: float


@dataclass(slots=True)
class Handler:
    """Answers requests; lives in the sandbox's loop."""

    settings: Settings
    script: Script
    accounts: Accounts
    remember: Callable[[ReceivedRequest], None]
    cache: PromptCache = field(default_factory=PromptCache)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = dict(request.headers)
        key = headers.get("Authorization")
        if key is not None:
            headers["Authorization"] = "Bearer ***"
        received = ReceivedRequest(request.method, request.path_qs, headers)
        self.in_flight += 1
        self.remember(received)
        try:
            sending = await self._answer(request, received, key)
            return await self._send(request, sending, received)
        finally:
            self.in_flight -= 1

    async def _answer(
        self, request: web.BaseRequest, received: ReceivedRequest, key: str | None
    ) -> Sending:
        endpoints: dict[tuple[str, str], Callable[..., Awaitable[Sending]]] = {
            ("POST", "/chat/completions"): self._chat,
            ("GET", "/models"): self._models,
            ("GET", "/generation"): self._generation,
            ("GET", "/key"): self._key,
        }
        path = request.path.rstrip("/").removeprefix(_PREFIX)
        endpoint = endpoints.get((request.method, path))
        if endpoint is None or not request.path.startswith(_PREFIX):
            return error_sending(404, {"message": "Not Found", "code": 404}, named=False)
        if path != "/models" and key != f"Bearer {self.settings.api_key}":
            text = "User not found." if key else "Missing Authentication header"
            return error_sending(401, {"message": text, "code": 401}, named=False)
        return await endpoint(request, received)

    async def _models(self, request: web.BaseRequest, received: ReceivedRequest) -> Sending:
        data = [model.to_wire() for model in self.settings.catalog.models]
        return _json({"data": data, "total_count": len(data), "links": {"next": None}})

    async def _key(self, request: web.BaseRequest, received: ReceivedRequest) -> Sending:
        used = sum(bill.cost for bill in self.accounts.bills.values())
        data = {
            "label": "sk-or-v1-san...box",
            "limit": None,
            "limit_remaining": None,
            "limit_reset": None,
            "usage": used,
            "usage_daily": used,
            "byok_usage": sum(bill.upstream_cost for bill in self.accounts.bills.values()),
            "is_free_tier": False,
            "is_management_key": False,
        }
        return _json({"data": data})

    async def _generation(self, request: web.BaseRequest, received: ReceivedRequest) -> Sending:
        wanted = request.query.get("id", "")
        lookups = self.settings.generation_lookups
        seconds = self.settings.generation_seconds
        bill = self.accounts.look_up(wanted, lookups=lookups, seconds=seconds)
        if bill is None:
            message = f"Generation {wanted} not found"
            return error_sending(404, {"message": message, "code": 404}, named=False)
        return _json({"data": bill.to_wire()})

    async def _chat(self, request: web.BaseRequest, received: ReceivedRequest) -> Sending:
        raw = await request.content.read()
        try:
            received.body = body = json.loads(raw)
        except ValueError:
            received.body = body = None
        if not isinstance(body, dict) or not (body.get("messages") or body.get("prompt")):
            text = 'Input required: specify "prompt" or "messages"'
            return error_sending(400, {"message": text, "code": 400})
        return self._routed(ChatRequest(body, request.headers), received)

    def _routed(self, request: ChatRequest, received: ReceivedRequest) -> Sending:
        """Try the model and its fallbacks in order; the last refusal is the answer."""
        body = request.body
        names = [body["model"]] if body.get("model") else []
        names += [name for name in body.get("models") or () if name not in names]
        turns = [replace(request, model=name) for name in names or [""]]
        actions = {turn.model: self._known(turn) for turn in turns}
        unknown = next((name for name, known in actions.items() if not known), None)
        if unknown is not None:
            text = f"{unknown} is not a valid model ID"
            return error_sending(400, {"message": text, "code": 400})
        for turn in turns:
            sending, refused = self._one_model(turn, received)
            if not refused:
                break
        return sending

    def _known(self, request: ChatRequest) -> bool:
        from llm_router.testing.script import asked_fault

        name = request.model
        return self.settings.catalog.find(name) is not None or (
            asked_fault(request) is not None and name.startswith("demo/")
        )

    def _one_model(self, request: ChatRequest, received: ReceivedRequest) -> tuple[Sending, bool]:
        """Return one model's response, and whether it is a refusal that a fallback may cure."""
        found = self.settings.catalog.find(request.model)
        model = found or self.settings.catalog.models[0]
        action = self.script.next(request)
        received.fault = action.fault if isinstance(action, FaultPlan) else None
        if action is None or (isinstance(action, Reply) and action.raw_body is None):
            refusal = _refusal(request, model)
            if refusal is not None:
                action = FaultPlan(fault=refusal)
        if isinstance(action, FaultPlan) and action.is_http:
            return http_fault_sending(action, action.error(request, found)), True
        return self._served(request, model, action), False

    def _served(self, request: ChatRequest, model: SandboxModel, action: Action | None) -> Sending:
        if isinstance(action, Reply) and action.raw_body is not None:
            return raw_sending(action, stream=request.stream)
        reply = action if isinstance(action, Reply) else Reply()
        if reply.chunks is None and self.settings.chunks and request.stream:
            reply = replace(reply, chunks=self.settings.chunks)
        upstream = _upstream(request, model, reply.provider)
        answer = make_answer(request, reply, model, upstream, self.cache)
        padding = self.settings.padding
        if isinstance(action, FaultPlan):
            return fault_sending(action, answer, padding)
        return answer_sending(answer, padding)

    async def _send(
        self, request: web.BaseRequest, sending: Sending, received: ReceivedRequest
    ) -> web.StreamResponse:
        left = _Left()
        try:
            return await self._send_all(request, sending, received, left)
        except (asyncio.CancelledError, ConnectionError):
            received.disconnected = not self.closing.is_set()
            if sending.cancelled_bill is not None and not left.billed:
                self.accounts.record(sending.cancelled_bill(left.characters))
            # A client that leaves is no defect of the server: aiohttp would log a traceback.
            raise asyncio.CancelledError from None

    async def _send_all(
        self,
        request: web.BaseRequest,
        sending: Sending,
        received: ReceivedRequest,
        left: _Left,
    ) -> web.StreamResponse:
        if sending.ending == "drop":
            _close(request, abort=True)
            return web.Response()
        await self._pause(sending.wait)
        received.status = sending.status
        if len(sending.pieces) <= 1 and sending.ending == "end" and not sending.delay:
            self._bill(sending, left)
            body = sending.pieces[0].data if sending.pieces else b""
            return web.Response(status=sending.status, body=body, headers=_headers(sending))
        response = web.StreamResponse(status=sending.status, headers=_headers(sending))
        await response.prepare(request)
        await self._drip(response, sending)
        last = len(sending.pieces) - 1
        for index, event in enumerate(sending.pieces):
            if b'"usage":{' in event.data or (index == last and sending.ending != "stall"):
                self._bill(sending, left)
            await response.write(event.data)
            left.characters += event.characters
            if sending.gap and index != last:
                await self._pause(sending.gap)
        if sending.ending == "stall":
            await self._pause(sending.stall)
            self._bill(sending, left)
        if sending.ending == "cut":
            _close(request)
        else:
            await response.write_eof()
        return response

    def _bill(self, sending: Sending, left: _Left) -> None:
        if sending.bill is not None and not left.billed:
            left.billed = True
            self.accounts.record(sending.bill)

    async def _drip(self, response: web.StreamResponse, sending: Sending) -> None:
        left = sending.delay
        while left > 0 and not self.closing.is_set():
            if sending.drip:
                await response.write(sending.drip)
            step = min(left, _DRIP_SECONDS) if sending.drip else left
            await self._pause(step)
            left -= step

    async def _pause(self, seconds: float | None) -> None:
        """Sleep, but not longer than the sandbox is open."""
        if seconds is not None and seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            pass


@dataclass(slots=True)
class _Left:
    """How far a response came before the client left."""

    characters: int = 0
    billed: bool = False


def _json(value: Any) -> Sending:
    from llm_router.testing.answers import Event

    return Sending(pieces=[Event(dumps(value).encode())])


def _headers(sending: Sending) -> dict[str, str]:
    headers = {"Content-Type": sending.content_type, **sending.headers}
    if sending.generation_id is not None:
        headers["X-Generation-Id"] = sending.generation_id
    return headers


def _close(request: web.BaseRequest, *, abort: bool = False) -> None:
    """Close the connection in the middle of the response."""
    transport = request.transport
    if transport is not None and abort:
        transport.abort()
    elif transport is not None:
        transport.close()


def _refusal(request: ChatRequest, model: SandboxModel) -> Fault | None:
    """Return why no endpoint of this model can serve the request, as its capabilities say."""
    body = request.body
    wanted = body.get("provider") or {}
    strict = bool(wanted.get("require_parameters"))
    if body.get("tools") and "tools" not in model.supports:
        return "no_tool_endpoints"
    if (
        body.get("tool_choice") not in (None, "auto", "none")
        and "tool_choice" not in model.supports
    ):
        return "no_tool_choice_endpoints"
    form = str((body.get("response_format") or {}).get("type"))
    needed = {"json_schema": "structured_outputs", "json_object": "response_format"}.get(form, "")
    if needed and strict and needed not in model.supports:
        return "no_parameter_endpoints"
    if needed and model.refuses_response_format:
        return "response_format_refused"
    if wanted.get("only") and not _allowed(model, wanted):
        return "no_providers"
    if count_prompt(body) > model.context_length:
        return "context_length"
    return None


def _allowed(model: SandboxModel, wanted: Mapping[str, Any]) -> list[Upstream]:
    only, ignored = wanted.get("only"), wanted.get("ignore") or ()
    return [
        upstream
        for upstream in model.upstreams
        if (not only or upstream.slug in only) and upstream.slug not in ignored
    ]


def _upstream(request: ChatRequest, model: SandboxModel, name: str | None) -> Upstream:
    """Return the upstream that serves: the scripted one, else as `provider` prefers."""
    if name is not None:
        known = (upstream for upstream in model.upstreams if upstream.name == name)
        return next(known, Upstream(name=name, slug=name.lower().replace(" ", "-")))
    wanted = request.body.get("provider") or {}
    allowed = _allowed(model, wanted) or list(model.upstreams)
    order = wanted.get("order") or ()
    return min(
        allowed, key=lambda upstream: order.index(upstream.slug) if upstream.slug in order else 99
    )
