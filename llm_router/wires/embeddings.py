"""Vectors on OpenAI's wire, OpenRouter's among them (`POST /embeddings`): bytes in, Embeddings out.

`index` is optional at OpenRouter: vectors are ordered by it where it is there, else as they stand.
The numbers of vectors are floats; those of the bill are read from its own text, never through
float. A string in place of a vector is base64 of little-endian single floats.
"""

from __future__ import annotations

import base64
import json
import sys
from array import array
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from llm_router.answers.embeddings import Embeddings
from llm_router.errors import EmptyResponseError, InvalidResponseError
from llm_router.wires.json_values import leading_json, object_or_empty, objects
from llm_router.wires.tasks import bill, known, object_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.wires.openai import OpenAIWire

_LARGEST_BILL = 64 * 1024


def read_embeddings(
    wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes, count: int
) -> Embeddings:
    """Return the vectors of *count* texts, or raise the ProviderError that the answer is.

    Fewer vectors than texts, none, or such of unequal length are not an answer. *wire* reads what
    is no answer at all.
    """
    answer = object_with("data", wire, status, headers, body, _loads)
    answer["usage"] = _bill(body)
    try:
        vectors = _ordered(objects(answer["data"]), count)
    except _WrongError as problem:
        kind = InvalidResponseError if answer["data"] else EmptyResponseError
        raise kind(f"The answer {problem}", **bill(headers, answer)) from None
    return Embeddings(vectors=vectors, **known(headers, answer))


class _WrongError(ValueError):
    """The message completes "The answer …"."""


def _number(text: str) -> float:
    # In Python, for the decoder would hold the interpreter's lock through megabytes of figures.
    return float(text)


def _loads(body: bytes) -> dict[str, Any]:
    try:
        return object_or_empty(json.loads(body, parse_float=_number))
    except (ValueError, RecursionError):
        return {}


def _bill(body: bytes) -> dict[str, Any]:
    """Return `usage` with its exact amounts: all that is read so in a body of floats."""
    _, found, rest = body.partition(b'"usage"')
    value = rest[:_LARGEST_BILL].lstrip(b" \t\r\n:") if found else b""
    return object_or_empty(leading_json(value))


def _ordered(items: list[dict[str, Any]], count: int) -> tuple[array[float], ...]:
    if len(items) != count:
        raise _WrongError(f"has {len(items)} vectors for {count} texts")
    places = [item.get("index", place) for place, item in enumerate(items)]
    if {type(place) for place in places} != {int} or sorted(places) != list(range(count)):
        raise _WrongError("does not say which vector is which text's")
    vectors = [_vector(item.get("embedding")) for item in items]
    if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise _WrongError("has vectors of unequal length, or empty ones")
    pairs = zip(places, vectors, strict=True)
    return tuple(vector for _, vector in sorted(pairs, key=itemgetter(0)))


def _vector(value: Any) -> array[float]:
    try:
        if not isinstance(value, str):
            return array("f", value)
        vector = array("f", base64.b64decode(value, validate=True))
    except (TypeError, ValueError, OverflowError):
        raise _WrongError("has something else than numbers for a vector") from None
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
