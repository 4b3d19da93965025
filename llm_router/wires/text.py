"""Text of unknown size and shape, cut to a bound before anything is looked for in it.

What providers say of a failure is quoted, searched and kept on the event loop. Here each piece is
cut first; what is done with it then takes a time that its sender cannot stretch.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

from llm_router.wires.json_values import MAX_DEPTH, UnreadableError, mend, plain_json

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_MESSAGE = 10_000
LONGEST_SENTENCE = 2_000
LONGEST_LABEL = 200
_LONGEST_PAGE = 100_000
_LONGEST_DATA = 50_000
# What a value costs of that beside its text: it bounds how many there are.
_VALUE = 50
_DEEPEST_SENTENCE = 4
_TAG = re.compile(r"<[^<>]*>")
# Where upstreams put their sentence, most telling first.
_SENTENCE_KEYS = (
    *("message", "error", "errors", "detail", "details", "msg", "error_message"),
    "Message",  # AWS, for some of its errors.
)


def cut(text: str, limit: int = LONGEST_SENTENCE) -> str:
    """Return *text*, its end left out when it is longer than *limit*, as text can be written."""
    return mend(text if len(text) <= limit else f"{text[:limit]}…")


def label(value: Any) -> str | None:
    """Return a name of whatever kind, cut to the length of a name; None for what is no text."""
    return cut(value, LONGEST_LABEL) if isinstance(value, str) else None


def bounded(value: Any) -> Any:
    """Return JSON data as plain JSON of at most some 50,000 characters; the rest is left out.

    Raises UnreadableError when it is nested too deeply.
    """
    return _Copy().of(value, 0)


class _Copy:
    """A copy of JSON data that ends where its budget does."""

    def __init__(self) -> None:
        self.left = _LONGEST_DATA

    def of(self, value: Any, depth: int) -> Any:
        self.left -= _VALUE
        if isinstance(value, str):
            return self._text(value)
        if depth > MAX_DEPTH:
            raise UnreadableError("is nested too deeply")
        if isinstance(value, dict):
            return {self._text(k): self.of(v, depth + 1) for k, v in value.items() if self.left > 0}
        if isinstance(value, list):
            return [self.of(item, depth + 1) for item in value if self.left > 0]
        return plain_json(value)

    def _text(self, text: str) -> str:
        shown = cut(text, max(self.left, 0))
        self.left -= len(shown)
        return shown


def page_sentence(body: bytes) -> str | None:
    """Return one readable sentence of a body that is no JSON: a page's title, or its first line."""
    page = body[:_LONGEST_PAGE].strip()
    title = _title(page)
    if title is None and page.startswith(b"<"):
        return None
    line = page.partition(b"\n")[0] if title is None else title
    text = line[:LONGEST_SENTENCE].decode("utf-8", "replace")
    text = " ".join(_TAG.sub(" ", html.unescape(text) if title else text).split())
    return text[:LONGEST_LABEL] or None


def _title(page: bytes) -> bytes | None:
    """Return what stands in the first title or, without one, in the first heading."""
    low = page.lower()
    for tag in (b"title", b"h1"):
        opened = low.find(b"<" + tag)
        start = low.find(b">", opened) + 1
        end = low.find(b"</" + tag, start)
        if opened >= 0 and start > 0 and end >= 0:
            return page[start:end]
    return None


def sentence_in(value: Any) -> str | None:
    """Return the sentence in what an upstream said: a text, JSON in a text, or an object.

    *value* is `bounded`: gateways nest JSON in texts, and all of it is searched.
    """
    return _text_sentence(value, 0) if isinstance(value, str) else _dig(value, 0)


def _text_sentence(text: str, depth: int) -> str | None:
    text = text.strip()
    if text[:1] in ("{", "[") and depth < _DEEPEST_SENTENCE:
        try:
            return _dig(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            return cut(text)
    if text.startswith("<"):
        return page_sentence(text.encode("utf-8", "replace"))
    return cut(text) or None


def _dig(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        return _text_sentence(value, depth)
    if depth > _DEEPEST_SENTENCE:
        return None
    if isinstance(value, dict):
        inner: Iterable[Any] = (value.get(key) for key in _SENTENCE_KEYS)
    else:
        inner = value[:3] if isinstance(value, list) else ()
    return next((found for item in inner if (found := _dig(item, depth + 1))), None)
