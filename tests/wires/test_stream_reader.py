"""Streams: the same answer as unstreamed, or the error that the stream is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.answers.completion import Audio, Citation, Image, ToolCall
from llm_router.answers.stream_events import (
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
from tests.wires.wire_bodies import (
    BILL,
    DONE,
    HEAD,
    USAGE,
    WAITING,
    WIRE,
    answer,
    call_delta,
    chunk,
    event,
    play,
    read,
)


def texts(events: list[StreamEvent]) -> str:
    return "".join(found.text for found in events if isinstance(found, TextDelta))


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
    reader = WIRE.reader({})
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
    reader = WIRE.reader({})
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
