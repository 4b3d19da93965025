"""From an answer or a fault to the bytes, the pauses and the end of one HTTP response."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_router.testing.answers import COMMENT, DONE, Answer, Event, data_line
from llm_router.testing.billing import dumps
from llm_router.testing.faults import HTML_524, Fault, FaultPlan, error_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.testing.billing import Bill
    from llm_router.testing.replies import Reply

Ending = Literal["end", "cut", "stall", "drop"]
JSON = "application/json"
SSE = "text/event-stream"
PADDING = b"\n         \n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One response: what goes out, when, how it ends, and what is billed for it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    pieces: Sequence[Event] = ()
    wait: float = 0.0
    """Seconds before the headers."""
    delay: float = 0.0
    """Seconds between the headers and the first piece."""
    drip: bytes = b""
    """Sent again and again during `delay`."""
    gap: float = 0.0
    """Seconds between two pieces."""
    ending: Ending = "end"
    stall: float | None = None
    """Seconds that a "stall" lasts; None is until the client leaves."""
    bill: Bill | None = None
    cancelled_bill: Callable[[int], Bill] | None = None
    """The bill when the client leaves after so many characters."""
    generation_id: str | None = None


def error_sending(
    status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None, **named: bool
) -> Sending:
    """Return an error under its own status."""
    body = dumps(error_body(error, **named)).encode()
    return Sending(status=status, headers=headers or {}, pieces=[Event(body)])


def raw_sending(reply: Reply, *, stream: bool) -> Sending:
    """Return the raw body of a scripted reply."""
    raw = reply.raw_body
    parts = [raw] if isinstance(raw, (str, bytes)) else list(raw or ())
    pieces = [Event(part.encode() if isinstance(part, str) else part) for part in parts]
    return Sending(
        status=reply.status,
        headers=reply.headers,
        content_type=reply.content_type or (SSE if stream else JSON),
        pieces=pieces,
        wait=reply.delay,
        gap=reply.chunk_delay,
    )


def answer_sending(answer: Answer, padding: int) -> Sending:
    """Return a whole answer, as JSON or as a stream."""
    if answer.request.stream:
        return _streamed(answer, [*answer.content_events(), *answer.usage_event(), Event(DONE)])
    return _json_body(answer, answer.json(), padding)


def fault_sending(plan: FaultPlan, answer: Answer, padding: int) -> Sending:
    """Return the response of a fault that has an answer behind it (all but plain statuses)."""
    seconds = 30.0 if plan.seconds is None else plan.seconds
    if plan.fault == "dropped":
        return Sending(ending="drop")
    if plan.fault == "slow_headers":
        return replace(answer_sending(answer, padding), wait=seconds)
    if plan.fault == "slow_body":
        drip = COMMENT if answer.request.stream else PADDING
        return replace(answer_sending(answer, padding), delay=seconds, drip=drip)
    body = _FAULTY_BODIES.get(plan.fault)
    if body is not None:
        return body(plan, answer)
    if answer.request.stream:
        return _faulty_stream(plan, answer)
    return _kin_of_stream_fault(plan, answer)


def http_fault_sending(plan: FaultPlan, error: Mapping[str, Any]) -> Sending:
    """Return a fault that is a status of its own."""
    if plan.fault == "http_524":
        return Sending(
            status=524,
            headers=plan.headers(),
            content_type="text/html",
            pieces=[Event(HTML_524.encode())],
        )
    return error_sending(plan.status, error, plan.headers(), named=plan.status != 401)


def _json_body(answer: Answer, body: bytes, padding: int) -> Sending:
    reply = answer.reply
    padding = padding if reply.padding is None else reply.padding
    committed = padding > 0 and reply.delay > 0
    return Sending(
        headers=reply.headers,
        pieces=[Event(PADDING * padding + body)],
        wait=0.0 if committed else reply.delay,
        delay=reply.delay if committed else 0.0,
        drip=PADDING if committed else b"",
        **_billing(answer),
    )


def _streamed(answer: Answer, events: list[Event], **how: Any) -> Sending:
    reply = answer.reply
    fields: dict[str, Any] = {
        "headers": reply.headers,
        "content_type": SSE,
        "pieces": [*answer.opening_comments(), *events],
        "delay": reply.delay,
        "drip": COMMENT if reply.delay else b"",
        "gap": reply.chunk_delay,
    }
    return Sending(**(fields | _billing(answer) | how))


def _billing(answer: Answer) -> dict[str, Any]:
    return {
        "bill": answer.bill(),
        "cancelled_bill": answer.cancelled_bill,
        "generation_id": answer.id,
    }


def _unbilled(sending: Sending) -> Sending:
    return replace(sending, bill=None, cancelled_bill=None, generation_id=None)


# Faults of the body: the same with and without stream.


def _error_in_200(plan: FaultPlan, answer: Answer) -> Sending:
    error = plan.error(answer.request, answer.model)
    return error_sending(200, {**error, "code": plan_code(error)}, plan.headers())


def plan_code(error: Mapping[str, Any]) -> int:
    """Return the code as JSON bodies have it: always a number."""
    return error["code"] if isinstance(error["code"], int) else 502


def _choice_error(plan: FaultPlan, answer: Answer) -> Sending:
    answer = answer.uncharged()
    error = plan.error(answer.request, answer.model)
    if answer.request.stream:
        chunk = answer.chunk()
        chunk["choices"][0]["error"] = error
        kept = answer.content_events()[: plan.after]
        return _streamed(answer, [*kept, Event(data_line(chunk)), Event(DONE)])
    body = answer.body()
    body["choices"] = [
        {**body["choices"][0], "error": error, "finish_reason": None, "native_finish_reason": None}
    ]
    return _json_body(answer, dumps(body).encode(), 0)


def _finish_error(plan: FaultPlan, answer: Answer) -> Sending:
    finish = ("error", "MALFORMED_FUNCTION_CALL")
    answer = replace(answer.uncharged(), finish_reason=finish[0], native_finish_reason=finish[1])
    if not answer.request.stream:
        return _json_body(answer, answer.json(), 0)
    kept = answer.content_events()[: plan.after]
    return _streamed(
        answer, [*kept, Event(answer.sse(None, finish)), *answer.usage_event(), Event(DONE)]
    )


def _blank(plan: FaultPlan, answer: Answer) -> Sending:
    answer = replace(
        answer.uncharged(),
        message={"role": "assistant", "content": "", "refusal": None, "reasoning": None},
        finish_reason=None,
        native_finish_reason=None,
    )
    if answer.request.stream:
        return _streamed(answer, [*answer.usage_event(), Event(DONE)])
    return _json_body(answer, answer.json(), 0)


def _empty_choices(plan: FaultPlan, answer: Answer) -> Sending:
    answer = replace(answer.uncharged(), finish_reason=None, native_finish_reason=None)
    if answer.request.stream:
        chunk = answer.sse(choices=[], usage=answer.usage)
        return _streamed(answer, [Event(chunk), Event(DONE)])
    return _json_body(answer, dumps({**answer.body(), "choices": []}).encode(), 0)


def _unreadable(plan: FaultPlan, answer: Answer) -> Sending:
    whole = answer.json()
    body, kind = {
        "garbage": (b"\x1f\x8b\x08 upstream \xff\xfe connect error", JSON),
        "html_200": (
            b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body>",
            "text/html",
        ),
        "truncated_json": (whole[: len(whole) // 2], JSON),
        "empty_body": (b"", SSE if answer.request.stream else JSON),
    }[plan.fault]
    return replace(_json_body(answer, body, 0), content_type=kind)


_FAULTY_BODIES: dict[Fault, Callable[[FaultPlan, Answer], Sending]] = {
    "error_in_200": _error_in_200,
    "choice_error": _choice_error,
    "finish_error": _finish_error,
    "blank": _blank,
    "empty_choices": _empty_choices,
    "garbage": _unreadable,
    "html_200": _unreadable,
    "truncated_json": _unreadable,
    "empty_body": _unreadable,
}


def _kin_of_stream_fault(plan: FaultPlan, answer: Answer) -> Sending:
    """Play a fault of streams on a call without stream."""
    whole = answer.json()
    half = whole[: len(whole) // 2]
    if plan.fault == "cut_stream":
        return replace(_json_body(answer, half, 0), ending="cut")
    if plan.fault == "stalled_stream":
        return replace(_json_body(answer, PADDING, 0), ending="stall", stall=plan.seconds)
    if plan.fault == "ended_stream":
        return _unreadable(replace(plan, fault="truncated_json"), answer)
    if plan.fault == "garbled_stream":
        return _unreadable(replace(plan, fault="garbage"), answer)
    return _error_in_200(plan, answer)


def _faulty_stream(plan: FaultPlan, answer: Answer) -> Sending:
    """Play a fault in the middle of a stream."""
    events = answer.content_events()
    kept = events[: min(plan.after, len(events) - 1)]
    fault = plan.fault
    if fault == "cut_stream":
        return _streamed(answer, kept, ending="cut")
    if fault == "ended_stream":
        return _streamed(answer, kept)
    if fault == "stalled_stream":
        return _streamed(answer, kept, ending="stall", stall=plan.seconds)
    if fault == "garbled_stream":
        bad = Event(b'data: {"id":"gen-\xff\xfe","choices":[{"delta":{"conte\n\n')
        rest = [*events[len(kept) + 1 :], *answer.usage_event(), Event(DONE)]
        return _streamed(answer, [*kept, bad, *rest])
    return _stream_with_error(plan, answer, kept)


def _stream_with_error(plan: FaultPlan, answer: Answer, kept: list[Event]) -> Sending:
    error = plan.error(answer.request, answer.model)
    fault = plan.fault
    bare = Event(data_line(error_body(error)))
    if fault == "stream_error_first":
        return _unbilled(_streamed(answer, [bare]))
    if fault == "stream_error_bare":
        return _unbilled(_streamed(answer, [*kept, bare]))
    if fault == "stream_error_stop":
        malformed = Event(answer.sse(None, ("stop", "MALFORMED_FUNCTION_CALL"), error=error))
        usage = Event(answer.sse(usage=answer.usage))
        return _streamed(answer, [*kept, malformed, usage])
    if fault == "stream_error_usage":
        chunk = Event(answer.sse(error=error, usage=answer.usage))
        return _streamed(answer, [*kept, chunk, Event(DONE)])
    if fault == "stream_error_no_choices":
        return _streamed(answer.uncharged(), [*kept, Event(answer.sse(error=error, choices=[]))])
    chunk = Event(answer.sse(None, ("error", None), error=error))
    return _streamed(answer.uncharged(), [*kept, chunk])
