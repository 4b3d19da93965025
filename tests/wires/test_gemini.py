"""Google's wire: each rule of it, on a body written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Audio, Citation, Completion
from llm_router.answers.stream_events import (
    AudioDelta,
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
)
from llm_router.usage import Cost, Usage
from llm_router.wires.gemini import GeminiWire
from tests.pace import cpu_seconds
from tests.wires import wire_bodies
from tests.wires.mutations import damaged, verdict
from tests.wires.wire_bodies import event

WIRE = GeminiWire(clock=lambda: wire_bodies.NOW)
COUNTS = {
    "promptTokenCount": 30,
    "toolUsePromptTokenCount": 400,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 60,
    "totalTokenCount": 495,
    "serviceTier": "standard",
}
USAGE = Usage(
    input_tokens=430,
    output_tokens=65,
    total_tokens=495,
    cache_read_tokens=20,
    reasoning_tokens=60,
)
HEAD = {"modelVersion": "gemini-x", "responseId": "r1", "usageMetadata": COUNTS}
HELLO = {"text": "Hello!"}
THOUGHT = {"text": "Hm.", "thought": True}
CALL = {"functionCall": {"name": "add", "args": {"x": 6, "y": 8}}}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
RAN = {"executableCode": {"language": "PYTHON", "code": "1 + 1"}}
GROUNDING = {
    "webSearchQueries": ["q"],
    "groundingChunks": [
        {"web": {"uri": "https://example.com/a", "title": "A"}},
        {"retrievedContext": {"uri": "gs://b/c", "title": "C", "text": "so it says"}},
        {"web": {"title": "no address"}},
    ],
}
RECITED = {"citationSources": [{"uri": "https://example.com/b", "startIndex": 1, "endIndex": 2}]}
BLOCKED = {
    "blockReason": "SAFETY",
    "safetyRatings": [
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True},
        {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "NEGLIGIBLE"},
    ],
}


def answer(*parts: Mapping[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """Return an answer, or an event of a stream; *more* are fields of its candidate."""
    ended = {} if finish is None else {"finishReason": finish}
    said = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return HEAD | {"candidates": [said | ended | more]}


def body(*parts: Mapping[str, Any], finish: str | None = "STOP", **more: Any) -> bytes:
    return json.dumps(answer(*parts, finish=finish, **more)).encode()


def chunk(*parts: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return event(answer(*parts, finish=finish, **more))


def signature(said: str, **place: Any) -> dict[str, Any]:
    return {"type": "signature", "format": "gemini", "signature": said, **place}


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
    timed = answer(THOUGHT, HELLO, {"text": " Bye."}) | {"createTime": "2026-11-24T10:00:00.1Z"}
    found = read(json.dumps(timed).encode())
    assert (found.text, found.reasoning, found.refusal) == ("Hello! Bye.", "Hm.", None)
    assert (found.response_id, found.model, found.service_tier) == ("r1", "gemini-x", "standard")
    assert (found.finish_reason, found.native_finish_reason) == ("stop", "STOP")
    assert (found.usage, found.cost, found.created) == (USAGE, Cost(), 1795514400)
    assert found.reasoning_details == ()


def test_a_call_has_its_arguments_as_json_in_the_wires_order_and_numbers() -> None:
    odd = b'{"z": 1.50, "a": [1E2, null, "\\u00e9"], "m": {}}'
    call = {"functionCall": {"id": "c1", "name": "add", "args": "HERE"}}
    found = read(body(call).replace(b'"HERE"', odd))
    (said,) = found.tool_calls
    assert (said.id, said.name, said.complete) == ("c1", "add", True)
    assert said.raw_arguments == '{"z": 1.50, "a": [1E+2, null, "é"], "m": {}}'
    assert said.arguments == {"z": 1.5, "a": [100.0, None, "é"], "m": {}}
    assert (found.finish_reason, found.native_finish_reason) == ("tool_calls", "STOP")


def test_a_call_without_arguments_has_none_and_one_without_id_has_none() -> None:
    (said,) = read(body({"functionCall": {"name": "now"}})).tool_calls
    assert (said.id, said.raw_arguments, said.arguments) == (None, "", {})


def test_a_call_cut_by_the_length_is_not_complete() -> None:
    found = read(body(CALL, finish="MAX_TOKENS"))
    assert (found.finish_reason, found.tool_calls[0].complete) == ("length", False)


def test_a_call_is_complete_once_its_answer_is() -> None:
    assert read(body(CALL, finish=None)).tool_calls[0].complete
    reader = WIRE.reader({})
    for packet, complete in ((chunk(CALL), False), (chunk(finish="STOP"), True)):
        reader.feed(packet)
        assert reader.snapshot().tool_calls[0].complete is complete


def test_signatures_go_back_each_with_the_part_it_belongs_to() -> None:
    parts: list[dict[str, Any]] = [THOUGHT, HELLO, CALL, CALL, IMAGE, RAN, {"text": ""}]
    signed = ({**part, "thoughtSignature": f"s{n}"} for n, part in enumerate(parts))
    found = read(body(THOUGHT, CALL, *signed))
    assert found.as_message()["reasoning_details"] == [
        signature("s0", reasoning=[3, 6]),
        signature("s1", text=[0, 6]),
        signature("s2", tool_call=1),
        signature("s3", tool_call=2),
        signature("s4", image=0),
        {"type": "part", "format": "gemini", "part": RAN | {"thoughtSignature": "s5"}},
        signature("s6", text=[6, 6]),
    ]
    assert found.reasoning == "Hm.Hm."


def test_code_that_google_ran_goes_back_and_is_neither_text_nor_a_call() -> None:
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
    found = read(body(RAN, result, HELLO, {}))
    assert (found.text, found.tool_calls) == ("Hello!", ())
    assert [detail["part"] for detail in found.reasoning_details] == [RAN, result]


def test_images_and_speech_are_read_and_drafts_of_images_are_not_the_answer() -> None:
    draft = {"inlineData": {"mimeType": "image/png", "data": "BB=="}, "thought": True}
    speech = {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "CCCC"}}
    found = read(body(draft, IMAGE, speech))
    assert [image.url for image in found.images] == ["data:image/png;base64,AA=="]
    assert found.audio == Audio(data="CCCC")


def test_sources_are_cited_once_and_all_that_was_said_of_them_is_kept() -> None:
    pages = {"urlMetadata": [{"retrievedUrl": "https://example.com/a"}]}
    found = read(
        body(HELLO, groundingMetadata=GROUNDING, citationMetadata=RECITED, urlContextMetadata=pages)
    )
    assert found.citations == (
        Citation(url="https://example.com/a", title="A"),
        Citation(url="gs://b/c", title="C", content="so it says"),
        Citation(url="https://example.com/b"),
    )
    assert found.annotations == (
        {"type": "groundingMetadata", **GROUNDING},
        {"type": "citationMetadata", **RECITED},
        {"type": "urlContextMetadata", **pages},
    )


def test_log_probabilities_are_as_sent() -> None:
    said = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]}
    assert read(body(HELLO, logprobsResult=said)).logprobs == said


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *((word, "content_filter") for word in (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
            "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
        )),
        ("MALFORMED_FUNCTION_CALL", "unknown"),
        ("OTHER", "unknown"),
        (None, "unknown"),
    ],
)  # fmt: skip
def test_a_finish_reason_is_read(native: str | None, expected: str) -> None:
    found = read(body(HELLO, finish=native))
    assert (found.finish_reason, found.native_finish_reason) == (expected, native)


def test_only_stop_with_calls_is_tool_calls() -> None:
    assert read(body(CALL, finish="SAFETY")).finish_reason == "content_filter"
    assert read(body(CALL, finish="OTHER")).finish_reason == "unknown"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"promptTokenCount": 4, "thoughtsTokenCount": 9, "totalTokenCount": 13},
         Usage(input_tokens=4, output_tokens=9, total_tokens=13, reasoning_tokens=9)),
        ({"promptTokenCount": 0, "candidatesTokenCount": 0},
         Usage(input_tokens=0, output_tokens=0)),
        ({"promptTokenCount": -1, "candidatesTokenCount": "5"}, Usage()),
        (None, Usage()),
    ],
)  # fmt: skip
def test_what_the_usage_does_not_say_is_unknown(report: Any, expected: Usage) -> None:
    assert read(json.dumps(answer(HELLO) | {"usageMetadata": report}).encode()).usage == expected


COUNT = st.one_of(st.none(), st.integers(-2, 10**13), st.floats(), st.text(max_size=3))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(list(COUNTS)[:6], COUNT)))
def test_every_figure_is_the_wires_or_a_sum_of_the_wires_or_unknown(report: dict[str, Any]) -> None:
    usage = read(json.dumps(answer(HELLO) | {"usageMetadata": report}).encode()).usage
    figures = {name: report.get(name) for name in COUNTS}
    known = [n for n in figures.values() if isinstance(n, int | float) and n >= 0]
    sums = {0, *known, *(a + b for a in known for b in known)}
    assert all(figure is None or figure in sums for figure in usage.to_dict().values())
    for figure, first, second in (
        (usage.input_tokens, "promptTokenCount", "toolUsePromptTokenCount"),
        (usage.output_tokens, "candidatesTokenCount", "thoughtsTokenCount"),
    ):
        if figures[first] is None is figures[second]:
            assert figure is None


def test_names_that_are_no_text_are_unknown() -> None:
    odd: dict[str, Any] = dict.fromkeys(("modelVersion", "responseId", "createTime"), 7)
    found = read(json.dumps(answer(HELLO) | odd | {"usageMetadata": {"serviceTier": {}}}).encode())
    assert (found.model, found.response_id, found.created, found.service_tier) == (None,) * 4


# --- not an answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b" \n ", ProviderConnectionError, "broke before the answer came"),
        (b"<html><title>Gateway</title></html>", InvalidResponseError, "web page (Gateway)"),
        (b'{"candidates": [', InvalidResponseError, "not readable JSON"),
        (b"[]", InvalidResponseError, "not a JSON object"),
        (b'{"choices": []}', InvalidResponseError, "has no candidates"),
        (json.dumps(answer() | {"candidates": [{"content": {"parts": {}}}]}).encode(),
         InvalidResponseError, "parts are not a list"),
        (body({"functionCall": {"name": "f", "args": "HERE"}}).replace(
            b'"HERE"', b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}"),
         InvalidResponseError, "nested too deeply"),
        (json.dumps(HEAD).encode(), EmptyResponseError, "no candidates"),
        (json.dumps(HEAD | {"candidates": []}).encode(), EmptyResponseError, "no candidates"),
        (b'{"candidates": [{"content": {}}]}', EmptyResponseError, "no content was generated"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = failure(said)
    assert type(error) is kind
    assert sentence in error.message


def test_an_answer_without_candidates_keeps_its_bill() -> None:
    error = failure(json.dumps(HEAD).encode())
    assert (error.usage, error.response_id, error.status_code) == (USAGE, "r1", 200)


def test_an_answer_without_words_that_ended_is_an_answer() -> None:
    assert read(b'{"candidates": [{"finishReason": "SAFETY"}]}').finish_reason == "content_filter"


@pytest.mark.parametrize("usage", [{"usageMetadata": COUNTS}, {}])
def test_a_blocked_prompt_is_an_error_in_a_body_and_in_a_stream(usage: dict[str, Any]) -> None:
    said = {"promptFeedback": BLOCKED, "modelVersion": "gemini-x", "responseId": "r1"} | usage
    for error in (failure(json.dumps(said).encode()), broken(event(said))):
        assert isinstance(error, ContentFilteredError)
        assert error.message == "The prompt was blocked: SAFETY"
        assert (error.code, error.status_code, error.response_id) == ("SAFETY", 200, "r1")
        assert error.reasons == ("HARM_CATEGORY_HARASSMENT",)
        assert error.usage == (USAGE if usage else None)


def test_a_blocked_prompt_says_why_in_vertex_ais_sentence() -> None:
    feedback = {"blockReason": "OTHER", "blockReasonMessage": "Terms of use."}
    error = failure(json.dumps({"promptFeedback": feedback}).encode())
    assert isinstance(error, ContentFilteredError)
    assert (error.message, error.code, error.reasons) == ("Terms of use.", "OTHER", ("OTHER",))


def test_feedback_on_a_prompt_that_was_answered_is_no_error() -> None:
    assert read(json.dumps(answer(HELLO) | {"promptFeedback": BLOCKED}).encode()).text == "Hello!"


# --- errors ---------------------------------------------------------------------------------


def google_error(code: int | None, message: str, status: str, *details: Mapping[str, Any]) -> bytes:
    said = {"code": code, "message": message, "status": status, "details": list(details)}
    return json.dumps({"error": {k: v for k, v in said.items() if v is not None}}).encode()


INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
STATUSES: list[tuple[str, int, type[ProviderError]]] = [
    ("INVALID_ARGUMENT", 400, InvalidRequestError),
    ("FAILED_PRECONDITION", 400, InvalidRequestError),
    ("UNAUTHENTICATED", 401, AuthenticationError),
    ("PERMISSION_DENIED", 403, PermissionDeniedError),
    ("NOT_FOUND", 404, ModelNotFoundError),
    ("RESOURCE_EXHAUSTED", 429, RateLimitError),
    ("CANCELLED", 499, ProviderUnavailableError),
    ("INTERNAL", 500, ProviderUnavailableError),
    ("UNAVAILABLE", 503, ProviderUnavailableError),
    ("DEADLINE_EXCEEDED", 504, ProviderTimeoutError),
]


@pytest.mark.parametrize(("word", "status", "expected"), STATUSES)
def test_an_error_means_the_same_as_a_status_in_a_body_and_in_a_stream(
    word: str, status: int, expected: type[ProviderError]
) -> None:
    said = google_error(status, "So it is.", word)
    bare = b'data: {"usageMetadata": {}}\n\n' + said.replace(b", ", b",\n  ") + b"\n"
    for error in (
        failure(said, status),
        failure(b"[" + said + b"\n]", status),
        failure(said),
        broken(b"data: " + said + b"\n\n"),
        broken(said),
        broken(b"[" + said + b"]"),
        broken(bare),
    ):
        assert type(error) is expected
        assert (error.status_code, error.code, error.message) == (status, word, "So it is.")
    assert type(failure(google_error(None, "So it is.", word))) is expected


@pytest.mark.parametrize(
    ("status", "sentence", "expected"),
    [
        (400, "API key not valid. Please pass a valid API key.", AuthenticationError),
        (400, "API key expired. Please renew the API key.", AuthenticationError),
        (403, "Your API key was reported as leaked.", AuthenticationError),
        (403, "Method doesn't allow unregistered callers", AuthenticationError),
        (400, "User location is not supported for the API use.", PermissionDeniedError),
        (403, "This API method requires you to enable billing on project 1",
         InsufficientCreditsError),
        (429, "Your prepayment credits are depleted.", InsufficientCreditsError),
        (429, "You exceeded your current quota, please check your plan and billing details.",
         RateLimitError),
        (400, "The input token count (1200) exceeds the maximum number of tokens allowed (1000).",
         ContextWindowExceededError),
        (400, "Unable to submit request because the input token count is 1200 but model only "
         "supports up to 1000.", ContextWindowExceededError),
        (400, "The prompt contains words that violate Google's Responsible AI practices.",
         ContentFilteredError),
        (400, "Unable to submit request because it has a maxOutputTokens value of 9 but the "
         "supported range is from 1", InvalidRequestError),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_apart_by_its_sentence(
    status: int, sentence: str, expected: type[ProviderError]
) -> None:
    error = failure(google_error(status, sentence, "INVALID_ARGUMENT"), status)
    assert type(error) is expected
    assert error.message == sentence
    if isinstance(error, ContextWindowExceededError):
        assert (error.limit_tokens, error.requested_tokens) == (1000, 1200)


def test_the_reason_in_the_details_is_the_code_and_tells_what_it_is() -> None:
    error = failure(google_error(400, "So it is.", "INVALID_ARGUMENT", INFO), 400)
    assert (type(error), error.code) == (AuthenticationError, "API_KEY_INVALID")


def test_a_quota_says_how_long_to_wait_in_its_details() -> None:
    details = ({"@type": "…QuotaFailure"}, RETRY)
    error = failure(google_error(429, "Quota.", "RESOURCE_EXHAUSTED", *details), 429)
    assert error.retry_after == 34.5
    headers = {"Retry-After": "7"}
    error = failure(google_error(429, "Quota.", "RESOURCE_EXHAUSTED", RETRY), 429, headers)
    assert error.retry_after == 7


def test_a_sentence_that_says_nothing_is_followed_by_what_google_adds_to_it() -> None:
    detail = {"@type": "…DebugInfo", "detail": "User location is not supported for the API use."}
    error = failure(google_error(400, "$grpcMessage", "FAILED_PRECONDITION", detail), 400)
    assert (type(error), error.message) == (PermissionDeniedError, "$grpcMessage")
    assert "User location is not supported" in str(error)


# --- streams --------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_unstreamed() -> None:
    signed = CALL | {"thoughtSignature": "s1"}
    streamed, events = play(
        chunk(THOUGHT | {"text": "H"}),
        chunk(THOUGHT | {"text": "m."}, {"text": "Hel"}),
        chunk({"text": "lo!"}),
        chunk(signed, IMAGE),
        chunk({"text": "", "thoughtSignature": "s2"}, finish="STOP", groundingMetadata=GROUNDING),
    )
    parts = (THOUGHT, HELLO, signed, IMAGE, {"text": "", "thoughtSignature": "s2"})
    assert streamed == read(body(*parts, groundingMetadata=GROUNDING))
    assert events == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        TextDelta("Hel"),
        TextDelta("lo!"),
        ToolCallDelta(0, '{"x": 6, "y": 8}', None, "add"),
        ReasoningDelta("", (signature("s1", tool_call=0),)),
        ImageDelta(streamed.images[0]),
        ReasoningDelta("", (signature("s2", text=[6, 6]),)),
        *map(CitationDelta, streamed.citations),
        Finish("tool_calls", "STOP"),
        UsageReport(USAGE, Cost()),
    ]


def test_speech_comes_in_pieces() -> None:
    packets = [chunk({"inlineData": {"mimeType": "audio/wav", "data": d}}) for d in ("AA==", "BB")]
    streamed, events = play(*packets, chunk(finish="STOP"))
    assert events[:2] == [AudioDelta("AA=="), AudioDelta("BB")]
    assert streamed.audio is not None


def test_the_last_word_on_the_usage_counts_and_what_it_leaves_out_stays() -> None:
    first, last = {"promptTokenCount": 5, "totalTokenCount": 5}, {"trafficType": "ON_DEMAND"}
    middle = {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}
    said = [event(answer(HELLO, finish=None) | {"usageMetadata": u}) for u in (first, middle)]
    found = play(*said, event(answer(finish="STOP") | {"usageMetadata": last}))[0].usage
    assert found == Usage(input_tokens=7, output_tokens=2, total_tokens=9)


def test_sources_that_are_said_again_are_told_once() -> None:
    again = [chunk(HELLO, groundingMetadata=GROUNDING) for _ in range(3)]
    streamed, events = play(*again, chunk(finish="STOP"))
    assert len(streamed.annotations) == 1
    assert len([one for one in events if isinstance(one, CitationDelta)]) == 2


def test_other_candidates_are_passed_over() -> None:
    other = event(HEAD | {"candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}}]})
    assert play(chunk(HELLO), other, chunk(finish="STOP"))[0].text == "Hello!"


@pytest.mark.parametrize(
    "ending",
    [
        (chunk(HELLO, finish="STOP"),),
        (chunk(HELLO, finish="STOP").rstrip(),),
        (chunk(HELLO), chunk(finish="STOP"), event(HEAD)),
        (chunk(HELLO, finish="STOP"), b"data: [DONE]\n\n"),
        (chunk(HELLO, finish="STOP").replace(b"\n", b"\r\n"),),
    ],
)
def test_a_finish_reason_makes_it_whole(ending: tuple[bytes, ...]) -> None:
    streamed, events = play(*ending)
    assert streamed == read(body(HELLO))
    assert [type(found) for found in events] == [TextDelta, Finish, UsageReport]


@pytest.mark.parametrize(
    "packets",
    [
        (chunk(HELLO),),
        (chunk(CALL),),
        (chunk(HELLO), b"data: [DONE]\n\n"),
        (chunk(HELLO), chunk(finish="STOP")[:-30]),
        (chunk(HELLO), b'{\n  "error": {\n    "code": 5'),
    ],
)
def test_a_stream_that_was_cut_is_never_whole(packets: tuple[bytes, ...]) -> None:
    error = broken(*packets)
    assert type(error) is ProviderConnectionError
    assert (error.response_id, error.usage) == ("r1", USAGE)


def test_an_error_in_mid_stream_keeps_what_came_and_what_it_cost() -> None:
    reader = WIRE.reader({})
    reader.feed(chunk(HELLO, CALL))
    reader.feed(b"data: " + google_error(503, "Overloaded.", "UNAVAILABLE") + b"\n\n")
    reader.feed(chunk({"text": "late"}, finish="STOP"))
    with pytest.raises(ProviderUnavailableError) as caught:
        reader.close()
    assert (caught.value.status_code, caught.value.response_id) == (503, "r1")
    assert (caught.value.usage, caught.value.cost) == (USAGE, Cost())
    found = reader.snapshot()
    assert (found.text, found.tool_calls[0].complete) == ("Hello!", False)


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (b"", InvalidResponseError, "not one byte"),
        (b": ping\n\n", ProviderConnectionError, "before its first event"),
        (body(HELLO), InvalidResponseError, "not the stream that was asked for"),
        (b"[" + body(HELLO) + b"]", InvalidResponseError, "not the stream that was asked for"),
        (b"<h1>No</h1>", InvalidResponseError, "web page (No)"),
        (b'{"promptFeedback": {"blockReason": "SAFETY", "a": ' + b"[" * 200 + b"]" * 200 + b"}}",
         ProviderUnavailableError, "nested too deeply"),
        (chunk(HELLO) + b"data: {broken\n\n" + chunk(finish="STOP"),
         InvalidResponseError, "not readable JSON"),
        (chunk(HELLO) + event([1]), InvalidResponseError, "not a JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_an_error(
    said: bytes, kind: type[ProviderError], sentence: str
) -> None:
    error = broken(said)
    assert type(error) is kind
    assert sentence in error.message


def test_a_character_split_over_two_events_is_one_character_and_counted_so() -> None:
    signed = {"text": "\ude00b", "thoughtSignature": "s"}
    streamed, events = play(chunk({"text": "a\ud83d"}), chunk(signed, finish="STOP"))
    assert streamed.text == "a😀b"
    assert "".join(found.text for found in events if isinstance(found, TextDelta)) == "a😀b"
    assert streamed.reasoning_details == (signature("s", text=[1, 3]),)


# --- bounds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        chunk({"text": "x", "thoughtSignature": "s"}),
        chunk(CALL | {"thoughtSignature": "s"}),
        chunk(RAN),
        chunk(IMAGE),
        chunk(groundingMetadata=GROUNDING),
        event({"usageMetadata": COUNTS}),
    ],
    ids=["texts", "calls", "parts", "images", "sources", "usage"],
)
def test_thousands_of_events_are_collected_in_linear_time(packet: bytes) -> None:
    work = cpu_seconds(lambda: play(packet * 4_000, chunk(HELLO, finish="STOP")))
    assert work < 2


def test_thousands_of_different_sources_are_collected_in_linear_time() -> None:
    chunks = [{"groundingChunks": [{"web": {"uri": f"https://e/{n}"}}]} for n in range(4_000)]
    packets = [chunk(groundingMetadata=said) for said in chunks]
    assert cpu_seconds(lambda: play(*packets, chunk(finish="STOP"))) < 2


SEEDS = [
    body(THOUGHT, HELLO, CALL | {"thoughtSignature": "s"}, IMAGE, RAN, groundingMetadata=GROUNDING),
    json.dumps(HEAD | {"promptFeedback": BLOCKED}).encode(),
    google_error(429, "Quota.", "RESOURCE_EXHAUSTED", RETRY, INFO),
    chunk(THOUGHT, CALL | {"thoughtSignature": "s"}) + chunk({"text": "a\ud83d"})
    + chunk(IMAGE, citationMetadata=RECITED) + chunk({"text": "\ude00"}, finish="STOP"),
    chunk(HELLO) + google_error(503, "Overloaded.", "UNAVAILABLE"),
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
