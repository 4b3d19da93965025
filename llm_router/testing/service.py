"""What each request is answered: endpoints, keys, models and their fallbacks, and the books."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from llm_router.testing.answers import make_answer
from llm_router.testing.billing import Bill, PromptCache, count_prompt, dumps
from llm_router.testing.catalog import Catalog, SandboxModel, Upstream
from llm_router.testing.faults import Fault, FaultPlan
from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.schema_instances import NoInstanceError
from llm_router.testing.script import FAULT_MODELS, Script, asked_fault
from llm_router.testing.sending import (
    Sending,
    answer_sending,
    error_sending,
    fault_sending,
    http_fault_sending,
    raw_sending,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.testing.script import Action

PREFIX = "/api/v1"


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


class Service:
    """Turns requests into responses, without a socket; what its options mean says `Sandbox`."""

    def __init__(
        self,
        api_key: str,
        catalog: Catalog,
        *,
        padding: int,
        chunks: int | None,
        generation_lookups: int,
        generation_seconds: float,
    ) -> None:
        self.script = Script()
        self.bills: dict[str, Bill] = {}
        self._key = f"Bearer {api_key}"
        self._catalog = catalog
        self._padding, self._chunks = padding, chunks
        self._lookups_before, self._seconds_before = generation_lookups, generation_seconds
        self._lookups: Counter[str] = Counter()
        self._cache = PromptCache()
        self._endpoints = {
            ("POST", "/chat/completions"): self._chat,
            ("POST", "/embeddings"): self._embeddings,
            ("GET", "/models"): self._models,
            ("GET", "/generation"): self._generation,
            ("GET", "/key"): self._key_details,
        }

    def respond(self, received: ReceivedRequest, key: str | None, raw: bytes) -> Sending:
        """Return the response to a request; *received* is told its body and its fault."""
        path = urlsplit(received.path).path.rstrip("/")
        endpoint = self._endpoints.get((received.method, path.removeprefix(PREFIX)))
        if endpoint is None or not path.startswith(PREFIX):
            return _error(404, "Not Found", named=False)
        if endpoint != self._models and key != self._key:
            text = "User not found." if key else "Missing Authentication header"
            return _error(401, text, named=False)
        try:
            received.body = json.loads(raw) if raw else None
        except ValueError:
            received.body = None
        try:
            return endpoint(received)
        except NoInstanceError as error:
            return _error(400, f"The sandbox cannot answer in this schema, script a reply: {error}")

    def record(self, bill: Bill) -> None:
        self.bills[bill.generation_id] = bill

    def _models(self, received: ReceivedRequest) -> Sending:
        wanted = _query(received, "output_modalities", "text").split(",")
        models = self._catalog.models
        data = [m.to_wire() for m in models if m.output in wanted or "all" in wanted]
        return _json({"data": data, "total_count": len(data), "links": {"next": None}})

    def _key_details(self, received: ReceivedRequest) -> Sending:
        bills = self.bills.values()
        used = sum((bill.cost for bill in bills), Decimal(0))
        data = {
            "label": "sk-or-v1-san...box",
            "limit": None,
            "limit_remaining": None,
            "limit_reset": None,
            "usage": used,
            "usage_daily": used,
            "byok_usage": sum((bill.upstream_cost for bill in bills), Decimal(0)),
            "is_free_tier": False,
            "is_management_key": False,
        }
        return _json({"data": data})

    def _generation(self, received: ReceivedRequest) -> Sending:
        wanted = _query(received, "id", "")
        bill = self.bills.get(wanted)
        self._lookups[wanted] += bill is not None
        if (
            bill is None
            or self._lookups[wanted] <= self._lookups_before
            or time.monotonic() - bill.recorded_at < self._seconds_before
        ):
            return _error(404, f"Generation {wanted} not found", named=False)
        return _json({"data": bill.to_wire()})

    def _chat(self, received: ReceivedRequest) -> Sending:
        """Try the model and its fallbacks in order; the last refusal is the answer."""
        body = received.body
        if not isinstance(body, dict) or not (body.get("messages") or body.get("prompt")):
            return _error(400, 'Input required: specify "prompt" or "messages"')
        names = dict.fromkeys([body.get("model") or "", *(body.get("models") or ())])
        if len(names) > 1:
            names.pop("", None)
        for name in names:
            if not self._is_known(name, "text"):
                return _error(400, f"{name} is not a valid model ID")
        for name in names:
            sending, refused = self._one_model(received, name)
            if not refused:
                break
        return sending

    def _embeddings(self, received: ReceivedRequest) -> Sending:
        body = received.body
        if not isinstance(body, dict) or not body.get("input"):
            return _error(400, 'Input required: specify "input"')
        name = body.get("model") or ""
        if not self._is_known(name, "embeddings"):
            return _error(400, f"Model {name} does not exist", named=False)
        return self._one_model(received, name)[0]

    def _is_known(self, name: str, output: str) -> bool:
        model = self._catalog.find(name)
        if model is None:
            return (
                name.startswith(FAULT_MODELS) and asked_fault(ChatRequest({}, {}, name)) is not None
            )
        return model.output == output

    def _one_model(self, received: ReceivedRequest, name: str) -> tuple[Sending, bool]:
        """Return one model's response, and whether it is a refusal that a fallback may cure."""
        request = ChatRequest(received.body, received.headers, name)
        found = self._catalog.find(name)
        model = found or self._catalog.models[0]
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
        reply = action if isinstance(action, Reply) else Reply()
        if reply.raw_body is not None:
            return raw_sending(reply, stream=request.stream)
        if reply.chunks is None and self._chunks and request.stream:
            reply = replace(reply, chunks=self._chunks)
        upstream = _upstream(request, model, reply.provider)
        answer = make_answer(request, reply, model, upstream, self._cache)
        if isinstance(action, FaultPlan):
            return fault_sending(action, answer, self._padding)
        return answer_sending(answer, self._padding)


def _json(value: Any) -> Sending:
    return Sending(steps=[dumps(value).encode()])


def _error(status: int, message: str, **named: bool) -> Sending:
    return error_sending(status, {"message": message, "code": status}, **named)


def _query(received: ReceivedRequest, name: str, default: str) -> str:
    return parse_qs(urlsplit(received.path).query).get(name, [default])[0]


def _refusal(request: ChatRequest, model: SandboxModel) -> Fault | None:
    """Return why no endpoint of this model can serve the request, as its capabilities say."""
    body = request.body
    wanted = body.get("provider") or {}
    if body.get("tools") and "tools" not in model.supports:
        return "no_tool_endpoints"
    forced = body.get("tool_choice") not in (None, "auto", "none")
    if forced and "tool_choice" not in model.supports:
        return "no_tool_choice_endpoints"
    form = str((body.get("response_format") or {}).get("type"))
    needed = {"json_schema": "structured_outputs", "json_object": "response_format"}.get(form)
    if needed and wanted.get("require_parameters") and needed not in model.supports:
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
    order = wanted.get("order") or ()
    return min(
        _allowed(model, wanted) or model.upstreams,
        key=lambda upstream: order.index(upstream.slug) if upstream.slug in order else 99,
    )
