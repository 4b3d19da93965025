"""Ollama's wire: each rule of it, on a body written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Completion
from llm_router.answers.stream_events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm_router.errors import (
    ContextWindowExceededError,
    EmptyResponseError,
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderUnavailableError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires import ollama
from llm_router.wires.ollama import OllamaWire
from tests.pace import cpu_seconds
from tests.wires import wire_bodies
from tests.wires.mutations import damaged, verdict

WIRE = OllamaWire(clock=lambda: wire_bodies.NOW)
COUNTS = {"prompt_eval_count": 30, "eval_count": 5}
USAGE = Usage(input_tokens=30, output_tokens=5)
CALL = {"function": {"name": "add", "arguments": {"x": 6, "y": 8}}}


def line(content: str = "", *, done: bool = False, message: Any = None, **more: Any) -> bytes:
    """Return a line of a stream, or a whole answer; *message* are more fields of its message."""
    said = {"role": "assistant", "content": content} | (message or {})
    head = {"model": "qwen3:4b", "created_at": "2026-11-24T10:00:00.09119Z", "message": said}
    return json.dumps(head | {"done": done} | more).encode() + b"\n"


def body(content: str = "Hello!", reason: str | None = "stop", **message: Any) -> bytes:
    ended = COUNTS | ({} if reason is None else {"done_reason": reason})
    return line(content, done=True, message=message, total_duration=1, **ended)


END = body("")


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
    found = read(body(thinking="Hm."))
    assert (found.text, found.reasoning, found.refusal) == ("Hello!", "Hm.", None)
    assert (found.response_id, found.model, found.created) == (None, "qwen3:4b", 1795514400)
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "stop")
    assert (found.usage, found.cost) == (USAGE, Cost())


def test_thinking_inside_a_text_stays_text() -> None:
    assert read(body("<think>Hm.</think>Hi")).text == "<think>Hm.</think>Hi"


def test_a_call_has_its_arguments_as_json_in_the_wires_order_and_numbers() -> None:
    odd = b'{"z": 1.50, "a": [1E2, null, "\\u00e9"], "m": {}}'
    call = {"id": "c1", "function": {"index": 0, "name": "add", "arguments": "HERE"}}
    found = read(body("", tool_calls=[call]).replace(b'"HERE"', odd))
    (said,) = found.tool_calls
    assert (said.id, said.name, said.complete) == ("c1", "add", True)
    assert said.raw_arguments == '{"z": 1.50, "a": [1E+2, null, "é"], "m": {}}'
    assert (found.finish_reason, found.native_finish_reason) == ("tool_calls", "stop")


def test_a_call_cut_by_the_length_is_not_complete() -> None:
    found = read(body("", "length", tool_calls=[CALL]))
    assert (found.finish_reason, found.tool_calls[0].complete) == ("length", False)


def test_a_call_is_complete_once_its_answer_is() -> None:
    reader = WIRE.reader({})
    for packet, complete in ((line(message={"tool_calls": [CALL]}), False), (END, True)):
        reader.feed(packet)
        assert reader.snapshot().tool_calls[0].complete is complete


@pytest.mark.parametrize(
    ("native", "expected"),
    [("stop", "stop"), ("length", "length"), ("load", "unknown"), (None, "unknown")],
)
def test_a_done_reason_is_a_finish_reason(native: str | None, expected: str) -> None:
    found = read(body("Hi", native))
    assert (found.finish_reason, found.native_finish_reason) == (expected, native)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"eval_count": 5}, Usage(output_tokens=5)),
        ({"prompt_eval_count": 0, "eval_count": 0}, Usage(input_tokens=0, output_tokens=0)),
        ({"prompt_eval_count": -1, "eval_count": "5"}, Usage()),
        ({}, Usage()),
    ],
)
def test_what_is_not_counted_is_unknown(said: dict[str, Any], expected: Usage) -> None:
    assert read(line("Hi", done=True, done_reason="stop", **said)).usage == expected


@pytest.mark.parametrize("said", ["", "yesterday", "9999-99-99", 7, None, "x" * 10_000])
def test_a_moment_that_is_none_is_unknown(said: Any) -> None:
    assert read(line("Hi", done=True, created_at=said)).created is None


@given(st.dictionaries(st.sampled_from(list(COUNTS)), st.one_of(st.integers(), st.floats())))
def test_every_figure_is_the_wires_or_unknown(said: dict[str, Any]) -> None:
    found = read(line("Hi", done=True, done_reason="stop", **said))
    for figure, name in zip(
        (found.usage.input_tokens, found.usage.output_tokens), COUNTS, strict=True
    ):
        assert figure is None or figure == said[name]
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
        (b'{"model": "m", "done": true}', InvalidResponseError, "has no message"),
        (line("Hi") + END, InvalidResponseError, "more after its JSON"),
        (body("", tool_calls={}), InvalidResponseError, "not a list of objects"),
        (body("", tool_calls=[{"function": {"name": "f", "arguments": {"a": 7}}}]).replace(
            b"7}", b"[" * 200 + b"]" * 200 + b"}"), InvalidResponseError, "nested too deeply"),
        (line("", done=True), EmptyResponseError, "no content was generated"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = failure(said)
    assert type(error) is kind
    assert sentence in error.message


def test_an_answer_without_words_that_ended_is_an_answer() -> None:
    assert read(END).text == ""
    assert play(END)[0] == read(END)


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        (400, '"qwen3:4b" does not support thinking', InvalidRequestError),
        (400, "the input length exceeds the context length", ContextWindowExceededError),
        (404, "model 'qwen9' not found", ModelNotFoundError),
        (500, "model requires more system memory (9 GiB) than is available",
         ProviderUnavailableError),
        (503, "server busy, please try again. maximum pending requests exceeded",
         ProviderUnavailableError),
    ],
)  # fmt: skip
def test_an_error_is_its_sentence_and_status(
    status: int, sentence: str, expected: type[ProviderError]
) -> None:
    error = failure(json.dumps({"error": sentence}).encode(), status)
    assert (type(error), error.status_code, error.message) == (expected, status, sentence)


def test_an_error_inside_a_200_is_one_in_a_body_and_in_a_stream() -> None:
    said = b'{"error": "an error was encountered while running the model"}'
    for error in (failure(said), broken(said), broken(said + b"\n"), broken(line("Hi"), said)):
        assert type(error) is ProviderUnavailableError
        assert error.message == "an error was encountered while running the model"


# --- streams --------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    streamed, events = play(
        line(message={"thinking": "H"}),
        line(message={"thinking": "m."}),
        line("Hel"),
        line("lo!"),
        line(message={"tool_calls": [CALL]}),
        line(message={"tool_calls": [CALL]}),
        END,
    )
    assert streamed == read(body(thinking="Hm.", tool_calls=[CALL, CALL]))
    assert events == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        TextDelta("Hel"),
        TextDelta("lo!"),
        ToolCallDelta(0, '{"x": 6, "y": 8}', None, "add"),
        ToolCallDelta(1, '{"x": 6, "y": 8}', None, "add"),
        Finish("tool_calls", "stop"),
        UsageReport(USAGE, Cost()),
    ]


def test_calls_with_one_index_are_calls_of_their_own() -> None:
    calls = [{"id": f"c{n}", "function": CALL["function"] | {"index": 0}} for n in range(2)]
    streamed, _ = play(*(line(message={"tool_calls": [one]}) for one in calls), END)
    assert [call.id for call in streamed.tool_calls] == ["c0", "c1"]


@pytest.mark.parametrize(
    "ending", [(END,), (END.rstrip(),), (END, line("late")), (b"\r\n", END.rstrip() + b"\r\n\r\n")]
)
def test_done_makes_it_whole(ending: tuple[bytes, ...]) -> None:
    streamed, events = play(line("Hello!"), *ending)
    assert streamed == read(body())
    assert [type(found) for found in events] == [TextDelta, Finish, UsageReport]


def test_done_without_a_reason_leaves_the_finish_unknown() -> None:
    streamed, events = play(line("Hi"), line("", done=True))
    assert (streamed.text, streamed.finish_reason) == ("Hi", "unknown")
    assert [type(found) for found in events] == [TextDelta]


@pytest.mark.parametrize(
    "packets",
    [
        (line("Hi"),),
        (line("Hi"), line(message={"tool_calls": [CALL]})),
        (line("Hi"), END[:-5]),
        (line("Hi"), line("", done_reason="stop")),
        (line("Hi")[:-5],),
    ],
)
def test_a_stream_that_was_cut_is_never_whole(packets: tuple[bytes, ...]) -> None:
    assert type(broken(*packets)) is ProviderConnectionError


def test_an_error_in_mid_stream_keeps_what_came() -> None:
    reader = WIRE.reader({})
    reader.feed(line("Hi", message={"tool_calls": [CALL]}) + b'{"error": "unexpected EOF"}\n')
    reader.feed(line("late") + END)
    with pytest.raises(ProviderUnavailableError, match="unexpected EOF"):
        reader.close()
    found = reader.snapshot()
    assert (found.text, found.model, found.tool_calls[0].complete) == ("Hi", "qwen3:4b", False)


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b"<h1>No</h1>\n{}\n", InvalidResponseError, "web page (No)"),
        (b"data: {}\n\n", InvalidResponseError, "not readable JSON"),
        (line("Hi") + b"{broken\n" + END, InvalidResponseError, "not readable JSON"),
        (line("Hi") + b"[1]\n" + END, InvalidResponseError, "not a JSON object"),
        (line("Hi") + b'{"message": 7}\n' + END, InvalidResponseError, "not an object"),
    ],
)
def test_what_is_no_stream_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = broken(said)
    assert type(error) is kind
    assert sentence in error.message


def test_a_character_split_over_two_lines_is_one_character() -> None:
    streamed, events = play(line("a\ud83d"), line("\ude00b"), END)
    assert streamed.text == "a😀b"
    assert "".join(found.text for found in events if isinstance(found, TextDelta)) == "a😀b"


# --- bounds ---------------------------------------------------------------------------------


def test_lines_in_pieces_are_bounded_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "MAX_EVENT_BYTES", 10_000)
    long = line("x" * 9_000)
    streamed, _ = play(*(long[:5_000], long[5_000:]) * 3, END)
    assert len(streamed.text) == 27_000


def test_a_line_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "MAX_EVENT_BYTES", 10_000)
    reader = WIRE.reader({})
    assert reader.feed(line("Hi")) == [TextDelta("Hi")]
    for _ in range(3):
        assert reader.feed(b'{"message": {"content": "' + b"x" * 5_000) == []
    assert reader.ended
    with pytest.raises(InvalidResponseError, match="more than 10000 bytes"):
        reader.close()


@pytest.mark.parametrize(
    "packet",
    [
        line("x"),
        line(message={"thinking": "x"}),
        line(message={"tool_calls": [CALL]}),
        line(logprobs=[{"token": "x", "logprob": -0.5}]),
    ],
    ids=["texts", "thinking", "calls", "logprobs"],
)
def test_thousands_of_lines_are_collected_in_linear_time(packet: bytes) -> None:
    assert cpu_seconds(lambda: play(packet * 4_000, END)) < 2


def test_a_long_line_in_small_packets_is_read_in_linear_time() -> None:
    long = line("x" * 1_000_000)
    packets = [long[start : start + 100] for start in range(0, len(long), 100)]
    assert cpu_seconds(lambda: play(*packets, END)) < 2


SEEDS = [
    body(thinking="Hm.", tool_calls=[CALL]),
    b'{"error": "model not found"}',
    line(message={"thinking": "H"}) + line("a\ud83d")
    + line("\ude00", message={"tool_calls": [CALL]}) + END,
    line("Hi") + b'{"error": "unexpected EOF"}\n',
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
    assert verdict(b"{" + body + b"\n" + dice.choice(SEEDS), dice, WIRE)
