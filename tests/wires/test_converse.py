"""Bedrock's Converse: each rule of it, on a body or frames written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Citation, Completion, Image
from llm_router.answers.stream_events import (
    CitationDelta,
    Finish,
    ImageDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm_router.errors import (
    AuthenticationError,
    ContextWindowExceededError,
    EmptyResponseError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires.converse import ConverseWire
from tests.pace import cpu_seconds
from tests.wires import wire_bodies
from tests.wires.frames import frame, framed
from tests.wires.mutations import damaged, verdict
from tests.wires.wire_bodies import pieces

WIRE = ConverseWire(clock=lambda: wire_bodies.NOW)
HEADERS = {"x-amzn-requestid": "11-22"}
COUNTS = {
    "inputTokens": 3,
    "cacheReadInputTokens": 40,
    "cacheWriteInputTokens": 500,
    "cacheReadInputTokenCount": 40,
    "outputTokens": 7,
    "totalTokens": 550,
}
USAGE = Usage(
    input_tokens=543,
    output_tokens=7,
    total_tokens=550,
    cache_read_tokens=40,
    cache_write_tokens=500,
)
HELLO = {"text": "Hello!"}
THINKING = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
REDACTED = {"reasoningContent": {"redactedContent": "ZGF0YQ=="}}
CALL = {"toolUse": {"toolUseId": "tooluse_1", "name": "add", "input": {"x": 6, "y": 8}}}
CITED = {
    "title": "A",
    "sourceContent": [{"text": "so it "}, {"text": "says"}],
    "location": {"web": {"url": "https://example.com/a", "domain": "example.com"}},
}
IN_DOCUMENT = {"title": "B", "location": {"documentChar": {"documentIndex": 0, "start": 1}}}
BACK = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln", "format": "converse"},
    {"type": "redacted_thinking", "data": "ZGF0YQ==", "format": "converse"},
]


def message(*content: Mapping[str, Any], stop: str | None = "end_turn", **more: Any) -> bytes:
    """Return an unstreamed answer's body."""
    output = {"message": {"role": "assistant", "content": list(content)}}
    said = {"output": output, "stopReason": stop, "usage": COUNTS, "metrics": {"latencyMs": 1}}
    return json.dumps(said | more).encode()


def start(index: int, block: Mapping[str, Any]) -> bytes:
    return frame("contentBlockStart", {"contentBlockIndex": index, "start": block, "p": "ab"})


def delta(index: int, said: Any) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": said, "p": "abc"})


def stop(index: int) -> bytes:
    return frame("contentBlockStop", {"contentBlockIndex": index, "p": "abcd"})


def text(index: int, *texts: str) -> bytes:
    return b"".join(delta(index, {"text": piece}) for piece in texts) + stop(index)


def call(index: int, *inputs: str) -> bytes:
    use = {"toolUseId": "tooluse_1", "name": "add"}
    deltas = b"".join(delta(index, {"toolUse": {"input": piece}}) for piece in inputs)
    return start(index, {"toolUse": use}) + deltas + stop(index)


def reasoning(index: int, *said: Mapping[str, str]) -> bytes:
    return b"".join(delta(index, {"reasoningContent": one}) for one in said) + stop(index)


def finish(reason: str = "end_turn") -> bytes:
    return frame("messageStop", {"stopReason": reason, "p": "abcde"})


def exception(name: str, **said: Any) -> bytes:
    return frame(name, said, "exception")


BEGIN = frame("messageStart", {"role": "assistant", "p": "a"})
BILL = frame("metadata", {"usage": COUNTS, "metrics": {"latencyMs": 1}})


def read(body: bytes) -> Completion:
    return wire_bodies.read(body, 200, HEADERS, WIRE)


def failure(body: bytes, status: int = 200, headers: Mapping[str, str] = HEADERS) -> ProviderError:
    return wire_bodies.failure(body, status, headers, WIRE)


def play(*packets: bytes) -> tuple[Completion, list[StreamEvent]]:
    return wire_bodies.play(*packets, headers=HEADERS, wire=WIRE)


def broken(*packets: bytes) -> ProviderError:
    return wire_bodies.broken(*packets, headers=HEADERS, wire=WIRE)


# --- whole answers --------------------------------------------------------------------------


def test_an_answer_is_read_in_every_field() -> None:
    found = read(message(HELLO, serviceTier={"type": "flex"}))
    assert (found.text, found.reasoning, found.refusal) == ("Hello!", None, None)
    assert (found.response_id, found.model, found.service_tier) == ("11-22", None, "flex")
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "end_turn")
    assert (found.usage, found.cost, found.created) == (USAGE, Cost(), None)


def test_a_call_has_its_input_as_json_in_the_wires_order_and_numbers() -> None:
    use = {"toolUse": {"toolUseId": "t", "name": "f", "input": "HERE"}}
    body = message(use, stop="tool_use").replace(b'"HERE"', b'{"z":1.50,"a":{}}')
    (found,) = read(body).tool_calls
    assert (found.id, found.name, found.complete) == ("t", "f", True)
    assert (found.raw_arguments, found.arguments) == ('{"z": 1.50, "a": {}}', {"z": 1.5, "a": {}})
    assert read(message(use, stop="max_tokens")).tool_calls[0].complete is False


def test_tools_of_the_providers_own_are_not_the_callers() -> None:
    own = {"toolUse": CALL["toolUse"] | {"type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "no text"}]}}
    found = read(message(own, result, HELLO, {"guardContent": {"text": {"text": "x"}}}))
    assert (found.tool_calls, found.text) == ((), "Hello!")


def test_reasoning_goes_back_as_it_came_in_order_and_named() -> None:
    plain = {"reasoningContent": {"reasoningText": {"text": " Well."}}}
    found = read(message(THINKING, REDACTED, plain, HELLO))
    assert found.reasoning == "Hm. Well."
    unsigned = {"type": "thinking", "thinking": " Well.", "format": "converse"}
    assert found.as_message()["reasoning_details"] == [*BACK, unsigned]


def test_cited_text_is_text_and_its_sources_are_citations() -> None:
    texts = [{"text": "Hel"}, {"text": "lo!"}]
    block = {"citationsContent": {"content": texts, "citations": [CITED, IN_DOCUMENT]}}
    found = read(message(block))
    assert found.text == "Hello!"
    assert found.citations == (
        Citation(url="https://example.com/a", title="A", content="so it says"),
    )
    assert found.annotations == (CITED, IN_DOCUMENT)


def test_an_image_is_a_data_url() -> None:
    image = {"image": {"format": "png", "source": {"bytes": "AAEC"}}}
    elsewhere = {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}
    found = read(message(image, elsewhere))
    assert found.images == (Image(url="data:image/png;base64,AAEC"),)
    assert found.images[0].data() == b"\0\1\2"


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_stop_reason_is_a_finish_reason(native: str | None, expected: str) -> None:
    found = read(message(HELLO, stop=native))
    assert (found.finish_reason, found.native_finish_reason) == (expected, native)


def test_what_the_usage_does_not_say_is_unknown() -> None:
    found = read(message(HELLO, usage={"inputTokens": 3, "outputTokens": 0})).usage
    assert found == Usage(input_tokens=3, output_tokens=0)
    assert read(message(HELLO, usage=None)).usage == Usage()
    odd = {"inputTokens": "3", "cacheReadInputTokens": 4, "outputTokens": 2.5}
    assert read(message(HELLO, usage=odd)).usage == Usage(cache_read_tokens=4)


# --- not an answer, and errors --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b'{"output": {}}', InvalidResponseError, "has no output message"),
        (b'{"Output": {"__type": "X#UnknownOperationException"}}', InvalidResponseError, "output"),
        (message(stop=None, usage={}), EmptyResponseError, "no content was generated"),
        (message(stop=None, usage=[5]), EmptyResponseError, "no content was generated"),
        (b'{"message": "Not now"}', ProviderUnavailableError, "Not now"),
    ],
)
def test_what_is_no_answer_is_an_error(
    body: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = failure(body)
    assert type(error) is kind
    assert sentence in error.message
    assert error.response_id == "11-22"


def test_an_answer_without_words_that_ended_is_an_answer() -> None:
    assert read(message()).text == ""
    assert play(BEGIN, finish(), BILL)[0] == read(message())


ERRORS: list[tuple[str, int, type[ProviderError]]] = [
    ("ValidationException", 400, InvalidRequestError),
    ("ThrottlingException", 429, RateLimitError),
    ("ServiceQuotaExceededException", 400, RateLimitError),
    ("ModelNotReadyException", 429, ProviderUnavailableError),
    ("ModelErrorException", 424, ProviderUnavailableError),
    ("ModelTimeoutException", 408, ProviderTimeoutError),
    ("AccessDeniedException", 403, PermissionDeniedError),
    ("ResourceNotFoundException", 404, ModelNotFoundError),
    ("InternalServerException", 500, ProviderUnavailableError),
    ("ServiceUnavailableException", 503, ProviderUnavailableError),
]
# Before a stream begins, whatever was asked for.
AT_THE_DOOR: list[tuple[str, int, type[ProviderError]]] = [
    ("UnrecognizedClientException", 403, AuthenticationError),
    ("ExpiredTokenException", 403, AuthenticationError),
    ("InvalidSignatureException", 403, AuthenticationError),
    ("ThrottlingException", 400, RateLimitError),
]


@pytest.mark.parametrize(("name", "status", "expected"), ERRORS + AT_THE_DOOR)
def test_an_error_is_named_by_its_header_or_its_body(
    name: str, status: int, expected: type[ProviderError]
) -> None:
    sentence = "First line.\nSecond line."
    headers = HEADERS | {"X-Amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/"}
    by_header = failure(json.dumps({"message": sentence}).encode(), status, headers)
    inside = {"__type": f"com.amazon.coral.service#{name}", "Message": sentence}
    for error in (by_header, failure(json.dumps(inside, indent=1).encode(), status)):
        assert type(error) is expected
        assert (error.status_code, error.code, error.message) == (status, name, sentence)
        assert error.response_id == "11-22"


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        (400, "Input is too long for requested model.", ContextWindowExceededError),
        (400, "The provided model identifier is invalid.", ModelNotFoundError),
        (400, "Invocation of model ID x with on-demand throughput isn\u2019t supported.",
         ModelNotFoundError),
        (403, "Authentication failed: Please make sure your API Key is valid.",
         AuthenticationError),
        (403, "The security token included in the request is expired", AuthenticationError),
        (429, "Too many tokens, please wait before trying again.", RateLimitError),
    ],
)  # fmt: skip
def test_an_error_is_told_apart_by_its_sentence(
    status: int, sentence: str, expected: type[ProviderError]
) -> None:
    assert type(failure(json.dumps({"message": sentence}).encode(), status)) is expected


# --- streams --------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    packets = (
        BEGIN,
        reasoning(0, {"text": "H"}, {"text": "m."}, {"signature": "c2ln"}),
        reasoning(1, {"redactedContent": "ZGF0YQ=="}),
        text(2, "Hel", "lo!"),
        call(3, '{"x": 6', ', "y": 8}'),
    )
    streamed, events = play(*packets, finish("tool_use"), BILL)
    assert streamed == read(message(THINKING, REDACTED, HELLO, CALL, stop="tool_use"))
    assert events == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        ReasoningDelta("", (BACK[0],)),
        ReasoningDelta("", (BACK[1],)),
        TextDelta("Hel"),
        TextDelta("lo!"),
        ToolCallDelta(0, "", "tooluse_1", "add"),
        ToolCallDelta(0, '{"x": 6', "tooluse_1", "add"),
        ToolCallDelta(0, ', "y": 8}', "tooluse_1", "add"),
        Finish("tool_calls", "tool_use"),
        UsageReport(USAGE, Cost()),
    ]


def test_a_call_without_arguments_says_so_as_the_unstreamed_one_does() -> None:
    use = {"toolUse": CALL["toolUse"] | {"input": {}}}
    streamed, _ = play(BEGIN, call(0), call(1, ""), finish("tool_use"), BILL)
    assert streamed == read(message(use, use, stop="tool_use"))


def test_pieces_of_a_blob_are_joined_as_bytes() -> None:
    blob = ({"redactedContent": "ZGE="}, {"redactedContent": "dGE="})
    streamed, _ = play(BEGIN, reasoning(0, *blob), text(1, "Hi"), finish(), BILL)
    assert streamed.reasoning_details == (BACK[1],)


def test_images_and_citations_come_in_a_stream_too() -> None:
    image = start(0, {"image": {"format": "png"}}) + delta(
        0, {"image": {"source": {"bytes": "AA=="}}}
    )
    cited = delta(1, {"citation": CITED}) + text(1, "Hello!")
    streamed, events = play(BEGIN, image, stop(0), cited, finish(), BILL)
    assert (streamed.text, streamed.annotations) == ("Hello!", (CITED,))
    expected = Image(url="data:image/png;base64,AA==")
    assert streamed.images == (expected,)
    citation = streamed.citations[0]
    assert events[:3] == [ImageDelta(expected), CitationDelta(citation), TextDelta("Hello!")]


def test_the_providers_own_tools_are_passed_over() -> None:
    own = start(0, {"toolUse": {"toolUseId": "s", "name": "web", "type": "server_tool_use"}})
    packets = (own, delta(0, {"toolUse": {"input": "{}"}}), stop(0))
    untyped = start(3, {}) + text(3, "!")
    result = (start(1, {"toolResult": {"toolUseId": "s"}}), delta(1, {"toolResult": []}), stop(1))
    streamed, events = play(BEGIN, *packets, *result, text(2, "Hi"), untyped, finish(), BILL)
    assert (streamed.tool_calls, streamed.text, events[0]) == ((), "Hi!", TextDelta("Hi"))


def test_message_stop_makes_it_whole_and_the_bill_ends_it() -> None:
    streamed, events = play(BEGIN, text(0, "Hi"), finish())
    assert (streamed.finish_reason, streamed.usage) == ("stop", Usage())
    assert events[-1] == Finish("stop", "end_turn")
    late = text(1, "late") + b"\xff" * 50
    assert play(BEGIN, text(0, "Hello!"), finish(), BILL + late)[0] == read(message(HELLO))


@pytest.mark.parametrize(
    "packets",
    [
        (BEGIN,),
        (BEGIN, text(0, "Hi")),
        (BEGIN, text(0, "Hi"), finish()[:-1]),
        (BEGIN, text(0, "Hi"), BILL),
    ],
)
def test_a_stream_that_was_cut_is_never_whole(packets: tuple[bytes, ...]) -> None:
    error = broken(*packets)
    assert type(error) is ProviderConnectionError
    assert error.response_id == "11-22"


@pytest.mark.parametrize(("name", "status", "expected"), ERRORS)
def test_an_exception_in_mid_stream_has_the_status_of_the_same_error_outside(
    name: str, status: int, expected: type[ProviderError]
) -> None:
    name = f"{name[0].lower()}{name[1:]}"
    error = broken(BEGIN, text(0, "Hi"), exception(name, message="So it is."), text(1, "late"))
    assert type(error) is expected
    assert (error.status_code, error.code, error.message) == (status, name, "So it is.")


def test_an_exception_of_the_model_says_what_the_model_said() -> None:
    said = {"message": "Failed.", "originalStatusCode": 503, "originalMessage": "Overloaded"}
    error = broken(BEGIN, exception("modelStreamErrorException", **said))
    assert type(error) is ProviderUnavailableError
    assert (error.status_code, error.upstream_message) == (503, "Overloaded")


def test_an_exception_nobody_knows_and_an_error_frame_are_errors() -> None:
    error = broken(BEGIN, exception("newException", message="Odd."))
    assert (type(error), error.status_code) == (ProviderUnavailableError, None)
    headers = {":message-type": "error", ":error-code": "500", ":error-message": "Failed"}
    error = broken(BEGIN, framed(headers, b""))
    assert (error.status_code, error.message) == (500, "Failed")


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b'{"message": "Slow down"}', ProviderUnavailableError, "Slow down"),
        (b"<html><title>Gone</title></html>", InvalidResponseError, "web page (Gone)"),
        (message(HELLO), InvalidResponseError, "not the stream that was asked for"),
        (BEGIN + b"\xff" * 20, InvalidResponseError, "no event-stream frame"),
        (BEGIN + frame("contentBlockDelta", b'{"delta": '), InvalidResponseError, "readable JSON"),
    ],
)
def test_what_is_no_stream_is_an_error(
    body: bytes, kind: type[ProviderError], sentence: str
) -> None:
    for packets in ((body,), pieces(body, Random(0), 5)):
        error = broken(*packets)
        assert type(error) is kind
        assert sentence in error.message


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        text(0, "x"),
        call(0, "{}"),
        reasoning(0, {"text": "x"}),
        reasoning(0, {"redactedContent": "AA=="})[: -len(stop(0))],
        delta(0, {"text": "x"}),
        delta(0, {"citation": CITED}),
    ],
    ids=["texts", "calls", "thinking", "blobs", "deltas", "citations"],
)
def test_thousands_of_parts_are_collected_in_linear_time(packet: bytes) -> None:
    assert cpu_seconds(lambda: play(BEGIN, packet * 4_000, finish(), BILL)) < 2


PAYLOADS = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": THINKING}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a\ud83d"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"citation": CITED}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockStart", {"contentBlockIndex": 1, "start": CALL}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"a": [1]}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": COUNTS}),
]
SEEDS = [
    message(THINKING, REDACTED, HELLO, CALL, stop="tool_use"),
    b'{"message": "Slow down", "__type": "ThrottlingException"}',
    b"".join(frame(name, payload) for name, payload in PAYLOADS),
]


def damaged_stream(dice: Random) -> bytes:
    """Return a stream in which the JSON of one frame is damaged, its checksums being right."""
    bad = dice.randrange(len(PAYLOADS))
    payloads = [(name, json.dumps(payload).encode()) for name, payload in PAYLOADS]
    return b"".join(
        frame(name, damaged(payload, dice) if number == bad else payload)
        for number, (name, payload) in enumerate(payloads)
    )


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bodies_are_answers_or_our_errors(seed: int) -> None:
    dice = Random(seed)
    bodies = [damaged(dice.choice(SEEDS), dice) for _ in range(250)]
    bodies += [damaged_stream(dice) for _ in range(250)]
    outcomes = {verdict(body, dice, WIRE) for body in bodies}
    assert {"Completion", "InvalidResponseError"} <= outcomes


@settings(max_examples=200)
@given(st.binary(max_size=200), st.randoms(use_true_random=False))
def test_any_bytes_are_an_answer_or_one_of_our_errors(body: bytes, dice: Random) -> None:
    assert verdict(body, dice, WIRE)
    assert verdict(frame("contentBlockDelta", body) + SEEDS[2], dice, WIRE)
