"""Dialects of OpenAI's wire: each known by its shape, and read to the same Completion."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llm_router.answers.completion import Citation
from llm_router.answers.stream_events import (
    CitationDelta,
    Finish,
    ReasoningDelta,
    TextDelta,
    UsageReport,
)
from llm_router.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextWindowExceededError,
    InsufficientCreditsError,
    InvalidRequestError,
    ModelNotFoundError,
    NoEndpointError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)
from llm_router.usage import Cost, Usage
from llm_router.wires.openai import OpenAIWire
from tests.wires.wire_bodies import (
    BILL,
    DONE,
    HEAD,
    NOW,
    USAGE,
    answer,
    broken,
    chunk,
    event,
    failure,
    play,
    read,
)

OTHER = OpenAIWire(kind="openai", clock=lambda: NOW)


def usage(**figures: Any) -> dict[str, Any]:
    return {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14} | figures


# --- tokens and cost ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 3}}, 3),
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, 4),  # DeepSeek
        ({"cached_tokens": 5}, 5),  # Moonshot
        ({"num_cached_tokens": 6}, 6),  # Mistral
        ({"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 7}, 0),
        ({"prompt_tokens_details": None, "cached_tokens": "5"}, None),
        ({}, None),
    ],
)
def test_cache_reads_are_found_wherever_a_dialect_has_them(
    report: dict[str, Any], cached: int | None
) -> None:
    assert read(answer(usage=usage(**report))).usage.cache_read_tokens == cached


@pytest.mark.parametrize(
    ("total", "output"),
    [
        (44, 34),  # xAI: 10 + 4 + 30
        (14, 4),
        (None, 4),
        (45, 4),
    ],
)
def test_reasoning_beside_the_completion_is_output_when_the_total_says_so(
    total: int | None, output: int
) -> None:
    told = usage(total_tokens=total, completion_tokens_details={"reasoning_tokens": 30})
    found = read(answer(usage=told)).usage
    assert (found.output_tokens, found.reasoning_tokens) == (output, 30)
    assert (found.input_tokens, found.total_tokens) == (10, total)


@pytest.mark.parametrize(
    ("report", "cost"),
    [
        ('{"cost_in_usd_ticks": 37756000}', "0.0037756"),
        ('{"cost_in_usd_ticks": 12345678901234567}', "1234567.8901234567"),
        ('{"cost_in_usd_ticks": 0}', "0"),
        ('{"cost": {"total_cost": 0.0051, "request_cost": 0.005}}', "0.0051"),
        ('{"cost": 0.1, "cost_in_usd_ticks": 5}', "0.1"),
    ],
)
def test_the_charge_of_a_dialect_is_exact(report: str, cost: str) -> None:
    body = answer(usage="USAGE").replace(b'"USAGE"', report.encode())
    found = read(body).cost
    assert (found.total, found.reported, found.source) == (Decimal(cost),) * 2 + ("provider",)


@pytest.mark.parametrize(
    "report",
    [
        {"cost_in_usd_ticks": -1},
        {"cost_in_usd_ticks": "5"},
        {"cost_in_usd_ticks": True},
        {"cost_in_usd_ticks": 10**30},
        {"cost": {"request_cost": 0.005}},
        {"cost": {"total_cost": "0.1"}},
    ],
)
def test_a_charge_that_cannot_be_one_is_unknown(report: dict[str, Any]) -> None:
    assert read(answer(usage=usage(**report))).cost == Cost()


# --- parts ----------------------------------------------------------------------------------

THINKING = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "12 times "}], "closed": False},
    {"type": "thinking", "thinking": [{"type": "text", "text": "12"}], "closed": True},
    {"type": "text", "text": "144"},
]


def test_thinking_parts_of_the_content_are_reasoning() -> None:
    found = read(answer({"content": THINKING, "reasoning": None}))
    assert (found.text, found.reasoning) == ("144", "12 times 12")


def test_thinking_parts_of_a_stream_are_reasoning() -> None:
    packets = (*(chunk({"content": [part]}) for part in THINKING), chunk({"content": "!"}), BILL)
    streamed, events = play(*packets)
    assert (streamed.text, streamed.reasoning) == ("144!", "12 times 12")
    assert events[:4] == [
        ReasoningDelta("12 times "),
        ReasoningDelta("12"),
        TextDelta("144"),
        TextDelta("!"),
    ]


def test_thinking_and_text_of_one_delta_come_in_this_order() -> None:
    _, events = play(chunk({"content": THINKING}), BILL)
    assert events[:2] == [ReasoningDelta("12 times 12"), TextDelta("144")]


def test_tags_in_a_text_stay_text() -> None:
    found = read(answer({"content": "<think>hm</think>yes"}))
    assert (found.text, found.reasoning) == ("<think>hm</think>yes", None)


RESULTS = [
    {"url": "https://a", "title": "A", "snippet": "about a", "date": None},
    {"url": "https://c", "title": "C"},
]
SOURCES = (
    Citation(url="https://a", title="A", content="about a"),
    Citation(url="https://b"),
    Citation(url="https://c", title="C"),
)


def test_search_results_give_the_citations_their_titles() -> None:
    found = read(answer(citations=["https://a", "https://b"], search_results=RESULTS))
    assert found.citations == SOURCES


def test_search_results_that_come_last_give_their_titles_to_what_was_cited() -> None:
    cited = ["https://a", "https://b"]
    streamed, events = play(
        chunk({"content": "x"}, citations=cited),
        chunk({"content": "y"}, citations=cited),
        chunk(None, "stop", None, citations=cited, search_results=RESULTS, usage=USAGE),
        DONE,
    )
    assert streamed.citations == SOURCES
    urls = [found.citation.url for found in events if isinstance(found, CitationDelta)]
    assert urls == ["https://a", "https://b", "https://c"]


# --- streams --------------------------------------------------------------------------------


def test_a_first_chunk_about_the_prompt_names_nothing() -> None:
    about = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    azure = event(about | {"prompt_filter_results": [{"prompt_index": 0}]})
    streamed, _ = play(azure, chunk({"content": "Hi"}), BILL, DONE)
    assert (streamed.response_id, streamed.model) == ("gen-1-abc", HEAD["model"])
    assert streamed.created == HEAD["created"]


@pytest.mark.parametrize("place", ["x_groq", "choice"])
def test_the_bill_of_an_older_stream_is_found(place: str) -> None:
    bills = {
        "x_groq": chunk(None, "stop", x_groq={"id": "req_1", "usage": usage()}),
        "choice": chunk(None, "stop", choice={"usage": usage()}),
    }
    streamed, _ = play(chunk({"content": "Hi"}), bills[place], DONE)
    assert streamed.usage == Usage(input_tokens=10, output_tokens=4, total_tokens=14)


def test_a_bill_with_every_chunk_is_told_once_and_the_last_counts() -> None:
    packets = [chunk({"content": "a"}, usage=usage(completion_tokens=n)) for n in range(1, 4)]
    streamed, events = play(*packets, chunk(None, "stop", usage=usage(completion_tokens=9)), DONE)
    assert streamed.usage.output_tokens == 9
    assert [type(found) for found in events[3:]] == [Finish, UsageReport]


def test_an_empty_finish_reason_is_none() -> None:
    error = broken(chunk({"content": "Hi"}, ""), chunk({"content": " there"}, ""))
    assert "cut" in str(error)
    assert read(answer({}, "")).finish_reason == "unknown"


def test_a_length_that_only_one_dialect_has_a_word_for_is_length() -> None:
    assert read(answer({}, "model_length", None)).finish_reason == "length"


@pytest.mark.parametrize(
    ("told", "kind", "status", "code"),
    [
        (
            {"error": {"message": "Bad call", "code": "tool_use_failed", "status_code": 400}},
            InvalidRequestError,
            400,
            "tool_use_failed",
        ),
        (
            {"object": "error", "message": "Bad call", "type": "BadRequestError", "code": 400},
            InvalidRequestError,
            400,
            "BadRequestError",
        ),
        (
            {"error": {"message": "Bad call", "type": "invalid_request_error"}},
            InvalidRequestError,
            None,
            "invalid_request_error",
        ),
        (
            {"error": {"message": "Bad call", "type": "overloaded_error"}},
            ProviderUnavailableError,
            None,
            "overloaded_error",
        ),
        ({"error": "Bad call"}, ProviderUnavailableError, None, None),
        (
            {"base_resp": {"status_code": 1002, "status_msg": "Bad call, rate limit"}},
            RateLimitError,
            None,
            None,
        ),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_known_by_its_shape(
    told: dict[str, Any], kind: type[ProviderError], status: int | None, code: str | None
) -> None:
    error = broken(chunk({"content": "Hi"}), event(told), wire=OTHER)
    assert type(error) is kind
    assert (error.status_code, error.code) == (status, code)
    assert error.message.startswith("Bad call")
    assert (error.response_id, error.usage) == ("gen-1-abc", None)
    assert type(failure(json.dumps(told).encode(), wire=OTHER)) is kind


def test_a_base_response_without_a_fault_is_no_error() -> None:
    fine = {"status_code": 0, "status_msg": ""}
    assert read(answer(base_resp=fine)).text == "Hello!"
    assert play(chunk({"content": "Hi"}, base_resp=fine), BILL)[0].text == "Hi"


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "code"),
    [
        # OpenAI, Groq, Moonshot, Z.AI
        (
            429,
            {"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}},
            InsufficientCreditsError,
            "m",
            "insufficient_quota",
        ),
        (
            413,
            {"error": {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"}},
            RequestTooLargeError,
            "m",
            "rate_limit_exceeded",
        ),
        (
            400,
            {"error": {"message": "m", "code": "model_decommissioned"}},
            ModelNotFoundError,
            "m",
            "model_decommissioned",
        ),
        (
            429,
            {"error": {"message": "m", "type": "exceeded_current_quota_error"}},
            InsufficientCreditsError,
            "m",
            "exceeded_current_quota_error",
        ),
        (
            429,
            {"error": {"code": "1113", "message": "Insufficient balance or no package."}},
            InsufficientCreditsError,
            "Insufficient balance or no package.",
            None,
        ),
        # Azure
        (
            400,
            {
                "error": {
                    "message": "m",
                    "code": "filtered",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            ContentFilteredError,
            "m",
            "filtered",
        ),
        # Mistral
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model"},
            ModelNotFoundError,
            "Invalid model: x",
            "invalid_model",
        ),
        (
            400,
            {
                "object": "error",
                "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum "
                "context length",
                "code": "3051",
            },
            ContextWindowExceededError,
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            None,
        ),
        (401, {"detail": "Unauthorized"}, AuthenticationError, "Unauthorized", None),
        (
            422,
            {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]},
            InvalidRequestError,
            "Field required",
            None,
        ),
        # xAI
        (
            400,
            {"code": "invalid-argument", "error": "Incorrect API key provided: x"},
            AuthenticationError,
            "Incorrect API key provided: x",
            "invalid-argument",
        ),
        (
            429,
            {"code": "exhausted", "error": "Your team has used all available credits"},
            InsufficientCreditsError,
            "Your team has used all available credits",
            "exhausted",
        ),
        # Cerebras, DeepSeek, Perplexity, llama.cpp, Hugging Face
        (
            404,
            {"message": "m", "type": "not_found_error", "code": "model_not_found"},
            ModelNotFoundError,
            "m",
            "model_not_found",
        ),
        (
            400,
            {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}},
            ContentFilteredError,
            "Content Exists Risk",
            "invalid_request_error",
        ),
        (
            400,
            {"error": {"message": "m", "type": "too_many_prompt_tokens", "code": 400}},
            ContextWindowExceededError,
            "m",
            "too_many_prompt_tokens",
        ),
        (
            400,
            {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}},
            ContextWindowExceededError,
            "m",
            "exceed_context_size_error",
        ),
        (503, {"error": "Model is loading"}, ProviderUnavailableError, "Model is loading", None),
        (404, {"error": {"message": "No such model"}}, ModelNotFoundError, "No such model", None),
        (404, {"error": {"message": "No endpoints found for x."}}, NoEndpointError, None, None),
    ],
)
def test_an_error_body_of_another_provider_is_understood(
    status: int,
    body: dict[str, Any],
    kind: type[ProviderError],
    message: str | None,
    code: str | None,
) -> None:
    error = OTHER.read_error(status, {}, json.dumps(body).encode())
    assert type(error) is kind
    assert (error.status_code, error.code) == (status, code)
    assert message is None or error.message == message


def test_figures_of_a_dialect_are_read_from_its_sentence() -> None:
    told = {"message": "Prompt contains 40000 tokens, with 32768 maximum context length"}
    error = OTHER.read_error(400, {}, json.dumps({"object": "error"} | told).encode())
    assert isinstance(error, ContextWindowExceededError)
    assert error.requested_tokens == 40_000


@pytest.mark.parametrize("kind", ["openai", "groq", "mistral", ""])
def test_a_404_is_about_the_model_anywhere_but_at_openrouter(kind: str) -> None:
    body = b'{"error": {"message": "Not here"}}'
    assert type(OpenAIWire(kind).read_error(404, {}, body)) is ModelNotFoundError
    assert type(OpenAIWire("openrouter").read_error(404, {}, body)) is NoEndpointError
