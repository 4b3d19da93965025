"""Anthropic's wire: each rule of it, on a body written by hand."""

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
    RefusalDelta,
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
    PermissionDeniedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires.anthropic import AnthropicWire
from tests.pace import cpu_seconds
from tests.wires import wire_bodies
from tests.wires.mutations import damaged, verdict
from tests.wires.wire_bodies import event

WIRE = AnthropicWire(clock=lambda: wire_bodies.NOW)
COUNTS = {
    "input_tokens": 3,
    "cache_read_input_tokens": 40,
    "cache_creation_input_tokens": 500,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
    "service_tier": "standard",
}
USAGE = Usage(
    input_tokens=543,
    output_tokens=7,
    cache_read_tokens=40,
    cache_write_tokens=500,
    reasoning_tokens=2,
)
HELLO = {"type": "text", "text": "Hello!"}
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"x": 6, "y": 8}}
SEARCHED = {
    "type": "web_search_result_location",
    "url": "https://example.com/a",
    "title": "A",
    "cited_text": "so it says",
    "encrypted_index": "Eo8",
}
IN_DOCUMENT = {"type": "char_location", "document_index": 0, "cited_text": "here"}


def message(*content: Mapping[str, Any], stop: str | None = "end_turn", **more: Any) -> bytes:
    """Return an unstreamed answer's body."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    said = {"content": list(content), "stop_reason": stop, "stop_sequence": None, "usage": COUNTS}
    return json.dumps(head | said | more).encode()


def start(index: int, block: Mapping[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def delta(index: int, kind: str, **fields: Any) -> bytes:
    said = {"type": kind} | fields
    return event({"type": "content_block_delta", "index": index, "delta": said})


def stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def text(index: int, *pieces: str) -> bytes:
    deltas = b"".join(delta(index, "text_delta", text=piece) for piece in pieces)
    return start(index, {"type": "text", "text": ""}) + deltas + stop(index)


def call(index: int, *pieces: str) -> bytes:
    deltas = b"".join(delta(index, "input_json_delta", partial_json=piece) for piece in pieces)
    return start(index, CALL | {"input": {}}) + deltas + stop(index)


def finish(reason: str | None = "end_turn", **more: Any) -> bytes:
    said = {"stop_reason": reason, "stop_sequence": None} | more
    return event({"type": "message_delta", "delta": said, "usage": COUNTS})


BEGIN = event(
    {
        "type": "message_start",
        "message": json.loads(message(stop=None)) | {"usage": {"input_tokens": 3}},
    }
)
PING = event({"type": "ping"})
END = event({"type": "message_stop"})


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
    found = read(message(HELLO))
    assert (found.text, found.reasoning, found.refusal) == ("Hello!", None, None)
    assert (found.response_id, found.model, found.service_tier) == ("msg_1", "claude-x", "standard")
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "end_turn")
    assert (found.usage, found.cost, found.created) == (USAGE, Cost(), None)


def test_texts_are_joined_and_blocks_of_the_providers_own_tools_are_not_the_callers() -> None:
    own = ({"type": kind, "id": "s", "name": "web_search", "input": {"query": "q"}} for kind in (
        "server_tool_use", "mcp_tool_use"
    ))  # fmt: skip
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [SEARCHED]}
    found = read(message(HELLO, *own, result, HELLO | {"text": " Bye."}, {"type": "new"}))
    assert (found.text, found.tool_calls, found.citations) == ("Hello! Bye.", (), ())


def test_a_call_has_its_input_as_json_in_the_wires_order_and_numbers() -> None:
    odd = b'{"z": 1.50, "a": [1E2, null, true, "\\u00e9"], "m": {}}'
    body = message(CALL | {"input": "HERE"}, stop="tool_use").replace(b'"HERE"', odd)
    (found,) = read(body).tool_calls
    assert (found.id, found.name, found.complete) == ("toolu_1", "add", True)
    assert found.raw_arguments == '{"z": 1.50, "a": [1E+2, null, true, "é"], "m": {}}'
    assert found.arguments == {"z": 1.5, "a": [100.0, None, True, "é"], "m": {}}
    assert read(body).finish_reason == "tool_calls"


def test_a_call_cut_by_the_length_is_not_complete() -> None:
    found = read(message(CALL, stop="max_tokens"))
    assert (found.finish_reason, found.tool_calls[0].complete) == ("length", False)


def test_thinking_goes_back_as_it_came_in_order_and_named() -> None:
    silent = {"type": "thinking", "thinking": "", "signature": "b25seQ=="}
    found = read(message(THINKING, REDACTED, HELLO, silent, CALL, stop="tool_use"))
    assert found.reasoning == "Hm."
    expected = [block | {"format": "anthropic"} for block in (THINKING, REDACTED, silent)]
    assert found.as_message()["reasoning_details"] == expected
    assert read(message(silent, HELLO)).reasoning is None


def test_citations_of_the_web_are_sources_and_all_are_kept_whole() -> None:
    found = read(message(HELLO | {"citations": [SEARCHED, IN_DOCUMENT]}))
    assert found.citations == (
        Citation(url="https://example.com/a", title="A", content="so it says"),
    )
    assert found.annotations == (SEARCHED, IN_DOCUMENT)


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "unknown"),
        ("compaction", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_stop_reason_is_a_finish_reason(native: str | None, expected: str) -> None:
    found = read(message(HELLO, stop=native))
    assert (found.finish_reason, found.native_finish_reason) == (expected, native)


def test_a_refusal_is_an_answer_with_the_sentence_that_explains_it() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Against the policy."}
    found = read(message(stop="refusal", stop_details=details))
    assert (found.text, found.refusal) == ("", "Against the policy.")
    streamed, events = play(BEGIN, finish("refusal", stop_details=details), END)
    assert streamed == found
    assert events[0] == RefusalDelta("Against the policy.")


def test_what_the_usage_does_not_say_is_unknown() -> None:
    found = read(message(HELLO, usage={"input_tokens": 3, "output_tokens": 0})).usage
    assert found == Usage(input_tokens=3, output_tokens=0)
    odd = {"input_tokens": None, "cache_read_input_tokens": 4, "output_tokens": -1}
    assert read(message(HELLO, usage=odd)).usage == Usage(cache_read_tokens=4)
    assert read(message(HELLO, usage=None)).usage == Usage()


COUNT = st.one_of(st.none(), st.integers(-2, 10**13), st.floats(), st.text(max_size=3))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(list(COUNTS)[:4], COUNT)))
def test_every_figure_is_the_wires_or_a_sum_of_the_wires_or_unknown(report: dict[str, Any]) -> None:
    found = read(message(HELLO, usage=report))
    known = {name: n for name, n in report.items() if type(n) is int and 0 <= n <= 10**12}
    parts = [known.get(name, 0) for name in list(COUNTS)[1:3]]
    usage = found.usage
    for figure, name in (
        (usage.cache_read_tokens, "cache_read_input_tokens"),
        (usage.cache_write_tokens, "cache_creation_input_tokens"),
        (usage.output_tokens, "output_tokens"),
    ):
        assert figure == known.get(name) or figure == report[name]  # 3.0 is 3.
    if (whole := known.get("input_tokens")) is not None:
        assert usage.input_tokens is not None
        assert usage.input_tokens >= whole + sum(parts)
    assert (usage.total_tokens, usage.reasoning_tokens, found.cost) == (None, None, Cost())


# --- not an answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b" \n ", ProviderConnectionError, "broke before the answer came"),
        (b"<html><title>Gateway</title></html>", InvalidResponseError, "web page (Gateway)"),
        (b'{"content": [', InvalidResponseError, "not readable JSON"),
        (b"[]", InvalidResponseError, "not a JSON object"),
        (b'{"type": "message"}', InvalidResponseError, "has no content"),
        (b"[" * 500 + b"]" * 500, InvalidResponseError, "not a JSON object"),
        (message(CALL | {"input": {"a": 1}}).replace(b"1}}", b"[" * 200 + b"]" * 200 + b"}}"),
         InvalidResponseError, "nested too deeply"),
        (message(stop=None, usage={}), EmptyResponseError, "no content was generated"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(
    body: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = failure(body)
    assert type(error) is kind
    assert sentence in error.message


def test_an_answer_without_words_that_ended_is_an_answer() -> None:
    assert read(message()).text == ""
    assert play(BEGIN, finish(), END)[0] == read(message())


# --- errors ---------------------------------------------------------------------------------


def error_body(kind: str, sentence: str) -> bytes:
    said = {"type": "error", "error": {"type": kind, "message": sentence}, "request_id": "req_1"}
    return json.dumps(said).encode()


TYPES: list[tuple[str, int, type[ProviderError]]] = [
    ("invalid_request_error", 400, InvalidRequestError),
    ("authentication_error", 401, AuthenticationError),
    ("billing_error", 402, InsufficientCreditsError),
    ("permission_error", 403, PermissionDeniedError),
    ("not_found_error", 404, ModelNotFoundError),
    ("request_too_large", 413, RequestTooLargeError),
    ("rate_limit_error", 429, RateLimitError),
    ("api_error", 500, ProviderUnavailableError),
    ("timeout_error", 504, ProviderTimeoutError),
    ("overloaded_error", 529, ProviderUnavailableError),
]


@pytest.mark.parametrize(("kind", "status", "expected"), TYPES)
def test_an_error_means_the_same_as_a_status_in_a_body_and_in_a_stream(
    kind: str, status: int, expected: type[ProviderError]
) -> None:
    body = error_body(kind, "So it is.")
    for error in (failure(body, status), failure(body), broken(b"data: " + body + b"\n\n")):
        assert type(error) is expected
        assert (error.status_code, error.code, error.message) == (status, kind, "So it is.")
        assert error.response_id == "req_1"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("prompt is too long: 203456 tokens > 200000 maximum", ContextWindowExceededError),
        (
            "input length and `max_tokens` exceed context limit: 9 + 9 > 9",
            ContextWindowExceededError,
        ),
        ("Your credit balance is too low to access the API", InsufficientCreditsError),
        ("You have reached your specified API usage limits.", InsufficientCreditsError),
        ("Output blocked by content filtering policy", ContentFilteredError),
        ("messages: roles must alternate", InvalidRequestError),
    ],
)
def test_an_invalid_request_is_told_apart_by_its_sentence(
    sentence: str, expected: type[ProviderError]
) -> None:
    assert type(failure(error_body("invalid_request_error", sentence), 400)) is expected


def test_a_context_window_says_how_large_it_is() -> None:
    sentence = "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, less"
    error = failure(error_body("invalid_request_error", sentence), 400)
    assert isinstance(error, ContextWindowExceededError)
    assert error.limit_tokens == 200_000


def test_a_rate_limit_says_how_long_to_wait_whatever_the_headers_case() -> None:
    headers = {"retry-after": "44", "request-id": "req_2"}
    error = failure(b'{"type":"error","error":{"type":"rate_limit_error"}}', 429, headers)
    assert (error.retry_after, error.response_id) == (44, "req_2")


def test_an_error_event_without_an_object_is_an_error() -> None:
    error = broken(BEGIN, event({"type": "error", "message": "Oh."}))
    assert (type(error), error.message) == (ProviderUnavailableError, "Oh.")


def test_an_empty_answer_keeps_its_id_and_its_bill() -> None:
    error = failure(message(stop=None, usage=COUNTS | {"output_tokens": 0}))
    assert type(error) is EmptyResponseError
    assert (error.response_id, error.usage and error.usage.input_tokens) == ("msg_1", 543)


# --- streams --------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    thinking = (
        start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", thinking="H"),
        delta(0, "thinking_delta", thinking="m."),
        delta(0, "signature_delta", signature="c2ln"),
        stop(0),
    )
    redacted = (start(1, REDACTED), stop(1))
    tool = call(3, "", '{"x": 6', ', "y": 8}')
    packets = (BEGIN, PING, *thinking, *redacted, text(2, "Hel", "lo!"), tool)
    streamed, events = play(*packets, finish("tool_use"), END)
    assert streamed == read(message(THINKING, REDACTED, HELLO, CALL, stop="tool_use"))
    assert events == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        ReasoningDelta("", (THINKING | {"format": "anthropic"},)),
        ReasoningDelta("", (REDACTED | {"format": "anthropic"},)),
        TextDelta("Hel"),
        TextDelta("lo!"),
        ToolCallDelta(0, "", "toolu_1", "add"),
        ToolCallDelta(0, '{"x": 6', "toolu_1", "add"),
        ToolCallDelta(0, ', "y": 8}', "toolu_1", "add"),
        Finish("tool_calls", "tool_use"),
        UsageReport(USAGE, Cost()),
    ]


def test_a_call_without_arguments_says_so_as_the_unstreamed_one_does() -> None:
    streamed, events = play(BEGIN, call(0, ""), call(1), finish("tool_use"), END)
    assert streamed == read(message(*[CALL | {"input": {}}] * 2, stop="tool_use"))
    assert [found.arguments for found in events if isinstance(found, ToolCallDelta)] == [
        "", "{}", "", "{}"
    ]  # fmt: skip
    assert streamed.tool_calls[1].raw_arguments == "{}"


def test_what_a_block_begins_with_counts() -> None:
    whole = (start(0, HELLO | {"citations": [SEARCHED]}), stop(0), start(1, CALL), stop(1))
    streamed, events = play(BEGIN, *whole, finish("tool_use"), END)
    expected = message(HELLO | {"citations": [SEARCHED]}, CALL, stop="tool_use")
    assert streamed == read(expected)
    assert events[0] == TextDelta("Hello!")


def test_deltas_of_a_block_that_was_not_started_are_read() -> None:
    packets = (delta(0, "text_delta", text="Hello!"), stop(0), text(0, " Bye."))
    untyped = (start(1, {}), delta(1, "text_delta", text=" Bye."))
    assert play(BEGIN, *packets, *untyped, finish(), END)[0].text == "Hello! Bye. Bye."


def test_what_the_provider_does_with_its_own_tools_is_passed_over() -> None:
    own = start(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})
    packets = (own, delta(0, "input_json_delta", partial_json='{"q": 1}'), stop(0))
    result = start(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []})
    streamed, events = play(BEGIN, *packets, result, stop(1), text(2, "Hi"), finish(), END)
    assert (streamed.text, streamed.tool_calls) == ("Hi", ())
    assert events[0] == TextDelta("Hi")


def test_citations_come_with_their_text() -> None:
    cited = [delta(0, "citations_delta", citation=one) for one in (SEARCHED, IN_DOCUMENT)]
    packets = (start(0, {"type": "text", "text": "", "citations": []}), *cited)
    streamed, events = play(BEGIN, *packets, stop(0), text(1, "Hello!"), finish(), END)
    assert streamed.annotations == (SEARCHED, IN_DOCUMENT)
    assert [type(found) for found in events[:2]] == [CitationDelta, TextDelta]


def test_the_last_word_on_the_usage_counts_and_what_it_leaves_out_stays() -> None:
    begun = {"input_tokens": 5, "cache_read_input_tokens": 10, "output_tokens": 1}
    head = event({"type": "message_start", "message": {"id": "m", "model": "c", "usage": begun}})
    last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    end = event(last | {"usage": {"output_tokens": 9, "input_tokens": None}})
    found = play(head, text(0, "Hi"), end, END)[0].usage
    assert found == Usage(input_tokens=15, cache_read_tokens=10, output_tokens=9)


@pytest.mark.parametrize(
    "ending",
    [
        (finish(), END),
        (finish(),),
        (finish().rstrip(),),
        (finish(), END, text(5, "late")),
        (finish(), b"data: [DONE]\n\n"),
        (finish().replace(b"\n", b"\r\n"), END),
    ],
)
def test_a_stop_reason_or_message_stop_makes_it_whole(ending: tuple[bytes, ...]) -> None:
    streamed, events = play(BEGIN, text(0, "Hello!"), *ending)
    assert streamed == read(message(HELLO))
    assert [type(found) for found in events] == [TextDelta, Finish, UsageReport]


def test_message_stop_alone_leaves_the_finish_unknown() -> None:
    streamed, events = play(BEGIN, text(0, "Hi"), END)
    assert (streamed.finish_reason, streamed.text) == ("unknown", "Hi")
    assert Finish not in map(type, events)


@pytest.mark.parametrize(
    "packets",
    [
        (BEGIN,),
        (BEGIN, text(0, "Hi")),
        (BEGIN, text(0, "Hi"), finish(None)),
        (BEGIN, text(0, "Hi"), b"data: [DONE]\n\n"),
        (BEGIN, text(0, "Hi"), finish()[:-20]),
        (BEGIN.replace(b'"stop_reason": null', b'"stop_reason": "end_turn"'), text(0, "Hi")),
    ],
)
def test_a_stream_that_was_cut_is_never_whole(packets: tuple[bytes, ...]) -> None:
    error = broken(*packets)
    assert type(error) is ProviderConnectionError
    assert (error.response_id, error.usage and error.usage.input_tokens is None) == ("msg_1", False)


def test_an_error_in_mid_stream_keeps_what_came_and_what_it_cost() -> None:
    reader = WIRE.reader({})
    overloaded = b"event: error\ndata: " + error_body("overloaded_error", "Overloaded") + b"\n\n"
    reader.feed(BEGIN + start(0, CALL | {"input": {}}))
    reader.feed(delta(0, "input_json_delta", partial_json='{"x": 6') + overloaded)
    reader.feed(text(1, "late"))
    with pytest.raises(ProviderUnavailableError) as caught:
        reader.close()
    assert (caught.value.status_code, caught.value.response_id) == (529, "msg_1")
    assert (caught.value.usage, caught.value.cost) == (Usage(input_tokens=3), Cost())
    (found,) = reader.snapshot().tool_calls
    assert (found.raw_arguments, found.arguments, found.complete) == ('{"x": 6', None, False)


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b": ping\n\n", ProviderConnectionError, "before its first event"),
        (error_body("rate_limit_error", "Slow down"), RateLimitError, "Slow down"),
        (message(HELLO), InvalidResponseError, "not the stream that was asked for"),
        (BEGIN + b"data: {broken\n\n" + END, InvalidResponseError, "not readable JSON"),
        (BEGIN + event([1]) + END, InvalidResponseError, "not a JSON object"),
    ],
)
def test_what_is_no_stream_is_an_error(
    body: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = broken(body)
    assert type(error) is kind
    assert sentence in error.message


def test_pings_are_no_progress() -> None:
    reader = WIRE.reader({})
    reader.feed(PING * 5)
    assert reader.data_events == 0
    reader.feed(BEGIN + PING + text(0, "Hi"))
    assert reader.data_events == 4
    assert type(broken(PING)) is ProviderConnectionError


def test_a_character_split_over_two_deltas_is_one_character() -> None:
    streamed, events = play(BEGIN, text(0, "a\ud83d", "\ude00b"), finish(), END)
    assert streamed.text == "a😀b"
    assert "".join(found.text for found in events if isinstance(found, TextDelta)) == "a😀b"


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        text(0, "x"),
        call(0, "{}"),
        start(0, THINKING) + stop(0),
        delta(0, "text_delta", text="x"),
        delta(0, "citations_delta", citation=SEARCHED),
        finish(None),
    ],
    ids=["texts", "calls", "thinking", "deltas", "citations", "usage"],
)
def test_thousands_of_parts_are_collected_in_linear_time(packet: bytes) -> None:
    assert cpu_seconds(lambda: play(BEGIN, packet * 4_000, finish(), END)) < 2


SEEDS = [
    message(THINKING, REDACTED, HELLO | {"citations": [SEARCHED]}, CALL, stop="tool_use"),
    error_body("overloaded_error", "Overloaded"),
    BEGIN + start(0, THINKING) + stop(0) + text(1, "a\ud83d", "\ude00") + call(2, '{"x": 6}')
    + delta(3, "citations_delta", citation=SEARCHED) + finish("tool_use") + END,
    BEGIN + text(0, "Hi") + b"data: " + error_body("overloaded_error", "Overloaded") + b"\n\n",
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
