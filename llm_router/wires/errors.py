"""Errors of every wire, wherever they come: a status, a 200 body, a choice, an event of a stream.

What words and statuses mean stands in `error_words`. The provider's sentences stay as they are;
keys and account ids in them are masked by the errors themselves.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from llm_router.errors import (
    ContentFilteredError,
    ContextWindowExceededError,
    InsufficientCreditsError,
    InvalidResponseError,
    NoEndpointError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    RequestTooLargeError,
)
from llm_router.wires.error_words import LONGEST_WORDS, error_class
from llm_router.wires.json_values import (
    UnreadableError,
    object_or_empty,
    objects,
    read_json,
    sole_object,
    text_or_none,
)
from llm_router.wires.parts import cost_of, reported, usage_of
from llm_router.wires.text import LONGEST_MESSAGE, bounded, cut, label, page_sentence, sentence_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A body is parsed unless it is larger, or holds more values, than any error that was seen.
_LARGEST_BODY = 8 * 1024 * 1024
_MOST_VALUES = 50_000
_LONGEST_WAIT = 366 * 86_400.0
_LONGEST_FIGURE = 100
_MOST_NAMES = 100
_LARGEST_INT = 10**300  # That a float can hold.
_HINTS: dict[type[ProviderError], str] = {
    NoEndpointError: (
        "Relax the constraints of the request (provider preferences, data policy, tools), "
        "or ask another model."
    ),
    ContextWindowExceededError: "Shorten the prompt or ask a model with a larger context.",
    RequestTooLargeError: "Send less.",
    ContentFilteredError: "Change the input, or ask another model.",
}
_NUMBER = r"(\d[\d,]{0,20})"
_LIMITS = (
    re.compile(rf"maximum (?:context|prompt) length (?:is|of) {_NUMBER}"),
    re.compile(rf"tokens? > {_NUMBER} maximum"),
    re.compile(rf"exceed context limit: [\d,+ ]{{1,60}}> {_NUMBER}"),
    re.compile(rf"maximum number of (?:input )?tokens allowed \({_NUMBER}\)"),
    re.compile(rf"context (?:window|length|size)[^.\d]{{0,30}}{_NUMBER}"),
    re.compile(rf"model with {_NUMBER} maximum context length"),
    re.compile(rf"only supports up to {_NUMBER}"),
    re.compile(rf"tokens in the prompt cannot exceed {_NUMBER}"),
)
_REQUESTED = (
    re.compile(rf"you requested (?:about )?{_NUMBER} tokens"),
    re.compile(rf"(?:resulted in|request contains|prompt contains) {_NUMBER} tokens"),
    re.compile(rf"too long: {_NUMBER} tokens"),
    re.compile(rf"input token count (?:is )?\(?{_NUMBER}"),
    re.compile(rf"cannot exceed \d{{1,20}} - received {_NUMBER}"),
)
_AFFORDABLE = (re.compile(rf"can only afford {_NUMBER}"),)


def read_error(
    status: int, headers: Mapping[str, str], body: bytes, *, kind: str, now: float
) -> ProviderError:
    """Return the error that an answer with a status other than 200 is; never raises.

    *kind* is LiteLLM's name of the provider; *now* the time since the epoch, for waiting times
    given as dates.
    """
    answer = _parsed(body)
    error = reported(answer)
    if error is None and not answer.keys().isdisjoint(("message", "Message", "detail")):
        error = answer
    if error is None and "error" not in answer:
        return _page_error(status, headers, body, now)
    return error_from_object(error, status=status, headers=headers, body=answer, kind=kind, now=now)


def _parsed(body: bytes) -> dict[str, Any]:
    """Return the object that *body* is, or a list of one (Google); an empty one otherwise."""
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if len(body) > _LARGEST_BODY or values > _MOST_VALUES:
        return {}
    try:
        return sole_object(read_json(body))
    except UnreadableError:
        return {}


def error_from_object(
    error: Any,
    *,
    status: int | None,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    kind: str,
    now: float,
) -> ProviderError:
    """Return the error that an `error` object means; never raises.

    *status* is the answer's own: for a 200 the code in the object counts. *body* is what the
    object came in: it may have a bill, an id and the upstream's name, unless these are *known*.
    """
    try:
        raw = bounded(error)
    except UnreadableError:
        raw = error = {"message": "An error nested too deeply to be shown"}
    beside = {"message": error, "code": body.get("code"), "type": body.get("type")}
    said = error if isinstance(error, dict) else beside if isinstance(error, str) else {}
    cause = _Cause(said, status, headers, kind, now)
    found = cause.kind()(
        cause.message,
        **(context(headers, body) if known is None else known),
        status_code=cause.status,
        code=cause.code,
        retry_after=_retry_after(headers, said, now),
        upstream_message=cause.upstream,
        raw=raw,
    )
    found.fill(upstream_provider=cause.upstream_provider)
    found.add(**cause.details(found))
    found.fill(hint=_HINTS.get(type(found)))
    return found


def context(headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what bytes say of their call whatever else they mean: ids, upstream, and the bill."""
    body = body or {}
    known: dict[str, Any] = {
        "response_id": next(_ids(headers, body), None),
        "upstream_provider": label(body.get("provider")),
    }
    report = body.get("usage")
    if isinstance(report, dict):
        known |= {"usage": usage_of(report), "cost": cost_of(report)}
    return known


def _ids(headers: Mapping[str, str], body: Mapping[str, Any]) -> Iterator[str]:
    """Return the provider's ids: the answer's own or, where it has none, the request's."""
    said = (label(body.get("id")), label(body.get("request_id")))
    sent = (header(headers, name) for name in ("X-Generation-Id", "x-amzn-RequestId", "request-id"))
    yield from filter(None, (*said, *sent))


def _page_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ProviderError:
    """Return the error of an answer without an error in it: a gateway's page, or nothing."""
    sentence = page_sentence(body)
    said = f": {sentence}" if sentence else " and no error object"
    found = InvalidResponseError if status < 400 else error_class(status, sentence or "")
    astray = status in (404, 405) or status < 400
    return found(
        f"The provider answered with status {status}{said}",
        **context(headers),
        status_code=status,
        retry_after=_retry_after(headers, {}, now),
        hint="Check the provider's base_url." if astray else None,
    )


class _Cause:
    """An error object and what it means."""

    def __init__(
        self,
        error: dict[str, Any],
        status: int | None,
        headers: Mapping[str, str],
        provider: str,
        now: float,
    ) -> None:
        self.error, self.headers, self.provider, self.now = error, headers, provider, now
        self.metadata = object_or_empty(error.get("metadata"))
        self.availability = object_or_empty(error.get("availability"))
        self.quoted = object_or_empty(self.metadata.get("headers"))
        self.status = _status(error, status)
        self.message = self._message()
        self.google = objects(error.get("details"))[:_MOST_NAMES]
        self.upstream = _upstream_sentence(self.metadata.get("raw")) or _debug_info(self.google)
        self.upstream_provider = label(self.metadata.get("provider_name"))
        self.codes = [code for code in map(label, self._codes()) if code and _is_word(code)]
        self.code = self.codes[0] if self.codes else None
        self.words = f"{self.message} {self.upstream or ''}"[:LONGEST_WORDS].lower()

    def kind(self) -> type[ProviderError]:
        """Return the class: by words, then by status."""
        telling = [name for name in ("flagged_input", "reasons") if self.metadata.get(name)]
        codes = frozenset(map(str.lower, (*self.codes, *telling)))
        found = error_class(self.status, self.words, codes=codes, kind=self.provider)
        # Nothing told what went wrong, but the answer failed: try again or elsewhere.
        return ProviderUnavailableError if found is ProviderError else found

    def details(self, error: ProviderError) -> dict[str, Any]:
        """Return the attributes that the class of *error* has beyond the common ones."""
        metadata = self.metadata
        if isinstance(error, ContextWindowExceededError):
            return {
                "limit_tokens": _first(_LIMITS, self.words),
                "requested_tokens": _first(_REQUESTED, self.words),
            }
        if isinstance(error, InsufficientCreditsError):
            return self._credits()
        if isinstance(error, NoEndpointError):
            return {
                "requested_providers": _names(metadata.get("requested_providers")),
                "available_providers": _names(metadata.get("available_providers")),
            }
        if isinstance(error, ContentFilteredError):
            return {"reasons": _names(metadata.get("reasons"))}
        return self._rate_limit(error) if isinstance(error, RateLimitError) else {}

    def _codes(self) -> Iterator[Any]:
        """Return the provider's words for it, the one to show first."""
        error, metadata = self.error, self.metadata
        yield from (error.get("code"), error.get("error_type"), metadata.get("error_type"))
        yield self.availability.get("code")
        yield from (metadata.get("provider_error_code"), metadata.get("provider_code"))
        yield from (error.get("type"), object_or_empty(error.get("innererror")).get("code"))
        for name in (error.get("__type"), header(self.headers, "x-amzn-ErrorType")):
            yield _aws_name(name)
        yield from (detail.get("reason") for detail in self.google)
        yield error.get("status")

    def _message(self) -> str:
        said = text_or_none(self.error.get("message"))
        if not said:
            said = _upstream_sentence({k: v for k, v in self.error.items() if k != "metadata"})
        if said:
            return cut(said, LONGEST_MESSAGE)
        if self.status is None:
            return "The provider reported an error without a message"
        return f"The provider reported status {self.status} without a message"

    def _rate_limit(self, error: ProviderError) -> dict[str, Any]:
        reset_at = _reset_at(self.headers, self.quoted)
        wait = error.retry_after
        if wait is None and reset_at is not None:
            wait = max(0.0, reset_at - self.now)
        scope = self._scope()
        hints = {
            "platform": "Wait for the reset: this is the limit of your own key.",
            "upstream": "Retry shortly, or route to another provider.",
        }
        hint = hints.get(scope or "")
        return {"scope": scope, "reset_at": reset_at, "retry_after": wait, "hint": hint}

    def _scope(self) -> str | None:
        """Say whose limit was hit; upstream limits carry a provider's name and no headers."""
        source = text_or_none(self.metadata.get("limit_source"))
        if source:
            return "upstream" if "upstream" in source or "provider" in source else "platform"
        if any(_any(where, "X-RateLimit-Limit") for where in (self.headers, self.quoted)):
            return "platform"
        named = self.upstream_provider or self.availability.get("affected_providers")
        if named or self.metadata.get("raw") or "upstream" in self.words:
            return "upstream"
        return "platform" if self.words.startswith("rate limit exceeded") else None

    def _credits(self) -> dict[str, Any]:
        affordable = _first(_AFFORDABLE, self.words)
        hint = "Raise this key's limit." if "key limit" in self.words else None
        if affordable is not None:
            hint = f"Add credits, or ask for at most {affordable} max_tokens."
        return {"affordable_tokens": affordable, "hint": hint}


def _status(error: Mapping[str, Any], status: int | None) -> int | None:
    """Return the status that the error speaks of: its own code inside a 200, else the answer's."""
    if status is not None and status >= 400:
        return status
    for name in ("code", "http_status", "status", "status_code", "http_code"):
        number = _number(error.get(name))
        if number is not None and number.is_integer() and 400 <= number <= 599:
            return int(number)
    return None


def _upstream_sentence(raw: Any) -> str | None:
    try:
        return sentence_in(bounded(raw))
    except UnreadableError:
        return None


def _debug_info(details: list[dict[str, Any]]) -> str | None:
    """Return what Google adds to a sentence, which may be "$grpcMessage" and no more."""
    found = (text_or_none(detail.get("detail")) for detail in details)
    return next((cut(text) for text in found if text), None)


def _aws_name(text: Any) -> str | None:
    """Return `X` of AWS's `X:http://…` and `com.amazon.…#X`."""
    return text.partition(":")[0].rpartition("#")[2] if isinstance(text, str) else None


def _is_word(text: str) -> bool:
    """Say whether a code is a word: a text that is not just a number."""
    text = text.strip().lstrip("-")
    return bool(text) and not text.isdecimal()


def _names(value: Any) -> tuple[str, ...] | None:
    """Return a list of names as a tuple; None when there is none."""
    found = value[:_MOST_NAMES] if isinstance(value, list) else ()
    return tuple(name for name in map(label, found) if name is not None) or None


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if found := pattern.search(text):
            digits = found[1].replace(",", "")
            return int(digits) if len(digits) <= 12 else None
    return None


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header whatever its case; *headers* may be a plain dict."""
    return label(headers.get(name) or _any(headers, name))


def _any(source: Mapping[str, Any], name: str) -> Any:
    low = name.lower()
    return next((value for key, value in source.items() if str(key).lower() == low), None)


def _retry_after(headers: Mapping[str, str], error: dict[str, Any], now: float) -> float | None:
    """Return the seconds that a provider asks to wait, by any of its ways of saying so.

    `Retry-After` (seconds or a date) goes before the metadata's and the availability's figures.
    More than a year is a year: what matters is that it is longer than any call.
    """
    metadata = object_or_empty(error.get("metadata"))
    said = (
        header(headers, "Retry-After"),
        _any(object_or_empty(metadata.get("headers")), "Retry-After"),
        metadata.get("retry_after_seconds"),
        metadata.get("retry_after"),
        object_or_empty(error.get("availability")).get("retry_after"),
        *_retry_delays(error),
    )
    return next((wait for one in said if (wait := _wait(one, now)) is not None), None)


def _retry_delays(error: dict[str, Any]) -> Iterator[str]:
    """Return Google's waiting times, "34.07s"."""
    for detail in objects(error.get("details"))[:_MOST_NAMES]:
        if isinstance(delay := detail.get("retryDelay"), str):
            yield delay.removesuffix("s")


def _wait(said: Any, now: float) -> float | None:
    """Return seconds, from a figure or a date; None for what is neither."""
    seconds = _number(said)
    if seconds is None and isinstance(said, str):
        with suppress(ValueError, TypeError, IndexError):
            moment = parsedate_to_datetime(said[:_LONGEST_FIGURE])
            seconds = max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    return min(seconds, _LONGEST_WAIT) if seconds is not None and seconds >= 0 else None


def _reset_at(*sources: Mapping[str, Any]) -> float | None:
    """Return when the rate limit resets, seconds since the epoch; the wire has milliseconds."""
    for source in sources:
        moment = _number(_any(source, "X-RateLimit-Reset"))
        if moment is not None and 1e11 <= moment < 1e14:
            return moment / 1000
    return None


def _number(said: Any) -> float | None:
    """Return a figure or a text as a number, also an infinite one; None for what is none."""
    if isinstance(said, bool) or not isinstance(said, int | float | Decimal | str):
        return None
    if isinstance(said, int):
        said = max(-_LARGEST_INT, min(said, _LARGEST_INT))
    try:
        number = float(said[:_LONGEST_FIGURE] if isinstance(said, str) else said)
    except ValueError:
        return None
    return None if math.isnan(number) else number
