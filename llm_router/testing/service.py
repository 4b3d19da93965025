"""What each request is answered: the script, endpoints, models and their fallbacks, the books."""

from __future__ import annotations

import math
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from llm_router.testing.answers import make_answer
from llm_router.testing.billing import (
    Bill,
    PromptCache,
    count_prompt,
    dumps,
    texts_in,
    tokens_of,
)
from llm_router.testing.catalog import Catalog, SandboxModel, Upstream
from llm_router.testing.faults import Fault, FaultPlan
from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.requests import (
    Body,
    ChatBody,
    EmbeddingsBody,
    ImagesBody,
    MessagesBody,
    RefusedError,
    RerankBody,
    ResponsesBody,
    SpeechBody,
    TranscriptionBody,
    read_body,
)
from llm_router.testing.schema_instances import NoInstanceError
from llm_router.testing.script import FAULT_MODELS, Action, ReceivedRequest, Script, asked_fault
from llm_router.testing.sending import (
    Sending,
    answer_sending,
    error_sending,
    fault_sending,
    http_fault_sending,
    raw_sending,
)
from llm_router.testing.skins import Completions, Messages, Responses, Skin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.testing.catalog import Output

PREFIX = "/api/v1"
_KEY = {
    "label": "sk-or-v1-san...box",
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "include_byok_in_limit": False,
    "allowed_data_regions": ["global"],
    "budgets": [],
    "free_model_daily_requests": {"limit": 50, "remaining": 50, "used": 0},
    "rate_limit": {"requests": -1, "interval": "10s", "note": "Deprecated"},
    **dict.fromkeys((
        "limit", "limit_remaining", "limit_reset", "expires_at", "effective_budget",
        "creator_user_id", "organization_id", "workspace_id",
    )),
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Service:
    """Turns requests into responses, without a socket; what its settings mean says `Sandbox`."""

    api_key: str
    catalog: Catalog
    padding: int
    chunks: int | None
    generation_lookups: int
    generation_seconds: float
    balance: bool = False
    script: Script = field(default_factory=Script)
    bills: dict[str, Bill] = field(default_factory=dict)
    _lookups: Counter[str] = field(default_factory=Counter)
    _cache: PromptCache = field(default_factory=PromptCache)
    _balance: Balance = field(default_factory=lambda: Balance())

    def respond(self, received: ReceivedRequest, key: str | None, raw: bytes) -> Sending:
        """Return the response to a request; *received* is told its body and its fault."""
        skin = None
        try:
            endpoint, names = _endpoint(received)
            skin = endpoint.skin
            sending = self._answered(endpoint, received, key, raw, names)
        except RefusedError as refused:
            sending = refusal(refused)
        except NoInstanceError as error:
            text = f"The sandbox cannot answer in this schema, script a reply: {error}"
            sending = refusal(RefusedError(400, text))
        except RecursionError:
            sending = refusal(RefusedError(400, "The body is nested too deeply"))
        return skin(received.body or {}).dressed(sending) if skin else sending

    def _answered(
        self,
        endpoint: Endpoint,
        received: ReceivedRequest,
        key: str | None,
        raw: bytes,
        names: list[str],
    ) -> Sending:
        if not endpoint.public and key != f"Bearer {self.api_key}":
            text = "User not found." if key else "Missing Authentication header"
            raise RefusedError(401, text, named=False)
        if endpoint.body is not None:
            kind = received.headers.get("Content-Type", "")
            received.body = read_body(raw, kind, endpoint.body)
        if endpoint.skin is not None:
            return endpoint.answer(self, received, endpoint.skin.chat(received.body))
        return endpoint.answer(self, received, *names)

    def record(self, bill: Bill) -> None:
        self.bills[bill.generation_id] = bill

    def models(self, received: ReceivedRequest) -> Sending:
        data = [model.to_wire() for model in self._listed(received)]
        return _json({"data": data, "total_count": len(data), "links": {"next": None}})

    def count_models(self, received: ReceivedRequest) -> Sending:
        return _json({"data": {"count": len(self._listed(received))}})

    def _listed(self, received: ReceivedRequest) -> list[SandboxModel]:
        wanted = {*_query(received, "output_modalities", "text").split(",")}
        return [model for model in self.catalog.models if wanted & {model.output, "all"}]

    def model(self, received: ReceivedRequest, author: str, slug: str) -> Sending:
        return _json({"data": self._named(author, slug).to_wire()})

    def endpoints(self, received: ReceivedRequest, author: str, slug: str) -> Sending:
        return _json({"data": self._named(author, slug).endpoints()})

    def _named(self, author: str, slug: str) -> SandboxModel:
        model = self.catalog.find(f"{author}/{slug}")
        if model is None:
            raise RefusedError(404, f"Model {author}/{slug} not found", named=False)
        return model

    def providers(self, received: ReceivedRequest) -> Sending:
        upstreams = dict.fromkeys(up for model in self.catalog.models for up in model.upstreams)
        unknown = dict.fromkeys(("privacy_policy_url", "terms_of_service_url", "status_page_url"))
        return _json({"data": [{"name": up.name, "slug": up.slug, **unknown} for up in upstreams]})

    def key_details(self, received: ReceivedRequest) -> Sending:
        used = {"usage": self._spent("cost"), "byok_usage": self._spent("upstream_cost")}
        spans = ("", "_daily", "_weekly", "_monthly")
        spent = {f"{name}{span}": amount for name, amount in used.items() for span in spans}
        return _json({"data": _KEY | spent})

    def credits(self, received: ReceivedRequest) -> Sending:
        """Answer as to a management key; OpenRouter refuses others."""
        return _json({"data": {"total_credits": 100, "total_usage": self._spent("cost")}})

    def _spent(self, part: str) -> Decimal:
        return sum((getattr(bill, part) for bill in self.bills.values()), Decimal(0))

    def generation(self, received: ReceivedRequest) -> Sending:
        wanted = _query(received, "id", "")
        bill = self.bills.get(wanted)
        self._lookups[wanted] += bill is not None
        if (
            bill is None
            or self._lookups[wanted] <= self.generation_lookups
            or time.monotonic() - bill.recorded_at < self.generation_seconds
        ):
            raise RefusedError(404, f"Generation {wanted} not found", named=False)
        return _json({"data": bill.to_wire()})

    def chat(self, received: ReceivedRequest, asked: Mapping[str, Any] | None = None) -> Sending:
        """Try the model and its fallbacks in order; the last refusal is the answer.

        *asked* is the chat that a request of another wire asks for.
        """
        asked = received.body if asked is None else asked
        body = {key: value for key, value in asked.items() if key != "input"}
        if not body.get("messages"):
            if not body.get("prompt"):
                raise RefusedError(400, 'Input required: specify "prompt" or "messages"')
            body["messages"] = [{"role": "user", "content": body["prompt"]}]
        names = dict.fromkeys([body.get("model") or "", *(body.get("models") or ())])
        if len(names) > 1:
            names.pop("", None)
        for name in names:
            if not self._is_known(name, "text"):
                raise RefusedError(400, f"{name} is not a valid model ID")
        for name in names:
            sending, refused = self._one_model(received, body, name)
            if not refused:
                break
        return sending

    def embeddings(self, received: ReceivedRequest) -> Sending:
        body = received.body
        if not body["input"]:
            raise RefusedError(400, 'Input required: specify "input"')
        name = body.get("model") or ""
        model = self.catalog.find(name)
        if model is not None and model.output == "embeddings":
            if (body.get("dimensions") or 1) > (model.dimensions or 1):
                raise RefusedError(400, f"dimensions: {name} has at most {model.dimensions}")
            if len(texts_in(body)) > (model.most_inputs or math.inf):
                raise RefusedError(
                    400, f"batch size is invalid, it should not be larger than {model.most_inputs}"
                )
        return self.task(received, "embeddings", EmbeddingsBody)

    def task(self, received: ReceivedRequest, output: Output, shape: type[Body]) -> Sending:
        """Answer a request that is no chat: one model, and none of a chat's fields."""
        unknown = ChatBody.model_fields.keys() - shape.model_fields.keys()
        body = {key: value for key, value in received.body.items() if key not in unknown}
        name = body.get("model") or ""
        if not self._is_known(name, output):
            raise RefusedError(400, f"Model {name} does not exist", named=False)
        return self._one_model(received, body, name, output)[0]

    def _is_known(self, name: str, output: Output) -> bool:
        model = self.catalog.find(name)
        if model is not None:
            return model.output == output
        return name.startswith(FAULT_MODELS) and asked_fault(ChatRequest({}, {}, name)) is not None

    def _one_model(
        self,
        received: ReceivedRequest,
        body: Mapping[str, Any],
        name: str,
        output: Output = "text",
    ) -> tuple[Sending, bool]:
        """Return one model's response, and whether it is a refusal that a fallback may cure."""
        request = ChatRequest(body, received.headers, name, output)
        found = self.catalog.find(name)
        model = found or self.catalog.stand_in(output)
        action = self.script.next(request)
        received.fault = action.fault if isinstance(action, FaultPlan) else None
        if action is None or (isinstance(action, Reply) and action.raw_body is None):
            unserved = _unserved(request, model)
            if unserved is not None:
                action = FaultPlan(fault=unserved)
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
        if self.balance and reply.provider is None:
            upstream = self._balance.choose(request, model, upstream)
        answer = make_answer(request, reply, model, upstream, self._cache)
        if answer.tokens.cached:
            self._balance.keep(request, upstream)
        if isinstance(action, FaultPlan):
            return fault_sending(action, answer, self.padding)
        return answer_sending(answer, self.padding)


class Balance:
    """Who serves where OpenRouter's load balancing decides: anyone, but for the conversations that
    stay: those of a session, and those that were read from a cache.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Upstream] = {}
        self._random = random.Random(0)

    def choose(self, request: ChatRequest, model: SandboxModel, first: Upstream) -> Upstream:
        """Return who serves; *first* where an order or a sorting says so."""
        wanted = request.body.get("provider") or {}
        if wanted.get("order") or wanted.get("sort"):
            return first
        allowed = _allowed(model, wanted) or list(model.upstreams)
        kept = self._kept.get(self._conversation(request))
        chosen = kept if kept in allowed else self._random.choice(allowed)
        if request.body.get("session_id"):
            self.keep(request, chosen)
        return chosen

    def keep(self, request: ChatRequest, upstream: Upstream) -> None:
        """Let the conversation of *request* stay."""
        self._kept[self._conversation(request)] = upstream

    @staticmethod
    def _conversation(request: ChatRequest) -> str:
        """Return its session, else its first system and first other message."""
        messages = request.body.get("messages") or ()
        system = [m for m in messages if m.get("role") == "system"][:1]
        others = [m for m in messages if m.get("role") != "system"][:1]
        return str(request.body.get("session_id") or dumps([system, others]))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers one method of one path."""

    answer: Callable[..., Sending]
    """A method of `Service`: it takes the request, and the names in the path."""
    body: type[Body] | None = None
    public: bool = False
    skin: type[Skin] | None = None


def _task(output: Output, shape: type[Body]) -> Endpoint:
    return Endpoint(lambda service, received: service.task(received, output, shape), shape)


_ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "/chat/completions": {"POST": Endpoint(Service.chat, ChatBody)},
    "/completions": {"POST": Endpoint(Service.chat, ChatBody, skin=Completions)},
    "/responses": {"POST": Endpoint(Service.chat, ResponsesBody, skin=Responses)},
    "/messages": {"POST": Endpoint(Service.chat, MessagesBody, skin=Messages)},
    "/embeddings": {"POST": Endpoint(Service.embeddings, EmbeddingsBody)},
    "/rerank": {"POST": _task("rerank", RerankBody)},
    "/images": {"POST": _task("image", ImagesBody)},
    "/audio/speech": {"POST": _task("speech", SpeechBody)},
    "/audio/transcriptions": {"POST": _task("transcription", TranscriptionBody)},
    "/models": {"GET": Endpoint(Service.models, public=True)},
    "/models/count": {"GET": Endpoint(Service.count_models, public=True)},
    "/models/user": {"GET": Endpoint(Service.models)},
    "/models/*/*/endpoints": {"GET": Endpoint(Service.endpoints, public=True)},
    "/model/*/*": {"GET": Endpoint(Service.model, public=True)},
    "/providers": {"GET": Endpoint(Service.providers, public=True)},
    "/generation": {"GET": Endpoint(Service.generation)},
    "/key": {"GET": Endpoint(Service.key_details)},
    "/auth/key": {"GET": Endpoint(Service.key_details)},
    "/credits": {"GET": Endpoint(Service.credits)},
}
_PATHS = [
    (re.compile(PREFIX + template.replace("*", "([^/]+)")), methods)
    for template, methods in _ENDPOINTS.items()
]


def _endpoint(received: ReceivedRequest) -> tuple[Endpoint, list[str]]:
    """Return what answers a request, and the names in its path; raises `RefusedError`."""
    path = received.path.partition("?")[0].rstrip("/")
    for pattern, methods in _PATHS:
        names = pattern.fullmatch(path)
        if names is None:
            continue
        if received.method not in methods:
            raise RefusedError(405, f"Method {received.method} Not Allowed", named=False)
        return methods[received.method], [unquote(name) for name in names.groups()]
    raise RefusedError(404, "Not Found", named=False)


def _json(value: Any) -> Sending:
    return Sending(steps=[dumps(value).encode()])


def refusal(refused: RefusedError) -> Sending:
    """Return a refusal in OpenRouter's envelope."""
    error = {"message": refused.sentence, "code": refused.status}
    return error_sending(refused.status, error, named=refused.named)


def _query(received: ReceivedRequest, name: str, default: str) -> str:
    return parse_qs(received.path.partition("?")[2]).get(name, [default])[0]


def _unserved(request: ChatRequest, model: SandboxModel) -> Fault | None:
    """Return why no endpoint of this model can serve the request, as its capabilities say."""
    body = request.body
    wanted = body.get("provider") or {}
    if body.get("tools") and "tools" not in model.supports:
        return "no_tool_endpoints"
    forced = body.get("tool_choice") not in (None, "auto", "none")
    if forced and "tool_choice" not in model.supports:
        return "no_tool_choice_endpoints"
    asked = body.get("response_format")
    form = str(asked.get("type")) if isinstance(asked, dict) else ""  # of sound it is a word
    needed = {"json_schema": "structured_outputs", "json_object": "response_format"}.get(form)
    if needed and wanted.get("require_parameters") and needed not in model.supports:
        return "no_parameter_endpoints"
    if needed and model.refuses_response_format:
        return "response_format_refused"
    if wanted.get("only") and not _allowed(model, wanted):
        return "no_providers"
    # Of texts to embed or rank each has the whole window.
    longest = max((tokens_of(len(text)) for text in texts_in(body)), default=0)
    if (longest or count_prompt(body)) > model.context_length:
        return "context_length"
    return None


def _allowed(model: SandboxModel, wanted: Mapping[str, Any]) -> list[Upstream]:
    only, ignored = wanted.get("only"), wanted.get("ignore") or ()
    return [
        upstream
        for upstream in model.upstreams
        if (not only or upstream.is_among(only)) and not upstream.is_among(ignored)
    ]


def _upstream(request: ChatRequest, model: SandboxModel, name: str | None) -> Upstream:
    """Return the upstream that serves: the scripted one, else as `provider` prefers."""
    if name is not None:
        known = (upstream for upstream in model.upstreams if upstream.name == name)
        return next(known, Upstream(name=name, slug=name.lower().replace(" ", "-")))
    wanted = request.body.get("provider") or {}
    allowed = _allowed(model, wanted) or model.upstreams
    order = wanted.get("order") or ()
    return next((one for name in order for one in allowed if one.is_among([name])), allowed[0])
