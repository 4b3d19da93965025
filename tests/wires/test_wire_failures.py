"""Bodies under a 200 that are no answer, or hold an error."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.wires.json_values import mend
from tests.wires.wire_bodies import HEAD, USAGE, answer, failure, read


def call(arguments: Any = "{}") -> dict[str, Any]:
    return {"id": "call_1", "function": {"name": "add", "arguments": arguments}}


# --- what is no answer ----------------------------------------------------------------------


def test_keep_alive_padding_before_the_answer_is_left_out() -> None:
    padding = b"\n         \n" * 300
    assert read(padding + answer() + b"\n").text == "Hello!"
    assert read(b"\xef\xbb\xbf" + answer()).text == "Hello!"


def test_padding_alone_is_a_cut_connection() -> None:
    assert isinstance(failure(b"\n         \n" * 3), ProviderConnectionError)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not one byte"),
        (answer()[:-20], "not readable JSON"),
        (answer() + b"{}", "more after its JSON"),
        (b'{"choices": "\xff"}', "not readable JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "no choices"),
        (b'{"choices": null}', "no choices"),
        (b'{"choices": [7]}', "choice without a message"),
        (b'{"choices": [{"message": null}]}', "choice without a message"),
        (answer({"content": 42}), "neither text nor"),
        (answer({"tool_calls": "x"}), "tool calls"),
        (answer({"tool_calls": [1]}), "tool calls"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"created": ' + b"9" * 5000 + b"}", "not readable JSON"),
        (
            answer({"annotations": ["X"]}).replace(b'"X"', b'{"a":' * 300 + b"1" + b"}" * 300),
            "nested too deeply",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_an_invalid_response(body: bytes, words: str) -> None:
    error = failure(body)
    assert type(error) is InvalidResponseError
    assert words in str(error)
    assert error.status_code == 200


def test_a_web_page_under_200_is_named_by_its_title() -> None:
    error = failure(b"\n<html><head><title>Just a  moment</title></head></html>")
    assert type(error) is InvalidResponseError
    assert "Just a moment" in str(error)


def test_no_choices_is_an_empty_response_with_its_bill() -> None:
    error = failure(json.dumps(HEAD | {"choices": [], "usage": USAGE}).encode())
    assert type(error) is EmptyResponseError
    assert error.usage is not None
    assert error.cost is not None
    assert (error.usage.input_tokens, error.cost.total) == (10, Decimal("0.0000039"))
    assert (error.response_id, error.upstream_provider) == ("gen-1-abc", "Azure")


@pytest.mark.parametrize("tokens", [0, None])
def test_nothing_said_and_nothing_finished_is_an_empty_response(tokens: int | None) -> None:
    error = failure(answer({"content": ""}, None, None, usage={"completion_tokens": tokens}))
    assert type(error) is EmptyResponseError


@pytest.mark.parametrize(
    ("message", "finish", "usage"),
    [
        ({"content": "x"}, None, None),
        ({"content": "", "reasoning": "x"}, None, None),
        ({"content": "", "refusal": "x"}, None, None),
        ({"content": "", "tool_calls": [call()]}, None, None),
        ({"content": "", "images": [{"image_url": {"url": "u"}}]}, None, None),
        ({"content": "", "audio": {"data": "AA=="}}, None, None),
        ({"content": ""}, "stop", None),
        ({"content": ""}, None, {"completion_tokens": 7}),
    ],
)
def test_one_sign_of_life_makes_it_an_answer(message: Any, finish: Any, usage: Any) -> None:
    assert read(answer(message, finish, None, usage=usage)).response_id == "gen-1-abc"


# --- errors inside a 200 --------------------------------------------------------------------


def test_an_error_at_the_top_of_a_200_is_that_error() -> None:
    told = {"code": 429, "message": "slow", "metadata": {"provider_name": "Chutes"}}
    error = failure(json.dumps({"error": told, "user_id": "user_abcdefgh"}).encode())
    assert type(error) is RateLimitError
    assert (error.status_code, error.message) == (429, "slow")
    assert error.upstream_provider == "Chutes"


@pytest.mark.parametrize("finish", ["tool_calls", None, "error", "stop"])
def test_an_error_of_a_choice_is_an_error_with_its_bill(finish: str | None) -> None:
    told = {"code": 502, "message": "broke", "metadata": {"raw": {"retryable": True}}}
    error = failure(answer({}, finish, choice={"error": told}))
    assert type(error) is ProviderUnavailableError
    assert (error.status_code, error.upstream_message) == (502, None)
    assert (error.upstream_provider, error.response_id) == ("Azure", "gen-1-abc")
    assert error.cost is not None
    assert error.cost.total == Decimal("0.0000039")
    assert error.raw == told


def test_a_finish_of_error_without_an_error_object_is_an_error() -> None:
    error = failure(answer({}, "error", "MALFORMED_FUNCTION_CALL"))
    assert type(error) is ProviderUnavailableError
    assert "MALFORMED_FUNCTION_CALL" in str(error)


@pytest.mark.parametrize("told", ["", {}, "it broke", 7, [], {"code": "server_error"}])
def test_an_error_of_any_shape_is_an_error(told: Any) -> None:
    for body in (answer(error=told), answer(choice={"error": told})):
        assert isinstance(failure(body), ProviderUnavailableError)


def test_a_null_error_is_none() -> None:
    assert read(answer(error=None, choice={"error": None})).text == "Hello!"


@given(st.text(alphabet=st.characters(min_codepoint=0xD700, max_codepoint=0xE100)))
def test_mended_text_can_always_be_written(text: str) -> None:
    assert mend(text).encode().decode() == mend(text)
    assert mend(mend(text)) == mend(text)
