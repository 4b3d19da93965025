"""JSON from the wire as values that can be trusted: what is of the wrong kind is None.

Money is read from its decimal text, never through float. Whatever leaves this package is plain
JSON data: no Decimal, no lone surrogate, no nesting that would break a later reader.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_DEPTH = 100
READ_AT_ONCE_BYTES = 64 * 1024
"""More than this is read in a thread: on the loop a mebibyte of figures takes 300 ms."""
_MAX_TOKENS = 10**12
_MAX_MONEY_DIGITS = 60
_LONGEST_MOMENT = 40


class UnreadableError(ValueError):
    """What came is not what the wire says it is; the message completes "The answer …"."""


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:  # An exponent beyond what Decimal can hold: not a figure.
        return None


def _same(value: dict[str, Any]) -> dict[str, Any]:
    return value


# NaN and Infinity are not JSON: JavaScript would have written null in their place, so do we.
_decode = json.JSONDecoder(parse_float=_decimal, parse_constant=lambda _: None).raw_decode
# With a step in Python for each object: else the decoder would hold the interpreter's lock.
_decode_in_thread = json.JSONDecoder(
    parse_float=_decimal, parse_constant=lambda _: None, object_hook=_same
).raw_decode
# Runs of bounded length, none of which ends within a pair.
_SURROGATES = re.compile(r"[\ud800-\udbff]{1,4096}[\udc00-\udfff]{0,4096}|[\udc00-\udfff]{1,4096}")
_BLANK = " \t\r\n"


def read_json(data: bytes) -> Any:
    """Return what *data* says, numbers with a point as Decimal; UnreadableError if it is no JSON.

    A lone surrogate may be in any string: see `has_surrogates`.
    """
    try:
        text = data.decode("utf-8-sig" if data[:1] == b"\xef" else "utf-8").strip(_BLANK)
        value, end = (_decode if len(data) <= READ_AT_ONCE_BYTES else _decode_in_thread)(text)
    except ValueError:
        problem = "is not readable JSON"
    except RecursionError:
        problem = "is nested too deeply"
    else:
        if end == len(text):
            return value
        problem = "has more after its JSON"
    # Not inside `except`: the decoder's error has the whole text, whatever it quotes.
    raise UnreadableError(problem)


def leading_json(data: bytes) -> Any:
    """Return the JSON value that *data* begins with, read as `read_json` does; None for none."""
    try:
        return _decode(data.decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None


def has_surrogates(data: bytes) -> bool:
    r"""Say whether *data* may hold `\ud83d`, which is half a character unless its pair follows."""
    return b"\\ud" in data or b"\\uD" in data


def mend(text: str) -> str:
    """Return *text* with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # Run by run: one step over it all would hold up the other threads of the process.
        return _SURROGATES.sub(_joined, text)
    return text


def _joined(run: re.Match[str]) -> str:
    return run[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def mend_all(value: Any) -> Any:
    """Return JSON data with every string mended, keys too."""
    return _walk(value, mend, 0)


def plain_json(value: Any) -> Any:
    """Return *value* with floats in place of Decimals; UnreadableError when nested too deeply."""
    return _walk(value, None, 0)


def _walk(value: Any, mended: Any, depth: int) -> Any:
    if isinstance(value, str):
        return mended(value) if mended else value
    if isinstance(value, Decimal):
        return value if mended else _float(value)
    if depth > MAX_DEPTH:
        raise UnreadableError("is nested too deeply")
    if isinstance(value, dict):
        return {
            (mended(key) if mended else key): _walk(item, mended, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_walk(item, mended, depth + 1) for item in value]
    return value


def json_text(value: Any, depth: int = 0) -> str:
    """Return JSON data as text, numbers spelt as they came; UnreadableError when too deep."""
    if isinstance(value, Decimal):
        return str(value)
    if not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if depth > MAX_DEPTH:
        raise UnreadableError("is nested too deeply")
    if isinstance(value, list):
        return f"[{', '.join(json_text(item, depth + 1) for item in value)}]"
    pairs = (f"{json_text(key)}: {json_text(item, depth + 1)}" for key, item in value.items())
    return f"{{{', '.join(pairs)}}}"


def _float(value: Decimal) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def count(value: Any) -> int | None:
    """Return a number of tokens or the like; None for what cannot be one."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 13:
        whole = int(value)
        value = whole if whole == value else None
    return value if type(value) is int and 0 <= value <= _MAX_TOKENS else None


def money(value: Any) -> Decimal | None:
    """Return an amount in USD; None for what cannot be one."""
    if type(value) is int:
        value = Decimal(value) if 0 <= value < 10**9 else None
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        return None
    exponent = value.as_tuple().exponent
    small = isinstance(exponent, int) and exponent >= -_MAX_MONEY_DIGITS
    return value.copy_abs() if small and value.adjusted() < 9 else None


def moment(value: Any) -> int | None:
    """Return an ISO 8601 moment in whole seconds since the epoch; None for what is none.

    One without a zone is UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value[:_LONGEST_MOMENT])
        return count(int(when.replace(tzinfo=when.tzinfo or UTC).timestamp()))
    except (ValueError, OverflowError):
        return None


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def object_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def sole_object(value: Any) -> dict[str, Any]:
    """Return an object, or the first of a list of them; an empty one for anything else."""
    return object_or_empty(value[0] if isinstance(value, list) and value else value)


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, and nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_arguments(text: str) -> dict[str, Any] | None:
    """Return a tool call's arguments; {} for none, None for what is not one JSON object."""
    if not text:
        return {}
    try:
        value = _arguments.decode(text)
        if isinstance(value, dict):
            return dict(mend_all(value)) if _needs_walk(text) else value
    except (ValueError, RecursionError):
        pass
    return None


def _needs_walk(text: str) -> bool:
    return text.count("{") + text.count("[") > MAX_DEPTH or "\\ud" in text.lower()


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_arguments = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
