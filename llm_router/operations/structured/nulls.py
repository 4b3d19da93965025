"""Reading nulls back: in a strict schema, null is how an optional property is left out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from llm_router.operations.structured.json_schema import Node, accepts_null, follow

_NEVER = 1_000_000


def without_placeholders(text: str, schema: Node) -> str | None:
    """Return the JSON *text* without nulls that *schema* does not allow where it stands.

    Only properties that may be left out are taken away. None when there are none, or when the
    text is not JSON. Numbers keep every digit.
    """
    try:
        data = json.loads(text, parse_float=Decimal)
        kept = _prune(data, schema, schema)
    except (ValueError, LookupError, RecursionError):
        return None
    return None if kept == data else _dump(kept)


def _prune(data: Any, schema: Any, root: Node) -> Any:
    if not isinstance(data, dict | list):
        return data
    schema = _fitting(data, schema, root)
    if isinstance(data, list):
        prefix = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return [
            _prune(item, prefix[n] if n < len(prefix) else rest, root)
            for n, item in enumerate(data)
        ]
    properties = _properties(schema, root)
    required = schema.get("required", ())
    kept = {}
    for name, value in data.items():
        part = properties.get(name, schema.get("additionalProperties", {}))
        optional = name in properties and name not in required
        if value is None and optional and not accepts_null(part, root):
            continue
        kept[name] = _prune(value, part, root)
    return kept


def _fitting(data: Any, schema: Any, root: Node) -> Node:
    """Return the schema *data* was written for: of a union, the branch with its very keys."""
    schema = follow(schema, root)
    if not isinstance(schema, dict):
        return {}
    branches = schema.get("anyOf", schema.get("oneOf"))
    if not branches:
        found: Node = schema
        return found
    fitting = [_fitting(data, branch, root) for branch in branches]
    best = max(fitting, key=lambda branch: _fit(data, branch, root))
    if "properties" not in schema:
        return best
    return {**schema, "properties": _properties(best, root) | _properties(schema, root)}


def _fit(data: Any, schema: Node, root: Node) -> int:
    if isinstance(data, list):
        return 1 if "items" in schema or "prefixItems" in schema else 0
    properties = _properties(schema, root)
    for name, part in properties.items():
        part = follow(part, root)
        fixed = _fixed_values(part)
        if fixed is not None and name in data and data[name] not in (*fixed, None):
            return -_NEVER
    return -len(properties.keys() ^ data.keys()) if properties else 1 - _NEVER


def _fixed_values(schema: Any) -> list[Any] | None:
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _properties(schema: Node, root: Node) -> Node:
    found: Node = {}
    for part in schema.get("allOf", ()):
        found |= _properties(follow(part, root), root)
    found |= schema.get("properties", {})
    return found


def _dump(data: Any) -> str:
    if isinstance(data, Decimal):
        return str(data)
    if isinstance(data, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_dump(v)}" for k, v in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ",".join(map(_dump, data)) + "]"
    return json.dumps(data)
