"""JSON Schemas that the caller wrote: what is served of them, and whether an answer fits.

Drafts 4, 6, 7, 2019-09 and 2020-12 (the default); a reference is a pointer into the schema.
`format` is checked for the names in `FORMATS`; any other is an annotation, as the drafts have it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import TYPE_CHECKING, Any

from llm_router.operations.structured.json_schema import (
    REFERENCES,
    Node,
    UnresolvedReferenceError,
    rebuilt,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_PROBLEMS = 20
"""How many mistakes of one answer are told."""

# What jsonschema checks by itself; its extra for the rest brings ten packages and two seconds of
# import.
_PLAIN_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid", "regex")
_DAYS = r"(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)"
_HOURS = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
_CLOCK = r"(?:(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d|23:59:60)(?:\.\d+)?"
_TIME = rf"{_CLOCK}(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# RFC 3339 (durations: its appendix A) and RFC 1123.
_FORMAT_PATTERNS = {
    "date-time": re.compile(rf"\d{{4}}-\d\d-\d\d[Tt]{_TIME}", re.A),
    "time": re.compile(_TIME, re.A),
    "duration": re.compile(rf"P(?:{_DAYS}(?:{_HOURS})?|{_HOURS}|\d+W)", re.A),
    "hostname": re.compile(rf"(?=.{{1,253}}+\Z){_LABEL}(?:\.{_LABEL})*", re.A),
}
FORMATS = frozenset({*_PLAIN_FORMATS, *_FORMAT_PATTERNS})


def served(given: Mapping[str, Any]) -> tuple[Node, Callable[[Any], list[str]]]:
    """Return a JSON Schema as all else relies on it, and the function that says why data misses it.

    In it every reference leads to a schema inside it, and none back to the same place. Raises
    ValueError for what is no schema, or refers to what is elsewhere.
    """
    try:
        schema = json.loads(json.dumps(given))  # a copy that no caller can change
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"schema: not JSON data: {error}") from None
    kind = _draft(schema)
    nodes: list[Node] = []
    try:
        _check(kind, schema)
        schema = rebuilt(schema, partial(_settled, nodes))
        _check_references(kind, schema, nodes)
    except RecursionError:
        raise ValueError("schema: nested too deeply") from None
    return schema, _errors_of(kind, schema)


def _draft(schema: Node) -> Any:
    """Return jsonschema's class for the draft that *schema* names."""
    from jsonschema import Draft3Validator, Draft202012Validator
    from jsonschema.validators import validator_for

    if not isinstance(schema.get("$schema", ""), str):
        raise ValueError(f"schema: $schema is a URI, not {schema['$schema']!r}")
    kind = validator_for(schema, default=Draft202012Validator)
    if kind is Draft3Validator:
        raise ValueError("schema: draft 3 is not served; draft 4 and later are")
    return kind


def _check(kind: Any, schema: Any) -> None:
    from jsonschema import SchemaError

    try:
        kind.check_schema(schema)
    except SchemaError as error:
        where = error.json_path.removeprefix("$").lstrip(".") or "the root"
        raise ValueError(f"schema: not a valid JSON Schema at {where}: {error.message}") from None


def _settled(nodes: list[Node], node: Node) -> Node:
    """Put *node* into *nodes* with no base or draft of its own: pointers start at the root."""
    bases = {w for w in ("$id", "id", "$schema") if isinstance(node.get(w), str)}
    if not isinstance(node.get("items"), list):
        bases.add("additionalItems")  # it means nothing then, and jsonschema trips over it
    nodes.append({word: inner for word, inner in node.items() if word not in bases})
    return nodes[-1]


def _check_references(kind: Any, root: Node, nodes: list[Node]) -> None:
    """Raise ValueError unless every reference leads to one of *nodes*, and none in a circle."""
    places = set(map(id, nodes))
    same_place: dict[int, list[int]] = {}
    for node in nodes:
        targets = [_target(node[word], root) for word in REFERENCES if word in node]
        for target in targets:
            if not (isinstance(target, bool) or id(target) in places):
                raise ValueError(f"schema: a $ref leads to what is no schema: {target!r:.80}")
            _check(kind, target)  # it may stand where the draft expects no schema
        several = [node[word] for word in ("allOf", "anyOf", "oneOf") if word in node]
        inner = [part for found in several if isinstance(found, list) for part in found]
        inner += [node[word] for word in ("not", "if", "then", "else") if word in node]
        same_place[id(node)] = [id(part) for part in (*targets, *inner) if id(part) in places]
        for pattern in node.get("patternProperties", ()):  # draft 4 does not ask for it
            _check(kind, {"pattern": pattern})
    try:
        TopologicalSorter(same_place).prepare()
    except CycleError:
        raise ValueError("schema: a $ref leads back to where it stands: no value ends it") from None


def _target(reference: Any, root: Node) -> Any:
    try:
        return resolve(str(reference), root)
    except UnresolvedReferenceError:
        hint = "" if str(reference).startswith("#") else "; nothing is fetched: put it under $defs"
        message = f"schema: $ref {reference!r} is not in this schema{hint}"
        raise ValueError(message) from None


def _errors_of(kind: Any, schema: Node) -> Callable[[Any], list[str]]:
    from referencing import Registry

    # The empty registry keeps jsonschema from fetching references over the network.
    validator = _extended(kind)(schema, registry=Registry(), format_checker=_format_checker())

    def errors_of(data: Any) -> list[str]:
        try:
            found = list(islice(validator.iter_errors(data), MAX_PROBLEMS))
        except RecursionError:
            return ["the answer: nested too deeply"]
        found.sort(key=lambda error: error.json_path)
        return [f"{place(error.absolute_path)}: {error.message}" for error in found]

    return errors_of


def place(path: Iterable[str | int]) -> str:
    """Return where a mistake is, as it is told: `lines.0.price`."""
    return ".".join(map(str, path)) or "the answer"


@cache
def _extended(kind: Any) -> Any:
    from jsonschema import validators

    extend: Any = validators.extend  # untyped in its stubs
    return extend(kind, {"uniqueItems": _unique_items, "multipleOf": _multiple_of})


def _unique_items(validator: Any, wanted: bool, items: Any, _schema: Any) -> Iterator[Any]:
    """Take the place of jsonschema's own check, which compares each object with each other."""
    from jsonschema import ValidationError

    if not (wanted and validator.is_type(items, "array")):
        return
    if len(set(map(_hashable, items))) < len(items):
        yield ValidationError(f"{items!r} has non-unique elements")


def _multiple_of(validator: Any, step: Any, number: Any, _schema: Any) -> Iterator[Any]:
    """Count in tenths as they are written: in jsonschema's floats 19.99 is no multiple of 0.01."""
    from jsonschema import ValidationError

    if not validator.is_type(number, "number"):
        return
    if (Fraction(Decimal(str(number))) / Fraction(Decimal(str(step)))).denominator != 1:
        yield ValidationError(f"{number!r} is not a multiple of {step}")


def _hashable(data: Any) -> Any:
    """Return what is equal for equal JSON data: 1 is 1.0, and not true."""
    if isinstance(data, dict):
        return frozenset((name, _hashable(value)) for name, value in data.items())
    if isinstance(data, list):
        return tuple(map(_hashable, data))
    return isinstance(data, bool), data


@cache
def _format_checker() -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(_PLAIN_FORMATS)
    for name in _FORMAT_PATTERNS:
        checker.checks(name, raises=ValueError)(_checks(name))
    return checker


def _checks(name: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if not isinstance(value, str):
            return True
        fits = _FORMAT_PATTERNS[name].fullmatch(value) is not None
        return fits and (name != "date-time" or bool(date.fromisoformat(value[:10])))

    return check
