"""From an answer or a fault to the bytes, the pauses and the end of one HTTP response."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_router.testing.answers import COMMENT, DONE, Answer, data_line
from llm_router.testing.billing import dumps
from llm_router.testing.faults import FaultPlan, error_body
from llm_router.testing.operations import KINDS, media_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_router.testing.replies import Reply

JSON = "application/json"
SSE = "text/event-stream"
PADDING = b"\n         \n"
_DRIP_SECONDS = 0.05
_HTML_524 = (
    b"<!DOCTYPE html><html><head><title>openrouter.ai | 524: A timeout occurred</title></head>"
    b"<body><h1>Error 524</h1></body></html>"
)
_UNREADABLE = {
    "garbage": (b"\x1f\x8b\x08 upstream \xff\xfe connect error", JSON),
    "html_200": (b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body>", "text/html"),
}
_UNCHARGED = ("choice_error", "finish_error", "blank", "empty_choices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One response: what goes out, when, how it ends, and which answer is billed for it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    wait: float = 0.0
    """Seconds before the headers."""
    steps: Sequence[bytes | float] = ()
    """What is written, and pauses in seconds; an infinite one lasts until the client leaves."""
    ending: Literal["end", "cut", "drop"] = "end"
    """In order, with the connection closed too early, or without a byte."""
    billed: Answer | None = None


def error_sending(
    status: int,
    error: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    named: bool = True,
) -> Sending:
    """Return an error under its own status."""
    body = dumps(error_body(error, named=named)).encode(
        errors="replace"
    )  # it may quote half a character
    return Sending(status=status, headers=headers or {}, steps=[body])


def raw_sending(reply: Reply, *, stream: bool) -> Sending:
    """Return the raw body of a scripted reply."""
    raw = reply.raw_body
    parts = [raw] if isinstance(raw, str | bytes) else list(raw or ())
    return Sending(
        status=reply.status,
        headers=reply.headers,
        content_type=reply.content_type or (SSE if stream else JSON),
        wait=reply.delay,
        steps=_spaced((p.encode() if isinstance(p, str) else p for p in parts), reply.chunk_delay),
    )


def answer_sending(answer: Answer, padding: int) -> Sending:
    """Return a whole answer, as JSON or as a stream."""
    if answer.request.stream:
        return _streamed(answer, [*answer.content_events(), *answer.usage_event(), DONE])
    return _json_body(answer, answer.content(), padding)


def fault_sending(plan: FaultPlan, answer: Answer, padding: int) -> Sending:
    """Return the response of a fault that has an answer behind it (all but plain statuses)."""
    seconds = 30.0 if plan.seconds is None else plan.seconds
    if plan.fault == "dropped":
        return Sending(ending="drop")
    if plan.fault == "slow_headers":
        return replace(answer_sending(answer, padding), wait=seconds)
    if plan.fault == "slow_body":
        whole = answer_sending(answer, padding)
        filler = COMMENT if answer.request.stream else PADDING
        return replace(whole, steps=[*_dripping(filler, seconds), *whole.steps])
    if plan.fault in _UNCHARGED:
        return _uncharged(plan, answer.uncharged())
    if plan.fault in ("garbage", "html_200", "truncated_json", "empty_body"):
        return _unreadable(plan.fault, answer)
    if plan.fault != "error_in_200" and answer.request.stream:
        return _faulty_stream(plan, answer)
    return _faulty_body(plan, answer)


def http_fault_sending(plan: FaultPlan, error: Mapping[str, Any]) -> Sending:
    """Return a fault that is a status of its own."""
    headers = plan.headers(error)
    if plan.fault == "http_524":
        return Sending(status=524, headers=headers, content_type="text/html", steps=[_HTML_524])
    return error_sending(error["code"], error, headers, named=plan.fault != "unauthorized")


def _json_body(answer: Answer, body: bytes, padding: int = 0) -> Sending:
    reply = answer.reply
    padding = padding if reply.padding is None else reply.padding
    padding = 0 if answer.model.output == "speech" else padding
    committed = padding > 0 and reply.delay > 0
    drip = _dripping(PADDING, reply.delay) if committed else []
    return Sending(
        headers={**_upstream_named(answer), **reply.headers},
        content_type=media_type(answer),
        wait=0.0 if committed else reply.delay,
        steps=[*drip, PADDING * padding + body],
        billed=answer,
    )


def _upstream_named(answer: Answer) -> dict[str, str]:
    """Return the header of those answers whose body has no place for the upstream's name."""
    unnamed = answer.model.output in ("image", "speech", "transcription")
    return {"X-Provider-Name": answer.upstream.name} if unnamed else {}


def _streamed(answer: Answer, events: list[bytes], **how: Any) -> Sending:
    reply = answer.reply
    opening = [COMMENT] if reply.comments > 0 else []
    return Sending(
        headers=reply.headers,
        content_type=SSE,
        steps=[
            *_dripping(COMMENT, reply.delay),
            *_spaced([*opening, *events], reply.chunk_delay),
        ],
        **{"billed": answer, **how},
    )


def _dripping(filler: bytes, seconds: float) -> list[bytes | float]:
    """Return steps that keep a connection alive for *seconds*."""
    count = math.ceil(seconds / _DRIP_SECONDS)
    return [filler, seconds / count] * count if count else []


def _spaced(pieces: Iterable[bytes], gap: float) -> list[bytes | float]:
    if not gap:
        return list(pieces)
    return [step for piece in pieces for step in (piece, gap)][:-1]


def _stalled(sending: Sending, seconds: float | None) -> Sending:
    pause = math.inf if seconds is None else seconds
    return replace(sending, steps=[*sending.steps, pause])


def _unreadable(fault: str, answer: Answer) -> Sending:
    """Play a body that cannot be read, with and without stream."""
    whole = answer.content()
    body, kind = _UNREADABLE.get(fault, (whole[: len(whole) // 2], JSON))
    if fault == "empty_body":
        body, kind = b"", SSE if answer.request.stream else JSON
    return replace(_json_body(answer, body), content_type=kind)


def _uncharged(plan: FaultPlan, answer: Answer) -> Sending:
    """Play an answer that failed and is therefore free."""
    kept = answer.content_events()[: plan.after]
    kind = KINDS.get(answer.model.output)
    nothing = {"choices": []} if kind is None else kind.nothing
    if plan.fault == "empty_choices" or kind is not None:
        answer = replace(answer, reply=replace(answer.reply, fields=nothing), finish=(None, None))
        kept = []
    elif plan.fault == "blank":
        message = {"role": "assistant", "content": "", "refusal": None, "reasoning": None}
        answer = replace(answer, message=message, finish=(None, None))
        kept = []
    elif plan.fault == "finish_error":
        answer = replace(answer, finish=("error", "MALFORMED_FUNCTION_CALL"))
        kept.append(answer.sse(None, answer.finish))
    else:
        return _choice_error(plan, answer, kept)
    if answer.request.stream:
        return _streamed(answer, [*kept, *answer.usage_event(), DONE])
    return _json_body(answer, b"" if answer.model.output == "speech" else answer.json())


def _choice_error(plan: FaultPlan, answer: Answer, kept: list[bytes]) -> Sending:
    error = {"error": plan.error(answer.request, answer.model)}
    if answer.request.stream:
        return _streamed(answer, [*kept, answer.sse(choice=error), DONE])
    body = replace(answer, finish=(None, None)).body()
    body["choices"] = [body["choices"][0] | error]
    return _json_body(answer, dumps(body).encode())


def _faulty_body(plan: FaultPlan, answer: Answer) -> Sending:
    """Play a fault without stream; one of streams plays its nearest kin."""
    whole = answer.content()
    if plan.fault == "cut_stream":
        return replace(_json_body(answer, whole[: len(whole) // 2]), ending="cut")
    if plan.fault == "stalled_stream":
        return _stalled(_json_body(answer, PADDING), plan.seconds)
    if plan.fault in ("ended_stream", "garbled_stream"):
        kin = "truncated_json" if plan.fault == "ended_stream" else "garbage"
        return _unreadable(kin, answer)
    error = plan.error(answer.request, answer.model)
    code = error["code"] if isinstance(error["code"], int) else 502  # in JSON always a number
    return error_sending(200, {**error, "code": code}, plan.headers(error))


def _faulty_stream(plan: FaultPlan, answer: Answer) -> Sending:
    """Play a fault in the middle of a stream."""
    events = answer.content_events()
    kept = events[: min(plan.after, len(events) - 1)]
    fault = plan.fault
    if fault in ("cut_stream", "ended_stream"):
        return _streamed(answer, kept, ending="cut" if fault == "cut_stream" else "end")
    if fault == "stalled_stream":
        return _stalled(_streamed(answer, kept), plan.seconds)
    if fault == "garbled_stream":
        bad = b'data: {"id":"gen-\xff\xfe","choices":[{"delta":{"conte\n\n'
        rest = [*events[len(kept) + 1 :], *answer.usage_event(), DONE]
        return _streamed(answer, [*kept, bad, *rest])
    return _stream_with_error(plan, answer, kept)


def _stream_with_error(plan: FaultPlan, answer: Answer, kept: list[bytes]) -> Sending:
    error = plan.error(answer.request, answer.model)
    fault = plan.fault
    if fault in ("stream_error_first", "stream_error_bare"):
        before = kept if fault == "stream_error_bare" else []
        return _streamed(answer, [*before, data_line(error_body(error))], billed=None)
    if fault == "stream_error_stop":
        malformed = answer.sse(None, ("stop", "MALFORMED_FUNCTION_CALL"), error=error)
        return _streamed(answer, [*kept, malformed, answer.sse(usage=answer.usage)])
    if fault == "stream_error_usage":
        return _streamed(answer, [*kept, answer.sse(error=error, usage=answer.usage), DONE])
    if fault == "stream_error_no_choices":
        chunk = answer.sse(error=error, choices=[])
    else:
        chunk = answer.sse(None, ("error", None), error=error)
    return _streamed(answer.uncharged(), [*kept, chunk])
