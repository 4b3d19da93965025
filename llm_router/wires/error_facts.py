"""Facts dug out of an error: sentences, waiting times, figures. Pure; None for what is not said."""

from __future__ import annotations

import html
import json
import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from llm_router.wires.json_values import object_or_empty, text_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_SENTENCE = 2000
_LONGEST_WAIT = 366 * 86400
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
# Where upstreams put their sentence, most telling first.
_SENTENCE_KEYS = ("message", "error", "errors", "detail", "details", "msg", "error_message")
_NUMBER = r"(\d[\d,]*)"
_LIMITS = (
    re.compile(rf"maximum (?:context|prompt) length (?:is|of) {_NUMBER}", re.IGNORECASE),
    re.compile(rf"tokens? > {_NUMBER} maximum", re.IGNORECASE),
    re.compile(rf"maximum number of (?:input )?tokens allowed \({_NUMBER}\)", re.IGNORECASE),
    re.compile(rf"context (?:window|length|size)[^.\d]{{0,30}}{_NUMBER}", re.IGNORECASE),
)
_REQUESTED = (
    re.compile(rf"you requested (?:about )?{_NUMBER} tokens", re.IGNORECASE),
    re.compile(rf"(?:resulted in|request contains|prompt contains) {_NUMBER} tokens", re.I),
    re.compile(rf"too long: {_NUMBER} tokens", re.IGNORECASE),
    re.compile(rf"input token count \({_NUMBER}\)", re.IGNORECASE),
)
_AFFORDABLE = (re.compile(rf"can only afford {_NUMBER}", re.IGNORECASE),)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header whatever its case; *headers* may be a plain dict."""
    found = headers.get(name)
    if found is None:
        low = name.lower()
        found = next((value for key, value in headers.items() if str(key).lower() == low), None)
    return found if isinstance(found, str) else None


def page_sentence(body: bytes) -> str | None:
    """Return one readable sentence of a body that is no JSON: a page's title, or its first line."""
    text = body[:100_000].decode("utf-8", "replace").strip()
    title = _TITLE.search(text)
    if title is None and text.startswith("<"):
        return None
    lines = [html.unescape(title[2])] if title else text.splitlines()
    line = " ".join(re.sub(r"<[^>]*>", " ", lines[0]).split()) if lines else ""
    return line[:200] or None


def upstream_sentence(raw: Any) -> str | None:
    """Return the sentence in `metadata.raw`: a text, JSON in a text, or an object."""
    if isinstance(raw, str):
        text = raw.strip()
        if text[:1] in ("{", "["):
            try:
                return upstream_sentence(json.loads(text)) or None
            except (ValueError, RecursionError):
                return cut(text)
        if text.startswith("<"):
            return page_sentence(text.encode("utf-8", "replace"))
        return cut(text) or None
    return _dig(raw, 0)


def _dig(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        # Gateways nest: a message may itself be JSON with a message in it.
        return upstream_sentence(value) if depth < 4 else cut(value)
    if depth > 4:
        return None
    if isinstance(value, dict):
        inner: Iterable[Any] = (value.get(key) for key in _SENTENCE_KEYS)
    else:
        inner = value[:3] if isinstance(value, list) else ()
    return next((found for item in inner if (found := _dig(item, depth + 1))), None)


def cut(text: str, limit: int = _LONGEST_SENTENCE) -> str:
    """Return *text*, its end left out when it is longer than *limit*."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def retry_after_of(
    headers: Mapping[str, str], error: Mapping[str, Any], now: float
) -> float | None:
    """Return the seconds that a provider asks to wait, by any of its ways of saying so.

    `Retry-After` (seconds or a date) goes before the metadata's and the availability's figures.
    """
    metadata = object_or_empty(error.get("metadata"))
    availability = object_or_empty(error.get("availability"))
    quoted = object_or_empty(metadata.get("headers"))
    return next(
        (
            seconds
            for said in (
                header(headers, "Retry-After"),
                header(quoted, "Retry-After"),
                metadata.get("retry_after_seconds"),
                metadata.get("retry_after"),
                availability.get("retry_after"),
            )
            if (seconds := _wait(said, now)) is not None
        ),
        None,
    )


def reset_at_of(headers: Mapping[str, str], error: Mapping[str, Any]) -> float | None:
    """Return when the rate limit resets, seconds since the epoch; the wire has milliseconds."""
    quoted = object_or_empty(object_or_empty(error.get("metadata")).get("headers"))
    for source in (headers, quoted):
        moment = _number(_any(source, "X-RateLimit-Reset"))
        if moment is not None and 1e11 <= moment < 1e14:
            return moment / 1000
    return None


def has_rate_limit_headers(headers: Mapping[str, str], error: Mapping[str, Any]) -> bool:
    """Say whether the platform's own limit is spoken of: upstream limits carry no such headers."""
    quoted = object_or_empty(object_or_empty(error.get("metadata")).get("headers"))
    return any(_any(source, "X-RateLimit-Limit") is not None for source in (headers, quoted))


def _any(source: Mapping[str, Any], name: str) -> Any:
    low = name.lower()
    return next((value for key, value in source.items() if str(key).lower() == low), None)


def _wait(said: Any, now: float) -> float | None:
    seconds = _number(said)
    if seconds is None and isinstance(said, str):
        try:
            seconds = max(0.0, parsedate_to_datetime(said).timestamp() - now)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST_WAIT else None


def _number(said: Any) -> float | None:
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    try:
        number = float(said)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def context_figures(text: str) -> dict[str, int | None]:
    """Return the context limit and the tokens asked for, as `limit_tokens`, `requested_tokens`."""
    return {
        "limit_tokens": _first(_LIMITS, text),
        "requested_tokens": _first(_REQUESTED, text),
    }


def affordable_tokens(text: str) -> int | None:
    """Return the `max_tokens` that the balance still covers."""
    return _first(_AFFORDABLE, text)


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if found := pattern.search(text):
            digits = found[1].replace(",", "")
            return int(digits) if len(digits) <= 12 else None
    return None


def names(value: Any) -> tuple[str, ...] | None:
    """Return a list of names as a tuple; None when there is none."""
    found = (
        tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
    )
    return found or None


def word(*candidates: Any) -> str | None:
    """Return the first candidate that is a word: a text that is not just a number."""
    for candidate in candidates:
        text = text_or_none(candidate)
        if text and text.strip() and not text.strip().lstrip("-").isdecimal():
            return text
    return None
