"""Reading an object while it comes: what is complete of it, and nothing that is not.

A scanner finds where values end; only then the text since the last such place is read, by
pydantic, inside of brackets that stand for those still open, and laid into the tree. No text is
read twice, so that the whole costs a time that grows with its length and no faster.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json

from llm_router.answers.partial import Partial
from llm_router.operations.structured.json_schema import names_key
from llm_router.operations.structured.schema import WRAP_KEY

if TYPE_CHECKING:
    from llm_router.operations.structured.schema import Schema

# An object is read on the way where the answer, or a code fence in it, begins with it: one in prose
# or in reasoning may be an example, and what was shown could not be taken back.
_HEAD = re.compile(r"(?:\A[\ufeff \t\r\n]*|```\w*[ \t\r\n]+)(?=([{\[]))")
_MAX_HEAD = 64
_STRUCTURE = re.compile(r'["{}\[\],:]')
_IN_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.S)
_OPEN = "\0 what is open here"
"""The key under which an object that is still open is read on; no answer has it."""
_INSIDE = {True: f'{{"{_OPEN}":'.replace("\0", "\\u0000"), False: "["}
_INNERMOST = {True: "{", False: "["}


class Scanner:
    """Follows JSON that comes in pieces: where values end, and what is open then."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        """The brackets that are open."""
        self.depth = 0
        """How many were, where the last complete value ended."""
        self.whole = False
        self._in_string: bool = False
        self._in_key: bool = False
        self._escaped: bool = False
        self._expects_key = self._value_ended = False

    @property
    def in_text(self) -> bool:
        """Whether the text so far ends inside of a string that is a value."""
        return self._in_string and not self._in_key

    def feed(self, text: str, elements: Elements | None) -> int:
        """Return the place in *text* up to which all is complete, -1 if nothing has become so."""
        at, safe = 0, -1
        while at < len(text) and not self.whole:
            if self._in_string:
                in_text = self.in_text
                at = self._read_string(text, at)
                ended = in_text and not self.in_text
            else:
                found = _STRUCTURE.search(text, at)
                if found is None:
                    break
                at = found.end()
                ended = self._step(found[0])
                if elements is not None:
                    elements.step(found[0], len(self.stack), text, at)
            if ended:
                self._value_ended = text[at - 1] != ","
                # A comma ends the number or word before it.
                safe, self.depth = at - (not self._value_ended), len(self.stack)
        return safe

    def _read_string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            at += 1
        at = _IN_STRING.match(text, at).end()  # type: ignore[union-attr]  # it matches ""
        if at < len(text):
            self._in_string = text[at] != '"'
            self._escaped = self._in_string  # a backslash, and the piece ends with it
            at += 1
        return at

    def _step(self, mark: str) -> bool:
        """Follow one mark; return whether a value has ended with it."""
        ended = mark in "}]" or (mark == "," and not self._value_ended)
        if mark == '"':
            self._in_string, self._in_key = True, self._expects_key
        elif mark in "{[":
            self.stack.append(mark)
        elif mark in "}]":
            self.stack.pop()
            self.whole = not self.stack
        self._value_ended = False
        self._expects_key = mark in "{," and self.stack[-1:] == ["{"]
        return ended


class Elements:
    """The texts of the elements of a list, each when it is complete."""

    def __init__(self, depth: int) -> None:
        """*depth*: how many brackets are open in the list."""
        self.ready: deque[str] = deque()
        self._depth = depth
        self._pieces: list[str] | None = None
        self._from = 0
        self._over = False

    def step(self, mark: str, depth: int, text: str, at: int) -> None:
        """Follow one mark, which ends at *at* and leaves *depth* brackets open."""
        if self._over:
            return
        if self._pieces is None:
            if mark == "[" and depth == self._depth:
                self._pieces, self._from = [], at
        elif depth == self._depth - 1 or (mark == "," and depth == self._depth):
            self._pieces.append(text[self._from : at - 1])
            element = "".join(self._pieces).strip()
            if element:
                self.ready.append(element)
            self._over = mark == "]"
            self._pieces, self._from = None if self._over else [], at

    def keep(self, text: str) -> None:
        """Keep what has begun when a piece of text has been followed to its end."""
        if self._pieces is not None:
            self._pieces.append(text[self._from :])
            self._from = 0


class Growing:
    """One object of a schema, while it comes. What cannot be read shows nothing, and raises not."""

    def __init__(self, schema: Schema[Any], *, grow_strings: bool = False) -> None:
        self._schema = schema
        self._grow_strings = grow_strings
        self._scanner = Scanner()
        self._elements: Elements | None = None
        self._head = ""
        self._pending: list[str] = []
        """What came after the last complete value."""
        self._root: Any = None
        self._path: list[Any] = []
        """The objects and lists of the tree that are open, the outermost first. They only grow."""
        # Of a type that has the wrapper's key itself nobody knows before the end which one it is.
        inner = schema.json_schema.get("properties", {}).get(WRAP_KEY)
        own_key = schema.wrapped and names_key(inner, WRAP_KEY, schema.json_schema)
        self._over = own_key

    def feed(self, text: str) -> Partial[Any] | None:
        """Take more text; return the object as it is then, None when there is nothing new."""
        if not self._over and not self._scanner.stack:
            text = self._begin(text)
        if self._over or not text:
            return None
        safe = self._scanner.feed(text, self._elements)
        if self._elements is not None:
            self._elements.keep(text)
        try:
            if safe >= 0:
                self._take("".join([*self._pending, text[:safe]]))
                self._pending, text = [], text[safe:]
        except (ValueError, LookupError):  # no JSON, or a key twice
            self._over = True
            return None
        self._over = self._scanner.whole
        self._pending.append(text)
        growing = self._grow_strings and self._scanner.in_text
        return self._partial(growing) if safe >= 0 or growing else None

    def take_element(self) -> str | None:
        """Return the JSON text of the next complete element, of a schema that is a list."""
        wrapped = isinstance(self._root, dict) and next(iter(self._root), None) != WRAP_KEY
        if self._elements is None or wrapped or not self._elements.ready:
            return None
        return self._elements.ready.popleft()

    def _begin(self, text: str) -> str:
        """Return what begins with the first bracket; "" while there is none."""
        self._head += text
        found = _HEAD.search(self._head)
        if found is None or (found[1] == "[" and not self._schema.wrapped):
            self._over = found is not None or self._head.lstrip().startswith("<think")
            if len(self._head) > _MAX_HEAD:  # a fence may be in two pieces; the beginning is past
                self._head = "…" + self._head[-_MAX_HEAD // 2 :]
            return ""
        if self._schema.wrapped:
            self._elements = Elements(1 if found[1] == "[" else 2)
        return self._head[found.end() :]

    def _take(self, text: str) -> None:
        """Lay *text*, which ends with a complete value, into the tree."""
        new = self._parsed(text, True)
        if self._path:
            _lay(self._path, new)
        else:
            self._root = new
        self._path = _open_path(self._root, self._scanner.depth)

    def _parsed(self, text: str, how: Literal[True, "trailing-strings"]) -> Any:
        if self._path:
            *outer, last = (isinstance(part, dict) for part in self._path)
            text = text.lstrip().removeprefix(",")
            text = "".join([*(_INSIDE[kind] for kind in outer), _INNERMOST[last], text])
        new = from_json(text, allow_partial=how)
        return new if self._schema.nulls_are_values or "null" not in text else _without_nulls(new)

    def _partial(self, growing: bool) -> Partial[Any] | None:
        root, sizes = self._root, tuple(map(len, self._path))
        new: Any = None
        if growing:
            try:
                new = self._parsed("".join(self._pending), "trailing-strings")
            except ValueError:
                return None
        elif self._schema.wrapped and root == {}:
            return None  # neither the wrapper nor what it wraps is there yet

        def read() -> Any:
            data = _as_it_was(root, sizes)
            if growing and sizes:
                with suppress(ValueError, LookupError):  # a key twice: as if it had not come
                    _lay(_open_path(data, len(sizes)), new)
            elif growing:
                data = new
            return data[WRAP_KEY] if self._is_wrapper(data) else data

        first = new if root is None else root
        levels = len(self._scanner.stack)
        return Partial(read, max(levels - self._is_wrapper(first), 0))

    def _is_wrapper(self, data: Any) -> bool:
        return (
            self._schema.wrapped and isinstance(data, dict) and next(iter(data), None) == WRAP_KEY
        )


def _open_path(root: Any, depth: int) -> list[Any]:
    """Return the last, innermost *depth* objects and lists that end in the end of *root*."""
    path = [root][:depth]
    while len(path) < depth:
        holder = path[-1]
        inner = holder[-1] if isinstance(holder, list) else holder[next(reversed(holder), None)]
        if not isinstance(inner, dict | list):
            raise ValueError("a key twice")
        path.append(inner)
    return path


def _lay(path: list[Any], new: Any) -> None:
    """Append *new* to the open objects and lists in *path*; ValueError for a key that is there."""
    for number, holder in enumerate(path):
        if type(new) is not type(holder):
            raise ValueError("a key twice")
        is_last = number == len(path) - 1
        inner = None
        if isinstance(holder, list):
            inner, new = (None, new) if is_last else (new[0], new[1:])
            holder.extend(new)
        else:
            inner = None if is_last else new.pop(_OPEN)
            if holder.keys() & new.keys():
                raise ValueError("a key twice")
            holder.update(new)
        new = inner


def _as_it_was(node: Any, sizes: tuple[int, ...]) -> Any:
    """Return *node* when its open parts had *sizes*; what was closed then is shared."""
    if not sizes:
        return node
    size, *inside = sizes
    if isinstance(node, list):
        items: list[Any] = node[:size]
        if inside:
            items[-1] = _as_it_was(items[-1], tuple(inside))
        return items
    fields = node.copy() if len(node) == size else dict(islice(node.items(), size))
    if inside:
        name = next(reversed(fields))
        fields[name] = _as_it_was(fields[name], tuple(inside))
    return fields


def _without_nulls(data: Any) -> Any:
    """Return *data* without null fields: each may stand for "left out", which the end will say."""
    if isinstance(data, dict):
        return {name: _without_nulls(value) for name, value in data.items() if value is not None}
    return [_without_nulls(item) for item in data] if isinstance(data, list) else data
