"""Cohere's wire: each rule of it, on a body written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Citation, Completion
from llm_router.answers.stream_events import (
    CitationDelta,
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm_router.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    EmptyResponseError,
    InsufficientCreditsError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires.cohere import CohereWire
from tests.pace import cpu_seconds
from tests.wires import wire_bodies
from tests.wires.mutations import damaged, verdict
from tests.wires.wire_bodies import event

WIRE = CohereWire(clock=lambda: wire_bodies.NOW)
COUNTS = {
    "billed_units": {"input_tokens": 3, "output_tokens": 2},
    "tokens": {"input_tokens": 500, "output_tokens": 60, "reasoning_tokens": 7},
    "cached_tokens": 40,
}
USAGE = Usage(input_tokens=500, output_tokens=60, cache_read_tokens=40, reasoning_tokens=7)
HELLO = {"type": "text", "text": "Hello!"}
THINKING = {"type": "thinking", "thinking": "Hm."}
CALL = {"id": "add_1", "type": "function", "function": {"name": "add", "arguments": '{"x": 6}'}}
PLAN = "I will add."
PLANNED = {"type": "tool_plan", "format": "cohere", "tool_plan": PLAN}
PAGE = {"id": "d", "url": "https://example.com/a", "title": "A", "text": "so it says"}
CITED = {
    "start": 0,
    "end": 5,
    "text": "Hello",
    "sources": [
        {"type": "document", "id": "d", "document": PAGE},
        {"type": "tool", "id": "t", "tool_output": {"url": "https://example.com/b"}},
        {"type": "document", "id": "own", "document": {"id": "own", "text": "the caller's"}},
    ],
}


def body(*content: Mapping[str, Any], finish: str | None = "COMPLETE", **message: Any) -> bytes:
    said = {"role": "assistant", "content": list(content)} | message
    answer = {"id": "c1", "message": said, "finish_reason": finish, "usage": COUNTS}
    return json.dumps(answer).encode()


def delta(kind: str, index: int | None = 0, **message: Any) -> bytes:
    where = {} if index is None else {"index": index}
    return event({"type": kind, **where, "delta": {"message": message}})


def text(index: int, *pieces: str, kind: str = "text") -> bytes:
    start = delta("content-start", index, content={"type": kind, kind: ""})
    deltas = [delta("content-delta", index, content={kind: piece}) for piece in pieces]
    return b"".join((start, *deltas, event({"type": "content-end", "index": index})))


def call(index: int, *pieces: str) -> bytes:
    function = {"name": "add", "arguments": ""}
    start = delta("tool-call-start", index, tool_calls=CALL | {"function": function})
    said = ({"function": {"arguments": piece}} for piece in pieces)
    deltas = [delta("tool-call-delta", index, tool_calls=one) for one in said]
    return b"".join((start, *deltas, event({"type": "tool-call-end", "index": index})))


def end(finish: str = "COMPLETE", **more: Any) -> bytes:
    said = {"finish_reason": finish, "usage": COUNTS} | more
    return event({"type": "message-end", "delta": said})


BEGIN = event({"id": "c1", "type": "message-start", "delta": {"message": {"role": "assistant"}}})


def read(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Completion:
    return wire_bodies.read(body, status, headers, WIRE)


def failure(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> ProviderError:
    return wire_bodies.failure(body, status, headers, WIRE)


def play(*packets: bytes) -> tuple[Completion, list[StreamEvent]]:
    return wire_bodies.play(*packets, wire=WIRE)


def broken(*packets: bytes) -> ProviderError:
    return wire_bodies.broken(*packets, wire=WIRE)


# --- whole answers --------------------------------------------------------------------------


def test_an_answer_is_read_in_every_field() -> None:
    found = read(body(THINKING, HELLO, HELLO | {"text": " Bye."}))
    assert (found.text, found.reasoning, found.refusal) == ("Hello! Bye.", "Hm.", None)
    assert (found.response_id, found.model, found.created) == ("c1", None, None)
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "COMPLETE")
    assert (found.usage, found.cost) == (USAGE, Cost())


def test_calls_have_the_wires_own_text() -> None:
    found = read(body(tool_calls=[CALL], content=None, finish="TOOL_CALL"))
    (said,) = found.tool_calls
    assert (said.id, said.name, said.raw_arguments, said.arguments, said.complete) == (
        "add_1", "add", '{"x": 6}', {"x": 6}, True
    )  # fmt: skip
    assert (found.text, found.finish_reason) == ("", "tool_calls")


def test_a_call_cut_by_the_length_is_not_complete() -> None:
    found = read(body(tool_calls=[CALL], finish="MAX_TOKENS"))
    assert (found.finish_reason, found.tool_calls[0].complete) == ("length", False)


def test_a_call_is_complete_once_its_answer_is() -> None:
    reader = WIRE.reader({})
    for packet, complete in ((BEGIN + call(0, "{}"), False), (end("TOOL_CALL"), True)):
        reader.feed(packet)
        assert reader.snapshot().tool_calls[0].complete is complete


def test_a_plan_is_neither_text_nor_reasoning_and_goes_back() -> None:
    found = read(body(tool_calls=[CALL], tool_plan=PLAN, finish="TOOL_CALL"))
    assert (found.text, found.reasoning) == ("", None)
    assert found.as_message()["reasoning_details"] == [PLANNED]


def test_sources_with_an_address_are_cited_and_all_citations_are_kept_whole() -> None:
    found = read(body(HELLO, citations=[CITED]))
    assert found.citations == (
        Citation(
            url="https://example.com/a", title="A", content="so it says", start_index=0, end_index=5
        ),
        Citation(url="https://example.com/b", start_index=0, end_index=5),
    )
    assert found.annotations == (CITED,)


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR_TOXIC", "content_filter"),
        ("USER_CANCEL", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_finish_reason_is_read(native: str | None, expected: str) -> None:
    found = read(body(HELLO, finish=native))
    assert (found.finish_reason, found.native_finish_reason) == (expected, native)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"billed_units": {"input_tokens": 3, "output_tokens": 2}},
         Usage(input_tokens=3, output_tokens=2)),
        ({"tokens": {"input_tokens": 9}, "billed_units": {"input_tokens": 3, "output_tokens": 2}},
         Usage(input_tokens=9, output_tokens=2)),
        ({"tokens": {"input_tokens": 0, "output_tokens": 0}, "cached_tokens": 0},
         Usage(input_tokens=0, output_tokens=0, cache_read_tokens=0)),
        ({"tokens": {"input_tokens": -1}, "cached_tokens": "4"}, Usage()),
        (None, Usage()),
    ],
)  # fmt: skip
def test_billed_units_stand_in_where_tokens_are_missing(report: Any, expected: Usage) -> None:
    said = json.loads(body(HELLO)) | {"usage": report}
    assert read(json.dumps(said).encode()).usage == expected


COUNT = st.one_of(st.none(), st.integers(-2, 10**13), st.floats(), st.text(max_size=3))
PAIR = st.fixed_dictionaries({}, optional={"input_tokens": COUNT, "output_tokens": COUNT})


@given(PAIR, PAIR, COUNT)
def test_every_figure_is_the_wires_or_unknown(
    tokens: dict[str, Any], billed: dict[str, Any], cached: Any
) -> None:
    report = {"tokens": tokens, "billed_units": billed, "cached_tokens": cached}
    found = read(json.dumps(json.loads(body(HELLO)) | {"usage": report}).encode())
    known = [cached, *tokens.values(), *billed.values(), None]
    assert all(figure in known for figure in found.usage.to_dict().values())
    assert found.usage.total_tokens is None
    assert found.cost == Cost()


# --- not an answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b" \n ", ProviderConnectionError, "broke before the answer came"),
        (b"<html><title>Gateway</title></html>", InvalidResponseError, "web page (Gateway)"),
        (b'{"message": {', InvalidResponseError, "not readable JSON"),
        (b"[]", InvalidResponseError, "not a JSON object"),
        (b'{"id": "c1"}', InvalidResponseError, "has no message"),
        (body(tool_calls={}), InvalidResponseError, "not a list of objects"),
        (body(content=7), InvalidResponseError, "neither text nor a list"),
        (b'{"message": {"content": []}}', EmptyResponseError, "no content was generated"),
    ],
)
def test_what_is_no_answer_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = failure(said)
    assert type(error) is kind
    assert sentence in error.message


def test_an_empty_answer_keeps_its_bill() -> None:
    report = {"billed_units": {"input_tokens": 3}}
    said = {"id": "c1", "message": {}, "usage": report}
    error = failure(json.dumps(said).encode())
    assert type(error) is EmptyResponseError
    assert (error.usage, error.response_id) == (Usage(input_tokens=3), "c1")


def test_an_answer_without_words_that_ended_is_an_answer() -> None:
    assert read(body()).text == ""
    assert play(BEGIN, end())[0] == read(body())


@pytest.mark.parametrize(
    ("finish", "expected"),
    [("ERROR", ProviderUnavailableError), ("TIMEOUT", ProviderTimeoutError)],
)
def test_an_answer_that_ended_in_an_error_is_one(
    finish: str, expected: type[ProviderError]
) -> None:
    for error in (
        failure(body(HELLO, finish=finish)),
        broken(BEGIN, text(0, "Hel"), end(finish)),
    ):
        assert type(error) is expected
        assert error.message == f"The answer ended in an error ({finish})"
        assert (error.response_id, error.usage) == ("c1", USAGE)


def test_the_end_of_a_stream_may_say_what_went_wrong() -> None:
    error = broken(BEGIN, text(0, "Hel"), end("ERROR", error="internal server error"))
    assert (type(error), error.message) == (ProviderUnavailableError, "internal server error")


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        (400, "invalid request: message must be at least 1 token long", InvalidRequestError),
        (400, "too many tokens: total number of tokens in the prompt cannot exceed 4000 - "
         "received 4292. Try using a shorter prompt.", ContextWindowExceededError),
        (401, "invalid api token", AuthenticationError),
        (402, "please add a payment method", InsufficientCreditsError),
        (404, "model 'command-q' not found, make sure the correct model ID was used",
         ModelNotFoundError),
        (422, "invalid type: parameter messages is of type string", InvalidRequestError),
        (429, "You are using a Trial key, which is limited to 10 API calls / minute.",
         RateLimitError),
        (498, "blocked output: please adjust your prompt", ContentFilteredError),
        (499, "request cancelled", ProviderUnavailableError),
        (500, "internal server error", ProviderUnavailableError),
        (504, "gateway timeout", ProviderTimeoutError),
    ],
)  # fmt: skip
def test_an_error_is_its_sentence_and_status(
    status: int, sentence: str, expected: type[ProviderError]
) -> None:
    error = failure(json.dumps({"id": "e1", "message": sentence}).encode(), status)
    assert (type(error), error.status_code, error.message) == (expected, status, sentence)
    assert error.response_id == "e1"
    if isinstance(error, ContextWindowExceededError):
        assert (error.limit_tokens, error.requested_tokens) == (4000, 4292)


def test_an_error_inside_a_200_is_one_in_a_body_and_in_a_stream() -> None:
    for said in ({"message": "too many requests"}, {"error": {"message": "too many requests"}}):
        for error in (failure(json.dumps(said).encode()), broken(BEGIN, event(said))):
            assert isinstance(error, ProviderError)
            assert error.message == "too many requests"


# --- streams --------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    streamed, events = play(
        BEGIN,
        text(0, "H", "m.", kind="thinking"),
        delta("tool-plan-delta", None, tool_plan="I will"),
        delta("tool-plan-delta", None, tool_plan=" add."),
        text(1, "Hel", "lo!"),
        delta("citation-start", citations=CITED),
        event({"type": "citation-end", "index": 0}),
        call(0, '{"x"', ": 6}"),
        call(1, '{"x": 6}'),
        end("TOOL_CALL"),
    )
    whole = body(
        THINKING, HELLO, tool_plan=PLAN, tool_calls=[CALL, CALL], citations=[CITED],
        finish="TOOL_CALL",
    )  # fmt: skip
    assert streamed == read(whole)
    assert events == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        ReasoningDelta("", (PLANNED | {"tool_plan": "I will"},)),
        ReasoningDelta("", (PLANNED | {"tool_plan": " add."},)),
        TextDelta("Hel"),
        TextDelta("lo!"),
        *map(CitationDelta, streamed.citations),
        ToolCallDelta(0, "", "add_1", "add"),
        ToolCallDelta(0, '{"x"', "add_1", "add"),
        ToolCallDelta(0, ": 6}", "add_1", "add"),
        ToolCallDelta(1, "", "add_1", "add"),
        ToolCallDelta(1, '{"x": 6}', "add_1", "add"),
        Finish("tool_calls", "TOOL_CALL"),
        UsageReport(USAGE, Cost()),
    ]


def test_what_a_server_sends_as_lists_is_read_too() -> None:
    listed = (
        delta("tool-call-start", tool_calls=[CALL]),
        delta("citation-start", citations=[CITED]),
    )
    streamed, _ = play(BEGIN, *listed, end("TOOL_CALL"))
    assert (len(streamed.tool_calls), streamed.annotations) == (1, (CITED,))


@pytest.mark.parametrize(
    "ending",
    [
        (end(),),
        (end().rstrip(),),
        (end(), b"data: [DONE]\n\n"),
        (end(), text(5, "late")),
        (b"event: message-end\r\n" + end().replace(b"\n", b"\r\n"),),
    ],
)
def test_message_end_makes_it_whole(ending: tuple[bytes, ...]) -> None:
    streamed, events = play(BEGIN, text(0, "Hello!"), *ending)
    assert streamed == read(body(HELLO))
    assert [type(found) for found in events] == [TextDelta, Finish, UsageReport]


@pytest.mark.parametrize(
    "packets",
    [
        (BEGIN,),
        (BEGIN, text(0, "Hi")),
        (BEGIN, text(0, "Hi"), b"data: [DONE]\n\n"),
        (BEGIN, text(0, "Hi"), end()[:-20]),
        (BEGIN, call(0, '{"x": 6}'), event({"type": "new"})),
    ],
)
def test_a_stream_that_was_cut_is_never_whole(packets: tuple[bytes, ...]) -> None:
    error = broken(*packets)
    assert type(error) is ProviderConnectionError
    assert error.response_id == "c1"


def test_an_error_in_mid_stream_keeps_what_came() -> None:
    reader = WIRE.reader({})
    reader.feed(BEGIN + text(0, "Hel") + call(0, '{"x"') + event({"message": "Overloaded."}))
    reader.feed(text(0, "late") + end())
    with pytest.raises(ProviderUnavailableError, match="Overloaded"):
        reader.close()
    found = reader.snapshot()
    assert (found.text, found.tool_calls[0].raw_arguments) == ("Hel", '{"x"')
    assert not found.tool_calls[0].complete


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b": ping\n\n", ProviderConnectionError, "before its first event"),
        (body(HELLO), InvalidResponseError, "not the stream that was asked for"),
        (b'{"message": "no"}', ProviderUnavailableError, "no"),
        (BEGIN + b"data: {broken\n\n" + end(), InvalidResponseError, "not readable JSON"),
        (BEGIN + event([1]) + end(), InvalidResponseError, "not a JSON object"),
    ],
)
def test_what_is_no_stream_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = broken(said)
    assert type(error) is kind
    assert sentence in error.message


def test_a_character_split_over_two_deltas_is_one_character() -> None:
    streamed, events = play(BEGIN, text(0, "a\ud83d", "\ude00b"), end())
    assert streamed.text == "a😀b"
    assert "".join(found.text for found in events if isinstance(found, TextDelta)) == "a😀b"


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        delta("content-delta", content={"text": "x"}),
        delta("tool-call-start", tool_calls=CALL),
        delta("tool-call-delta", tool_calls={"function": {"arguments": "x"}}),
        delta("tool-plan-delta", tool_plan="x"),
        delta("citation-start", citations=CITED),
    ],
    ids=["texts", "calls", "arguments", "plans", "citations"],
)
def test_thousands_of_events_are_collected_in_linear_time(packet: bytes) -> None:
    work = cpu_seconds(lambda: play(BEGIN, packet * 4_000, end()))
    assert work < 2


SEEDS = [
    body(THINKING, HELLO, citations=[CITED], tool_plan=PLAN, tool_calls=[CALL]),
    body(HELLO, finish="ERROR"),
    b'{"id": "e1", "message": "too many tokens: cannot exceed 4 - received 5"}',
    BEGIN + text(0, "H", kind="thinking") + text(1, "a\ud83d", "\ude00") + call(0, '{"x"', ": 6}")
    + delta("tool-plan-delta", tool_plan=PLAN) + delta("citation-start", citations=CITED) + end(),
    BEGIN + text(0, "Hi") + end("ERROR", error="Overloaded."),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bodies_are_answers_or_our_errors(seed: int) -> None:
    dice = Random(seed)
    outcomes = {verdict(damaged(dice.choice(SEEDS), dice), dice, WIRE) for _ in range(500)}
    assert {"Completion", "InvalidResponseError"} <= outcomes


@settings(max_examples=200)
@given(st.binary(max_size=200), st.randoms(use_true_random=False))
def test_any_bytes_are_an_answer_or_one_of_our_errors(body: bytes, dice: Random) -> None:
    assert verdict(body, dice, WIRE)
    assert verdict(b"data: " + body + b"\n\n" + dice.choice(SEEDS), dice, WIRE)
