"""Reading nulls back: in a strict schema, null is how an optional property is left out."""

from __future__ import annotations

import json
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from llm_router.operations.structured.json_schema import (
    Node,
    accepts_null,
    choices,
    has_type,
    parts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class _Shape:
    """What the parts of a schema, or of several that hold at once, say together."""

    def __init__(self, found: list[Node], root: Node) -> None:
        self.found = found
        self.choices = choices(found)
        self.properties: dict[str, tuple[Any, ...]] = {}
        for part in found:
            for name, schema in part.get("properties", {}).items():
                self.properties[name] = (*self.properties.get(name, ()), schema)
        self.required = {name for part in found for name in part.get("required", ())}
        self.others = tuple(part.get("additionalProperties", True) for part in found)
        self.items = [_items(part) for part in found]
        self.left_out = {
            name
            for name, schemas in self.properties.items()
            if not all(accepts_null(schema, root) for schema in schemas)
        } - self.required
        """Where null says that there is nothing."""

    def fits(self, data: Any) -> bool:
        """Return whether type and fixed values allow *data*."""
        return all(_fits(data, part) for part in self.found)

    def items_at(self, number: int) -> tuple[Any, ...]:
        return tuple(
            prefix[number] if number < len(prefix) else rest for prefix, rest in self.items
        )


class _Reader:
    """Reads data as the branches of a schema it was written for, the nearest ones."""

    def __init__(self, root: Node, tries: int) -> None:
        self._root = root
        self._tries = tries
        self._shapes: dict[tuple[int, ...], _Shape] = {}
        self._shapes_of_parts: dict[tuple[int, ...], _Shape] = {}
        self._chosen: dict[tuple[int, ...], tuple[int, Any]] = {}

    def read(self, data: Any, schemas: tuple[Any, ...]) -> tuple[int, Any]:
        """Return how far *data* is from *schemas*, which hold at once, and what is kept of it."""
        key = tuple(map(id, schemas))
        shape = self._shapes.get(key)
        if shape is None:
            found = [part for schema in schemas for part in parts(schema, self._root)]
            shape = self._shapes[key] = self._joined(found)
        if not shape.choices:
            return self._plain(data, shape)
        at = (id(data), *key)
        if at not in self._chosen:  # a choice inside a choice would be made again and again
            self._chosen[at] = self._choose(data, shape, shape.choices)
        return self._chosen[at]

    def _joined(self, found: list[Node]) -> _Shape:
        key = tuple(map(id, found))
        if key not in self._shapes_of_parts:
            self._shapes_of_parts[key] = _Shape(found, self._root)
        return self._shapes_of_parts[key]

    def _choose(self, data: Any, shape: _Shape, open_choices: list[Any]) -> tuple[int, Any]:
        """Return the reading of the nearest branches, of equal ones the first."""
        if not open_choices:
            return self._plain(data, shape)
        branches, *others = open_choices
        best: tuple[int, Any] = (2 * _WRONG, data)
        for branch in branches:
            more = parts(branch, self._root)
            joined = self._joined([*shape.found, *more])
            best = min(
                best, self._choose(data, joined, [*others, *choices(more)]), key=itemgetter(0)
            )
            if best[0] == 0:
                break
        return best

    def _plain(self, data: Any, shape: _Shape) -> tuple[int, Any]:
        self._tries -= 1
        if self._tries < 0:
            raise LookupError("more branches than can be tried")
        if not shape.fits(data):
            return _WRONG, data
        if isinstance(data, dict):
            return self._object(data, shape)
        if isinstance(data, list):
            read = [self.read(item, shape.items_at(n)) for n, item in enumerate(data)]
            return sum(away for away, _ in read), [kept for _, kept in read]
        return 0, data

    def _object(self, data: Node, shape: _Shape) -> tuple[int, Node]:
        away = _WRONG * len(shape.required - data.keys())
        away += len(shape.properties.keys() - data.keys())
        kept = {}
        for name, value in data.items():
            schemas = shape.properties.get(name)
            if schemas is None:
                away, schemas = away + 1, shape.others
            elif value is None and name in shape.left_out:
                continue
            further, kept[name] = self.read(value, schemas)
            away += further
        return away, kept


def _items(part: Node) -> tuple[Sequence[Any], Any]:
    """Return the schemas of the first items, and that of the others."""
    rest = part.get("items", True)
    return (rest, True) if isinstance(rest, list) else (part.get("prefixItems", ()), rest)


def _fits(data: Any, part: Node) -> bool:
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
