"""Streams: the same answer as unstreamed, or the error that the stream is."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.completions.completion import Audio, Citation, Image, ToolCall
from llm_router.completions.stream_events import (
    AudioDelta,
    CitationDelta,
    Finish,
    ImageDelta,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm_router.errors import (
    EmptyResponseError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.providers.openrouter import sse
from llm_router.providers.openrouter.stream_reader import StreamReader
from tests.openrouter.wire_bodies import (
    BILL,
    DONE,
    HEAD,
    REQUEST,
    USAGE,
    answer,
    broken,
    chunk,
    event,
    play,
    read,
)

WAITING = b": OPENROUTER PROCESSING\n\n"


def texts(events: list[StreamEvent]) -> str:
    return "".join(found.text for found in events if isinstance(found, TextDelta))


def call_delta(index: int | None = 0, **fields: Any) -> dict[str, Any]:
    function = {k: v for k, v in fields.items() if k in ("name", "arguments")}
    delta = {k: v for k, v in fields.items() if k not in function}
    where = {} if index is None else {"index": index}
    return {"content": None, "tool_calls": [where | delta | {"function": function}]}


# --- the plain story ------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    packets = (WAITING, chunk({"content": "Hel"}), WAITING, chunk({"content": "lo!"}), BILL, DONE)
    streamed, events = play(*packets)
    assert streamed == read(answer())
    assert events == [
        TextDelta("Hel"),
        TextDelta("lo!"),
        Finish("stop", "stop"),
        UsageReport(streamed.usage, streamed.cost),
    ]


@pytest.mark.parametrize(
    "ending",
    [
        (chunk(None, "stop", "stop"), chunk(usage=USAGE), DONE),
        (chunk(None, "stop", "stop"), event(HEAD | {"choices": [], "usage": USAGE}), DONE),
        (chunk(None, "stop", "stop"), BILL, DONE),
        (chunk(None, "stop", "stop"), BILL),
        (BILL.rstrip(),),
        (BILL, b"data: [DONE]"),
        (BILL.replace(b"\n", b"\r\n"), b"data:[DONE]\r\n\r\n", chunk({"content": "late"})),
    ],
)
def test_every_recorded_ending_is_read(ending: tuple[bytes, ...]) -> None:
    streamed, events = play(chunk({"content": "Hello!"}), *ending)
    assert streamed == read(answer())
    assert [type(found) for found in events] == [TextDelta, Finish, UsageReport]


def test_a_finish_alone_makes_it_whole_and_leaves_the_bill_unknown() -> None:
    streamed, events = play(chunk({"content": "Hi"}), chunk(None, "stop", "end_turn"))
    assert (streamed.text, streamed.finish_reason) == ("Hi", "stop")
    assert (streamed.cost.total, streamed.usage.input_tokens) == (None, None)
    assert events[-1] == Finish("stop", "end_turn")


def test_done_alone_makes_it_whole_and_leaves_the_finish_unknown() -> None:
    streamed, events = play(chunk({"content": "Hi"}), DONE)
    assert (streamed.text, streamed.finish_reason) == ("Hi", "unknown")
    assert events == [TextDelta("Hi")]


def test_names_come_from_the_first_chunk_and_the_tier_from_where_it_is() -> None:
    late = chunk(model="other", provider="Other", id="gen-2", service_tier="default")
    streamed, _ = play(chunk({"content": "Hi"}), late, BILL, DONE)
    assert (streamed.model, streamed.upstream_provider) == (HEAD["model"], "Azure")
    assert (streamed.response_id, streamed.created) == ("gen-1-abc", HEAD["created"])
    assert streamed.service_tier == "default"


def test_only_the_first_choice_is_read() -> None:
    streamed, _ = play(chunk({"content": "a"}), chunk({"content": "b"}, choice={"index": 1}), BILL)
    assert streamed.text == "a"


def test_events_that_a_proxy_ran_together_are_read() -> None:
    body = chunk({"content": "Hello!"}) + BILL + DONE
    assert play(body.replace(b"\n\n", b"\n"))[0] == read(answer())


def test_data_events_are_counted_and_comments_are_not() -> None:
    reader = StreamReader(REQUEST, {})
    reader.feed(WAITING * 5)
    assert reader.data_events == 0
    reader.feed(chunk() + chunk({"content": "x"}) + DONE)
    assert (reader.data_events, reader.ended) == (3, True)


# --- text cut anywhere ----------------------------------------------------------------------


def test_a_character_split_over_two_chunks_is_one_character() -> None:
    high, low = ({"content": text} for text in ("a\ud83d", "\ude00b"))
    streamed, events = play(chunk(high), chunk(low), BILL, DONE)
    assert streamed.text == "a😀b"
    assert texts(events) == "a😀b"
    assert all(found.text.encode() for found in events if isinstance(found, TextDelta))


def test_half_a_character_is_replaced() -> None:
    streamed, events = play(chunk({"content": "a\ud83d"}), chunk({"content": "b"}), BILL, DONE)
    assert streamed.text == texts(events) == "a\ufffdb"
    assert play(chunk({"content": "a\ud83d"}), BILL, DONE)[0].text == "a\ufffd"


@given(st.text(max_size=40), st.data())
def test_any_text_survives_any_split(text: str, data: st.DataObject) -> None:
    # As UTF-16 units, which is how JavaScript cuts text.
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [
        units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), 2)
    ]
    packets = b"".join(chunk({"content": half}) for half in halves) + BILL + DONE
    cut = data.draw(st.integers(0, len(packets)))
    streamed, events = play(packets[:cut], packets[cut:])
    assert streamed.text == texts(events) == text


def test_content_may_be_parts() -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "u"}}]
    streamed, events = play(chunk({"content": parts}), BILL, DONE)
    assert (streamed.text, streamed.images) == ("Hi", (Image(url="u"),))
    assert ImageDelta(Image(url="u")) in events


# --- every other part -----------------------------------------------------------------------


def test_reasoning_and_its_details_are_joined() -> None:
    def thought(text: str, **more: Any) -> bytes:
        detail = {"type": "reasoning.text", "text": text, "index": 0, "format": None} | more
        return chunk({"reasoning": text, "reasoning_details": [detail]})

    signed = {"type": "reasoning.text", "signature": "sig", "index": 0, "format": "f"}
    streamed, events = play(
        thought("We "),
        thought("think."),
        chunk({"reasoning": None, "reasoning_details": [signed]}),
        chunk({"reasoning": None, "reasoning_details": []}),
        BILL,
    )
    assert streamed.reasoning == "We think."
    assert list(streamed.reasoning_details) == [
        {
            "type": "reasoning.text",
            "text": "We think.",
            "index": 0,
            "format": "f",
            "signature": "sig",
        }
    ]
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["We ", "think.", ""]


def test_details_of_another_index_type_or_id_stay_apart() -> None:
    fragments = [
        {"type": "reasoning.summary", "summary": "a", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 0, "id": "rs_1"},
        {"type": "reasoning.summary", "summary": "b", "index": 0},
        {"type": "reasoning.encrypted", "data": "y", "index": 0, "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "z", "index": 0, "id": "rs_2"},
        {"type": "reasoning.text", "text": "t", "index": 1},
        {"type": "reasoning.server_tool_call", "tool_name": "n", "arguments": "{}", "result": "1"},
        {"type": "reasoning.server_tool_call", "tool_name": "n", "arguments": "{}", "result": "2"},
        {"type": "reasoning.text", "text": "without "},
        {"type": "reasoning.text", "text": "index"},
    ]
    streamed, _ = play(*(chunk({"reasoning_details": [f]}) for f in fragments), BILL)
    assert list(streamed.reasoning_details) == [
        {"type": "reasoning.summary", "summary": "ab", "index": 0},
        {"type": "reasoning.encrypted", "data": "xy", "index": 0, "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "z", "index": 0, "id": "rs_2"},
        {"type": "reasoning.text", "text": "t", "index": 1},
        fragments[6],
        fragments[7],
        {"type": "reasoning.text", "text": "without index"},
    ]
    assert streamed.reasoning is None


def test_reasoning_that_comes_alone_in_a_delta_is_read() -> None:
    lone = event(HEAD | {"choices": [{"delta": {"role": "assistant", "reasoning": "Hm"}}]})
    assert play(lone, BILL)[0].reasoning == "Hm"


def test_a_refusal_is_joined() -> None:
    packets = (chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), BILL, DONE)
    streamed, events = play(*packets)
    assert (streamed.refusal, streamed.text) == ("I cannot.", "")
    assert events[:2] == [RefusalDelta("I "), RefusalDelta("cannot.")]


def test_tool_calls_are_joined_by_index() -> None:
    streamed, events = play(
        chunk(call_delta(0, id="c1", type="function", name="add", arguments="")),
        chunk(call_delta(0, arguments='{"a":')),
        chunk(call_delta(0, id="c1", type="function", arguments="1}")),
        chunk(call_delta(1, id="c2", name="now")),
        chunk(None, "tool_calls", "tool_use"),
        BILL.replace(b'"stop"', b'"tool_calls"'),
    )
    assert streamed.tool_calls == (
        ToolCall(id="c1", name="add", arguments={"a": 1}, raw_arguments='{"a":1}'),
        ToolCall(id="c2", name="now", arguments={}, raw_arguments=""),
    )
    assert streamed.finish_reason == "tool_calls"
    assert [found for found in events if isinstance(found, ToolCallDelta)] == [
        ToolCallDelta(0, "", "c1", "add"),
        ToolCallDelta(0, '{"a":', "c1", "add"),
        ToolCallDelta(0, "1}", "c1", "add"),
        ToolCallDelta(1, "", "c2", "now"),
    ]


def test_calls_without_an_index_are_told_apart_by_id_or_place() -> None:
    streamed, _ = play(
        chunk(call_delta(None, id="c1", name="a", arguments="{")),
        chunk(call_delta(None, arguments="}")),
        chunk(call_delta(None, id="c2", name="b", arguments="{")),
        chunk(call_delta(None, id="c2", arguments="}")),
        chunk(call_delta(None, id="c1", arguments=" ")),
        BILL,
    )
    assert [(c.name, c.raw_arguments) for c in streamed.tool_calls] == [("a", "{} "), ("b", "{}")]


def test_calls_that_share_an_index_are_told_apart_by_id() -> None:
    streamed, events = play(
        chunk(call_delta(0, id="c1", name="f", arguments='{"n":1}'), "tool_calls"),
        chunk(call_delta(0, id="c2", name="f", arguments='{"n":2}'), "tool_calls"),
        chunk(call_delta(0, arguments=" ")),
        BILL,
    )
    assert [c.raw_arguments for c in streamed.tool_calls] == ['{"n":1}', '{"n":2} ']
    assert [e.index for e in events if isinstance(e, ToolCallDelta)] == [0, 1, 1]


def test_a_new_id_without_a_name_continues_the_call() -> None:
    streamed, _ = play(
        chunk(call_delta(0, id="c1", name="f", arguments="{")),
        chunk(call_delta(0, id="random", arguments="}")),
        BILL,
    )
    assert [(c.id, c.raw_arguments) for c in streamed.tool_calls] == [("c1", "{}")]


def test_a_call_cut_by_length_is_not_complete() -> None:
    cut = chunk(call_delta(0, id="c1", name="f", arguments='{"a": "b'))
    streamed, events = play(cut, chunk(None, "tool_calls", "max_output_tokens"), DONE)
    assert (streamed.finish_reason, streamed.tool_calls[0].complete) == ("length", False)
    assert events[-1] == Finish("length", "max_output_tokens")


def test_calls_of_an_unfinished_stream_are_not_complete() -> None:
    reader = StreamReader(REQUEST, {})
    reader.feed(chunk(call_delta(0, id="c1", name="f", arguments="{}")))
    assert not reader.snapshot().tool_calls[0].complete


def test_citations_come_from_annotations_and_from_sources() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}
    streamed, events = play(
        chunk({"annotations": [note]}, citations=["https://a", "https://b"]),
        chunk({"annotations": [note]}, citations=["https://a", "https://b"]),
        BILL,
    )
    assert streamed.citations == (Citation(url="https://a", title="A"), Citation(url="https://b"))
    assert list(streamed.annotations) == [note]
    assert [found.citation for found in events if isinstance(found, CitationDelta)] == list(
        streamed.citations
    )


def test_images_and_audio_are_collected() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    streamed, events = play(
        chunk({"images": [image]}),
        chunk({"audio": {"id": "a1", "transcript": "Hel"}}),
        chunk({"audio": {"data": "YQ==", "transcript": "lo"}}),
        chunk({"audio": {"data": "Yg==", "expires_at": 9}}),
        chunk({"audio": {}}),
        BILL,
    )
    assert streamed.images == (Image(url="data:image/png;base64,AA=="),)
    assert streamed.audio == Audio(id="a1", data="YWI=", transcript="Hello", expires_at=9)
    assert [found for found in events if isinstance(found, AudioDelta)] == [
        AudioDelta(None, "Hel"),
        AudioDelta("YQ==", "lo"),
        AudioDelta("Yg==", None),
    ]


def test_audio_pieces_that_are_no_base64_are_only_joined() -> None:
    packets = [chunk({"audio": {"data": data}}) for data in ("ab=", "c")]
    audio = play(*packets, BILL)[0].audio
    assert audio is not None
    assert audio.data == "ab=c"


def test_log_probabilities_are_concatenated() -> None:
    def with_logprob(token: str) -> bytes:
        logprobs = {"content": [{"token": token, "logprob": -0.5}], "refusal": None}
        return chunk({"content": token}, choice={"logprobs": logprobs})

    logprobs = play(with_logprob("a"), with_logprob("b"), BILL)[0].logprobs
    assert logprobs is not None
    assert [entry["token"] for entry in logprobs["content"]] == ["a", "b"]
    assert logprobs["refusal"] is None
    assert json.dumps(logprobs)


# --- errors ---------------------------------------------------------------------------------

TOLD = {"code": 502, "message": "Upstream broke", "metadata": {"provider_name": "Venice"}}


@pytest.mark.parametrize(
    "failing",
    [
        chunk({}, "error", error=TOLD),
        chunk({}, "stop", "MALFORMED_FUNCTION_CALL", error=TOLD),
        event({"error": TOLD, "user_id": "user_abcdefgh"}),
        event(HEAD | {"choices": [], "error": TOLD}),
        chunk({}, None, choice={"error": TOLD}),
        chunk({}, "error", "x", choice={"error": TOLD}),
    ],
)
@pytest.mark.parametrize("after", [(), (DONE,), (chunk(usage=USAGE), DONE)])
def test_an_error_event_of_any_shape_fails_the_stream(
    failing: bytes, after: tuple[bytes, ...]
) -> None:
    error = broken(WAITING, chunk({"content": "Hi"}), failing, *after)
    assert type(error) is ProviderUnavailableError
    assert (error.status_code, error.message) == (502, "Upstream broke")
    assert error.upstream_provider in ("Venice", "Azure")
    assert (error.response_id, error.alias) == ("gen-1-abc", "fast")
    billed = len(after) == 2
    assert (error.cost is not None) is billed
    assert error.cost is None or error.cost.total == Decimal("0.0000039")


def test_a_finish_of_error_without_an_error_object_fails_the_stream() -> None:
    error = broken(chunk({}, "error", "MALFORMED_FUNCTION_CALL"), BILL, DONE)
    assert type(error) is ProviderUnavailableError
    assert "MALFORMED_FUNCTION_CALL" in str(error)
    assert error.usage is not None


def test_an_error_after_the_finish_with_its_bill_is_an_error() -> None:
    told = {"code": 400, "message": "Token limit reached"}
    error = broken(chunk(None, "length", "length"), chunk(error=told, usage=USAGE), DONE)
    assert type(error) is InvalidRequestError
    assert error.cost is not None


@pytest.mark.parametrize(
    ("code", "kind"),
    [("server_error", ProviderUnavailableError), ("rate_limit_exceeded", RateLimitError)],
)
def test_a_code_in_words_is_understood(code: str, kind: type[Exception]) -> None:
    error = broken(chunk({"content": "Hi"}), event({"error": {"code": code, "message": "m"}}))
    assert type(error) is kind
    assert (error.code, error.status_code) == (code, None)


def test_what_comes_after_an_error_is_not_content() -> None:
    reader = StreamReader(REQUEST, {})
    reader.feed(chunk({"content": "Hi"}) + event({"error": TOLD}))
    assert reader.feed(chunk({"content": "more"}) + BILL + DONE) == []
    assert reader.snapshot().text == "Hi"
    assert reader.snapshot().cost.total == Decimal("0.0000039")


@pytest.mark.parametrize("finish", [None, "tool_calls"])
def test_a_stream_cut_between_tool_calls_is_never_whole(finish: str | None) -> None:
    """Gemini repeats the finish reason beside each of its calls, before the last one."""
    error = broken(chunk(call_delta(0, id="c1", name="f", arguments="{}"), finish))
    assert type(error) is ProviderConnectionError


@pytest.mark.parametrize("body", [WAITING, chunk({"content": "Hi"}), chunk({"content": "x"})[:-9]])
def test_a_stream_without_an_end_is_cut(body: bytes) -> None:
    assert type(broken(body)) is ProviderConnectionError


@pytest.mark.parametrize(
    "body",
    [
        chunk(usage={"completion_tokens": 0}) + DONE,
        chunk(usage={"prompt_tokens": 3}) + DONE,
        DONE,
        event(HEAD | {"choices": []}) + DONE,
    ],
)
def test_a_stream_with_nothing_in_it_is_an_empty_response(body: bytes) -> None:
    assert type(broken(WAITING, body)) is EmptyResponseError


def test_a_stream_of_no_words_that_finished_is_an_answer() -> None:
    assert play(BILL, DONE)[0].text == ""


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b"\n  \n", ProviderConnectionError, "connection broke"),
        (b"<html><title>Bad gateway</title></html>", InvalidResponseError, "Bad gateway"),
        (answer(), InvalidResponseError, "not the stream"),
        (b"[1, 2]", InvalidResponseError, "not the stream"),
        (b"what?", InvalidResponseError, "not readable JSON"),
        (b"[" * 5000, InvalidResponseError, "nested"),
        (json.dumps({"error": TOLD}, indent=1).encode(), ProviderUnavailableError, "Upstream"),
    ],
)
def test_a_body_that_is_no_stream_is_the_error_that_it_is(
    body: bytes, kind: type[Exception], words: str
) -> None:
    for packets in ((body,), tuple(body[i : i + 1] for i in range(len(body)))):
        error = broken(*packets)
        assert type(error) is kind
        assert words in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"data: {broken\n\n",
        b"data: 7\n\n",
        b'data: "\xff"\n\n',
        chunk({"content": 42}),
        chunk({"tool_calls": "x"}),
        chunk({"tool_calls": [1]}),
        event({"choices": [{"delta": "x"}]}),
        event({"choices": [{"delta": {"reasoning_details": ["X"]}}]}).replace(
            b'"X"', b'{"a":' * 200 + b"1" + b"}" * 200
        ),
    ],
)
def test_an_event_that_cannot_be_read_fails_the_stream(data: bytes) -> None:
    error = broken(chunk({"content": "Hi"}), data, BILL, DONE)
    assert type(error) is InvalidResponseError
    assert error.usage is not None


def test_an_endless_event_fails_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    reader = StreamReader(REQUEST, {})
    reader.feed(b"data: " + b"x" * 2000)
    assert type(reader.error) is InvalidResponseError
    assert reader.feed(BILL) == []
    with pytest.raises(InvalidResponseError):
        reader.close()


# --- laws -----------------------------------------------------------------------------------

STORY = (
    WAITING
    + chunk({"reasoning": "Hm 🤔", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]})
    + chunk({"content": "Olá "})
    + chunk({"content": "👋"}).replace(b"\n", b"\r\n")
    + chunk(call_delta(0, id="c1", name="f", arguments='{"a":'))
    + WAITING
    + chunk(call_delta(0, arguments="1}"))
    + chunk(None, "tool_calls", "tool_use")
    + chunk(usage=USAGE)
    + DONE
)


def test_a_stream_cut_at_any_byte_is_the_same_answer_or_an_error() -> None:
    """A cut after the finish reason may lose the bill, which is then unknown and never zero."""
    whole, _ = play(STORY)
    for cut in range(len(STORY)):
        reader = StreamReader(REQUEST, {})
        reader.feed(STORY[:cut])
        try:
            reader.close()
        except (ProviderConnectionError, InvalidResponseError):
            continue
        seen = reader.snapshot()
        assert (seen.text, seen.tool_calls) == (whole.text, whole.tool_calls)
        assert seen.finish_reason == whole.finish_reason
        assert seen.cost.total in (whole.cost.total, None)
        assert seen.usage.output_tokens in (whole.usage.output_tokens, None)


@settings(max_examples=50)
@given(st.lists(st.integers(1, len(STORY) - 1)))
def test_packets_of_any_size_give_the_same_answer_and_events(cuts: list[int]) -> None:
    places = [0, *sorted(set(cuts)), len(STORY)]
    packets = [STORY[a:b] for a, b in pairwise(places)]
    assert play(*packets) == play(STORY)
