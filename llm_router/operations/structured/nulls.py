"""Reading nulls back: in a strict schema, null is how an optional property is left out."""

from __future__ import annotations

import json
from decimal import Decimal
from operator import itemgetter
from typing import Any

from llm_router.operations.structured.json_schema import (
    Node,
    accepts_null,
    choices,
    has_type,
    parts,
)

_WRONG = 1_000_000
"""More than any number of keys that an open object need not have."""
_TRIES, _TRIES_A_CHARACTER = 10_000, 8


def without_placeholders(text: str, schema: Node) -> str | None:
    """Return the JSON *text* without nulls that *schema* does not allow where it stands.

    Only properties that may be left out are taken away. None when there are none, or when the
    text is not JSON. Numbers keep every digit.
    """
    try:
        data = json.loads(text, parse_float=Decimal)
        reader = _Reader(schema, tries=_TRIES + _TRIES_A_CHARACTER * len(text))
        kept = reader.read(data, (schema,))[1]
        return None if kept == data else _dump(kept)
    except (ValueError, LookupError, RecursionError):
        return None


class _Reader:
    """Reads data as the branches of a schema it was written for, the nearest ones."""

    def __init__(self, root: Node, tries: int) -> None:
        self._root = root
        self._tries = tries
        self._read: dict[tuple[int, ...], tuple[int, Any]] = {}

    def read(self, data: Any, schemas: tuple[Any, ...]) -> tuple[int, Any]:
        """Return how far *data* is from *schemas*, which hold at once, and what is kept of it."""
        key = (id(data), *map(id, schemas))
        if key not in self._read:  # a choice inside a choice would be made again and again
            found = [part for schema in schemas for part in parts(schema, self._root)]
            self._read[key] = self._choose(data, found, choices(found))
        return self._read[key]

    def _choose(self, data: Any, found: list[Node], open_choices: list[Any]) -> tuple[int, Any]:
        """Return the reading of the nearest branches, of equal ones the first."""
        if not open_choices:
            return self._plain(data, found)
        branches, *others = open_choices
        best: tuple[int, Any] = (2 * _WRONG, data)
        for branch in branches:
            more = parts(branch, self._root)
            read = self._choose(data, [*found, *more], [*others, *choices(more)])
            best = min(best, read, key=itemgetter(0))
            if best[0] == 0:
                break
        return best

    def _plain(self, data: Any, found: list[Node]) -> tuple[int, Any]:
        self._tries -= 1
        if self._tries < 0:
            raise LookupError("more branches than can be tried")
        if not all(_fits(data, part) for part in found):
            return _WRONG, data
        if isinstance(data, dict):
            return self._object(data, found)
        if isinstance(data, list):
            at = [tuple(_items_at(part, n) for part in found) for n in range(len(data))]
            read = [self.read(item, schemas) for item, schemas in zip(data, at, strict=True)]
            return sum(away for away, _ in read), [kept for _, kept in read]
        return 0, data

    def _object(self, data: Node, found: list[Node]) -> tuple[int, Node]:
        properties = [part.get("properties", {}) for part in found]
        required = {name for part in found for name in part.get("required", ())}
        away = _WRONG * len(required - data.keys()) + len(set().union(*properties) - data.keys())
        kept = {}
        for name, value in data.items():
            schemas = tuple(named[name] for named in properties if name in named)
            if not schemas:
                away, schemas = away + 1, tuple(p.get("additionalProperties", True) for p in found)
            elif value is None and name not in required and not self._takes_null(schemas):
                continue
            further, kept[name] = self.read(value, schemas)
            away += further
        return away, kept

    def _takes_null(self, schemas: tuple[Any, ...]) -> bool:
        return all(accepts_null(schema, self._root) for schema in schemas)


def _items_at(part: Node, number: int) -> Any:
    rest = part.get("items", True)
    first, rest = (rest, True) if isinstance(rest, list) else (part.get("prefixItems", ()), rest)
    return first[number] if number < len(first) else rest


def _fits(data: Any, part: Node) -> bool:
    """Return whether type and fixed values of *part* allow *data*."""
    if "type" in part and not has_type(data, part["type"]):
        return False
    value = float(data) if isinstance(data, Decimal) else data
    if "const" in part and value != part["const"]:
        return False
    return value in part.get("enum", (value,)) and part.get("not") != {}


def _dump(data: Any) -> str:
    if isinstance(data, Decimal):
        return str(data)
    if isinstance(data, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_dump(v)}" for k, v in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ",".join(map(_dump, data)) + "]"
    return json.dumps(data)
