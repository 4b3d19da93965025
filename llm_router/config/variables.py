"""`${VAR}` and `${VAR:-default}` in any text of a configuration; `$${` is a plain `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_router.config.checks import Problem
from llm_router.config.report import Path, names_secret, quote
from llm_router.redaction import redact

DEEPEST = 40
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(?P<part>\.[0-9]{1,17})?")
_FREE_FORM = ("params", "openrouter")
_SECRET_VARIABLE = re.compile(r"(?i)(key|token|secret|password|credentials)$")
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_SHORTEST_SECRET = 4


@dataclass(slots=True)
class Substitution:
    """Data with its variables filled in, and what was found on the way."""

    environ: Mapping[str, str]
    raw: dict[Path, str] = field(default_factory=dict)
    """The texts that held a variable, as written: what a message may quote."""
    secrets: set[str] = field(default_factory=set)
    """Values that no message may show."""
    problems: list[Problem] = field(default_factory=list)
    unset: set[Path] = field(default_factory=set)
    """Where a value is missing because a variable is; left out of the data."""
    key_variables: dict[str, str] = field(default_factory=dict)
    """By provider row: the variable its `api_key` names."""

    def fill(self, value: Any, path: Path = ()) -> Any:
        """Return *value* as plain dicts, lists and scalars, with every variable in place."""
        if len(path) > DEEPEST:
            self.problems.append(Problem(path[:1], "nested too deeply"))
            return None
        if isinstance(value, Mapping):
            return {str(k): self.fill(item, (*path, str(k))) for k, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.fill(item, (*path, place)) for place, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: Path) -> Any:
        if not _REFERENCE.search(text):
            self._warn_of_clear(text, path)
            return text
        self.raw[path] = text
        missing: list[str] = []
        filled = _REFERENCE.sub(lambda found: self._value(found, path, missing), text)
        if _is_api_key(path):
            self._note_key(text, path)
        if names_secret(path) and len(filled) >= _SHORTEST_SECRET:
            self.secrets.add(filled)
        if missing:
            return self._without(missing, path, text)
        whole = _REFERENCE.fullmatch(text)
        free = len(path) > 3 and path[0] == "aliases" and not set(_FREE_FORM).isdisjoint(path[2:5])
        return _read_scalar(filled) if whole and free else filled

    def _value(self, found: re.Match[str], path: Path, missing: list[str]) -> str:
        if found["escaped"]:
            return "${"
        name = found["name"]
        if name is None or not _NAME.fullmatch(name):
            fix = "write ${NAME}, ${NAME:-default}, or $${ for a plain one"
            message = f"`${{` starts no variable: {quote(found.string, path)}; {fix}"
            self.problems.append(Problem(path, message))
            self.unset.add(path)
            return ""
        value = self.environ.get(name, "")
        if not value.strip():
            if found["default"] is None:
                missing.append(name)
            elif found["default"] and _is_api_key(path):
                self._warn(path, "a key in clear as the default; leave the default out")
                self.secrets.add(found["default"])
            return found["default"] or ""
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_SECRET:
            self.secrets.add(value)
        return value

    def _note_key(self, text: str, path: Path) -> None:
        found = next((f for f in _REFERENCE.finditer(text) if f["name"]), None)
        if found:
            self.key_variables[str(path[1])] = found["name"]

    def _without(self, missing: list[str], path: Path, text: str) -> str | None:
        if _is_api_key(path):
            return ""  # no credentials: an error at the call, not at loading
        for name in missing:
            fix = f"set it, or write ${{{name}:-default}}"
            message = f"variable {name} is not set: {quote(text, ())}; {fix}"
            self.problems.append(Problem(path, message))
        self.unset.add(path)
        return None

    def _warn_of_clear(self, text: str, path: Path) -> None:
        if names_secret(path) and text:
            if len(text) >= _SHORTEST_SECRET:
                self.secrets.add(text)
            self._warn(path, f"a key in clear: {quote(text, path)}; write ${{NAME}} and set that")
        elif _PASSWORD_IN_URL.search(text):
            self._warn(path, f"a password in clear: {quote(redact(text), path)}; write ${{NAME}}")

    def _warn(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message, "warning"))


def _is_api_key(path: Path) -> bool:
    return len(path) == 3 and path[0] == "providers" and path[2] == "api_key"


def _read_scalar(text: str) -> Any:
    """Read a variable that is a whole value in `params` or `openrouter`, where no type says how."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number["part"] else int(text)
