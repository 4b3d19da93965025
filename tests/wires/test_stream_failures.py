"""Streams that fail, are cut, or are no streams; and the laws of cutting."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.errors import (
    EmptyResponseError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.wires import sse
from tests.wires.wire_bodies import (
    BILL,
    DONE,
    HEAD,
    USAGE,
    WAITING,
    WIRE,
    answer,
    broken,
    call_delta,
    chunk,
    event,
    play,
)

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
    assert error.response_id == "gen-1-abc"
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
    reader = WIRE.reader({})
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
    reader = WIRE.reader({})
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
        reader = WIRE.reader({})
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
