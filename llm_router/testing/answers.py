"""One answer on the wire: the JSON body, or the events of the stream, and its bill."""

from __future__ import annotations

import functools
import itertools
import math
import re
import secrets
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.testing import operations
from llm_router.testing.billing import (
    Bill,
    PromptCache,
    Tokens,
    count_prompt,
    dumps,
    tokens_of,
    usage_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.testing.catalog import SandboxModel, Upstream
    from llm_router.testing.replies import ChatRequest, Reply

COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
_TOOL_PIECE = 12
Finish = tuple[str | None, str | None]
"""The finish reason, and the upstream's own word for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A resolved answer of one model to one request: a completion, vectors, scores."""

    id: str
    created: int
    request: ChatRequest
    reply: Reply
    model: SandboxModel
    upstream: Upstream
    message: Mapping[str, Any]
    finish: Finish
    tokens: Tokens
    usage: Mapping[str, Any]

    def bill(self) -> Bill:
        """Return the bill of the whole answer."""
        byok = bool(self.usage.get("is_byok"))
        charged = sum(self.tokens.charged(self.model))
        cost = _first_known(self.usage.get("cost"), 0 if byok else charged)
        kind = operations.KINDS.get(self.model.output)
        own = (self.usage.get("cost_details") or {}).get("upstream_inference_cost")
        return Bill(
            generation_id=self.id,
            requested_model=self.request.model,
            model=self.model.echoed,
            provider=self.upstream.name,
            tokens=self.tokens,
            cost=Decimal(str(cost)),
            upstream_cost=Decimal(str(_first_known(own, charged) if byok else 0)),
            is_byok=byok,
            finish_reason=self.finish[0],
            native_finish_reason=self.finish[1],
            api_type=kind.api_type if kind else "completions",
        )

    def cancelled_bill(self, sent: int) -> Bill:
        """Return the bill when the client left after *sent* events of a stream.

        Only some upstreams stop then; the others, and every call that is not streamed, bill all.
        """
        if not (self.request.stream and self.upstream.cancels):
            return replace(self.bill(), cancelled=True)
        share = min(sent / len(self.content_events()), 1)
        tokens = replace(
            self.tokens, completion=math.ceil(self.tokens.completion * share), reasoning=0
        )
        return replace(self._using(tokens, bool(self.usage["is_byok"])).bill(), cancelled=True)

    def uncharged(self) -> Answer:
        """Return this answer as Zero Completion Insurance has it: nothing generated, cost 0."""
        nothing = self._using(replace(self.tokens, completion=0, reasoning=0), is_byok=False)
        free = {"cost": 0, "cost_details": {"upstream_inference_cost": 0}}
        return replace(nothing, usage={**nothing.usage, **free})

    def _using(self, tokens: Tokens, is_byok: bool) -> Answer:
        return replace(self, tokens=tokens, usage=usage_of(tokens, self.model, is_byok=is_byok))

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        kind = operations.KINDS.get(self.model.output)
        body = self._completion() if kind is None else kind.body(self)
        return self._without_omitted({**body, "usage": self.usage, **self.reply.fields})

    def content(self) -> bytes:
        """Return the body of an answer that is no stream."""
        return operations.sound(self) if self.model.output == "speech" else self.json()

    def json(self) -> bytes:
        return dumps(self.body()).encode(errors="surrogatepass")

    def _completion(self) -> dict[str, Any]:
        choice = {
            "index": 0,
            "logprobs": self.reply.logprobs,
            "finish_reason": self.finish[0],
            "native_finish_reason": self.finish[1],
            "message": self.message,
        }
        return self._head("chat.completion") | {"system_fingerprint": None, "choices": [choice]}

    def sse(
        self,
        delta: Mapping[str, Any] | None = None,
        finish: Finish = (None, None),
        choice: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> bytes:
        """Return a chunk as an event; *choice* and *fields* are laid over its choice and itself."""
        only = {
            "index": 0,
            "delta": {"role": "assistant", "content": "", **(delta or {})},
            "finish_reason": finish[0],
            "native_finish_reason": finish[1],
            **(choice or {}),
        }
        head = {**self._head("chat.completion.chunk"), "choices": [only]}
        return data_line(self._without_omitted({**head, **self.reply.fields, **fields}))

    def usage_event(self) -> list[bytes]:
        """Return the last chunk, with usage, in the form that the reply asks for."""
        form = self.reply.usage_chunk
        if form == "absent":
            return []
        fields: dict[str, Any] = {"choices": []} if form == "empty" else {}
        finish = self.finish if form == "repeated" else (None, None)
        return [self.sse(None, finish, usage=self.usage, **fields)]

    def content_events(self) -> list[bytes]:
        """Return the chunks up to the finish reason, which is in the last of them."""
        events = [*self._reasoning_events(), *self._text_events(), *self._tool_events()]
        extra = {k: self.message[k] for k in ("annotations", "images") if k in self.message}
        if extra:
            events.append(self.sse(extra))
        if self.finish[0] is not None or not events:
            events.append(self.sse(None, self.finish))
        for index in range(self.reply.comments - 1):
            events.insert(2 * index + 1, COMMENT)
        return events

    def _reasoning_events(self) -> Iterator[bytes]:
        text = self.message.get("reasoning") or ""
        details = [dict(detail) for detail in self.message.get("reasoning_details") or ()]
        spoken = next((d for d in details if d.get("text") or d.get("summary")), None)
        if spoken is None:
            yield from (self.sse({"reasoning": piece}) for piece in _words(text))
        for detail in details:
            if detail is not spoken:
                yield self.sse({"reasoning_details": [detail]})
                continue
            key = "text" if detail.get("text") else "summary"
            whole = detail.pop(key)
            signature = {"signature": detail.pop("signature")} if "signature" in detail else {}
            for piece in _words(text or whole):
                yield self.sse({"reasoning": piece, "reasoning_details": [{**detail, key: piece}]})
            if signature:
                yield self.sse({"reasoning_details": [detail | signature]})

    def _text_events(self) -> Iterator[bytes]:
        for piece in _words(self.message.get("refusal") or ""):
            yield self.sse({"content": None, "refusal": piece})
        choice = {"logprobs": self.reply.logprobs} if self.reply.logprobs else {}
        for piece in self._pieces(self.message.get("content") or ""):
            yield self.sse({"content": piece}, choice=choice)
            choice = {}

    def _pieces(self, text: str) -> list[str]:
        chunks = self.reply.chunks
        if chunks is None:
            return _words(text)
        if not isinstance(chunks, int):
            return list(chunks)
        words = _words(text) if len(_words(text)) >= chunks else list(text)
        count = max(chunks, 1)
        ends = [len(words) * end // count for end in range(count + 1)]
        return ["".join(words[a:b]) for a, b in itertools.pairwise(ends)]

    def _tool_events(self) -> Iterator[bytes]:
        for call in self.message.get("tool_calls") or ():
            arguments = call["function"].get("arguments") or ""
            empty = {"arguments": ""} if "arguments" in call["function"] else {}
            first = {**call, "function": {**call["function"], **empty}}
            yield self.sse({"content": None, "tool_calls": [first]})
            for start in range(0, len(arguments), _TOOL_PIECE):
                function = {"arguments": arguments[start : start + _TOOL_PIECE]}
                part = {"index": call.get("index", 0), "function": function}
                yield self.sse({"content": None, "tool_calls": [part]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.echoed,
            "provider": self.upstream.name,
        }

    def _without_omitted(self, body: dict[str, Any]) -> dict[str, Any]:
        return functools.reduce(_without, (path.split(".") for path in self.reply.omit), body)


def make_answer(
    request: ChatRequest, reply: Reply, model: SandboxModel, upstream: Upstream, cache: PromptCache
) -> Answer:
    """Resolve *reply* into the answer of *model*, its tokens counted and priced."""
    message: dict[str, Any] = {}
    finish: Finish = (None, None)
    kind = operations.KINDS.get(model.output)
    if kind is None:
        reply = reply.completed(request, model)
        message = reply.content_message(request, model)
        finish = reply.finish(model)
    tokens = _tokens(request, reply, message, model, upstream, cache)
    now = int(time.time())
    return Answer(
        id=f"gen-{kind.prefix if kind else ''}{now}-{secrets.token_hex(10)}",
        created=now,
        request=request,
        reply=reply,
        model=model,
        upstream=upstream,
        message=message,
        finish=finish,
        tokens=tokens,
        usage=_laid_over(usage_of(tokens, model, is_byok=reply.byok), reply.usage),
    )


def data_line(value: Any) -> bytes:
    return f"data: {dumps(value)}\n\n".encode(errors="surrogatepass")


def _tokens(
    request: ChatRequest,
    reply: Reply,
    message: Mapping[str, Any],
    model: SandboxModel,
    upstream: Upstream,
    cache: PromptCache,
) -> Tokens:
    """Return the counts that the script gives, else those counted."""
    given = reply.usage
    inputs = given.get("prompt_tokens_details") or {}
    outputs = given.get("completion_tokens_details") or {}
    prompt = _first_known(given.get("prompt_tokens"), count_prompt(request.body))
    cached = cache.use(model, upstream, request.body, prompt)
    for name, key in (("cached", "cached_tokens"), ("written", "cache_write_tokens")):
        cached[name] = inputs.get(key, cached[name]) or 0
    reasoning = tokens_of(len(reply.reasoning or ""))
    return Tokens(
        prompt=prompt,
        completion=_first_known(given.get("completion_tokens"), reasoning + _count_answer(message)),
        reasoning=outputs.get("reasoning_tokens", reasoning),
        units=given.get("search_units") or operations.units(request, model),
        **cached,
    )


def _count_answer(message: Mapping[str, Any]) -> int:
    """Count the tokens of an answer without its reasoning."""
    content = message.get("content") or ""
    text = content if isinstance(content, str) else dumps(content)
    calls = [dumps(call["function"]) for call in message.get("tool_calls") or ()]
    return tokens_of(len(text + (message.get("refusal") or "") + "".join(calls)))


def _first_known(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else given


def _laid_over(usage: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *usage* with what the script gives, the detail objects key by key."""
    merged = dict(usage)
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    if "total_tokens" not in given:
        counted = [merged.get(name) for name in ("prompt_tokens", "completion_tokens")]
        if counted != [None, None]:
            merged["total_tokens"] = sum(count or 0 for count in counted)
    return merged


def _without(body: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
    head, *rest = path
    if rest and isinstance(body.get(head), dict):
        return {**body, head: _without(body[head], rest)}
    return {key: value for key, value in body.items() if rest or key != head}


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)
