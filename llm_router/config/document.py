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

from llm_router.config.environment import DEEPEST
from llm_router.config.findings import Finding, Path, quote, shorten
from llm_router.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_VALUES = 20_000
_LONGEST_INTEGER = 400
_TOO_MANY = f"more than {_MOST_VALUES:,} values"
_TOO_DEEP = f"an alias in a loop, or more than {DEEPEST} levels"
_PREFIX = "tag:yaml.org,2002:"
_LINE_WITH_SECRET = re.compile(r"(?i)key|token|secret|password|authorization|cookie|://")
# `{key: ${VAR}}` is no YAML, and everyone writes it: braces of variables are taken out of the
# parser's sight, by characters for private use and of the same number, so that marks stay right.
_OPEN, _CLOSE = "\ue000", "\ue001"
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*(?::-[^{}\s,]*)?)\}", re.ASCII)


def _int(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError("Python refuses to write out what is longer than 4,300 digits")
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())


# What a plain scalar looks like, and how it is read.
_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", lambda _text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _int),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _float,
    ),
    "merge": (r"<<", str),
}
_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "timestamp": str,
    **{name: read for name, (_, read) in _SCALARS.items()},
}


class _Loader(yaml.SafeLoader):
    """SafeLoader's parser with the scalars of YAML 1.2 and limits on depth and size."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # so is PyYAML's
    depth = 0
    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.values += parent is None or index is not None  # a key has no index
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML has none
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        if self.values > _MOST_VALUES:
            raise _TooLargeError(_TOO_MANY, self.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        node.value = node.value.translate({ord(_OPEN): "{", ord(_CLOSE): "}"})
        return node


for _name, (_pattern, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_PREFIX + _name, re.compile(f"(?:{_pattern})$"), None)


@dataclass(slots=True)
class Document:
    """What a text says, with what is wrong in it as YAML."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Where each key or item stands, counted from 1."""
    findings: list[Finding] = field(default_factory=list)
    """Each with its own line, which need not be that of its path."""

    def add(self, path: Path, message: str, line: int | None) -> None:
        self.findings.append(Finding(path, message, line=line))


def parse(text: str) -> Document:
    """Read *text*; what cannot be read as YAML is a finding, never an exception."""
    document = Document()
    try:
        node = yaml.compose(_VARIABLE.sub(rf"${_OPEN}\1{_CLOSE}", text), _Loader)
        if node is not None:
            document.data = _Reader(document).read(node, ())
    except yaml.YAMLError as error:
        _add_syntax_error(document, error, text)
    except _TooLargeError as error:
        document.add((), f"too large: {error}", error.line)
    return document


class _TooLargeError(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Reader:
    """Nodes → data. Counts values as they are used, so that aliases cannot multiply unseen."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.left = _MOST_VALUES
        self.depth = 0

    def read(self, node: Any, path: Path) -> Any:
        self.left -= 1
        self.depth += 1
        if self.left < 0:
            raise _TooLargeError(_TOO_MANY, _line(node))
        if self.depth > DEEPEST + 1:
            raise _TooLargeError(_TOO_DEEP, _line(node))
        data = self._value(node, path)
        self.depth -= 1
        return data

    def _value(self, node: Any, path: Path) -> Any:
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
                message = f"key stands here twice: {quote(key.value)}, first in line {first}"
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
        try:
            return _READERS[node.tag.removeprefix(_PREFIX)](node.value)
        except (KeyError, ValueError):
            tag = node.tag.replace(_PREFIX, "!!")
            message = f"cannot be read as {tag}: {quote(node.value, path)}"
            self.document.add(path, message, _line(node))
            return None


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _add_syntax_error(document: Document, error: yaml.YAMLError, text: str) -> None:
    if isinstance(error, yaml.reader.ReaderError):
        where = text.count("\n", 0, error.position) + 1
        code = f"U+{error.character:04X}"
        document.add((), f"not valid YAML: a character that is not allowed: {code}", where)
        return
    mark = getattr(error, "problem_mark", None)
    words = [getattr(error, name, None) for name in ("problem", "context")]
    said = redact(" ".join(word for word in words if word)) or "cannot be read"
    line: int | None = mark.line + 1 if mark else None
    document.add((), f"not valid YAML: {said}{_shown(text, line)}", line)


def _shown(text: str, line: int | None) -> str:
    """Quote the line, unless it might hold a secret: a broken line hides where that begins."""
    rows = text.splitlines()
    if line is None or line > len(rows) or _LINE_WITH_SECRET.search(rows[line - 1]):
        return ""
    return f": {shorten(repr(redact(rows[line - 1].strip()[:120])), 60)}"
