"""YAML text → plain data, and the line of every key and item in it.

Read by the rules of YAML 1.2, as editors do: `off` and `no` are texts, `1e3` is a number, dates
are texts. Keys are always texts. Nothing in a file can build an object, and neither nesting nor
aliases can blow it up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from llm_router.config.checks import Problem
from llm_router.config.report import Path, quote, shorten
from llm_router.config.variables import DEEPEST
from llm_router.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_NODES = 20_000
_PREFIX = "tag:yaml.org,2002:"
_LINE_WITH_SECRET = re.compile(r"(?i)key|token|secret|password|authorization|cookie|://")
# `{key: ${VAR}}` is no YAML, and everyone writes it: braces of variables are taken out of the
# parser's sight, by characters for private use and of the same number, so that marks stay right.
_OPEN, _CLOSE = "\ue000", "\ue001"
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*(?::-[^{}\s,]*)?)\}", re.ASCII)
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}


class _Loader(yaml.SafeLoader):
    """SafeLoader's parser with the scalars of YAML 1.2 and a limit on depth."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # so is PyYAML's
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML has none
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        node.value = node.value.translate({ord(_OPEN): "{", ord(_CLOSE): "}"})
        return node


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        _PREFIX + _name,
        re.compile(f"(?:{_pattern})$"),
        [letter.replace("\0", "") for letter in _first],
    )


@dataclass(slots=True)
class Document:
    """What a text says, with what is wrong in it as YAML."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Where each key or item stands, counted from 1."""
    problems: list[tuple[Problem, int | None]] = field(default_factory=list)
    """Each with its own line, which need not be that of its path."""

    def add(self, path: Path, message: str, line: int | None) -> None:
        self.problems.append((Problem(path, message), line))


def parse(text: str) -> Document:
    """Read *text*; what cannot be read as YAML is a problem, never an exception."""
    document = Document()
    try:
        loader = _Loader(_VARIABLE.sub(rf"${_OPEN}\1{_CLOSE}", text))
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        _add_syntax_error(document, error, text)
    else:
        if node is not None:
            document.data = _Reader(document).read_root(node)
    return document


class _TooLargeError(Exception):
    def __init__(self, message: str, node: Any) -> None:
        super().__init__(message)
        self.node = node


class _Reader:
    """Nodes → data. Counts nodes as they are used, so that aliases cannot multiply unseen."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.left = _MOST_NODES

    def read_root(self, node: Any) -> Any:
        try:
            return self.read(node, ())
        except _TooLargeError as error:
            self.document.add((), f"too large: {error}", _line(error.node))
            return None

    def read(self, node: Any, path: Path) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _TooLargeError(f"more than {_MOST_NODES:,} values", node)
        if len(path) > DEEPEST:
            raise _TooLargeError(f"an alias in a loop, or more than {DEEPEST} levels", node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, place)) for place, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: Any, path: Path) -> Any:
        self.document.lines[path] = _line(node)
        return self.read(node, path)

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == f"{_PREFIX}merge":
                self._merge(data, value, path)
        own: set[str] = set()  # a key written out wins over a merged one, wherever it stands
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.document.add(path, "a key is a text, not a list or mapping", _line(key))
            elif key.value in own:
                first = self.document.lines[*path, key.value]
                message = f"key stands here twice: {quote(key.value, ())}, first in line {first}"
                self.document.add((*path, key.value), message, _line(key))
            elif key.tag != f"{_PREFIX}merge":
                own.add(key.value)
                self.document.lines[*path, key.value] = _line(key)
                data[key.value] = self.read(value, (*path, key.value))
        return data

    def _merge(self, data: dict[str, Any], node: Any, path: Path) -> None:
        """Take over `<<: *other`, or a list of them, of which the first wins."""
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            merged = self.read(part, path)
            if not isinstance(merged, dict):
                self.document.add(path, "`<<` takes a mapping, or a list of them", _line(part))
                continue
            for key, value in merged.items():
                data.setdefault(key, value)

    def _scalar(self, node: Any, path: Path) -> Any:
        name = node.tag.removeprefix(_PREFIX)
        try:
            return _SCALAR_READERS.get(name, _unknown_tag)(node.value)
        except ValueError:
            tag = node.tag.replace(_PREFIX, "!!")
            message = f"cannot be read as {tag}: {quote(node.value, path)}"
            self.document.add(path, message, _line(node))
            return None


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())


def _unknown_tag(_text: str) -> Any:
    raise ValueError


_SCALAR_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "merge": str,
    "timestamp": str,
    "null": lambda _text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": _float,
}


def _add_syntax_error(document: Document, error: yaml.YAMLError, text: str) -> None:
    if isinstance(error, yaml.reader.ReaderError):
        where = text.count("\n", 0, error.position) + 1
        document.add((), f"not valid YAML: a character that is not allowed: {_code(error)}", where)
        return
    mark = getattr(error, "problem_mark", None)
    words = [getattr(error, name, None) for name in ("problem", "context")]
    said = redact(" ".join(word for word in words if word)) or "cannot be read"
    line: int | None = mark.line + 1 if mark else None
    document.add((), f"not valid YAML: {said}{_shown(text, line)}", line)


def _code(error: Any) -> str:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    return f"U+{code:04X}"


def _shown(text: str, line: int | None) -> str:
    """Quote the line, unless it might hold a secret: a broken line hides where that begins."""
    rows = text.splitlines()
    if line is None or line > len(rows) or _LINE_WITH_SECRET.search(rows[line - 1]):
        return ""
    return f": {shorten(repr(redact(rows[line - 1].strip())), 60)}"
