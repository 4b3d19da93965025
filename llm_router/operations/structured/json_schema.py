"""Reading JSON Schemas: local references, and whether null fits."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

Node = dict[str, Any]

_MAX_HOPS = 32


class UnresolvedReferenceError(LookupError):
    """A `$ref` that leads nowhere in its own document; nothing is ever fetched."""


def resolve(reference: str, root: Node) -> Any:
    """Return what the local *reference* (`#/$defs/Item`, `#`) names in *root*."""
    if reference != "#" and not reference.startswith("#/"):
        raise UnresolvedReferenceError(reference)
    target: Any = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            target = target[int(key) if isinstance(target, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise UnresolvedReferenceError(reference) from None
    return target


def follow(schema: Any, root: Node) -> Any:
    """Return *schema*, or where its chain of references ends."""
    for _ in range(_MAX_HOPS):
        if not (isinstance(schema, dict) and "$ref" in schema):
            return schema
        schema = resolve(schema["$ref"], root)
    raise UnresolvedReferenceError("a circle of references")


def accepts_null(schema: Any, root: Node) -> bool:
    """Return whether null is a value of *schema*, as far as its plain keywords say."""
    schema = follow(schema, root)
    if not isinstance(schema, dict):
        return schema is True
    if "enum" in schema:
        return None in schema["enum"]
    if "const" in schema:
        return schema["const"] is None
    kind = schema.get("type")
    if kind is not None and kind != "null" and "null" not in kind:
        return False
    if not all(accepts_null(part, root) for part in schema.get("allOf", ())):
        return False
    branches = schema.get("anyOf", schema.get("oneOf"))
    return branches is None or any(accepts_null(branch, root) for branch in branches)


def is_object(schema: Any, root: Node) -> bool:
    """Return whether every value of *schema* is an object, and it is not a choice of several."""
    target = follow(schema, root)
    return isinstance(target, dict) and target.get("type") == "object" and not _is_choice(target)


def _is_choice(schema: Node) -> bool:
    return "anyOf" in schema or "oneOf" in schema
