"""Reading an answer's text: find the one JSON value in it that is the answer, or none.

A wrong object is worse than none, since none is asked for again. Hence: prose, fences and
reasoning around a value are taken away, but a value inside a damaged or cut one is never offered.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llm_router.operations.structured.schema import MismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.operations.structured.schema import Schema

T = TypeVar("T")

_MARK = re.compile(r"<think(?:ing)?>|</think(?:ing)?>|[{\[]")
_LOOKS_LIKE_JSON = re.compile(
    r"""\{\s*(?:["'}]|//|/\*|\w+\s*:)|\[\s*(?:["'{\[\]\d]|-\d|(?:true|false|null)\b|//|/\*)"""
)
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|[{}\[\]]', re.S)
_QUOTED_KEY = re.compile(r'"\s*:')
_DAMAGE = re.compile(r'[\[\],":]')
# What follows a value that a stray bracket has cut out of a larger one: `{"a": -1}0}`, `[1],2]`.
_GOES_ON = re.compile(r'[\w"]|\s*,\s*(?:["\d\[{-]|(?:true|false|null)\b)')
_FENCE = re.compile(r"\A```\w*\s*(.*?)\s*```\Z", re.S)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.S)
_DECODER = json.JSONDecoder()
_MAX_CHARS = 2_000_000
_WORK = 8  # how many times the text may be scanned, all failed decodings together


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """An object, and how many steps it took to find it in the text (0: it was plain JSON)."""

    value: T
    repairs: int = 0


def read_text(text: str, schema: Schema[T], *, strict: bool = False) -> Reading[T]:
    """Return the object of *schema* that *text* holds; MismatchError when there is none.

    *strict*: the model was shown the strict schema, so a null may stand for "left out".
    """
    validate = schema.validate_strict if strict else schema.validate
    try:
        return Reading(validate(text))
    except MismatchError as error:
        problem = error
    for number, (candidate, repairs) in enumerate(_candidates(text)):
        for steps, variant in _variants(candidate, schema):
            try:
                return Reading(validate(variant), repairs + steps)
            except MismatchError as error:
                if number <= 1 and not steps:
                    problem = error  # of the value that was found rather than of the prose
    raise problem


def _variants(text: str, schema: Schema[Any]) -> Iterator[tuple[int, str]]:
    yield 0, text
    if "null" in text:
        pruned = schema.without_placeholders(text)
        if pruned is not None:
            yield 1, pruned
    inner = _string_inside(text)
    if inner is not None:
        yield 1, inner


def _string_inside(text: str) -> str | None:
    """Return the JSON text that a JSON string holds."""
    if not text.lstrip().startswith('"'):
        return None
    try:
        inner = json.loads(text)
    except ValueError:
        return None
    return inner if isinstance(inner, str) and inner.lstrip()[:1] in ("{", "[") else None


def _candidates(text: str) -> Iterator[tuple[str, int]]:
    """Yield texts that may be the answer, the likelier first, with the steps they took."""
    if len(text) > _MAX_CHARS:
        return
    yield text, 0
    found = _scan(text)
    spans = sorted(found.values, key=len, reverse=True)
    # Whole values win over damaged ones, and the largest is the answer rather than an example.
    yield from ((span, 1) for span in spans)
    bare = _FENCE.sub(r"\1", found.prose.strip("\ufeff \t\r\n"))
    if not spans and not found.damaged and bare != text:
        yield bare, 1
    for span in sorted(found.damaged, key=len, reverse=True):
        tidied = _tidy(span)
        yield tidied, 2
        repaired = _repair(tidied)
        if repaired is not None:
            yield repaired, 3


@dataclass(slots=True)
class _Found:
    values: list[str]
    """Texts of whole JSON objects and arrays, not inside another."""
    damaged: list[str]
    """Balanced texts that look like JSON and are not."""
    prose: str
    """What is around them."""


def _scan(text: str) -> _Found:
    found = _Found([], [], "")
    at = start = 0
    budget = _WORK * len(text) + 4096
    while mark := _MARK.search(text, at):
        at, word = mark.end(), mark.group()
        if word.startswith("</"):
            # The opening tag was in the prompt: all up to here was reasoning.
            found, start = _Found([], [], ""), at
            continue
        if word.startswith("<"):
            found.prose += text[start : mark.start()]
            end = re.compile(word.replace("<", "</")).search(text, at)
            at = start = end.end() if end else len(text)
            continue
        end_of_value, work = _decode(text, mark.start())
        budget -= work
        if end_of_value is None and _LOOKS_LIKE_JSON.match(text, mark.start()):
            end_of_value, work = _balanced_end(text, mark.start())
            budget -= work
            if end_of_value is None:
                return _Found([], [], "")  # cut: whatever is inside is a part of something
            found.damaged.append(text[mark.start() : end_of_value])
        elif end_of_value is not None and not _GOES_ON.match(text, end_of_value):
            found.values.append(text[mark.start() : end_of_value])
        if budget < 0:
            return _Found([], [], "")
        if end_of_value is not None:
            found.prose += text[start : mark.start()]
            at = start = end_of_value
    found.prose += text[start:]
    return _Found([], [], "") if _is_wreck(found) else found


def _is_wreck(found: _Found) -> bool:
    """Return whether what is around the values is no prose but the rest of a damaged value."""
    if not (found.values or found.damaged):
        return False
    prose = found.prose.replace("`", "").strip("\ufeff \t\r\n")
    if _QUOTED_KEY.search(prose):
        return True
    return not re.search(r"\w", prose) and bool(_DAMAGE.search(prose))


def _decode(text: str, at: int) -> tuple[int | None, int]:
    """Return where the JSON value at *at* ends, None if there is none, and the chars scanned."""
    try:
        end = _DECODER.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        return None, error.pos - at
    except RecursionError:
        return None, len(text) - at
    return end, 0


def _balanced_end(text: str, at: int) -> tuple[int | None, int]:
    """Return where the bracket at *at* is closed, None if nowhere, and the chars scanned."""
    open_brackets: list[str] = []
    for token in _TOKEN.finditer(text, at):
        mark = token.group()
        if mark in "{[":
            open_brackets.append("}" if mark == "{" else "]")
        elif mark in "}]":
            if open_brackets.pop() != mark:
                return None, token.end() - at
            if not open_brackets:
                return token.end(), token.end() - at
    return None, len(text) - at


def _tidy(text: str) -> str:
    """Return *text* without comments and trailing commas, raw line breaks in strings escaped.

    Nothing else changes: numbers keep their digits.
    """
    return _TRAILING_COMMA.sub(r"\1", _TOKEN.sub(_tidy_token, text))


def _tidy_token(token: re.Match[str]) -> str:
    text = token.group()
    if text.startswith("/"):
        return " "
    if text.startswith('"'):
        return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text


def _repair(text: str) -> str | None:
    """Return *text* as json_repair reads it, if only quotes and literals changed their style."""
    import json_repair

    try:
        value = json_repair.loads(text)
    except (ValueError, RecursionError):
        return None
    spelled = _spelling(text)
    for ascii_only in (False, True):
        repaired = json.dumps(value, ensure_ascii=ascii_only)
        if _spelling(repaired) == spelled:
            return repaired
    return None


def _spelling(text: str) -> str:
    """Return what must not change in a repair: all but blanks, the kind of quotes, those of keys.

    A word without quotes that json_repair makes a string of was never one.
    """
    text = re.sub(r"\s", "", text).replace("'", '"')
    text = re.sub(r'(?<=[{,])"(\w+)":', r"\1:", text)
    return re.sub(r"\b(True|False|None)\b", lambda m: _LITERALS[m.group()], text)


_LITERALS = {"True": "true", "False": "false", "None": "null"}
