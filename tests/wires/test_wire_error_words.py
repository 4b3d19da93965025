"""The sentences of an error: dug out, cut, and free of secrets."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from llm_router.errors import (
    InvalidRequestError,
    InvalidResponseError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from tests.wires.wire_bodies import WIRE, error_body, failure


def told(
    status: int, message: str, headers: dict[str, str] | None = None, **more: Any
) -> ProviderError:
    """Return the error of an answer with *status* whose code is the same."""
    return WIRE.read_error(status, headers or {}, error_body(status, message, **more))


# --- the words of an error ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("Malformed function call: call:x{a:39", "Malformed function call: call:x{a:39"),
        ('{"error": {"message": "Unsupported parameter", "code": null}}', "Unsupported parameter"),
        ('{"errors": [{"message": "AiError", "code": 3043}], "success": false}', "AiError"),
        ({"error": {"type": "x", "message": "No available workers"}}, "No available workers"),
        ({"object": "error", "message": "Unexpected token", "code": 400}, "Unexpected token"),
        ({"detail": [{"msg": "field required"}]}, "field required"),
        ({"error": {"message": '{"error": {"message": "inner"}}'}}, "inner"),
        ('{"error": "cut of', '{"error": "cut of'),
        ("<html><title>502  Bad&amp;Gateway</title>", "502 Bad&Gateway"),
        ({"retryable": True}, None),
        ({}, None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_the_upstreams_sentence_is_dug_out(raw: Any, sentence: str | None) -> None:
    error = told(502, "Provider returned error", metadata={"raw": raw, "provider_name": "Up"})
    assert error.upstream_message == sentence
    assert error.raw["metadata"]["raw"] == raw
    if sentence:
        assert str(error).startswith(f"502: Provider returned error (upstream Up: {sentence}")


def test_a_very_long_sentence_is_cut() -> None:
    error = told(502, "x" * 100_000, metadata={"raw": "y" * 100_000})
    assert len(str(error)) < 15_000


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ({"code": "429", "message": "m"}, None, 429),
        ({"code": 502.0, "message": "m"}, None, 502),
        ({"code": "server_error", "message": "m"}, "server_error", None),
        ({"code": 1234, "message": "m"}, None, None),
        ({"code": True, "message": "m"}, None, None),
        ({"code": 200, "message": "m", "status": 503}, None, 503),
        ({"code": 429, "metadata": {"provider_error_code": "slow"}}, "slow", 429),
        ({"code": 429, "metadata": {"provider_code": "slow"}}, "slow", 429),
    ],
)
def test_code_and_status_are_read_apart_in_a_200(
    error: dict[str, Any], code: str | None, status: int | None
) -> None:
    found = failure(json.dumps({"error": error}).encode())
    assert (found.code, found.status_code) == (code, status)


def test_account_ids_and_secrets_never_show() -> None:
    raw = json.dumps(
        {
            "error": "Content violates. Team: bb642ce4-5161-45c9-8f34-408850883602, API key ID: "
            "5bfd0532-8fa8-4e41-8eda-16a9a73a8d6d, key sk-hush-hush, org-abcdef123456"
        }
    )
    error = json.dumps(
        {
            "error": {
                "code": 403,
                "message": "bad key sk-hush-hush",
                "user_id": "user_2abcdefghij",
                "metadata": {"raw": raw, "user_id": "user_2abcdefghij"},
            },
            "user_id": "user_2abcdefghij",
        }
    ).encode()
    found = WIRE.read_error(403, {}, error)
    for shown in (str(found), repr(found.raw), repr(found.upstream_message), repr(vars(found))):
        for secret in (
            "bb642ce4",
            "5bfd0532",
            "hush-hush",
            "user_2abc",
            "org-abcdef",
            "123456789012",
            "my-42",
        ):
            assert secret not in shown


def test_an_error_pickles_whole() -> None:
    error = told(429, "Slow", {"Retry-After": "3"}, metadata={"raw": "x", "provider_name": "Up"})
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after, again.raw) == (str(error), 3.0, error.raw)


# --- bodies without an error object ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (502, b"<html><head><title>502 Bad Gateway</title>", ProviderUnavailableError, "502 Bad"),
        (524, b"<!doctype html><h1>A timeout\noccurred</h1>", ProviderTimeoutError, "A timeout"),
        (522, b"<html><body>", ProviderUnavailableError, "status 522"),
        (503, b"upstream connect error\nreset", ProviderUnavailableError, "upstream connect error"),
        (500, b"", ProviderUnavailableError, "status 500"),
        (429, b"\xff\xfe", RateLimitError, "status 429"),
        (404, b"<title>Not found</title>", ModelNotFoundError, "base_url"),
        (404, b"No endpoints here", ModelNotFoundError, "No endpoints here"),
        (403, b'{"message": "Forbidden"}', PermissionDeniedError, "Forbidden"),
        (301, b"", InvalidResponseError, "base_url"),
        (204, b"", InvalidResponseError, "status 204"),
        (400, b"[" * 5000, InvalidRequestError, "status 400"),
        (400, b'{"error": ' + b"[" * 300 + b"]" * 300 + b"}", InvalidRequestError, "nested"),
    ],
)
def test_a_page_or_nothing_is_a_readable_error_by_its_status(
    status: int, body: bytes, kind: type[ProviderError], words: str
) -> None:
    error = WIRE.read_error(status, {"X-Generation-Id": "gen-9"}, body)
    assert type(error) is kind
    assert words in str(error)
    assert (error.status_code, error.response_id) == (status, "gen-9")
    assert len(str(error)) < 600


@pytest.mark.parametrize("told_so", ["a sentence", 7, None, [], {}, ["x"]])
def test_an_error_object_of_any_kind_is_an_error(told_so: Any) -> None:
    error = WIRE.read_error(502, {}, json.dumps({"error": told_so}).encode())
    assert type(error) is ProviderUnavailableError
    assert error.raw == told_so
    sentence = "a sentence" if told_so == "a sentence" else "The provider"
    assert str(error).startswith(f"502: {sentence}")


def test_half_a_character_in_an_error_can_be_written() -> None:
    error = failure(rb'{"error": {"code": 502, "message": "broke \ud83d"}}')
    assert str(error).encode()
    stray = failure(rb'{"error": {"code": 502, "message": "m", "metadata": {"raw": "\ud83d"}}}')
    assert json.dumps(stray.raw, ensure_ascii=False).encode()
