"""What each request is answered: the script, endpoints, models and their fallbacks, the books."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from llm_router.testing.answers import make_answer
from llm_router.testing.billing import (
    Bill,
    PromptCache,
    count_prompt,
    dumps,
    texts_to_embed,
    tokens_of,
)
from llm_router.testing.catalog import Catalog, SandboxModel, Upstream
from llm_router.testing.faults import FAULTS, Fault, FaultPlan, fault_named
from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.schema_instances import NoInstanceError
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

PREFIX = "/api/v1"
Match = str | Callable[[ChatRequest], bool] | None
Action = Reply | FaultPlan
Answering = Action | Callable[[ChatRequest], Action | None]

FAULT_HEADER = "X-Sandbox-Fault"
FAULT_MODELS = "demo/"
_ALIASES: dict[str, Fault] = {"always_down": "http_503"}


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
class Rule:
    """An action for the requests that match, so many times (None: always)."""

    action: Answering
    match: Match
    times: int | None

    def act(self, request: ChatRequest) -> Action | None:
        """Return what to do, or None when the request is left to others."""
        if isinstance(self.match, str):
            fits = self.match.lower() in request.model.lower()
        else:
            fits = self.match is None or self.match(request)
        if not fits:
            return None
        return self.action(request) if callable(self.action) else self.action


@dataclass(slots=True)
class Script:
    """Decides for each request: scripted rules first, then rates, then the sandbox itself."""

    queued: list[Rule] = field(default_factory=list)
    """Used up in this order."""
    standing: list[Rule] = field(default_factory=list)
    """These stay; the latest that matches is used."""
    _rates: dict[Fault, float] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def set_rates(self, rates: Mapping[str, float], seed: int) -> None:
        """Replace the rates; raises `ValueError` for unknown names or a sum above 1."""
        known = {fault_named(name): float(rate) for name, rate in rates.items()}
        if min(known.values(), default=0) < 0 or sum(known.values()) > 1:
            raise ValueError("fault rates are shares from 0 to 1, and at most 1 together")
        self._rates, self._random = known, random.Random(seed)

    def clear(self) -> None:
        self.queued, self.standing, self._rates = [], [], {}

    def next(self, request: ChatRequest) -> Action | None:
        """Return what is scripted for *request*, or None for the sandbox's own answer."""
        asked = asked_fault(request)
        if asked is not None:
            return FaultPlan(fault=asked)
        for rule in [*self.queued, *reversed(self.standing)]:
            action = rule.act(request)
            if action is not None:
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self.queued.remove(rule)
                return action
        return self._by_rate()

    def _by_rate(self) -> FaultPlan | None:
        drawn = self._random.random() if self._rates else 1
        for fault, rate in self._rates.items():
            if drawn < rate:
                return FaultPlan(fault=fault)
            drawn -= rate
        return None


def asked_fault(request: ChatRequest) -> Fault | None:
    """Return the fault that the client asks for: a header, or a model `demo/FAULT`."""
    name = request.headers.get(FAULT_HEADER)
    if name is None and request.model.startswith(FAULT_MODELS):
        name = request.model.removeprefix(FAULT_MODELS)
    name = (name or "").replace("-", "_")
    return _ALIASES.get(name) or next((fault for fault in FAULTS if fault == name), None)


@dataclass(slots=True, kw_only=True)
class Service:
    """Turns requests into responses, without a socket; what its settings mean says `Sandbox`."""

    api_key: str
    catalog: Catalog
    padding: int
    chunks: int | None
    generation_lookups: int
    generation_seconds: float
    script: Script = field(default_factory=Script)
    bills: dict[str, Bill] = field(default_factory=dict)
    _lookups: Counter[str] = field(default_factory=Counter)
    _cache: PromptCache = field(default_factory=PromptCache)

    def respond(self, received: ReceivedRequest, key: str | None, raw: bytes) -> Sending:
        """Return the response to a request; *received* is told its body and its fault."""
        path = urlsplit(received.path).path.rstrip("/")
        endpoint = _ENDPOINTS.get((received.method, path))
        if endpoint is None:
            return _error(404, "Not Found", named=False)
        if endpoint is not Service.models and key != f"Bearer {self.api_key}":
            text = "User not found." if key else "Missing Authentication header"
            return _error(401, text, named=False)
        try:
            received.body = json.loads(raw) if raw else None
        except ValueError:
            received.body = None
        try:
            return endpoint(self, received)
        except NoInstanceError as error:
            return _error(400, f"The sandbox cannot answer in this schema, script a reply: {error}")

    def record(self, bill: Bill) -> None:
        self.bills[bill.generation_id] = bill

    def models(self, received: ReceivedRequest) -> Sending:
        wanted = {*_query(received, "output_modalities", "text").split(",")}
        data = [m.to_wire() for m in self.catalog.models if wanted & {m.output, "all"}]
        return _json({"data": data, "total_count": len(data), "links": {"next": None}})

    def key_details(self, received: ReceivedRequest) -> Sending:
        bills = self.bills.values()
        used = sum((bill.cost for bill in bills), Decimal(0))
        data = {
            "label": "sk-or-v1-san...box",
            **dict.fromkeys(("limit", "limit_remaining", "limit_reset")),
            "usage": used,
            "usage_daily": used,
            "byok_usage": sum((bill.upstream_cost for bill in bills), Decimal(0)),
            "is_free_tier": False,
            "is_management_key": False,
        }
        return _json({"data": data})

    def generation(self, received: ReceivedRequest) -> Sending:
        wanted = _query(received, "id", "")
        bill = self.bills.get(wanted)
        self._lookups[wanted] += bill is not None
        if (
            bill is None
            or self._lookups[wanted] <= self.generation_lookups
            or time.monotonic() - bill.recorded_at < self.generation_seconds
        ):
            return _error(404, f"Generation {wanted} not found", named=False)
        return _json({"data": bill.to_wire()})

    def chat(self, received: ReceivedRequest) -> Sending:
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

    def embeddings(self, received: ReceivedRequest) -> Sending:
        body = received.body
        if not isinstance(body, dict) or not body.get("input"):
            return _error(400, 'Input required: specify "input"')
        name = body.get("model") or ""
        if not self._is_known(name, "embeddings"):
            return _error(400, f"Model {name} does not exist", named=False)
        return self._one_model(received, name)[0]

    def _is_known(self, name: str, output: str) -> bool:
        model = self.catalog.find(name)
        if model is not None:
            return model.output == output
        return name.startswith(FAULT_MODELS) and asked_fault(ChatRequest({}, {}, name)) is not None

    def _one_model(self, received: ReceivedRequest, name: str) -> tuple[Sending, bool]:
        """Return one model's response, and whether it is a refusal that a fallback may cure."""
        request = ChatRequest(received.body, received.headers, name)
        found = self.catalog.find(name)
        model = found or self.catalog.stand_in(embeds=request.embeds)
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
        if reply.chunks is None and self.chunks and request.stream:
            reply = replace(reply, chunks=self.chunks)
        upstream = _upstream(request, model, reply.provider)
        answer = make_answer(request, reply, model, upstream, self._cache)
        if isinstance(action, FaultPlan):
            return fault_sending(action, answer, self.padding)
        return answer_sending(answer, self.padding)


_ENDPOINTS: dict[tuple[str, str], Callable[[Service, ReceivedRequest], Sending]] = {
    ("POST", f"{PREFIX}/chat/completions"): Service.chat,
    ("POST", f"{PREFIX}/embeddings"): Service.embeddings,
    ("GET", f"{PREFIX}/models"): Service.models,
    ("GET", f"{PREFIX}/generation"): Service.generation,
    ("GET", f"{PREFIX}/key"): Service.key_details,
}


def _json(value: Any) -> Sending:
    return Sending(steps=[dumps(value).encode()])


def _error(status: int, message: str, *, named: bool = True) -> Sending:
    return error_sending(status, {"message": message, "code": status}, named=named)


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
    # Of texts to embed each has the whole window.
    longest = max((tokens_of(len(text)) for text in texts_to_embed(body)), default=0)
    if (longest or count_prompt(body)) > model.context_length:
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
