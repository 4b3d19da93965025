"""Reading an answer's text: find the one JSON value in it that is the answer, or none.

A wrong object is worse than none, since none is asked for again. Hence: prose, fences and
reasoning around a value are taken away, but a value inside a damaged or cut one is never offered,
and of two values that fit and differ neither is taken.

Every step takes a time that grows with the text and no faster, whatever the text is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llm_router.operations.structured.json_schema import JSON_STRING
from llm_router.operations.structured.schema import MismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_router.operations.structured.schema import Schema

T = TypeVar("T")

# A bracket only where it may begin JSON, or JSON as JavaScript and Python write it.
_MARK = re.compile(
    r"""<think(?:ing)?>|</think(?:ing)?>|\{(?=\s*+(?:["'}]|//|/\*|\w++\s*+:))"""
    r"""|\[(?=\s*+(?:["'{\[\]\d]|-\d|(?:true|false|null)\b|//|/\*))"""
)
_STRINGS = rf"{JSON_STRING}|(?<!\w)'[^'\\]*+(?:\\.[^'\\]*+)*+'?"
_TOKEN = re.compile(rf"{_STRINGS}|//[^\n]*+|/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?|[{{}}\[\]]", re.S)
_TRAILING_COMMA = re.compile(rf"({_STRINGS})|(?<![\[{{,\s])(\s*+),(?=\s*+[}}\]])", re.S)
_STYLE = re.compile(rf"{_STRINGS}|(?P<word>\w++)(?P<colon>\s*+:)?", re.S)
_IN_STRING = re.compile(r"\\.|[\n\r\t\"]", re.S)
_ESCAPED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_QUOTES = {'"': '\\"', "\\'": "'"}
_LITERALS = {"True": "true", "False": "false", "None": "null"}
_QUOTED_KEY = re.compile(r'"\s*+:')
_WORD = re.compile(r"\w")
_LANGUAGE = re.compile(r"\w*+")
_DAMAGE = re.compile(r'[\[\],":]')
# What follows a value that a stray bracket has cut out of a larger one: `{"a": -1}0}`, `[1],2]`.
_GOES_ON = re.compile(r'[\w"]|\s*,\s*(?:["\d\[{-]|(?:true|false|null)\b)')
_BLANKS = "\ufeff \t\r\n"
_DECODER = json.JSONDecoder()
_MAX_CHARS, _MAX_REPAIRED_CHARS = 1_000_000, 200_000
_MAX_MARKS, _MAX_VALUES = 20_000, 64


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """An object, and how many steps it took to find it in the text (0: it was plain JSON)."""

    value: T
    repairs: int = 0


def read_text(text: str, schema: Schema[T], *, strict: bool = False) -> Reading[T]:
    """Return the object of *schema* that *text* holds.

    Raises MismatchError when there is none, or when two that differ fit.

    *strict*: the model was shown the strict schema, so a null may stand for "left out".
    """
    validate = schema.validate_strict if strict else schema.validate
    fits: list[Reading[T]] = []
    problem: MismatchError | None = None
    for number, spellings in enumerate(_candidates(text, schema)):
        for turn, (spelling, repairs) in enumerate(spellings):
            try:
                fits.append(Reading(validate(spelling), repairs))
                break
            except MismatchError as error:
                if number <= 1 and turn == 0:
                    problem = error  # of the value that was found rather than of the prose
        if fits and number == 0:
            break
    if problem and not fits:
        raise problem
    return only(fits)


def only(fits: Sequence[Reading[T]]) -> Reading[T]:
    """Return the one object that was found, perhaps twice; MismatchError if they differ."""
    if any(other.value != fits[0].value for other in fits[1:]):
        raise MismatchError(
            [f"the answer: {len(fits)} objects in it fit, and they differ: give one"]
        )
    return fits[0]


def _candidates(text: str, schema: Schema[Any]) -> Iterator[Iterator[tuple[str, int]]]:
    """Yield what may be the answer, the likelier first: the text, then the values in it.

    Each in its spellings, the plainest first, with the steps that it took.
    """
    if len(text) > _MAX_CHARS:
        yield iter([(text, 0)])
        return
    yield _spellings(text, 0, schema)
    found = _scan(text)
    values = dict.fromkeys(sorted(found.values, key=len, reverse=True))
    if len(values) > _MAX_VALUES:
        return
    for value in values:
        if value != text.strip():
            yield _spellings(value, 1, schema)
    bare = _unfenced("".join(found.prose).strip(_BLANKS))
    if not values and not found.damaged and bare != text:
        yield _spellings(bare, 1, schema)
    for span in sorted(found.damaged, key=len, reverse=True):
        yield _repaired(span, schema)


def _spellings(text: str, steps: int, schema: Schema[Any]) -> Iterator[tuple[str, int]]:
    yield text, steps
    if "null" in text:
        pruned = schema.without_placeholders(text)
        if pruned is not None:
            yield pruned, steps + 1
    inner = _string_inside(text)
    if inner is not None:
        yield inner, steps + 1


def _repaired(text: str, schema: Schema[Any]) -> Iterator[tuple[str, int]]:
    """Yield *text* without comments and trailing commas, then also in the quotes of JSON.

    Nothing that it says changes: numbers keep their digits, strings their characters.
    """
    tidied = _TRAILING_COMMA.sub(r"\1\2", _TOKEN.sub(_tidied, text))
    yield from _spellings(tidied, 2, schema)
    restyled = _STYLE.sub(_restyled, tidied)
    if restyled != tidied:
        yield from _spellings(restyled, 3, schema)


def _string_inside(text: str) -> str | None:
    """Return the JSON text that a JSON string holds."""
    if not text.lstrip().startswith('"'):
        return None
    try:
        inner = json.loads(text)
    except ValueError:
        return None
    return inner if isinstance(inner, str) and inner.lstrip()[:1] in ("{", "[") else None


def _unfenced(text: str) -> str:
    """Return what stands between the two ends of a code fence."""
    if len(text) < 6 or not (text.startswith("```") and text.endswith("```")):
        return text
    inner = text[3:-3]
    return inner[_LANGUAGE.match(inner).end() :].strip()  # type: ignore[union-attr] # matches ""


@dataclass(slots=True)
class _Found:
    values: list[str] = field(default_factory=list)
    """Texts of whole JSON objects and arrays, not inside another."""
    damaged: list[str] = field(default_factory=list)
    """Balanced texts that look like JSON and are not."""
    prose: list[str] = field(default_factory=list)
    """What is around them."""


def _scan(text: str) -> _Found:
    """Return what is in *text*; nothing when it is cut, or more than can be looked through."""
    found = _Found()
    at = start = 0
    for _ in range(_MAX_MARKS):
        mark = _MARK.search(text, at)
        if mark is None:
            found.prose.append(text[start:])
            return _Found() if _is_wreck(found) else found
        if mark.group().startswith("</"):
            # The opening tag was in the prompt: all up to here was reasoning.
            found, start = _Found(), mark.end()
            at = start
            continue
        found.prose.append(text[start : mark.start()])
        end = _end_of_thought(text, mark) if mark.group()[0] == "<" else _take(text, mark, found)
        if end is None or len(found.damaged) > _MAX_VALUES:
            return _Found()  # of a cut value, whatever is inside is a part of something
        at = start = end
    return _Found()


def _end_of_thought(text: str, mark: re.Match[str]) -> int:
    closing = mark.group().replace("<", "</")
    end = text.find(closing, mark.end())
    return len(text) if end < 0 else end + len(closing)


def _take(text: str, mark: re.Match[str], found: _Found) -> int | None:
    """Put the value at *mark* where it belongs; return where it ends, None if nowhere."""
    try:
        end = _DECODER.raw_decode(text, mark.start())[1]
    except (ValueError, RecursionError):
        balanced = _balanced_end(text, mark.start())
        if balanced is not None:
            found.damaged.append(text[mark.start() : balanced])
        return balanced
    if not _GOES_ON.match(text, end):
        found.values.append(text[mark.start() : end])
    return end


def _is_wreck(found: _Found) -> bool:
    """Return whether what is around the values is no prose but the rest of a damaged value."""
    if not (found.values or found.damaged):
        return False
    prose = "".join(found.prose).replace("`", "").strip(_BLANKS)
    if _QUOTED_KEY.search(prose):
        return True
    return not _WORD.search(prose) and bool(_DAMAGE.search(prose))


def _balanced_end(text: str, at: int) -> int | None:
    """Return where the bracket at *at* is closed; None if nowhere, or too far away."""
    open_brackets: list[str] = []
    for token in _TOKEN.finditer(text, at, at + _MAX_REPAIRED_CHARS):
        mark = token.group()
        if mark in "{[":
            open_brackets.append("}" if mark == "{" else "]")
        elif mark in "}]":
            if open_brackets.pop() != mark:
                return None
            if not open_brackets:
                return token.end()
    return None


def _tidied(token: re.Match[str]) -> str:
    text = token.group()
    if text.startswith("/"):
        return " "
    # A backslash before a raw line break says nothing in JSON; it stays, and is refused.
    return _IN_STRING.sub(lambda found: _ESCAPED.get(found.group(), found.group()), text)


def _restyled(token: re.Match[str]) -> str:
    text, word = token.group(), token["word"]
    if word is not None:
        return f'"{word}":' if token["colon"] else _LITERALS.get(word, word)
    if text.startswith('"') or not text.endswith("'"):
        return text
    inner = _IN_STRING.sub(lambda found: _QUOTES.get(found.group(), found.group()), text[1:-1])
    return f'"{inner}"'
