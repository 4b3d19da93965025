"""The faults the sandbox can play, by name.

| fault | what the client meets | bill |
|---|---|---|
| `bad_request` `context_length` `response_format_refused` | 400 | none |
| `unauthorized` | 401 | none |
| `insufficient_credits` `max_tokens_unaffordable` | 402 | none |
| `moderation` `guardrail` `key_limit` `forbidden_upstream` | 403 | none |
| `no_endpoints` `no_tool_endpoints` `no_tool_choice_endpoints` `no_parameter_endpoints` `no_providers` `data_policy` | 404 | none |
| `http_408` `http_413` `http_422` | that status | none |
| `rate_limit` | 429 of the platform: `X-RateLimit-*`, reset in epoch milliseconds | none |
| `upstream_rate_limit` | 429 of the upstream, without those headers | none |
| `http_500` `http_502` `http_503` `http_504` `http_529` | that status | none |
| `http_524` | 524 with an HTML page | none |
| `error_in_200` | an `error` object under status 200 | none |
| `choice_error` | `choices[0].error` 502 beside part of the answer | 0 |
| `finish_error` | finish reason `error` without an error object | 0 |
| `blank` | content "", 0 output tokens, finish reason null | 0 |
| `empty_choices` | `choices: []` | 0 |
| `garbage` `html_200` `truncated_json` `empty_body` | a 200 that cannot be read | whole |
| `cut_stream` | the connection closes after some events | whole |
| `ended_stream` | the body ends in order, without finish reason and `[DONE]` | whole |
| `stalled_stream` | nothing more comes after some events, the connection stays | as cancelled |
| `garbled_stream` | one event in the middle is not JSON and not UTF-8 | whole |
| `stream_error` | the documented chunk: `error` and finish reason `error` | 0 |
| `stream_error_first` | the same error, bare, before any content | none |
| `stream_error_bare` | `data: {"error": …}` alone, no `[DONE]` | none |
| `stream_error_stop` | error beside finish reason `stop`, then usage, no `[DONE]` | whole |
| `stream_error_usage` | error 400 in the chunk that has the usage, then `[DONE]` | whole |
| `stream_error_no_choices` | error with `choices: []` | 0 |
| `stream_error_string_code` | `error.code` is the text "server_error" | 0 |
| `dropped` | the connection closes before a byte of the answer | none |
| `slow_headers` | the answer comes `seconds` (30) late, headers too | whole |
| `slow_body` | status 200 at once, whitespace for `seconds` (30), then the answer | whole |

"0" is a bill of zero that `/generation` finds (OpenRouter charges nothing for an answer without
tokens or with an error finish); "whole" is the bill of the answer that was lost on its way.

A fault of streams that meets a call without stream plays its nearest kin: cut, truncated, stalled or
garbage JSON, `error_in_200`. The faults of the body come to streams, too.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import time
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from llm_router.testing.billing import count_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.testing.catalog import SandboxModel
    from llm_router.testing.replies import ChatRequest

ACCOUNT_ID = "user_2sandboxAccountOfNobody00"
"""The account id in error bodies: what a client must keep out of its messages and logs."""

# fmt: off
Fault = Literal[
    "bad_request", "context_length", "response_format_refused", "unauthorized",
    "insufficient_credits", "max_tokens_unaffordable", "moderation", "guardrail", "key_limit",
    "forbidden_upstream", "no_endpoints", "no_tool_endpoints", "no_tool_choice_endpoints",
    "no_parameter_endpoints", "no_providers", "data_policy", "http_408", "http_413", "http_422",
    "rate_limit", "upstream_rate_limit", "http_500", "http_502", "http_503", "http_504", "http_524",
    "http_529", "error_in_200", "choice_error", "finish_error", "blank", "empty_choices", "garbage",
    "html_200", "truncated_json", "empty_body", "cut_stream", "ended_stream", "stalled_stream",
    "garbled_stream", "stream_error", "stream_error_first", "stream_error_bare",
    "stream_error_stop", "stream_error_usage", "stream_error_no_choices",
    "stream_error_string_code", "dropped", "slow_headers", "slow_body",
]
# fmt: on
"""The names of the faults."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


class _Error(NamedTuple):
    status: int
    message: str
    metadata: Mapping[str, Any] = {}


def _upstream(status: int, raw: Any) -> _Error:
    """Return an error that came from the upstream, whose own words are *raw*."""
    return _Error(status, "Provider returned error", {"provider_name": "$provider", "raw": raw})


_MORE = "To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing"
_NO_ONE: Mapping[str, Any] = {"provider_name": None}
# fmt: off
_ERRORS: dict[Fault, _Error] = {
    "bad_request": _upstream(
        400, '{"error":{"message":"Unsupported parameter.","type":"invalid_request_error"}}'),
    "context_length": _Error(
        400, "This endpoint's maximum context length is $context tokens. However, you requested "
        "about $requested tokens ($requested of text input). Please reduce the length of either "
        "one, or use the context-compression plugin to compress your prompt automatically.",
        _NO_ONE),
    "response_format_refused": _upstream(
        400, '{"error":{"message":"response_format is not supported by this model","code":400}}'),
    "unauthorized": _Error(401, "User not found."),
    "insufficient_credits": _Error(
        402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits"),
    "max_tokens_unaffordable": _Error(
        402, "This request requires more credits, or fewer max_tokens. You requested up to "
        "$max_tokens tokens, but can only afford 30. To increase, visit "
        "https://openrouter.ai/settings/credits and upgrade to a paid account", _NO_ONE),
    "moderation": _Error(
        403, '$model requires moderation on $provider. Your input was flagged for "violence". '
        "No credits were charged.",
        {"reasons": ["violence"], "flagged_input": "$prompt", "provider_name": "$provider",
         "model_slug": "$model"}),
    "guardrail": _Error(403, "Request blocked by a guardrail.", {"patterns": ["secret"]}),
    "key_limit": _Error(
        403, "Key limit exceeded (total limit). "
        "Manage it using https://openrouter.ai/settings/keys"),
    "forbidden_upstream": _upstream(403, '{"error":"Content violates usage guidelines."}'),
    "no_endpoints": _Error(404, "No endpoints found for $model."),
    "no_tool_endpoints": _Error(404, f"No endpoints found that support tool use. {_MORE}"),
    "no_tool_choice_endpoints": _Error(
        404, f"No endpoints found that support the provided 'tool_choice' value. {_MORE}"),
    "no_parameter_endpoints": _Error(
        404, f"No endpoints found that can handle the requested parameters. {_MORE}"),
    "no_providers": _Error(
        404, "No allowed providers are available for the selected model.",
        {"available_providers": "$available", "requested_providers": "$wanted"}),
    "data_policy": _Error(
        404, "No endpoints found matching your data policy (Free model publication). "
        "Configure: https://openrouter.ai/settings/privacy"),
    "http_408": _Error(408, "Request timed out"),
    "http_413": _Error(413, "Request Entity Too Large"),
    "http_422": _Error(422, "Unprocessable request: messages.0.content is not valid"),
    "rate_limit": _Error(429, "Rate limit exceeded: free-models-per-min. ", _NO_ONE),
    "upstream_rate_limit": _upstream(
        429, "$model is temporarily rate-limited upstream. Please retry shortly, or add your own "
        "key to accumulate your rate limits: https://openrouter.ai/settings/integrations"),
    "http_500": _Error(500, "Internal Server Error"),
    "http_502": _upstream(502, "upstream connect error"),
    "http_503": _upstream(
        503, {"error": {"type": "Service Unavailable", "code": "no_available_workers"}}),
    "http_504": _Error(504, "The provider timed out", {"error_type": "timeout"}),
    "http_524": _Error(524, "A timeout occurred"),
    "http_529": _Error(529, "Provider is overloaded", {"provider_name": "$provider"}),
    "error_in_200": _upstream(502, '{"errors":[{"message":"Internal server error"}]}'),
    "stream_error_usage": _Error(400, "Token limit reached"),
}
# fmt: on
_MIDSTREAM = _Error(502, "Upstream error from $provider: the engine encountered an issue.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """A fault and how it is played."""

    fault: Fault
    retry_after: float | None = None
    """Seconds; sent as `Retry-After`, and as `X-RateLimit-Reset` of a `rate_limit`."""
    message: str | None = None
    """In place of the usual sentence."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the usual `error.metadata`, for instance `{"error_type": "server"}`."""
    after: int = 2
    """Events with content before a fault in the middle of a stream."""
    seconds: float | None = None
    """How long `slow_headers` and `slow_body` (30) or `stalled_stream` (for ever) last."""

    @property
    def is_http(self) -> bool:
        """Whether the fault is a status of its own (which a `models` list falls back from)."""
        return self.fault in _ERRORS and self.fault not in ("error_in_200", "stream_error_usage")

    def error(self, request: ChatRequest, model: SandboxModel | None) -> dict[str, Any]:
        """Return the `error` object of this fault."""
        known = _ERRORS.get(self.fault, _MIDSTREAM)
        words = _words(request, model)
        limits = {"headers": self._limits()} if self.fault == "rate_limit" else {}
        metadata = {**_filled(known.metadata, words), **limits, **self.metadata}
        error = {"message": self.message or _filled(known.message, words), "code": known.status}
        if self.fault == "stream_error_string_code":
            error["code"] = "server_error"
        return {**error, "metadata": metadata} if metadata else error

    def headers(self, error: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers beside *error*: a limit says the same there as in its metadata."""
        headers = dict(error.get("metadata", {}).get("headers") or {})
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        return headers

    def _limits(self) -> dict[str, str]:
        wait = 60.0 if self.retry_after is None else self.retry_after
        reset = int((time.time() + wait) * 1000)
        return {
            "X-RateLimit-Limit": "20",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset),
        }


def fault_named(name: str) -> Fault:
    """Return the fault called *name*; raises `ValueError` with the names there are."""
    if name not in FAULTS:
        raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
    return name


def error_body(error: Mapping[str, Any], *, named: bool = True) -> dict[str, Any]:
    """Return the envelope of an error, with the account id where the wire has it."""
    return {"error": dict(error), "user_id": ACCOUNT_ID} if named else {"error": dict(error)}


def _words(request: ChatRequest, model: SandboxModel | None) -> dict[str, Any]:
    upstreams = model.upstreams if model else ()
    wanted = request.body.get("provider") or {}
    return {
        "model": request.model,
        "provider": upstreams[0].name if upstreams else "OpenAI",
        "context": model.context_length if model else 0,
        "requested": count_prompt(request.body),
        "max_tokens": request.body.get("max_tokens") or 65536,
        "prompt": request.prompt[:100],
        "available": [upstream.slug for upstream in upstreams],
        "wanted": list(wanted.get("only") or wanted.get("order") or ()),
    }


def _filled(value: Any, words: Mapping[str, Any]) -> Any:
    """Return *value* with the $words in it replaced; one that is all of a text keeps its type."""
    if isinstance(value, dict):
        return {key: _filled(part, words) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    if value.startswith("$") and value[1:] in words:
        return words[value[1:]]
    return Template(value).safe_substitute(words)
