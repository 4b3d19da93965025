"""Unstreamed answers: every field as the wire says it, and nothing that it does not say."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.completion import Audio, Citation, Image, ToolCall
from llm_router.usage import Cost, Usage
from tests.wires.wire_bodies import USAGE, answer, read


def call(arguments: Any = "{}", **function: Any) -> dict[str, Any]:
    named = {"name": "add"} | ({} if arguments is ... else {"arguments": arguments}) | function
    return {"id": "call_1", "type": "function", "index": 0, "function": named}


def usage_with(**figures: Any) -> dict[str, Any]:
    return USAGE | figures


def test_every_plain_field_is_read() -> None:
    found = read(answer(service_tier="default"))
    assert found.text == "Hello!"
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "stop")
    assert (found.alias, found.requested_model) == (None, "")  # The call's, not the wire's.
    assert (found.model, found.provider) == ("openai/gpt-4o-mini", "")
    assert found.upstream_provider == "Azure"
    assert (found.request_id, found.response_id) == ("", "gen-1-abc")
    assert (found.service_tier, found.created) == ("default", 1766949599)
    assert found.usage == Usage(
        input_tokens=10,
        output_tokens=4,
        total_tokens=14,
        cache_read_tokens=3,
        cache_write_tokens=2,
        reasoning_tokens=1,
    )
    assert found.cost == Cost(
        total=Decimal("0.0000039"),
        reported=Decimal("0.0000039"),
        source="provider",
        is_byok=False,
    )
    assert found.reasoning is None
    assert found.refusal is None
    assert found.tool_calls == ()


def test_the_generation_header_is_the_id_when_the_body_has_none() -> None:
    found = read(answer(id=None, provider=None), headers={"x-generation-id": "gen-2"})
    assert (found.response_id, found.upstream_provider) == ("gen-2", None)


# --- text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        (["a", {"text": "b"}, {"type": "output_text", "text": "c"}, {"type": "other"}, 7], "abc"),
        ([{"type": {}, "text": "a"}, {"type": [], "text": "b"}, {"text": 7}], ""),
        ("\ud83d\ude00", "😀"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_text_is_read_from_a_string_or_from_parts(content: Any, text: str) -> None:
    assert read(answer({"content": content})).text == text


def test_stop_without_content_is_an_answer_of_no_words() -> None:
    assert read(answer({"content": None}, usage=usage_with(completion_tokens=0))).text == ""


def test_reasoning_is_the_messages_own_and_never_rebuilt_from_details() -> None:
    details = [
        {"type": "reasoning.text", "text": "why", "signature": "s", "index": 0, "score": 0.5}
    ]
    found = read(answer({"reasoning": None, "reasoning_details": details}))
    assert found.reasoning is None
    assert list(found.reasoning_details) == details
    assert json.dumps(found.reasoning_details)


def test_reasoning_is_also_known_as_reasoning_content() -> None:
    assert read(answer({"reasoning_content": "thought"})).reasoning == "thought"
    assert read(answer({"reasoning": "own", "reasoning_content": "x"})).reasoning == "own"


def test_a_refusal_is_an_answer() -> None:
    found = read(answer({"content": None, "refusal": "I cannot."}))
    assert (found.text, found.refusal, found.finish_reason) == ("", "I cannot.", "stop")


# --- tool calls -----------------------------------------------------------------------------


def test_a_tool_call_without_arguments_calls_with_none() -> None:
    found = read(answer({"tool_calls": [call(...)]}, "tool_calls", "tool_calls"))
    assert found.tool_calls == (
        ToolCall(id="call_1", name="add", arguments={}, raw_arguments="", complete=True),
    )


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        ('{"a": 1.5, "b": [true]}', {"a": 1.5, "b": [True]}),
        ('{"a":1}{"a":2}', None),
        ('{"a": "cut of', None),
        ("[1]", None),
        ("7", None),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ('{"a":' * 500 + "1" + "}" * 500, None),
        ('{"a":' * 5000 + "1" + "}" * 5000, None),
        (r'{"a": "\ud83d"}', {"a": "\ufffd"}),
    ],
)
def test_unreadable_arguments_are_none_and_the_call_stays_complete(
    raw: str, arguments: dict[str, Any] | None
) -> None:
    (found,) = read(answer({"tool_calls": [call(raw)]}, "tool_calls", "tool_calls")).tool_calls
    assert (found.arguments, found.raw_arguments, found.complete) == (arguments, raw, True)


def test_arguments_sent_as_an_object_are_kept_as_json() -> None:
    (found,) = read(answer({"tool_calls": [call({"a": 0.5})]}, "tool_calls")).tool_calls
    assert (found.arguments, found.raw_arguments) == ({"a": 0.5}, '{"a": 0.5}')


@pytest.mark.parametrize("native", ["max_output_tokens", "length", "MAX_TOKENS", "max_tokens"])
def test_a_call_cut_by_length_is_not_complete_when_the_wire_says_tool_calls(native: str) -> None:
    found = read(answer({"tool_calls": [call('{"a')]}, "tool_calls", native))
    assert found.finish_reason == "length"
    assert not found.tool_calls[0].complete


def test_tool_calls_come_also_under_stop() -> None:
    found = read(answer({"content": None, "tool_calls": [call()]}, "stop", "stop"))
    assert (found.finish_reason, len(found.tool_calls)) == ("stop", 1)


# --- citations, files, images, audio, logprobs ---------------------------------------------


def test_citations_files_and_sources_are_kept() -> None:
    cited = {"url": "https://a", "title": "A", "start_index": 0, "end_index": 5}
    notes = [
        {"type": "url_citation", "url_citation": cited},
        {"type": "file", "file": {"hash": "h", "content": [{"type": "text", "text": "t"}]}},
        {"type": "url_citation", "url_citation": {"title": "without a url"}},
    ]
    sources = ["https://a", "https://b", {"url": "https://c", "title": "C"}, 7, None]
    found = read(answer({"annotations": notes}, citations=sources))
    assert list(found.annotations) == notes
    assert found.citations == (
        Citation(url="https://a", title="A", start_index=0, end_index=5),
        Citation(url="https://b"),
        Citation(url="https://c", title="C"),
    )


def test_images_and_audio_are_read() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    audio = {"id": "a1", "data": "AAAA", "transcript": "hi", "expires_at": 5}
    found = read(answer({"content": None, "images": [image, {}, 7], "audio": audio}))
    assert found.images == (Image(url="data:image/png;base64,AAAA"),)
    assert found.audio == Audio(id="a1", data="AAAA", transcript="hi", expires_at=5)


def test_audio_alone_is_an_answer() -> None:
    body = answer({"content": None, "audio": {"id": "a1", "data": "AA=="}}, None, None, usage=None)
    assert read(body).audio == Audio(id="a1", data="AA==")


def test_an_image_among_the_parts_of_the_content_counts() -> None:
    part = {"type": "image_url", "image_url": "https://img"}
    assert read(answer({"content": [part]})).images == (Image(url="https://img"),)


def test_log_probabilities_are_floats() -> None:
    sent = {"content": [{"token": "c", "logprob": -3.5e-05, "bytes": [99]}], "refusal": None}
    found = read(answer(choice={"logprobs": sent})).logprobs
    assert found == sent
    assert type(found["content"][0]["logprob"]) is float
    assert json.dumps(found) == json.dumps(sent)


# --- finish ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "native", "expected"),
    [
        ("stop", "end_turn", "stop"),
        ("end_turn", None, "stop"),
        ("stop_sequence", None, "stop"),
        ("length", "length", "length"),
        ("max_tokens", None, "length"),
        ("stop", "MAX_TOKENS", "length"),
        (None, "length", "length"),
        ("content_filter", "max_tokens", "content_filter"),
        ("tool_calls", "STOP", "tool_calls"),
        (None, None, "unknown"),
        ("something new", "something new", "unknown"),
        (5, 7, "unknown"),
    ],
)
def test_finish_reasons_are_mapped(finish: Any, native: Any, expected: str) -> None:
    found = read(answer({}, finish, native))
    assert found.finish_reason == expected
    assert found.native_finish_reason == (native if isinstance(native, str) else None)


# --- usage and cost -------------------------------------------------------------------------


HUGE = ["1e400", "1e99999999999999999999", "9" * 400]


def body_with_usage(text: str) -> bytes:
    return answer(usage="USAGE").replace(b'"USAGE"', text.encode())


def test_money_is_the_decimal_of_the_bytes() -> None:
    found = read(body_with_usage('{"cost": 0.0076509169000000005, "prompt_tokens": 2317}'))
    assert found.cost.total == Decimal("0.0076509169000000005")
    assert found.cost.source == "provider"
    assert found.cost.is_byok is None
    assert found.usage == Usage(input_tokens=2317)


def test_a_free_model_costs_zero() -> None:
    assert read(answer(usage=usage_with(cost=0))).cost.total == Decimal(0)


def test_an_absent_cost_is_unknown_and_not_zero() -> None:
    bare = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": None}
    found = read(answer(usage=bare))
    assert found.cost == Cost()
    assert found.cost.source == "unknown"
    assert found.usage == Usage(input_tokens=10, output_tokens=4)


def test_own_keys_pay_the_fee_and_the_upstream() -> None:
    details = {"upstream_inference_cost": 0.0003253}
    found = read(answer(usage=usage_with(cost=0, is_byok=True, cost_details=details))).cost
    assert (found.reported, found.upstream) == (Decimal(0), Decimal("0.0003253"))
    assert (found.total, found.is_byok) == (Decimal("0.0003253"), True)


def test_own_keys_without_the_upstreams_bill_make_the_total_unknown() -> None:
    found = read(answer(usage=usage_with(cost=0, is_byok=True, cost_details=None))).cost
    assert (found.total, found.reported, found.source) == (None, Decimal(0), "unknown")


@pytest.mark.parametrize(
    "figure",
    [
        "-1",
        "true",
        '"12"',
        "[]",
        "{}",
        "null",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "1.5",
        "1e99999999999999999999",
        "9" * 400,
    ],
)
def test_a_count_that_cannot_be_one_is_not_believed(figure: str) -> None:
    found = read(body_with_usage(f'{{"prompt_tokens": {figure}, "completion_tokens": 4}}'))
    assert found.usage == Usage(output_tokens=4)


@pytest.mark.parametrize(
    "figure",
    [
        "-0.1",
        "true",
        '"0.1"',
        "[]",
        "null",
        "NaN",
        "Infinity",
        "1e30",
        "1e-300",
        "9" * 400,
        "1e99999999999999999999",
        "-1",
    ],
)
def test_a_cost_that_cannot_be_one_is_not_believed(figure: str) -> None:
    assert read(body_with_usage(f'{{"cost": {figure}}}')).cost == Cost()


def test_a_count_written_as_a_float_is_the_count() -> None:
    assert read(body_with_usage('{"prompt_tokens": 10.0}')).usage == Usage(input_tokens=10)


@pytest.mark.parametrize("usage", [None, [], "x", 7])
def test_usage_of_the_wrong_kind_is_unknown(usage: Any) -> None:
    found = read(answer(usage=usage))
    assert (found.usage, found.cost) == (Usage(), Cost())
