"""One answer on the wire: the JSON body, or the events of the stream, and its bill."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_router.testing.billing import (
    Bill,
    PromptCache,
    Tokens,
    asks_for_hour,
    charge,
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
_HOLE = "\ue000text"
Finish = tuple[str | None, str | None]


class Event(NamedTuple):
    """One piece of a stream."""

    data: bytes
    characters: int = 0
    """Generated characters in it: what a cancelled stream is billed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A resolved answer of one model to one request."""

    id: str
    created: int
    request: ChatRequest
    reply: Reply
    model: SandboxModel
    upstream: Upstream
    message: Mapping[str, Any]
    finish_reason: str | None
    native_finish_reason: str | None
    tokens: Tokens
    usage: Mapping[str, Any]

    def bill(self) -> Bill:
        """Return the bill of the whole answer."""
        cost, details = self.usage.get("cost"), self.usage.get("cost_details") or {}
        byok = bool(self.usage.get("is_byok"))
        charged = charge(self.model, self.tokens).total
        own = details.get("upstream_inference_cost") if byok else 0
        return Bill(
            generation_id=self.id,
            requested_model=self.request.model,
            model=self.model.echoed,
            provider=self.upstream.name,
            tokens=self.tokens,
            cost=_decimal(cost, charged if not byok else Decimal(0)),
            upstream_cost=_decimal(own, charged),
            is_byok=byok,
            streamed=self.request.stream,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
        )

    def cancelled_bill(self, characters: int) -> Bill:
        """Return the bill when the client left after *characters* of a stream.

        Only some upstreams stop then; the others, and every call that is not streamed, bill all.
        """
        if not (self.request.stream and self.upstream.cancels):
            return replace(self.bill(), cancelled=True)
        tokens = replace(self.tokens, completion=tokens_of(characters), reasoning=0)
        usage = usage_of(tokens, charge(self.model, tokens), is_byok=bool(self.usage["is_byok"]))
        return replace(replace(self, tokens=tokens, usage=usage).bill(), cancelled=True)

    def uncharged(self) -> Answer:
        """Return this answer as Zero Completion Insurance has it: nothing generated, cost 0."""
        nothing = replace(self.tokens, completion=0, reasoning=0)
        usage = {
            **usage_of(nothing, charge(self.model, nothing), is_byok=False),
            "cost": 0,
            "cost_details": {"upstream_inference_cost": 0},
        }
        return replace(self, tokens=nothing, usage=usage)

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        choice = {
            "index": 0,
            "logprobs": self.reply.logprobs,
            "finish_reason": self.finish_reason,
            "native_finish_reason": self.native_finish_reason,
            "message": self.message,
        }
        body = {**self._head("chat.completion"), "system_fingerprint": None, "choices": [choice]}
        body["usage"] = self.usage
        return self._without_omitted({**body, **self.reply.fields})

    def json(self) -> bytes:
        return dumps(self.body()).encode(errors="surrogatepass")

    def chunk(
        self, delta: Mapping[str, Any] | None = None, finish: Finish = (None, None), **fields: Any
    ) -> dict[str, Any]:
        """Return a chunk; *finish* are the two finish reasons, *fields* go to its top level."""
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": "", **(delta or {})},
            "finish_reason": finish[0],
            "native_finish_reason": finish[1],
        }
        head = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return self._without_omitted({**head, **self.reply.fields, **fields})

    def sse(
        self, delta: Mapping[str, Any] | None = None, finish: Finish = (None, None), **fields: Any
    ) -> bytes:
        return data_line(self.chunk(delta, finish, **fields))

    def usage_event(self) -> list[Event]:
        """Return the last chunk, with usage, in the form that the reply asks for."""
        form = self.reply.usage_chunk
        if form == "absent":
            return []
        finish = self._finish if form == "repeated" else (None, None)
        fields: dict[str, Any] = {"choices": []} if form == "empty" else {}
        return [Event(self.sse(None, finish, usage=self.usage, **fields))]

    def content_events(self) -> list[Event]:
        """Return the chunks up to the finish reason, which is in the last of them."""
        events = [*self._reasoning_events(), *self._text_events(), *self._tool_events()]
        extra = {k: self.message[k] for k in ("annotations", "images") if k in self.message}
        if extra:
            events.append(Event(self.sse(extra)))
        if self.finish_reason is not None or not events:
            events.append(Event(self.sse(None, self._finish)))
        between = [Event(COMMENT)] * (self.reply.comments - 1)
        for index, comment in enumerate(between):
            events.insert(2 * index + 1, comment)
        return events

    def opening_comments(self) -> list[Event]:
        return [Event(COMMENT)] if self.reply.comments > 0 else []

    @property
    def _finish(self) -> Finish:
        return self.finish_reason, self.native_finish_reason

    def _reasoning_events(self) -> Iterator[Event]:
        text = self.message.get("reasoning") or ""
        details = [dict(detail) for detail in self.message.get("reasoning_details") or ()]
        shown = False
        for detail in details:
            key = next((k for k in ("text", "summary") if detail.get(k)), None)
            if key is None or shown:
                yield Event(self.sse({"reasoning_details": [detail]}))
                continue
            shown = True
            whole, tail = detail.pop(key), {}
            if "signature" in detail:
                tail = {"signature": detail.pop("signature")}
            for piece in _words(text or whole):
                fragment = {"reasoning": piece, "reasoning_details": [{**detail, key: piece}]}
                yield Event(self.sse(fragment), len(piece))
            if tail:
                yield Event(self.sse({"reasoning_details": [{**detail, **tail}]}))
        if not shown:
            yield from (Event(self.sse({"reasoning": p}), len(p)) for p in _words(text))

    def _text_events(self) -> Iterator[Event]:
        if self.message.get("refusal"):
            for piece in _words(self.message["refusal"]):
                yield Event(self.sse({"content": None, "refusal": piece}), len(piece))
        # The chunks of a text differ in their text alone: one is written, the others are filled in.
        head, tail = self.sse({"content": _HOLE}).decode().split(f'"{_HOLE}"')
        for index, piece in enumerate(self._pieces(self.message.get("content") or "")):
            if index == 0 and self.reply.logprobs:
                chunk = self.chunk({"content": piece})
                chunk["choices"][0]["logprobs"] = self.reply.logprobs
                yield Event(data_line(chunk), len(piece))
                continue
            text = json.dumps(piece, ensure_ascii=False)
            yield Event(f"{head}{text}{tail}".encode(errors="surrogatepass"), len(piece))

    def _pieces(self, text: str) -> list[str]:
        chunks = self.reply.chunks
        if chunks is None:
            return _words(text)
        if not isinstance(chunks, int):
            return list(chunks)
        words = _words(text) if len(_words(text)) >= chunks else list(text)
        size, longer = divmod(len(words), max(chunks, 1))
        ends = [i * size + min(i, longer) for i in range(max(chunks, 1) + 1)]
        return ["".join(words[a:b]) for a, b in itertools.pairwise(ends)]

    def _tool_events(self) -> Iterator[Event]:
        for call in self.message.get("tool_calls") or ():
            function = {k: v for k, v in call["function"].items() if k != "arguments"}
            arguments = call["function"].get("arguments")
            if arguments is not None:
                function["arguments"] = ""
            first = {**call, "function": function}
            yield Event(self.sse({"content": None, "tool_calls": [first]}))
            for start in range(0, len(arguments or ""), _TOOL_PIECE):
                piece = (arguments or "")[start : start + _TOOL_PIECE]
                part = {"index": call.get("index", 0), "function": {"arguments": piece}}
                yield Event(self.sse({"content": None, "tool_calls": [part]}), len(piece))

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.echoed,
            "provider": self.upstream.name,
        }

    def _without_omitted(self, body: dict[str, Any]) -> dict[str, Any]:
        for path in self.reply.omit:
            body = _without(body, path.split("."))
        return body


def make_answer(
    request: ChatRequest, reply: Reply, model: SandboxModel, upstream: Upstream, cache: PromptCache
) -> Answer:
    """Resolve *reply* into the answer of *model*, its tokens counted and priced."""
    reply = reply.completed(request, model)
    message = reply.content_message(request, model)
    tokens = _tokens(request, reply, message, model, cache)
    usage = usage_of(tokens, charge(model, tokens), is_byok=reply.byok)
    finish, native = reply.finish(model)
    now = int(time.time())
    return Answer(
        id=f"gen-{now}-{secrets.token_hex(10)}",
        created=now,
        request=request,
        reply=reply,
        model=model,
        upstream=upstream,
        message=message,
        finish_reason=finish,
        native_finish_reason=native,
        tokens=tokens,
        usage=_laid_over(usage, reply.usage),
    )


def data_line(value: Any) -> bytes:
    return f"data: {dumps(value)}\n\n".encode(errors="surrogatepass")


def _tokens(
    request: ChatRequest,
    reply: Reply,
    message: Mapping[str, Any],
    model: SandboxModel,
    cache: PromptCache,
) -> Tokens:
    given = reply.usage
    prompt = given.get("prompt_tokens")
    if prompt is None:
        prompt = count_prompt(request.body)
    read, written = cache.use(model, request.body, prompt)
    reasoning = tokens_of(len(reply.reasoning or ""))
    calls = message.get("tool_calls") or ()
    characters = sum(len(dumps(call["function"])) for call in calls)
    content = message.get("content")
    characters += len(content if isinstance(content, str) else dumps(content) if content else "")
    counted = tokens_of(characters + len(message.get("refusal") or "")) + reasoning
    inputs = given.get("prompt_tokens_details") or {}
    outputs = given.get("completion_tokens_details") or {}
    completion = given.get("completion_tokens")
    return Tokens(
        prompt=prompt,
        completion=counted if completion is None else completion,
        reasoning=outputs.get("reasoning_tokens", reasoning),
        cached=inputs.get("cached_tokens", read) or 0,
        written=inputs.get("cache_write_tokens", written) or 0,
        written_for_hour=asks_for_hour(request.body),
    )


def _laid_over(usage: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *usage* with what the script gives, the detail objects key by key."""
    merged = dict(usage)
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    if "total_tokens" not in given and "prompt_tokens" in merged:
        merged["total_tokens"] = (merged["prompt_tokens"] or 0) + (merged["completion_tokens"] or 0)
    return merged


def _without(body: dict[str, Any], path: list[str]) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {key: value for key, value in body.items() if key != head}
    inner = body.get(head)
    return {**body, head: _without(inner, rest)} if isinstance(inner, dict) else body


def _decimal(amount: Any, default: Decimal) -> Decimal:
    return default if amount is None else Decimal(str(amount))


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)
