"""Reading JSON Schemas: local references, the parts that hold at once, and whether null fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

Node = dict[str, Any]

# Possessive, and with an end that may be missing: what is never closed is looked at once.
JSON_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# Keywords that hold schemas by names, and those that hold data which may look like a schema.
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
_DATA = frozenset({"const", "enum", "default", "examples", "example", "required"})
_NOTHING: Node = {"not": {}}


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


def rebuilt(node: Any, change: Callable[[Node], Node]) -> Any:
    """Return a copy of *node* with *change* made to every schema in it, the innermost first.

    What stands under a keyword of no draft (`components`, say) counts as schemas too, since
    references may lead there.
    """
    if isinstance(node, list):
        return [rebuilt(part, change) for part in node]
    if not isinstance(node, dict):
        return node
    out: Node = {}
    for word, inner in node.items():
        if word in _NAMED and isinstance(inner, dict):
            out[word] = {name: rebuilt(part, change) for name, part in inner.items()}
        else:
            out[word] = inner if word in _DATA else rebuilt(inner, change)
    return change(out)


def parts(schema: Any, root: Node) -> list[Node]:
    """Return what holds at once of a value of *schema*: itself, what it refers to, its `allOf`.

    A choice (`anyOf`, `oneOf`) stays in the part that has it.
    """
    found: list[Node] = []
    pending = [schema]
    while pending:
        part = _NOTHING if pending[-1] is False else pending[-1]
        pending.pop()
        if not isinstance(part, dict) or any(part is other for other in found):
            continue
        found.append(part)
        pending += part.get("allOf", ())
        if "$ref" in part:
            pending.append(resolve(part["$ref"], root))
    return found


def choices(found: list[Node]) -> list[list[Any]]:
    """Return the choices that *found*, the parts of a schema, leave."""
    return [part[word] for part in found for word in ("anyOf", "oneOf") if word in part]


def implied_type(schema: Node) -> str | None:
    """Return the type that a schema means whose author left `type` out."""
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else None


def has_type(value: Any, kinds: str | list[str]) -> bool:
    """Return whether JSON data is of one of *kinds*; numbers may be Decimals."""
    names = [kinds] if isinstance(kinds, str) else kinds
    if value is None or isinstance(value, bool):
        return ("null" if value is None else "boolean") in names
    if isinstance(value, str | list | dict):
        return {str: "string", list: "array", dict: "object"}[type(value)] in names
    return "number" in names or ("integer" in names and value % 1 == 0)


def accepts_null(schema: Any, root: Node) -> bool:
    """Return whether null is a value of *schema*, as far as its plain keywords say.

    Not of one that describes an object or an array without naming its type.
    """
    return all(_takes_null(part, root) for part in parts(schema, root))


def _takes_null(part: Node, root: Node) -> bool:
    if part is _NOTHING or None not in part.get("enum", (None,)) or part.get("const") is not None:
        return False
    kind = part.get("type") or implied_type(part)
    if kind is not None and not has_type(None, kind):
        return False
    return all(any(accepts_null(b, root) for b in branches) for branches in choices([part]))


def is_object(schema: Any, root: Node) -> bool:
    """Return whether every value of *schema* is an object, and it is not a choice of several."""
    found = parts(schema, root)
    return any(part.get("type") == "object" for part in found) and not choices(found)


def names_key(schema: Any, key: str, root: Node) -> bool:
    """Return whether *schema* speaks of a property called *key*, in some branch of it."""
    found = parts(schema, root)
    if any(key in part.get(word, ()) for part in found for word in ("properties", "required")):
        return True
    return any(names_key(b, key, root) for branches in choices(found) for b in branches)
